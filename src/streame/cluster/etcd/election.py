"""Electing one of many: whoever makes the key leads, and the key's `create_revision` is the epoch.

The epoch rises with every election. It guards what a leader writes; the lease only says when to elect again.
"""

from dataclasses import dataclass

from streame.cluster.etcd.interface import Compare, Delete, Etcd, Field, Transaction
from streame.cluster.etcd.swap import Swap, Swapped, carry_out


@dataclass(frozen=True, slots=True)
class Leadership:
    """One won election.

    Args:
        key: what was campaigned for.
        epoch: greater than that of every leader before.
        lease: with which it goes.
    """

    key: str
    epoch: int
    lease: int

    @property
    def guard(self) -> Compare:
        """The condition of every transaction of this leader: nobody was elected since."""
        return Compare(self.key, Field.CREATE_REVISION, self.epoch)


def stand(etcd: Etcd, key: str, value: bytes, lease: int, *, timeout_s: float) -> Leadership | None:
    """Lead if nobody does; `None` if another one leads.

    Args:
        etcd: where.
        key: what is campaigned for.
        value: who campaigns; no other process ever campaigns with the same.
        lease: the campaigner's lease.
        timeout_s: how long to try to find out.

    Raises:
        LeaseLost: the lease is gone; take a new one and campaign again.
        Unknown: it cannot be told who leads; campaigning again with the same value and lease finds out.
    """
    done = carry_out(etcd, Swap(key, value, expected=0, lease=lease), timeout_s=timeout_s)
    return Leadership(key, done.entry.create_revision, lease) if isinstance(done, Swapped) else None


def resign(etcd: Etcd, leadership: Leadership, *, timeout_s: float | None = None) -> bool:
    """Stop to lead; whether it was still so. Doing it again does no harm.

    Raises:
        Unknown: the answer was lost; the lease ends it in any case.
    """
    transaction = Transaction((leadership.guard,), (Delete(leadership.key),))
    return etcd.transact(transaction, timeout_s=timeout_s).succeeded
