"""Keyed objects: one encoded Python value per key, with timers, freed when a key has been quiet for long."""

from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.core.group import NO_TIMER, Fired
from streame.core.metrics import StateSize
from streame.state.index import KeyIndex, Slots
from streame.state.rows import RowNumbers
from streame.state.snapshot import Mine, Savable

Times = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_NEVER = -(2**63)
_COMPACT_MIN = 1024
"""With fewer keys than this, those that are forgotten may stay."""


class Timers(Savable):
    """One time per slot, or none.

    Attributes:
        at: the time of each slot, `NO_TIMER` where there is none.
        next: no timer is earlier.
    """

    SAVED = ("at", "next")

    def __init__(self) -> None:
        self.at: Times = np.empty(0, np.int64)
        self.next = NO_TIMER

    def grow(self, added: int) -> None:
        """So many more slots."""
        self.at = np.concatenate([self.at, np.full(added, NO_TIMER)])

    def set(self, slot: int, at: int) -> None:
        """Set the timer of a slot; `NO_TIMER` takes it back."""
        self.at[slot] = at
        self.next = min(self.next, at)

    def take_due(self, until: int) -> list[tuple[int, int]]:
        """Unset the timers that are due: pairs of time and slot, the earliest first."""
        if self.next > until:
            return []
        slots = np.flatnonzero((self.at <= until) & self.are_set)
        due = sorted(zip(self.at[slots].tolist(), slots.tolist(), strict=True))
        self.at[slots] = NO_TIMER
        self.next = int(self.at.min(initial=NO_TIMER))
        return due

    @property
    def are_set(self) -> Mask:
        """Which slots have one."""
        present: Mask = self.at != NO_TIMER
        return present

    def keep(self, slots: RowNumbers) -> None:
        """Drop all but these slots, which are numbered anew."""
        self.at = self.at[slots]


