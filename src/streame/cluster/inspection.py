"""A look at a cluster from outside: what etcd has of it, and what its nodes say when they are asked."""

import os
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import unquote

import msgspec

from streame.cluster.checkpoints import Place
from streame.cluster.cluster import open_place
from streame.cluster.etcd.client import EtcdClient
from streame.cluster.etcd.interface import (
    Compare,
    Delete,
    Etcd,
    Field,
    Listing,
    Put,
    Relation,
    Transaction,
)
from streame.cluster.etcd.settings import EtcdSettings
from streame.cluster.identity import Identity
from streame.cluster.report import VERSION, ClusterReport, report_job
from streame.cluster.savepoints import make_savepoint
from streame.cluster.security import Tls
from streame.cluster.shelf import STATE_FOLDER
from streame.cluster.status import NodeStatus, decode_status
from streame.cluster.transport import ask_status
from streame.cluster.view import Keys, NodeEntry, View, view_of
from streame.core.clock import SystemClock, to_datetime
from streame.errors import ClusterError, PlanError, Unknown

CALL_S = 5.0
"""How long a call of etcd may take."""

ASK_S = 2.0
"""How long a node may take for its answer."""

ASKED_AT_ONCE = 32
LOOK_S = 0.2


@dataclass(frozen=True, slots=True)
class Drained:
    """A node of a job that is to end.

    Args:
        job: the job.
        node: its name.
        node_id: who it is since its start.
    """

    job: str
    node: str
    node_id: str


