"""The twin of etcd in memory: linearizable, with a clock that a test moves, and with answers that get lost on demand."""

import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from enum import Enum
from typing import TypeVar

from streame.cluster.etcd.interface import (
    OPERATIONS_MAX,
    REQUEST_BYTES_MAX,
    Compare,
    Delete,
    Event,
    Field,
    Get,
    KeyValue,
    Lease,
    Listing,
    Operation,
    Outcome,
    Put,
    Reading,
    Relation,
    Transaction,
)
from streame.core.clock import ManualClock
from streame.errors import (
    Compacted,
    EtcdError,
    EtcdUnavailable,
    LeaseLost,
    NoSpace,
    RequestTooLarge,
    Unknown,
)

OPERATION_BYTES = 16
"""About what a request holds for each operation besides keys and values."""

Answer = TypeVar("Answer")


class Fault(Enum):
    """What becomes of a call whose answer does not come."""

    BEFORE = "it never arrives"
    AFTER = "it is carried out"
    LATER = "a transaction is carried out when `land` is called; another call never arrives"


class MemoryEtcd:
    """An etcd of one process; `streame.cluster.etcd.interface.Etcd` says what its methods promise.

    Nothing happens by itself: leases end when the clock is moved past their time and something is asked.

    Args:
        clock: what leases live by.
        ttl_s_min: the shortest lease that is granted.
    """

    def __init__(self, clock: ManualClock | None = None, ttl_s_min: int = 1) -> None:
        self.clock = clock or ManualClock()
        self.is_full = False
        self._ttl_s_min = ttl_s_min
        self._changed = threading.Condition()
        self._revision, self._compacted = 1, 0
        self._entries: dict[str, KeyValue] = {}
        self._history: list[Event] = []
        self._leases: dict[int, tuple[int, int]] = {}  # its length in seconds, its end in microseconds
        self._granted = 0
        self._faults: deque[Fault | None] = deque()
        self._stuck: list[Transaction] = []
        self._is_closed = False

    def copy(self) -> "MemoryEtcd":
        """Another one with what this one holds now, as if restored from a snapshot."""
        with self._changed:
            other = MemoryEtcd(self.clock, self._ttl_s_min)
            other._revision, other._compacted = self._revision, self._compacted
            other._entries, other._history = dict(self._entries), list(self._history)
            other._leases, other._granted = dict(self._leases), self._granted
            return other

    def get(self, key: str, *, timeout_s: float | None = None) -> Reading:
        """Read a key."""
        with self._asked(EtcdUnavailable):
            return Reading(self._entries.get(key), self._revision)

    def range(self, prefix: str, *, timeout_s: float | None = None) -> Listing:
        """Read all keys that begin with `prefix`, at one revision."""
        with self._asked(EtcdUnavailable):
            found = sorted(key for key in self._entries if key.startswith(prefix))
            return Listing(tuple(self._entries[key] for key in found), self._revision)

    def transact(self, transaction: Transaction, *, timeout_s: float | None = None) -> Outcome:
        """Carry out a transaction, once at most."""
        with self._asked(Unknown, transaction):
            return self._apply(transaction)

    def grant(self, ttl_s: int, *, timeout_s: float | None = None) -> Lease:
        """Make a lease."""
        with self._asked(EtcdUnavailable):
            self._granted += 1
            ttl_s = max(ttl_s, self._ttl_s_min)
            self._leases[self._granted] = (ttl_s, self.clock.now_us() + ttl_s * 1_000_000)
            return Lease(self._granted, ttl_s)

    def keep_alive(self, lease: int, *, timeout_s: float | None = None) -> int:
        """Let the lease live for its whole time again."""
        with self._asked(EtcdUnavailable):
            if lease not in self._leases:
                raise LeaseLost(f"etcd: lease {lease:x} has expired or was revoked; take a new one")
            ttl_s, _ = self._leases[lease]
            self._leases[lease] = (ttl_s, self.clock.now_us() + ttl_s * 1_000_000)
            return ttl_s

    def time_to_live(self, lease: int, *, timeout_s: float | None = None) -> int | None:
        """The seconds for which the lease will live, or `None` if it is gone."""
        with self._asked(EtcdUnavailable):
            found = self._leases.get(lease)
            return None if found is None else (found[1] - self.clock.now_us()) // 1_000_000

    def revoke(self, lease: int, *, timeout_s: float | None = None) -> None:
        """End the lease, and with it its keys."""
        with self._asked(EtcdUnavailable):
            self._end_lease(lease)

    def watch(self, key: str, start_revision: int, *, is_prefix: bool = False) -> "MemoryWatch":
        """Follow the changes of a key, or of all that begin with it."""
        assert start_revision >= 1, start_revision
        return MemoryWatch(self, key, start_revision, is_prefix=is_prefix)

    def close(self) -> None:
        """End every watch."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def advance(self, seconds: float) -> None:
        """Move the clock, and end the leases whose time is over."""
        with self._changed:
            self.clock.advance(timedelta(seconds=seconds))
            self._expire()

    def compact(self, revision: int) -> None:
        """Forget the changes up to `revision`."""
        with self._changed:
            self._compacted = revision
            self._history = [each for each in self._history if each.mod_revision > revision]
            self._changed.notify_all()

    def lose_answers(self, *faults: Fault | None) -> None:
        """Do this to the next calls, one after the other (`None`: answer it), and to no others. Watches are not calls."""
        with self._changed:
            self._faults = deque(faults)

    def land(self) -> None:
        """Carry out the transactions that are still on their way."""
        with self._changed:
            self._expire()
            stuck, self._stuck = self._stuck, []
            for transaction in stuck:
                try:
                    self._apply(transaction)
                except EtcdError:
                    continue  # nobody is there to be told

    def changes(
        self,
        wanted: Callable[[str], bool],
        start_revision: int,
        timeout_s: float,
        is_over: Callable[[], bool],
    ) -> tuple[Event, ...]:
        """The changes from a revision on, waited for if there are none."""

        def found() -> tuple[Event, ...]:
            self._expire()
            if start_revision <= self._compacted:
                raise Compacted(
                    f"etcd: the changes from revision {start_revision} on are compacted up to {self._compacted}; "
                    "list the keys and watch from there"
                )
            begin = bisect_left(self._history, start_revision, key=lambda each: each.mod_revision)
            return tuple(each for each in self._history[begin:] if wanted(each.key))

        with self._changed:
            self._changed.wait_for(lambda: found() or self._is_closed or is_over(), timeout_s)
            return found()

    def notify(self) -> None:
        """Let those who wait look again."""
        with self._changed:
            self._changed.notify_all()

    @contextmanager
    def _asked(self, lost: type[EtcdError], transaction: Transaction | None = None) -> Iterator[None]:
        """Around every call: leases whose time is over are gone, and an answer may get lost."""
        with self._changed:
            assert not self._is_closed, "the etcd is closed"
            self._expire()
            fault = self._faults.popleft() if self._faults else None
            error = lost("etcd: no endpoint answered in time: the answer was lost, as the test wants it")
            if fault is Fault.LATER and transaction is not None:
                self._stuck.append(transaction)
            if fault in {Fault.BEFORE, Fault.LATER}:
                raise error
            yield
            if fault is Fault.AFTER:
                raise error

    def _apply(self, transaction: Transaction) -> Outcome:
        _check_size(transaction)
        succeeded = all(_holds(each, self._entries.get(each.key)) for each in transaction.compares)
        branch = transaction.then if succeeded else transaction.otherwise
        puts = [each for each in branch if isinstance(each, Put)]
        if puts and self.is_full:
            raise NoSpace("etcd: mvcc: database space exceeded; compact and defragment it")
        for put in puts:
            if put.lease and put.lease not in self._leases:
                raise LeaseLost("etcd: requested lease not found; take a new lease and begin again")
        found: list[KeyValue | None] = []
        events: list[Event] = []
        for operation in branch:
            match operation:
                case Put():
                    events.append(self._put(operation))
                case Delete(key):
                    events += self._delete([key])
                case Get(key):
                    found.append(self._entries.get(key))
        self._commit(events)
        return Outcome(succeeded, self._revision, tuple(found))

    def _put(self, put: Put) -> Event:
        now, before = self._revision + 1, self._entries.get(put.key)
        created, version = (before.create_revision, before.version + 1) if before else (now, 1)
        entry = KeyValue(put.key, put.value, created, now, version, put.lease)
        self._entries[put.key] = entry
        return Event(put.key, now, entry)

    def _delete(self, keys: Iterable[str]) -> list[Event]:
        return [Event(key, self._revision + 1, None) for key in keys if self._entries.pop(key, None)]

    def _commit(self, events: list[Event]) -> None:
        if events:
            self._revision += 1
            self._history += events
            self._changed.notify_all()

    def _expire(self) -> None:
        now_us = self.clock.now_us()
        for lease in [lease for lease, (_, end_us) in self._leases.items() if end_us <= now_us]:
            self._end_lease(lease)

    def _end_lease(self, lease: int) -> None:
        if self._leases.pop(lease, None) is not None:
            keys = sorted(key for key, entry in self._entries.items() if entry.lease == lease)
            self._commit(self._delete(keys))


class MemoryWatch:
    """A watch on the twin; `streame.cluster.etcd.interface.Watch` says what its methods promise.

    Args:
        etcd: the twin.
        key: a key, or what keys begin with.
        start_revision: the first revision whose changes are wanted.
        is_prefix: which of the two `key` is.
    """

    def __init__(self, etcd: MemoryEtcd, key: str, start_revision: int, *, is_prefix: bool) -> None:
        self._etcd, self._key, self._is_prefix = etcd, key, is_prefix
        self._next_revision = start_revision
        self._is_closed = False

    def next(self, timeout_s: float) -> tuple[Event, ...]:
        """The next changes; nothing if there are none in time."""
        if self._is_closed:
            return ()
        found = self._etcd.changes(self._wants, self._next_revision, timeout_s, lambda: self._is_closed)
        if found:
            self._next_revision = found[-1].mod_revision + 1
        return found

    def close(self) -> None:
        """End the watch."""
        self._is_closed = True
        self._etcd.notify()

    def _wants(self, key: str) -> bool:
        return key.startswith(self._key) if self._is_prefix else key == self._key


def _check_size(transaction: Transaction) -> None:
    """Refuse what etcd refuses."""
    size = sum(map(_size, (*transaction.then, *transaction.otherwise)))
    if size > REQUEST_BYTES_MAX:
        raise RequestTooLarge("etcd: request is too large; etcd takes 1.5 MiB by default")
    for branch in (transaction.then, transaction.otherwise):
        if len(branch) > OPERATIONS_MAX:
            raise EtcdError("etcd refused a request: too many operations in txn request")
        written = [each.key for each in branch if isinstance(each, Put)]
        deleted = {each.key for each in branch if isinstance(each, Delete)}
        if len(set(written)) < len(written) or deleted & set(written):
            raise EtcdError("etcd refused a request: duplicate key given in txn request")


def _size(operation: Operation) -> int:
    value = operation.value if isinstance(operation, Put) else b""
    return len(operation.key.encode(errors="surrogateescape")) + len(value) + OPERATION_BYTES


def _holds(compare: Compare, entry: KeyValue | None) -> bool:
    """Whether a condition of a transaction is met."""
    if entry is None and compare.field is Field.VALUE:
        return False
    found: int | bytes = getattr(entry, compare.field.value) if entry is not None else 0
    match compare.relation, found, compare.operand:
        case Relation.EQUAL, _, _:
            return found == compare.operand
        case Relation.NOT_EQUAL, _, _:
            return found != compare.operand
        case Relation.GREATER, bytes() | int(), wanted:
            return found > wanted  # type: ignore[operator] # both are of the field's type
        case _:
            return found < compare.operand  # type: ignore[operator]
