"""The place of a log of a cluster, in tests: an etcd, a bucket in memory, and leaders that are elected at any moment."""

from dataclasses import dataclass, field
from typing import Any

from streame.cluster.etcd.election import Leadership, resign
from streame.cluster.etcd.interface import Etcd
from streame.cluster.log import ClusterLog
from streame.storage.objects import ObjectStore, Patience
from streame.testing.memory_etcd import MemoryEtcd
from tests.cluster.campaign import campaign
from tests.storage.memory_bucket import MemoryBucket

QUICK = Patience(seconds=20, pause=0.0005, pause_max=0.002)
SHORT = Patience(seconds=0.005, pause=0.001)
FOLDER = "wal/orders"


@dataclass
class Place:
    """Where the log is.

    Args:
        etcd: where the head is.
        prefix: of its keys.
        bucket: where the segments are.
        leader: the newest one.
    """

    etcd: Etcd = field(default_factory=MemoryEtcd)
    prefix: str = "/job/"
    bucket: MemoryBucket = field(default_factory=MemoryBucket)
    leader: Leadership | None = None
    elected: int = 0

    def elect(self) -> Leadership:
        """Another leader; the one before is not told."""
        if self.leader is not None:
            resign(self.etcd, self.leader)
        self.elected += 1
        lease = self.etcd.grant(600).id
        won = campaign(self.etcd, f"{self.prefix}leader", b"node %d" % self.elected, lease, timeout_s=5)
        assert won is not None
        self.leader = won
        return won

    def opened(self, leader: Leadership | None = None, patience: Patience = QUICK, **more: Any) -> ClusterLog:
        """The log, as a leader opens it: a new one unless one is given."""
        store = ObjectStore(self.bucket, patience)
        return ClusterLog(
            self.etcd, store, leader or self.elect(), prefix=self.prefix, source="orders", **more
        )

    def segments(self) -> list[str]:
        """The names of all segments there are."""
        return [name.removeprefix(f"{FOLDER}/") for name in self.bucket.names(FOLDER)]

    @property
    def head_key(self) -> str:
        return f"{self.prefix}{FOLDER}/head"


def rows(log: ClusterLog, position: int | None = None) -> list[tuple[int, bytes]]:
    return list(log.read(log.first if position is None else position))


def payloads(log: ClusterLog) -> list[bytes]:
    return [payload for _, payload in rows(log)]


def filled(place: Place, *records: bytes) -> ClusterLog:
    """A log of a new leader, with these records in a segment each."""
    log = place.opened()
    for record in records:
        log.append(record)
    return log
