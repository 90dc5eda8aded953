"""Replaces a key if it is still what was read, and finds out what happened when the answer is lost."""

import time
from dataclasses import dataclass

from streame.cluster.etcd.interface import Compare, Etcd, Field, Get, KeyValue, Put, Transaction
from streame.errors import EtcdError, EtcdUnavailable, Unknown


@dataclass(frozen=True, slots=True)
class Swap:
    """A key to be replaced.

    Args:
        key: which one.
        value: its new value. No other writer, nor this one with another swap, ever writes the same: it holds an epoch
            or the number of a process. That is how it is recognized when an answer is lost.
        expected: the `mod_revision` that it must have, 0 if it must not be there.
        guards: what must hold besides.
        lease: the lease that it goes with.
    """

    key: str
    value: bytes
    expected: int
    guards: tuple[Compare, ...] = ()
    lease: int = 0

    def transaction(self) -> Transaction:
        """The transaction; either branch reads the key last."""
        compares = (Compare(self.key, Field.MOD_REVISION, self.expected), *self.guards)
        return Transaction(compares, (Put(self.key, self.value, self.lease), Get(self.key)), (Get(self.key),))

    def is_mine(self, found: KeyValue | None) -> bool:
        """Whether `found` is what this swap writes."""
        return (
            found is not None
            and (found.value, found.lease) == (self.value, self.lease)
            and found.mod_revision > self.expected
        )


@dataclass(frozen=True, slots=True)
class Swapped:
    """The key is what was wanted."""

    entry: KeyValue


@dataclass(frozen=True, slots=True)
class NotSwapped:
    """The key is something else, or a guard does not hold."""

    found: KeyValue | None


@dataclass(frozen=True, slots=True)
class TryAgain:
    """Nothing has happened yet."""


def settle(swap: Swap, found: KeyValue | None, *, is_refused: bool) -> Swapped | NotSwapped | TryAgain:
    """What became of a swap.

    Args:
        swap: what was wanted.
        found: the key as it is.
        is_refused: whether etcd said that a comparison failed; otherwise the answer was lost.
    """
    if found is not None and swap.is_mine(found):
        return Swapped(found)
    is_unchanged = (found.mod_revision if found is not None else 0) == swap.expected
    return TryAgain() if is_unchanged and not is_refused else NotSwapped(found)


def carry_out(etcd: Etcd, swap: Swap, *, timeout_s: float) -> Swapped | NotSwapped:
    """Carry out a swap. When an answer is lost the key is read, and the swap tried again only if nothing happened.

    Args:
        etcd: where.
        swap: what.
        timeout_s: how long to try to find out.

    Raises:
        Unknown: it could not be found out in time.
        EtcdError: nothing happened.
    """
    deadline = time.monotonic() + timeout_s
    unknown: Unknown | None = None
    while True:
        remaining_s = deadline - time.monotonic()
        if unknown is not None and remaining_s <= 0:
            raise unknown
        try:
            settled: Swapped | NotSwapped | TryAgain = TryAgain()
            if unknown is not None:
                read = etcd.get(swap.key, timeout_s=remaining_s)
                settled = settle(swap, read.entry, is_refused=False)
            if isinstance(settled, TryAgain):
                outcome = etcd.transact(swap.transaction(), timeout_s=max(0.0, deadline - time.monotonic()))
                (found,) = outcome.found
                settled = settle(swap, found, is_refused=not outcome.succeeded)
            assert not isinstance(settled, TryAgain), (swap, settled)
        except Unknown as error:
            unknown = error
        except EtcdUnavailable:
            if unknown is None:
                raise
        except EtcdError as error:
            if unknown is None:
                raise
            raise unknown from error
        else:
            return settled