class KeyedObjects(Savable):
    """The encoded value and the timers of every key.

    A key that has neither a value nor a timer is forgotten: its slot is freed after a while.

    Args:
        key_schema: the key columns.
        ttl: how long after its last row the value of a key without timers is freed; `None` for never.
    """

    SAVED = ("_index", "_values", "_held", "_last", "_expires", "_timers")
    DERIVED = ("_bytes",)

    def __init__(self, key_schema: pl.Schema, ttl: int | None) -> None:
        self._schema = key_schema
        self._ttl = ttl
        self._index = KeyIndex(key_schema)
        self._values: list[bytes | None] = []
        self._held = np.empty(0, np.bool_)
        self._last: Times = np.empty(0, np.int64)
        self._bytes = 0
        self._expires = NO_TIMER
        self._timers: dict[Fired, Timers] = {"time": Timers(), "clock": Timers()}

    def saved(self) -> dict[str, Any]:
        """See `Savable`. The values lie one behind the other in one array, since a series of them takes ten times as long."""
        values = [value or b"" for value in self._values]
        lengths = np.fromiter(map(len, values), np.int64, len(values))
        packed = np.frombuffer(b"".join(values), np.uint8)
        return super().saved() | {"_values": {"lengths": lengths, "packed": packed}}

    def restored(self) -> None:
        """Cut the values apart."""
        parts: Any = self._values
        packed, lengths = parts["packed"].tobytes(), parts["lengths"]
        ends = np.cumsum(lengths)
        cuts = zip((ends - lengths).tolist(), ends.tolist(), self._held.tolist(), strict=True)
        self._values = [packed[start:end] if held else None for start, end, held in cuts]
        self._bytes = len(packed)

    def absorb(self, other: Self, mine: Mine) -> None:
        """Take the values and timers of other keys, as far as these are owned here."""
        kept = np.flatnonzero(other._held | other._with_timer())
        keys = other.keys(kept)
        owned = mine(keys)
        theirs = kept[owned]
        slots = self.slots(keys.filter(pl.Series(owned)))
        for slot, there in zip(slots.tolist(), theirs.tolist(), strict=True):
            self.put(slot, other.value(there))
        self._last[slots] = other._last[theirs]
        self._expires = min(self._expires, other.expires)
        for kind, timers in self._timers.items():
            timers.at[slots] = other._timers[kind].at[theirs]
            timers.next = min(timers.next, other.next_timer(kind))

    @property
    def expires(self) -> int:
        """No key expires before this time."""
        return self._expires

    def slots(self, keys: pl.DataFrame) -> Slots:
        """The slot of each key; new ones have no value."""
        slots = self._index.slots(keys)
        size = len(self._index)
        added = size - len(self._values)
        if added:
            self._values += [None] * added
            self._held = np.concatenate([self._held, np.zeros(added, np.bool_)])
            self._last = np.concatenate([self._last, np.full(added, _NEVER)])
            for timers in self._timers.values():
                timers.grow(added)
        return slots

    def keys(self, slots: Slots | RowNumbers) -> pl.DataFrame:
        """The keys of these slots."""
        return self._index.keys(slots)

    def value(self, slot: int) -> bytes | None:
        """The value of a slot."""
        return self._values[slot]

    def put(self, slot: int, value: bytes | None) -> None:
        """Give a slot a value, or take it away."""
        self._bytes += len(value or b"") - len(self._values[slot] or b"")
        self._values[slot] = value
        self._held[slot] = value is not None

    def saw(self, slot: int, first: int, last: int) -> None:
        """There are rows of a key from `first` to `last`; if it was quiet for long before them, it begins anew."""
        if self._ttl is None:
            return
        before = int(self._last[slot])
        if before + self._ttl <= first and not self._has_timer(slot):
            self.put(slot, None)
        self._last[slot] = max(before, last)
        self._expect(last)

    def timer(self, kind: Fired, slot: int) -> int:
        """The timer of a key; `NO_TIMER` if there is none."""
        return int(self._timers[kind].at[slot])

    def next_timer(self, kind: Fired) -> int:
        """No timer of this kind is earlier."""
        return self._timers[kind].next

    def set_timer(self, kind: Fired, slot: int, at: int) -> None:
        """Set a timer of a key; `NO_TIMER` takes it back."""
        self._timers[kind].set(slot, at)
        self._expect(int(self._last[slot]))

    def take_due(self, kind: Fired, until: int) -> list[tuple[int, int]]:
        """Unset the timers that are due: pairs of time and slot, the earliest first."""
        due = self._timers[kind].take_due(until)
        for _, slot in due:
            self._expect(int(self._last[slot]))
        return due

    def expire(self, until: int) -> None:
        """Free the values of keys whose last row is so long ago, unless a timer is set."""
        if self._ttl is None or self._expires > until:
            return
        idle = self._held & ~self._with_timer()
        for slot in np.flatnonzero(idle & (self._last <= until - self._ttl)).tolist():
            self.put(slot, None)
        self._expires = NO_TIMER
        if (self._held & idle).any():
            self._expect(int(self._last[self._held & idle].min()))

    def compact(self) -> None:
        """Number the keys anew where most are forgotten; every slot is another one then."""
        size = len(self._values)
        if size < _COMPACT_MIN:
            return
        kept = np.flatnonzero(self._held | self._with_timer())
        if 2 * len(kept) > size:
            return
        keys = self._index.keys(kept)
        self._index = KeyIndex(self._schema)
        self._index.slots(keys)
        self._values = [self._values[slot] for slot in kept.tolist()]
        self._held, self._last = self._held[kept], self._last[kept]
        for timers in self._timers.values():
            timers.keep(kept)

    def size(self) -> StateSize:
        """How many keys have a value, and about how much memory all takes."""
        arrays = 18 * len(self._values) + 16 * len(self._last)
        return StateSize(int(self._held.sum()), self._bytes + arrays + self._index.memory_bytes)

    def _expect(self, last: int) -> None:
        """A key whose last row was then may expire."""
        if self._ttl is not None:
            self._expires = min(self._expires, last + self._ttl)

    def _has_timer(self, slot: int) -> bool:
        return any(timers.at[slot] != NO_TIMER for timers in self._timers.values())

    def _with_timer(self) -> Mask:
        """Which slots have a timer."""
        return self._timers["time"].are_set | self._timers["clock"].are_set
