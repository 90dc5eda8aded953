"""Campaigning for a key of etcd until it is won, and watching who has it."""

import time

from streame.cluster.etcd.election import Leadership, stand
from streame.cluster.etcd.interface import Etcd, KeyValue, Reading, Watch
from streame.cluster.etcd.swap import Swap
from streame.errors import Compacted

REREAD_S = 2.0
"""How long a watch is believed that says nothing; then the key is read."""


def campaign(etcd: Etcd, key: str, value: bytes, lease: int, *, timeout_s: float) -> Leadership | None:
    """Wait until nobody leads, and lead; `None` if another one leads all the time.

    Args:
        etcd: where.
        key: what is campaigned for.
        value: who campaigns; no other process ever campaigns with the same.
        lease: the campaigner's lease.
        timeout_s: how long to wait for another leader to go; a call of etcd that is under way then is waited for.

    Raises:
        LeaseLost: the lease is gone; take a new one and campaign again.
        Unknown: it cannot be told who leads; campaigning again with the same value and lease finds out.
    """
    deadline = time.monotonic() + timeout_s
    wanted = Swap(key, value, expected=0, lease=lease)
    observer = Observer(etcd, key)
    try:
        while True:
            leader = observer.leader
            if leader is not None and wanted.is_mine(leader):
                return Leadership(key, leader.create_revision, lease)
            if leader is None:
                within_s = max(REREAD_S, deadline - time.monotonic())
                if (won := stand(etcd, key, value, lease, timeout_s=within_s)) is not None:
                    return won
            if (remaining_s := deadline - time.monotonic()) <= 0:
                return None
            observer.wait(remaining_s)
    finally:
        observer.close()


class Observer:
    """Who leads, as last read; a change is noticed by a watch, and by reading again now and then.

    Args:
        etcd: where.
        key: what is campaigned for.
    """

    def __init__(self, etcd: Etcd, key: str) -> None:
        self._etcd, self._key = etcd, key
        self._reading: Reading = etcd.get(key)
        self._watch: Watch = etcd.watch(key, self._reading.revision + 1)

    @property
    def leader(self) -> KeyValue | None:
        """The key of the leader, or `None` if nobody leads."""
        return self._reading.entry

    def wait(self, timeout_s: float) -> bool:
        """Wait for another leader, or for none; whether there is a change."""
        deadline = time.monotonic() + timeout_s
        before = self._epoch()
        while True:
            remaining_s = max(0.0, deadline - time.monotonic())
            try:
                self._watch.next(min(remaining_s, REREAD_S))
            except Compacted:
                self.close()
                self._reading = self._etcd.get(self._key)
                self._watch = self._etcd.watch(self._key, self._reading.revision + 1)
            self._reading = self._etcd.get(self._key)
            if self._epoch() != before:
                return True
            if time.monotonic() >= deadline:
                return False

    def close(self) -> None:
        """End the watch."""
        self._watch.close()

    def _epoch(self) -> int:
        return self.leader.create_revision if self.leader is not None else 0
