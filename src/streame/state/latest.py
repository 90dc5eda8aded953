"""The latest row of each key slot."""

from typing import Self

import numpy as np
import polars as pl

from streame.core.metrics import StateSize
from streame.core.time import WATERMARK_MIN, Ticks
from streame.state.index import Slots
from streame.state.rows import RowNumbers, Rows, rows_at, with_room
from streame.state.snapshot import Savable

_SLACK_ROWS = 1024


class LatestRows(Savable):
    """The latest row of each slot, and its time.

    Args:
        schema: the columns of the rows.
    """

    SAVED = ("_rows", "_latest", "_times", "_live", "_room")

    def __init__(self, schema: pl.Schema) -> None:
        self._rows = Rows(schema)
        # By slot, with room for more. The last element stays free: the slot -1, of a key that is absent, finds
        # the row -1 there.
        self._latest: RowNumbers = np.full(1, -1, np.int64)
        self._times: Ticks = np.full(1, WATERMARK_MIN)
        self._live = 0
        self._room = _SLACK_ROWS

    def __len__(self) -> int:
        return self._live

    @property
    def size(self) -> StateSize:
        """How many rows are there, and about how much memory they take."""
        return StateSize(self._live, self._rows.memory_bytes + self._latest.nbytes + self._times.nbytes)

    def absorb(self, other: Self, slots: Slots) -> None:
        """Take rows of another store: by slot there the slot here, which has no row yet; -1 to leave them out."""
        theirs = other.live_slots()
        theirs = theirs[slots[theirs] >= 0]
        numbers, times = other.lookup(theirs)
        self.put(slots[theirs], other.gather(numbers), times)

    def put(self, slots: Slots, rows: pl.DataFrame, times: Ticks | None = None) -> None:
        """Take new rows; the last one of a slot replaces what was there.

        Args:
            slots: the slot of each row.
            rows: the rows.
            times: the time of each row, where times count.
        """
        if not len(slots):
            return
        width = int(slots.max()) + 2
        self._latest, self._times = (
            with_room(self._latest, width, -1),
            with_room(self._times, width, WATERMARK_MIN),
        )
        numbers = np.arange(len(slots))
        before = self._latest[slots]
        self._latest[slots] = numbers
        last = np.flatnonzero(self._latest[slots] == numbers)
        self._live += int((before[last] < 0).sum())
        self._room -= len(last)
        if times is not None:
            self._times[slots[last]] = times[last]
        self._latest[slots[last]] = len(self._rows) + np.arange(len(last))
        self._rows.append(rows if len(last) == len(slots) else rows_at(rows, last))

    def lookup(self, slots: Slots) -> tuple[RowNumbers, Ticks]:
        """The number of each slot's row, -1 where there is none, and its time; valid until rows are taken or freed."""
        known = np.where(slots < len(self._latest) - 1, slots, -1)
        return self._latest[known], self._times[known]

    def gather(self, numbers: RowNumbers) -> pl.DataFrame:
        """The rows of these numbers; -1 gives a row of nulls."""
        return self._rows.gather(numbers)

    def remove(self, slots: Slots) -> None:
        """Forget the rows of these slots, each given once."""
        self._live -= int((self._latest[slots] >= 0).sum())
        self._latest[slots] = -1

    def expire(self, before: int) -> None:
        """Forget the rows of earlier times than `before`; now and then, when as many have come as there were."""
        if self._room < 0:
            self.remove(np.flatnonzero((self._latest >= 0) & (self._times < before)).astype(np.int32))
            self._room = self._live + _SLACK_ROWS

    def settle(self) -> None:
        """Free the rows that are forgotten or replaced, if there are many; the others get new numbers."""
        if len(self._rows) > 2 * self._live + _SLACK_ROWS:
            live = np.flatnonzero(self._latest >= 0)
            self._rows.keep(self._latest[live])
            self._latest[live] = np.arange(len(live))

    def live_slots(self) -> Slots:
        """The slots that have a row."""
        return np.flatnonzero(self._latest >= 0).astype(np.int32)

    def move(self, slots: Slots) -> None:
        """Give the keys new slots.

        Args:
            slots: by old slot the new one, for the slots that have a row.
        """
        old = self.live_slots()
        latest, times = self._latest[old], self._times[old]
        self._latest = np.full(len(old) + 1, -1, np.int64)
        self._times = np.full(len(old) + 1, WATERMARK_MIN)
        if len(old):
            self._latest = with_room(self._latest, int(slots[old].max()) + 2, -1)
            self._times = with_room(self._times, int(slots[old].max()) + 2, WATERMARK_MIN)
        self._latest[slots[old]], self._times[slots[old]] = latest, times