class Inspection:
    """Looks at a cluster, and drains its nodes.

    Args:
        etcd: where the cluster keeps what it knows.
        cluster: its name.
        tls: the files of a node or a client of the cluster; `None` to ask only nodes of this machine.
    """

    def __init__(self, etcd: Etcd, cluster: str, tls: Tls | None) -> None:
        self._etcd, self._cluster, self._tls = etcd, cluster, tls

    @classmethod
    def of(
        cls,
        endpoints: Sequence[str],
        cluster: str,
        tls: Tls | None,
        user: str | None,
        password_file: Path | None,
        etcd_tls: Tls | None = None,
    ) -> Self:
        """Of a cluster that is reached as its nodes reach it.

        Raises:
            PlanError: when an address, a name or a file cannot be used.
        """
        Identity.of(cluster, "client", "client")
        if tls is not None:
            found = tls.check(to_datetime(SystemClock().now_us()))
            if found.cluster != cluster:
                raise PlanError(
                    f"{tls.certificate}: is a certificate of {found.uri}, and not of cluster {cluster!r}"
                )
        files = etcd_tls or tls
        settings = EtcdSettings(
            tuple(endpoints),
            None if files is None else files.ca,
            None if files is None else files.certificate,
            None if files is None else files.key,
            user,
            password_file,
        )
        return cls(EtcdClient(settings), cluster, tls)

    def close(self) -> None:
        """End the connections."""
        self._etcd.close()

    def views(self, job: str | None = None) -> dict[str, View]:
        """What etcd has of each job, by name.

        Args:
            job: the only one to look at.

        Raises:
            ClusterError: when etcd does not answer, or there is no such job.
        """
        everything = f"/streame/{self._cluster}/"
        listing = self._etcd.range(everything, timeout_s=CALL_S)
        folders = {each.key.removeprefix(everything).partition("/")[0] for each in listing.entries}
        names = {unquote(folder) for folder in folders if folder != STATE_FOLDER}
        if job is not None and job not in names:
            raise ClusterError(
                f"cluster {self._cluster!r} has no job {job!r}; "
                + (f"there are {', '.join(sorted(names))}" if names else "nothing has ever run in it")
            )
        return {
            name: _view(listing, Keys(self._cluster, name)) for name in sorted(names) if job in {None, name}
        }

    def report(self, job: str | None = None) -> ClusterReport:
        """The cluster as it is now.

        Args:
            job: the only one to look at.

        Raises:
            ClusterError: when etcd does not answer, or there is no such job.
        """
        views = self.views(job)
        answers = self._ask([entry for view in views.values() for entry in view.nodes])
        now_us = SystemClock().now_us()
        jobs = tuple(report_job(name, view, answers, now_us) for name, view in views.items())
        return ClusterReport(VERSION, self._cluster, jobs)

    def drain(self, node: str, job: str | None = None) -> list[Drained]:
        """Ask a node to hand its work over and end.

        Args:
            node: its name.
            job: the job that it runs; all in which there is one of that name, if it is not given.

        Raises:
            ClusterError: when there is no such node, or etcd does not answer.
        """
        views = self.views(job)
        found = [
            Drained(name, node, entry.member.id)
            for name, view in views.items()
            for entry in view.nodes
            if entry.member.name == node
        ]
        if not found:
            there = sorted({entry.member.name for view in views.values() for entry in view.nodes})
            raise ClusterError(
                f"cluster {self._cluster!r} has no node {node!r}; "
                + (f"there are {', '.join(there)}" if there else "no node is there at the moment")
            )
        return [each for each in found if self._say_drain(each)]

    def make_savepoint(self, job: str, checkpoints: str, target: Path) -> int:
        """Copy the last checkpoint of a job to a new folder; returns its number. The job may be running.

        Args:
            job: its name.
            checkpoints: where it keeps them, as its nodes were told.
            target: the new folder.

        Raises:
            CheckpointError: when there is no checkpoint that can be copied or no such folder, or something is in the new one.
            ClusterError: when etcd does not answer, or there is no such job.
        """
        self.views(job)
        store = open_place(checkpoints, os.environ, make=False)
        return make_savepoint(Place(store, self._etcd, Keys(self._cluster, job), job), target)

    def await_end(self, drained: Sequence[Drained], timeout_s: float) -> bool:
        """Wait until nodes have ended; whether they have."""
        deadline = time.monotonic() + timeout_s
        rest = threading.Event()
        while True:
            views = self.views()
            if all(views.get(each.job, View()).node(each.node_id) is None for each in drained):
                for each in drained:
                    self._forget(each)
                return True
            if time.monotonic() >= deadline:
                return False
            rest.wait(LOOK_S)

    def _say_drain(self, drained: Drained) -> bool:
        """Write that a node is to end, if it is still there; whether it was."""
        keys = Keys(self._cluster, drained.job)
        there = Compare(keys.node(drained.node_id), Field.CREATE_REVISION, 0, Relation.GREATER)
        say = Transaction((there,), (Put(keys.drain(drained.node), drained.node_id.encode()),))
        try:
            return self._etcd.transact(say, timeout_s=CALL_S).succeeded
        except Unknown:  # saying it twice does no harm
            return self._etcd.transact(say, timeout_s=CALL_S).succeeded

    def _forget(self, drained: Drained) -> None:
        """A node that died before it had handed over did not take the key away, and would be drained at its next start."""
        key = Keys(self._cluster, drained.job).drain(drained.node)
        same = Compare(key, Field.VALUE, drained.node_id.encode())
        self._etcd.transact(Transaction((same,), (Delete(key),)), timeout_s=CALL_S)

    def _ask(self, nodes: Sequence[NodeEntry]) -> Mapping[str, NodeStatus | str]:
        """What nodes say, by their ids; of those that do not answer, why."""

        def ask(entry: NodeEntry) -> NodeStatus | str:
            member = entry.member
            try:
                peer = Identity.of(self._cluster, "node", member.name)
                return decode_status(ask_status(member.address, peer, self._tls, ASK_S))
            except (ClusterError, PlanError) as error:
                return str(error)

        if not nodes:
            return {}
        with ThreadPoolExecutor(min(ASKED_AT_ONCE, len(nodes)), thread_name_prefix="ask") as pool:
            return dict(
                zip((each.member.id for each in nodes), pool.map(ask, nodes), strict=True),
            )


def as_json(report: ClusterReport) -> str:
    """The report as JSON; an operator is one object, with its watermark as a time."""
    found = msgspec.to_builtins(report)
    for job in found["jobs"]:
        job["operators"] = [{**each.pop("operator"), **each} for each in job["operators"]]
    return msgspec.json.encode(found).decode()


def _view(listing: Listing, keys: Keys) -> View:
    own = tuple(each for each in listing.entries if each.key.startswith(keys.prefix))
    return view_of(Listing(own, listing.revision), keys)
