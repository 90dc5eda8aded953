"""A cluster, as the user describes it, and a job that takes part in one."""

import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import NoneType

from streame.cluster.checkpoints import Place
from streame.cluster.etcd.client import EtcdClient
from streame.cluster.etcd.settings import EtcdSettings
from streame.cluster.identity import Identity
from streame.cluster.node import Node
from streame.cluster.part import Surroundings
from streame.cluster.savepoints import begin_from
from streame.cluster.security import Tls, host_of, refuse_insecure
from streame.cluster.status import (
    VERSION,
    NodeStatus,
    checkpoint_of,
    counts_ticks,
    encode_status,
    operators_of,
)
from streame.cluster.transport import DataServer
from streame.cluster.view import Keys
from streame.core.clock import SystemClock, to_datetime
from streame.core.durations import duration_us
from streame.core.locations import folder_or_objects
from streame.core.metrics import CheckpointMetrics, OperatorMetrics
from streame.errors import CheckpointError, ClusterError, PlanError, StreameError
from streame.runtime.local import State
from streame.runtime.runner import Program, Run
from streame.state.checkpoint.plan_difference import check_plan
from streame.storage.folder_bucket import FolderBucket
from streame.storage.objects import ObjectStore, new_owner
from streame.storage.s3 import S3Bucket

PARALLELISM = 4
"""How many instances a keyed operator has where the settings say nothing else."""

LEASE_S_MIN = 2

WAIT_S = 0.1

REACH_S = 10.0
"""How long etcd may take to answer when a node starts."""

