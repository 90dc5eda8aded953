"""A simulated world: machines with the nodes of a job, what is between them, and what goes wrong with it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from streame.api.job import Job
from streame.cluster.cluster import PARALLELISM, Cluster
from streame.cluster.view import Keys
from streame.errors import CheckpointError, ClusterError, EtcdError, StreameError
from streame.runtime.runner import Program, Run
from streame.storage.objects import ObjectStore
from streame.testing.simulation import patches, scheduler
from streame.testing.simulation.bucket import Objects, RemoteBucket
from streame.testing.simulation.ends import Feed, ForgettingSource, SimSink, SimSource, Table
from streame.testing.simulation.etcd import EXPIRE_S, RemoteEtcd, WatchedEtcd
from streame.testing.simulation.network import WORLD, Network
from streame.testing.simulation.oracle import Expectation, Oracle
from streame.testing.simulation.scheduler import Host, Scheduler, Stuck
from streame.testing.simulation.services import Quality, Service
from streame.testing.simulation.threads import forget_threads

NAME, JOB = "simulated", "job"
LEASE = "2s"
STEPS_MAX = 2_000_000


class _Reader:
    """A runner that only looks at what it is given."""

    program: Program | None = None

    parallelism = PARALLELISM

    def start(self, program: Program) -> Run:
        self.program = program
        raise _Seen


class _Seen(Exception):  # noqa: N818
    """The program is known."""


def program_of(job: Job, settings: Mapping[str, Any]) -> Program:
    """What a job gives to whoever runs it."""
    reader = _Reader()
    with suppress(_Seen):
        job.start(cluster=reader, checkpoints="simulated", **settings)
    assert reader.program is not None
    return reader.program


class Plan:
    """A job and what it must publish; a scenario makes it anew for each run."""

    feeds: Mapping[str, Feed]
    expected: Expectation

    def job(self, world: "World") -> Job:
        """The job as a program of a node describes it."""
        raise NotImplementedError


@dataclass
class Machine:
    """A machine on which a node runs, or did.

    Args:
        name: of the machine, and of its node.
        address: where others reach it.
    """

    name: str
    address: str
    host: Host | None = None
    run: Run | None = None
    result: str = ""
    """`finished`, `left`, or what went wrong; empty while it runs."""
    starts: int = 0
    errors: list[str] = field(default_factory=list)

    @property
    def is_up(self) -> bool:
        """Whether its node runs."""
        return self.host is not None and not self.host.is_dead and not self.result


class World:
    """All of it, for one seed.

    Args:
        seed: what is drawn follows from it.
        plan: the job.
        names: of the machines.
        latency_s: of the network and of services, at most.
        is_fenced: which kind of sink there is.
        apart: whether all nodes read, each its own splits, or the leader alone.
        settings: of the job.
    """

    def __init__(
        self,
        seed: int,
        plan: Plan,
        names: list[str],
        *,
        is_fenced: bool,
        apart: bool,
        settings: Mapping[str, Any],
    ) -> None:
        self.seed, self.plan, self.settings = seed, plan, settings
        self.is_fenced, self.apart = is_fenced, apart
        self.sim = Scheduler(seed)
        self.net = Network(lambda: 0.0005 + 0.002 * self.sim.rng.random())
        self.keys = Keys(NAME, JOB)
        self.oracle = Oracle(self.keys, plan.feeds, plan.expected)
        self.objects = self.oracle.objects = Objects(self.oracle.removed)
        self.etcd = WatchedEtcd(self.oracle.changed)
        self.quality = {name: Quality(0.003) for name in ("etcd", "store", "sink")}
        self.services = {
            name: Service(name, self.net, quality, self.oracle.count, self._pause)
            for name, quality in self.quality.items()
        }
        self.machines = [Machine(name, f"127.0.0.1:{5000 + at}") for at, name in enumerate(names)]
        self.is_calm = False
        self._program: Program | None = None

    def source(self, name: str, *, bounded: bool = False) -> SimSource:
        """A source of the job."""
        kind = SimSource if self.apart else ForgettingSource
        return kind(self.plan.feeds[name], self.oracle, bounded=bounded)

    def sink(self, name: str) -> Callable[[], SimSink]:
        """Makes a sink of the job."""
        table = self.oracle.tables.setdefault(name, Table(name, self.oracle))
        return lambda: SimSink(table, self.services["sink"], is_fenced=self.is_fenced)

    def start(self, machine: Machine) -> None:
        """Start a node on a machine."""
        rng = self.sim.rng
        machine.starts += 1
        machine.host = Host(machine.name, rng.random() * 100)
        machine.result, machine.run = "", None
        self.oracle.note(f"{machine.name} starts")
        self.sim.spawn(machine.host, "main", lambda: self._main(machine))

    def _main(self, machine: Machine) -> None:
        assert self._program is not None
        host, result = machine.host, ""
        try:
            cluster = Cluster(
                ["127.0.0.1:1"], machine.address, name=NAME, node=machine.name, insecure=True, lease=LEASE
            )
            machine.run = cluster.start(self._program)
            machine.run.wait()
            outcome = self.oracle.outcome
            result = "left" if outcome is None else outcome.state
        except Exception as error:
            result = f"{type(error).__name__}: {error}"
            machine.errors.append(result)
            if not isinstance(error, EtcdError | ClusterError | CheckpointError):
                raise
            self._judge(machine, error)
        assert machine.host is host
        machine.result = result
        self.oracle.note(f"{machine.name} has ended: {result}")
        self.look()

    def _judge(self, machine: Machine, error: StreameError) -> None:
        """A node may fail to start; a job may not fail."""
        if machine.run is not None:
            self.oracle.wrong(f"node {machine.name} has failed: {type(error).__name__}: {error}")

    def crash(self, machine: Machine, *, silently: bool) -> None:
        """Let a process end, or a machine."""
        host = machine.host
        if host is None or host.is_dead:
            return
        self.oracle.note(f"{machine.name} crashes{' silently' if silently else ''}")
        self.oracle.count("crash")
        host.is_dead = True
        machine.result = machine.result or "crashed"
        self.net.lose(host, silently=silently)

    def pause(self, machine: Machine, duration_s: float) -> None:
        """Let a process stand still for a while."""
        if machine.host is not None:
            self._pause(machine.host, duration_s)

    def _pause(self, host: Host, duration_s: float) -> None:
        if host.is_dead or host.is_paused:
            return
        self.oracle.note(f"{host.name} pauses for {duration_s:.2f} s")
        self.oracle.count("pause")
        host.is_paused = True
        self.sim.at(duration_s, lambda: self.sim.resume(host))

    def rescale(self, parallelism: int) -> None:
        """End all processes; those that start then have another number of instances."""
        for machine in self.machines:
            self.crash(machine, silently=False)
        self.oracle.note(f"the job has {parallelism} instances from now on")
        self.oracle.count("rescale")
        self.settings = {**self.settings, "parallelism": parallelism}
        self._program = program_of(self.plan.job(self), self.settings)

    def look(self) -> None:
        """See whether all nodes have ended, and the job with them."""
        self.sim.is_over = self.is_calm and all(machine.result == "finished" for machine in self.machines)

    def run(self, nemesis: Callable[["World"], object], until_s: float) -> None:
        """Let it go on to its end.

        Raises:
            Violation: when something has happened that must not.
            Stuck: when it does not end.
        """
        with self._in_place():
            self._program = program_of(self.plan.job(self), self.settings)
            for machine in self.machines:
                self.sim.at(self.sim.rng.random() * 0.5, partial(self.start, machine))
            self.sim.spawn(WORLD, "nemesis", lambda: nemesis(self))
            self._tick()
            try:
                self.sim.run(until_s, STEPS_MAX)
                if self.sim.error is not None:
                    raise self.sim.error
                self.oracle.finish()
                if self.oracle.violation is not None:
                    raise self.oracle.violation
            except Stuck as stuck:
                stuck.add_note(self.sim.stacks())
                raise
            finally:
                self.sim.close()
                forget_threads()

    def _tick(self) -> None:
        Service.do(self.etcd.look)
        self.sim.at(EXPIRE_S, self._tick)

    @contextmanager
    def _in_place(self) -> Iterator[None]:
        def etcd(settings: object) -> RemoteEtcd:
            return RemoteEtcd(self.etcd, self.services["etcd"])

        def place(where: str, environment: Mapping[str, str]) -> ObjectStore:
            return ObjectStore(RemoteBucket(self.objects, self.services["store"]))

        others = {
            ("streame.cluster.cluster", "EtcdClient"): etcd,
            ("streame.cluster.cluster", "open_place"): place,
            ("streame.cluster.cluster", "new_owner"): patches.new_owner,
            # These read the sources of all classes and functions, which takes longer than a small simulation.
            ("streame.api.program", "program_digest"): lambda *_: "the same on every node",
            ("streame.api.program", "check_functions"): lambda *_: None,
            ("streame.cluster.transport", "grpc"): self.net.grpc(),
        }
        scheduler.enter(self.sim)
        try:
            with patches.simulated(others):
                yield
        finally:
            scheduler.leave()
