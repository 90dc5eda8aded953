"""Clusters on this machine for the benchmarks: etcd, nodes, and what becomes of them."""

import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from streame.cli.bench.case import Outcome, Work
from streame.cli.bench.cluster_node import INTERVAL, NodeSettings
from streame.cli.bench.process import rss_mb
from streame.cli.bench.repeated import BATCH_ROWS
from streame.cluster.etcd.client import EtcdClient
from streame.cluster.etcd.settings import EtcdSettings
from streame.cluster.view import Keys, View, view_of
from streame.testing.etcd_members import EtcdMembers, die_with_parent, free_ports

WAIT_S = 60.0
ENDLESS = 10_000_000_000
LOOK_S = 0.01
KEYS = Keys("bench", "bench")


class Nodes:
    """Nodes in processes of their own, of one job.

    Args:
        folder: where they keep everything.
        etcd: the address of etcd.
        kind: which job.
    """

    def __init__(self, folder: Path, etcd: str, kind: str, rows: int, parallelism: int) -> None:
        self.settings = [
            NodeSettings(kind, etcd, port, str(folder), rows, parallelism) for port in free_ports(3)
        ]
        self.commits = folder / "out" / "_streame" / "commits"
        self._etcd = EtcdClient(EtcdSettings((etcd,)))
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, number: int) -> None:
        """Start a node."""
        self._running[number] = subprocess.Popen(
            [*die_with_parent(), *self.settings[number].command()],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def signal(self, number: int, what: signal.Signals) -> None:
        """Send a signal to a node, and start another one in its place once it has ended."""
        self._running[number].send_signal(what)

    def replace(self, number: int) -> None:
        """Start another node in the place of one that ends."""
        self._running[number].wait(WAIT_S)
        self.start(number)

    def view(self) -> View:
        """What etcd says."""
        return view_of(self._etcd.range(KEYS.prefix), KEYS)

    def leader(self) -> int:
        """The number of the node that leads."""
        number = self.leader_or_none()
        assert number is not None
        return number

    def leader_or_none(self) -> int | None:
        """The number of the node that leads, if there is one."""
        found = self.view().leader
        if found is None:
            return None
        return next(
            at for at, each in enumerate(self.settings) if found.member.address.endswith(f":{each.port}")
        )

    def members(self) -> int:
        """How many nodes take part in the attempt that runs."""
        return members(self._etcd)

    def last_commit(self) -> str:
        """The newest output."""
        try:
            names = [path.name for path in self.commits.iterdir()]
        except FileNotFoundError:
            return ""
        return max(names, key=lambda name: int(name.partition(".")[0]), default="")

    def until_output(self) -> None:
        """Wait for output that is not there yet."""
        last = self.last_commit()
        until(lambda: self.last_commit() != last)

    def stop(self) -> None:
        """End all of them."""
        for process in self._running.values():
            process.kill()
            process.wait()
        self._etcd.close()


def members(etcd: EtcdClient) -> int:
    """How many nodes take part in the attempt that runs; 0 while none does."""
    view = view_of(etcd.range(KEYS.prefix), KEYS)
    return len(view.attempt.members) if view.is_current and view.attempt is not None else 0


def until(what: Callable[[], bool]) -> None:
    """Wait until something holds."""
    end = time.monotonic() + WAIT_S
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        threading.Event().wait(LOOK_S)


@contextmanager
def etcd_running() -> Iterator[str]:
    """One member of etcd; gives its address."""
    program = shutil.which("etcd")
    assert program is not None
    members = EtcdMembers(Path(program), 1)
    members.start()
    try:
        yield members.endpoints[0]
    finally:
        members.stop()


def throughput(
    kind: str, rows: int, folder: Path, parallelism: int, followers: int, batch_rows: int = BATCH_ROWS
) -> Work:
    """A leader, which is this process, and some followers; what is timed begins when all are there.

    Args:
        kind: which job.
        rows: how many.
        folder: where everything is.
        parallelism: how many instances the keyed operators have.
        followers: how many.
        batch_rows: how many rows come at once.
    """
    running = ExitStack()
    shutil.rmtree(folder / "cluster", ignore_errors=True)
    place = folder / "cluster"
    place.mkdir(parents=True)
    etcd = running.enter_context(etcd_running())
    mine, *others = (
        NodeSettings(kind, etcd, port, str(place), rows, parallelism, batch_rows)
        for port in free_ports(1 + followers)
    )
    handle = mine.start()
    client = EtcdClient(EtcdSettings((etcd,)))
    running.callback(client.close)

    until(lambda: members(client) == 1)
    for other in others:
        process = subprocess.Popen([*die_with_parent(), *other.command()], stdout=subprocess.DEVNULL)
        running.callback(process.wait)
        running.callback(process.kill)
    until(lambda: members(client) == 1 + followers)
    until(lambda: handle.status().checkpoint is not None)

    def work() -> Outcome:
        (place / "go").touch()
        handle.wait()
        status = handle.status()
        running.close()
        return Outcome(status.rows_in, lambda: {"rows": status.rows_in, "results": status.rows_out})

    return work


def embedded(kind: str, rows: int, folder: Path, batch_rows: int = BATCH_ROWS) -> Work:
    """The same job in this process alone."""
    place = folder / "embedded"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    (place / "go").touch()
    job = NodeSettings(kind, "", 0, str(place), rows, 1, batch_rows).job()

    def work() -> Outcome:
        status = job.run(checkpoints=place / "checkpoints", checkpoint_interval=INTERVAL)
        return Outcome(status.rows_in, lambda: {"rows": status.rows_in, "results": status.rows_out})

    return work


def faults(rounds: int, folder: Path) -> Work:
    """From the last output before a fault to the first behind it: of a leader and a follower that are killed, and a hand-over.

    Args:
        rounds: how often each.
        folder: where everything is.
    """
    running = ExitStack()
    place = folder / "faults"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    nodes = Nodes(place, running.enter_context(etcd_running()), "ticks", 0, 4)
    running.callback(nodes.stop)
    for number in range(3):
        nodes.start(number)
    until(lambda: nodes.members() == 3)
    nodes.until_output()

    def fault(what: signal.Signals, *, leader: bool) -> float:
        number = nodes.leader() if leader else (nodes.leader() + 1) % 3
        nodes.until_output()
        began = time.perf_counter()
        nodes.signal(number, what)
        if what == signal.SIGTERM:
            until(lambda: nodes.leader_or_none() not in {None, number})
        nodes.until_output()
        seconds = time.perf_counter() - began
        nodes.replace(number)
        until(lambda: nodes.members() == 3)
        nodes.until_output()
        return seconds

    def work() -> Outcome:
        kills = [fault(signal.SIGKILL, leader=True) for _ in range(rounds)]
        followers = [fault(signal.SIGKILL, leader=False) for _ in range(rounds)]
        handovers = [fault(signal.SIGTERM, leader=True) for _ in range(rounds)]
        running.close()
        measures = {
            "leader_p50_s": float(np.median(kills)),
            "leader_p99_s": float(np.percentile(kills, 99)),
            "follower_s": float(np.max(followers)),
            "handover_s": float(np.median(handovers)),
        }
        return Outcome(3 * rounds, dict, measures)

    return work


def slow_follower(rows: int, folder: Path) -> Work:
    """A follower that takes a row or two in a millisecond: how much the leader, which is this process, and it grow.

    Args:
        rows: for how many hundredths of a second they are watched.
        folder: where everything is.
    """
    running = ExitStack()
    place = folder / "slow"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    etcd = running.enter_context(etcd_running())
    mine, other = (NodeSettings("slow", etcd, port, str(place), ENDLESS, 2) for port in free_ports(2))
    handle = mine.start()
    client = EtcdClient(EtcdSettings((etcd,)))
    running.callback(client.close)
    until(lambda: view_of(client.range(KEYS.prefix), KEYS).is_current)
    process = subprocess.Popen([*die_with_parent(), *other.command()], stdout=subprocess.DEVNULL)
    running.callback(process.wait)
    running.callback(process.kill)

    until(lambda: members(client) == 2)
    before = rss_mb(), rss_mb(process.pid)
    (place / "go").touch()

    def work() -> Outcome:
        end, most = time.monotonic() + rows / 100, before
        while time.monotonic() < end:
            threading.Event().wait(0.1)
            now = rss_mb(), rss_mb(process.pid)
            most = max(most[0], now[0]), max(most[1], now[1])
        taken = handle.status().rows_in
        process.kill()
        handle.stop()
        running.close()
        measures = {"leader_growth_mb": most[0] - before[0], "follower_growth_mb": most[1] - before[1]}
        return Outcome(taken, dict, measures)

    return work
