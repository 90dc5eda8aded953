"""Recent rows: rows that come in the order of time, found by key slot and time until they are too old."""

from typing import Any, Self

import numpy as np
import polars as pl

from streame.core.metrics import StateSize
from streame.core.ordering import Slots, distinct
from streame.core.time import Ticks
from streame.state.multimap import Matches, MultiMap
from streame.state.rows import RowNumbers, Rows, rows_at, with_room
from streame.state.snapshot import Savable

_SLACK_ROWS = 8192


class RecentRows(Savable):
    """Rows in the order of time. A row has a number, which is valid until the next `settle`; later rows have larger ones."""

    SAVED = ("_rows", "_slots", "_times", "_count", "_first")
    DERIVED = ("_map",)

    def __init__(self) -> None:
        self._rows: Rows | None = None
        self._map = MultiMap()
        self._count = 0
        self._first = 0
        # By row number, with room for more.
        self._slots: Slots = np.empty(0, np.int32)
        self._times: Ticks = np.empty(0, np.int64)

    def saved(self) -> dict[str, Any]:
        """See `Savable`."""
        parts, count = super().saved(), self._count
        columns = None if self._rows is None else self._rows.gather(np.empty(0, np.int64))
        return parts | {"_slots": self._slots[:count], "_times": self._times[:count], "columns": columns}

    def restore(self, parts: dict[str, Any]) -> None:
        """See `Savable`."""
        self._rows = None if parts["columns"] is None else Rows(parts["columns"].schema)
        super().restore(parts)

    def restored(self) -> None:
        """Index the rows anew."""
        self._map = MultiMap()
        self._map.add(self._slots, self._times, 0)

    def absorb(self, other: Self, slots: Slots) -> None:
        """Take rows of another store: by slot there the slot here, -1 to leave them out; all get new numbers."""
        theirs = np.arange(other._first, other._count)
        theirs = theirs[slots[other.slots(theirs)] >= 0]
        ours = np.arange(self._first, self._count)
        all_slots = np.concatenate([self.slots(ours), slots[other.slots(theirs)]])
        times = np.concatenate([self.times(ours), other.times(theirs)])
        rows = pl.concat(
            [each for each in (self.gather(ours), other.gather(theirs)) if each.width] or [pl.DataFrame()]
        )
        order = np.argsort(times, kind="stable")
        self._rows, self._map, self._first, self._count = None, MultiMap(), 0, 0
        self.add(all_slots[order], times[order], rows_at(rows, order) if rows.width else rows)

    @property
    def size(self) -> StateSize:
        """How many rows are there, and about how much memory they take."""
        rows = 0 if self._rows is None else self._rows.memory_bytes
        memory = rows + self._map.memory_bytes + self._slots.nbytes + self._times.nbytes
        return StateSize(self._count - self._first, memory)

    def add(self, slots: Slots, times: Ticks, rows: pl.DataFrame) -> None:
        """Take rows.

        Args:
            slots: the slot of each row's key.
            times: the time of each row, in order, and none earlier than those that are there.
            rows: the rows; they may have no columns.
        """
        start, self._count = self._count, self._count + len(slots)
        self._map.add(slots, times, start)
        self._slots = with_room(self._slots, self._count, -1)
        self._times = with_room(self._times, self._count, 0)
        self._slots[start : self._count], self._times[start : self._count] = slots, times
        if rows.width:
            self._rows = self._rows or Rows(rows.schema)
            self._rows.append(rows)

    def between(self, low: int, high: int) -> RowNumbers:
        """The numbers of the rows whose times are in [low, high)."""
        first, behind = np.searchsorted(self._times[: self._count], [low, high])
        return np.arange(first, behind)

    def find(self, slots: Slots, lower: Ticks, upper: Ticks) -> Matches:
        """The rows of each slot whose times lie between two bounds, both included; see `MultiMap.find`."""
        return self._map.find(slots, lower, upper)

    def slots(self, numbers: RowNumbers) -> Slots:
        """The slots of these rows."""
        return self._slots[numbers]

    def times(self, numbers: RowNumbers) -> Ticks:
        """The times of these rows."""
        return self._times[numbers]

    def gather(self, numbers: RowNumbers) -> pl.DataFrame:
        """These rows; a frame without columns where they have none."""
        return pl.DataFrame() if self._rows is None else self._rows.gather(numbers)

    def forget(self, before: int) -> None:
        """Nobody asks for rows of earlier times any more."""
        self._first = int(np.searchsorted(self._times[: self._count], before))

    def settle(self) -> None:
        """Free the rows that are too old, if there are many; the others get new numbers."""
        if self._count > 2 * (self._count - self._first) + _SLACK_ROWS:
            self._compact()

    def live_slots(self) -> Slots:
        """The slots that have a row."""
        return distinct(self._slots[self._first : self._count])

    def move(self, slots: Slots) -> None:
        """Give the keys new slots: by old slot the new one, for the slots that have a row."""
        self._compact()
        self._map.move(slots)
        self._slots = slots[self._slots]

    def _compact(self) -> None:
        """Free the rows that are too old."""
        kept = np.arange(self._first, self._count)
        number = np.full(self._count, -1, np.int64)
        number[kept] = np.arange(len(kept))
        self._map.keep(number)
        if self._rows is not None:
            self._rows.keep(kept)
        self._slots, self._times = self._slots[kept], self._times[kept]
        self._first, self._count = 0, len(kept)
