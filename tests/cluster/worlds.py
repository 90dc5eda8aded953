"""Etcds that contract tests run in: the twin in memory and real servers, with what a test does to them besides calls."""

import base64
from dataclasses import dataclass, field
from typing import Protocol

from streame.cluster.etcd.client import EtcdClient
from streame.cluster.etcd.interface import Compare, Etcd, Event, Field, Outcome, Put, Transaction, Watch
from streame.testing.memory_etcd import MemoryEtcd
from tests.services.etcd import EtcdServers, until

PATIENCE_S = 10.0


class World(Protocol):
    """An etcd, a prefix of one's own in it, and what happens to it."""

    @property
    def etcd(self) -> Etcd:
        """The store."""

    @property
    def prefix(self) -> str:
        """How the keys of the test begin."""

    def let_expire(self, lease: int) -> None:
        """Let time pass until a lease that nobody renews is gone."""

    def compact(self, revision: int) -> None:
        """Forget old changes."""


@dataclass
class TwinWorld:
    """The twin."""

    prefix: str
    etcd: MemoryEtcd = field(default_factory=MemoryEtcd)

    def let_expire(self, lease: int) -> None:
        while self.etcd.time_to_live(lease) is not None:
            self.etcd.advance(1)

    def compact(self, revision: int) -> None:
        self.etcd.compact(revision)


@dataclass
class RealWorld:
    """Real servers."""

    prefix: str
    servers: EtcdServers
    etcd: EtcdClient

    def let_expire(self, lease: int) -> None:
        assert until(lambda: self.etcd.time_to_live(lease) is None, PATIENCE_S)

    def compact(self, revision: int) -> None:
        self.servers.call("kv/compaction", revision=str(revision), physical=True)


def put(etcd: Etcd, key: str, value: bytes, lease: int = 0) -> Outcome:
    """Write a key, whatever it is; the guard always holds."""
    always = Compare(key, Field.MOD_REVISION, etcd.get(key).revision + 1_000_000)
    writing = Put(key, value, lease)
    return etcd.transact(Transaction((always,), (), (writing,)))


def taken(watch: Watch, count: int) -> list[Event]:
    """The next `count` changes, or fewer if they do not come."""
    events: list[Event] = []

    def enough() -> bool:
        events.extend(watch.next(0.5))
        return len(events) >= count

    until(enough, PATIENCE_S, every=0)
    return events


def base64_of(text: str) -> str:
    """A text as the JSON gateway takes bytes."""
    return base64.b64encode(text.encode()).decode()
