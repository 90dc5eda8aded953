"""Looks on while the cluster works: what etcd says, what is in the output, and what the nodes say."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

from streame.cli.demo.cluster.node import CLUSTER
from streame.cli.demo.cluster.processes import NodeProcess
from streame.cli.demo.cluster.story import Facts
from streame.cluster.etcd.client import EtcdClient
from streame.cluster.etcd.settings import EtcdSettings
from streame.cluster.security import Tls
from streame.cluster.view import Keys, view_of

JOB = "job"
KEYS = Keys(CLUSTER, JOB)


class Watcher:
    """Knows where the cluster stands.

    Args:
        endpoints: the members of etcd.
        tls: with which it speaks to them.
        commits: the commit log of the departures.
        nodes: the nodes.
    """

    def __init__(
        self, endpoints: tuple[str, ...], tls: Tls, commits: Path, nodes: Sequence[NodeProcess]
    ) -> None:
        self._etcd = EtcdClient(EtcdSettings(endpoints, tls.ca, tls.certificate, tls.key))
        self._commits, self._nodes = commits, nodes
        self._began = time.monotonic()

    @property
    def now_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    def look(self) -> Facts:
        """Where it stands.

        Raises:
            StreameError: when a node has ended by itself, or etcd does not answer.
        """
        for node in self._nodes:
            node.check()
        view = view_of(self._etcd.range(KEYS.prefix), KEYS)
        pointer, attempt = view.pointer, view.attempt if view.is_current else None
        living = [node for node in self._nodes if not node.killed]
        published_checkpoint, published = self._published()
        return Facts(
            self.now_s,
            None if view.leader is None else view.leader.member.name,
            view.epoch,
            None if attempt is None else attempt.attempt.number,
            () if attempt is None else tuple(attempt.members[at].name for at in attempt.slots),
            0 if attempt is None else len(attempt.members),
            0 if attempt is None or attempt.start is None else attempt.start.number,
            0 if pointer is None else pointer.number,
            0 if pointer is None else pointer.attempt.epoch,
            published,
            published_checkpoint,
            {node.name: node.report for node in living if node.report is not None},
            all(node.report is not None and node.report.ended for node in living),
        )

    def close(self) -> None:
        """No more looks."""
        self._etcd.close()

    def _published(self) -> tuple[int, int]:
        """The last checkpoint whose departures can be seen, and how many there are."""
        numbers = [int(path.stem) for path in self._commits.glob("*.json") if path.stem.isdecimal()]
        if not numbers:
            return 0, 0
        commit = json.loads((self._commits / f"{max(numbers)}.json").read_text())
        return max(numbers), commit["written"]["rows"]