_TYPES: tuple[tuple[str, tuple[type, ...], str], ...] = (
    ("address", (str,), "a text such as '10.0.0.1:50085'"),
    ("name", (str,), "a text"),
    ("node", (str, NoneType), "a text"),
    ("tls", (Tls, NoneType), "st.Tls(ca=..., certificate=..., key=...)"),
    ("etcd_tls", (Tls, NoneType), "st.Tls(ca=...)"),
    ("etcd_user", (str, NoneType), "a text"),
    ("etcd_password_file", (str, os.PathLike, NoneType), "the path of a file"),
    ("listen", (str, NoneType), "a text such as '0.0.0.0:50085'"),
    ("insecure", (bool,), "True or False"),
    ("lease", (str, timedelta), "a duration such as '5s'"),
)
"""Of which type each argument of a cluster is, and what is given."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Many nodes that run one job: `job.run(cluster=...)` in the same program on each of them.

    They find each other, and elect the one that leads, through etcd; rows go between them over gRPC. Any node may come
    or go at any time. The one that leads decides checkpoints, writes the output and reads sources that only one can read;
    the others own the keys, and share the files among them, which all of them must find under the same names. A node that
    is alone does all of it.

    Args:
        etcd: the members of etcd, as `HOST:PORT`.
        address: where the others reach this node, as `HOST:PORT`.
        name: the name of the cluster; nodes of one name, and of one job, find each other.
        node: the name of this node, unique in the cluster; that of its certificate, or made of its address.
        tls: the files of this node; needed for every address that is not of this machine.
        etcd_tls: those with which it speaks to etcd, if these are others; the CA is enough if etcd asks for no certificate.
        etcd_user: a user of etcd.
        etcd_password_file: its password, readable for its owner alone.
        listen: where this node listens, if that is not its address: behind a translation of addresses, or as
            `"0.0.0.0:50085"` on all of them.
        insecure: whether to do without TLS, on this machine alone.
        lease: how long others wait for a node that is not heard any more before another one leads (`"5s"`, at least 2 s).

    Raises:
        PlanError: when an argument is of another type, an address or a name cannot be used, or there is no TLS where it is
            needed.

    Example:
        >>> import streame as st
        >>> st.Cluster(etcd=["127.0.0.1:2379"], address="127.0.0.1:50085", name="orders", insecure=True).node_name
        'node-127-0-0-1-50085'
    """

    etcd: Sequence[str]
    address: str
    name: str = "streame"
    node: str | None = None
    tls: Tls | None = None
    etcd_tls: Tls | None = None
    etcd_user: str | None = None
    etcd_password_file: str | os.PathLike[str] | None = None
    listen: str | None = None
    insecure: bool = False
    lease: str | timedelta = "5s"

    def __post_init__(self) -> None:
        _check_types(self)
        refuse_insecure([self.address, self.listen or self.address], self.tls, insecure=self.insecure)
        if self.tls is not None:
            _ = self.tls.own
        if self.listen is not None and int(self.address.rpartition(":")[2]) == 0:
            raise PlanError(
                f"address={self.address!r} with listen={self.listen!r}: the others are told the address as it is, and nobody can "
                "be reached at port 0; give the port at which they reach this node"
            )
        Identity.of(self.name, "node", self.node or "node")
        self.etcd_settings()
        if self.lease_s < LEASE_S_MIN:
            raise PlanError(
                f"lease={self.lease!r}: etcd keeps leases for at least {LEASE_S_MIN} s with its usual settings; give more"
            )

    @property
    def lease_s(self) -> int:
        """How long the lease of a node lives, in seconds."""
        return -(-duration_us(self.lease, where="lease") // 1_000_000)

    @property
    def node_name(self) -> str:
        """The name of this node."""
        return self.identity().name

    def identity(self) -> Identity:
        """Who this node is: as its certificate says, if it has one.

        Raises:
            PlanError: when the certificate is one of another cluster, or cannot be used, or there is nothing to name it by.
        """
        if self.tls is None:
            if self.node is None and self.address.endswith(":0"):
                raise PlanError(
                    f"address={self.address!r} stands for any port, so that it tells nobody apart; give node= too"
                )
            derived = "node-" + re.sub(r"[^a-z0-9]+", "-", self.address.lower()).strip("-")
            return Identity.of(self.name, "node", self.node or derived)
        found = self.tls.check(to_datetime(SystemClock().now_us()))
        if (found.cluster, found.role) != (self.name, "node") or (self.node or found.name) != found.name:
            raise PlanError(
                f"{self.tls.certificate}: is a certificate of {found.uri}; this is node {self.node or found.name!r} of cluster "
                f"{self.name!r}: give the certificate of this node (`streame certs` makes some)"
            )
        return found

    def etcd_settings(self) -> EtcdSettings:
        """How etcd is reached."""
        tls = self.etcd_tls or self.tls
        password = None if self.etcd_password_file is None else Path(self.etcd_password_file)
        return EtcdSettings(
            tuple(self.etcd),
            None if tls is None else tls.ca,
            None if tls is None else tls.certificate,
            None if tls is None else tls.key,
            self.etcd_user,
            password,
        )

    @property
    def parallelism(self) -> int:
        """See `Runner`."""
        return PARALLELISM

    def start(self, program: Program) -> "ClusterRun":
        """Start to take part in a job; called by `job.run`."""
        if program.config.checkpoints is None:
            raise PlanError(
                "a cluster needs checkpoints=: a directory that all nodes reach under the same path, or an object store"
            )
        if program.config.parallelism == 1:
            raise PlanError(
                "the setting 'parallelism' is 1: in a cluster the nodes share the instances of keyed operators; give at least "
                f"2, or leave it out for {PARALLELISM}"
            )
        program.check()
        me = self.identity()
        authorities = () if self.tls is None else self.tls.authorities()
        etcd = EtcdClient(self.etcd_settings())
        try:
            place = Place(
                open_place(program.config.checkpoints, os.environ),
                etcd,
                Keys(self.name, program.name),
                program.name,
            )
            etcd.get(place.keys.leader, timeout_s=REACH_S)  # who is not let in is told so at once
            place.settle(new_owner().replace("/", "-"))
            if program.savepoint is not None:
                allowed = tuple(program.allow_dropped)
                begin_from(place, program.savepoint, lambda before: check_plan(before, program.plan, allowed))
            server = DataServer(self.listen or self.address, self.name, self.tls)
        except BaseException:
            etcd.close()
            raise
        host, address = host_of(self.address), self.address
        if self.listen is None:  # port 0 stands for any
            address = f"[{host}]:{server.port}" if ":" in host else f"{host}:{server.port}"
        around = Surroundings(program, place, me, server, self.tls, program.config.parallelism, authorities)
        node = Node(around, address, self.lease_s)
        run = ClusterRun(node, program)
        node.start()
        server.answer(lambda: encode_status(run.node_status(me.name)))
        return run


def _check_types(cluster: Cluster) -> None:
    members: object = cluster.etcd
    if isinstance(members, str):
        raise PlanError(f"etcd={members!r}: give a list of addresses, such as {[members]}")
    if not isinstance(members, Sequence) or not all(isinstance(each, str) for each in members):
        raise PlanError(f"etcd={members!r}: give a list of addresses, such as ['etcd-1:2379']")
    for name, types, what in _TYPES:
        value = getattr(cluster, name)
        if not isinstance(value, types):
            raise PlanError(f"{name}={value!r}: give {what}")


class ClusterRun(Run):
    """What this node runs of a job.

    Args:
        node: this node.
        program: the job.
    """

    def __init__(self, node: Node, program: Program) -> None:
        self._node, self._program = node, program
        self._began = time.monotonic()
        self._ended_at: float | None = None
        self._stop_began: float | None = None
        self._metrics: dict[str, OperatorMetrics] = {}

    @property
    def state(self) -> State:
        """Where the job stands, as far as this node knows."""
        if self.error is not None:
            return "failed"
        if not self._alive:
            return "finished"
        if self.waits_for is not None:
            return "degraded"
        return "stopping" if self._node.is_leaving else "running"

    @property
    def waits_for(self) -> str | None:
        """See `Run`."""
        part = self._node.part
        return None if part is None or part.run is None else part.run.waits_for

    @property
    def error(self) -> BaseException | None:
        """See `Run`."""
        ending = self._node.ending
        if ending.outcome is not None and ending.outcome.state == "failed":
            part = self._node.part
            if part is not None and part.part.state == "failed" and part.error is not None:
                return part.error
            return ClusterError(f"the job has failed: {ending.outcome.error}")
        return ending.error

    @property
    def seconds(self) -> float:
        """See `Run`."""
        if not self._alive and self._ended_at is None:
            self._ended_at = time.monotonic()
        return (self._ended_at or time.monotonic()) - self._began

    def checkpoints(self) -> CheckpointMetrics | None:
        """See `Run`: those that this node has decided as the leader, or what etcd says of the last one."""
        part = self._node.part
        found = None if part is None or part.run is None else part.run.checkpoints()
        if found is None and (pointer := self._node.facts.view.pointer) is not None:
            found = CheckpointMetrics(pointer.number)
        return found

    def metrics(self) -> Mapping[str, OperatorMetrics]:
        """See `Run`: the counters of what runs on this node."""
        part = self._node.part
        here = {} if part is None or part.run is None else dict(part.run.metrics())
        return {name: here.get(name, OperatorMetrics()) for name in {**self._names(), **here}}

    def by_instance(self) -> Mapping[tuple[str, int], OperatorMetrics]:
        """The counters of each instance that runs on this node, by the operator's name and its number."""
        part = self._node.part
        return {} if part is None or part.run is None else part.run.by_instance()

    def node_status(self, name: str) -> NodeStatus:
        """What this node says when it is asked.

        Args:
            name: of the node.
        """
        facts, part, plan = self._node.facts, self._node.part, self._program.plan
        run = None if part is None else part.run
        leads = facts.leads is not None
        return NodeStatus(
            version=VERSION,
            job=self._program.name,
            node=name,
            node_id=facts.node_id,
            leads=leads,
            epoch=None if part is None else part.part.attempt.epoch,
            attempt=None if part is None else part.part.attempt.number,
            state=self.state,
            seconds=self.seconds,
            waits_for=self.waits_for,
            checkpoint=checkpoint_of(self.checkpoints()) if leads else None,
            ticks=counts_ticks(plan),
            operators=() if run is None else operators_of(run.metrics(), plan),
        )

    def stop(self) -> None:
        """Hand the work over to the other nodes, or make a last checkpoint if there are none."""
        self._stop_began = self._stop_began or time.monotonic()
        self._node.leave()

    def wait(self, timeout_s: float | None = None) -> bool:
        """See `Run`."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._node.wait(WAIT_S):
            if deadline is not None and time.monotonic() >= deadline:
                return False
            limit_s = self._program.config.shutdown_timeout_us / 1e6
            if self._stop_began is not None and time.monotonic() - self._stop_began > limit_s:
                self._node.give_up(
                    StreameError(
                        f"this node could not hand its work over within {limit_s:g} s; another one goes on from the last "
                        "checkpoint. Raise shutdown_timeout if it only needs longer"
                    )
                )
                self._node.wait(limit_s)
        if self.error is not None:
            raise self.error
        return True

    @property
    def _alive(self) -> bool:
        return not self._node.wait(0.0)

    def _names(self) -> dict[str, None]:
        return {}


def open_place(place: str, environment: Mapping[str, str], *, make: bool = True) -> ObjectStore:
    """The store behind a path or a URL.

    Args:
        place: a directory that all nodes reach, or the URL of an object store.
        environment: the variables with address, region and keys of that.
        make: whether a directory is made if there is none.

    Raises:
        CheckpointError: when there is no such directory, and it shall not or cannot be made.
    """
    found = folder_or_objects(place, where="checkpoints")
    if isinstance(found, str):
        return ObjectStore(S3Bucket(found, environment))
    folder = found.absolute()
    bucket = FolderBucket(folder)
    if make:
        bucket.open()
    elif not folder.is_dir():
        raise CheckpointError(
            f"{folder}: there is no such folder; give the checkpoints of the job, as its nodes know them"
        )
    bucket.clear_leftovers()
    return ObjectStore(bucket)
