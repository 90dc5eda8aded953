"""Keyed rows: rows found by key and time, that live until they are removed or their time is over."""

from typing import Any, Self

import numpy as np
import polars as pl

from streame.core.metrics import StateSize
from streame.core.time import WATERMARK_MAX, Mask, Ticks
from streame.state.index import Slots, equal_rows
from streame.state.multimap import Matches, MultiMap
from streame.state.rows import RowNumbers, Rows, rows_at, with_room
from streame.state.snapshot import Savable
from streame.state.timeline import Timeline

_SLACK_ROWS = 1024
_NUMBER = pl.Schema({"number": pl.Int64()})
_BY_ROW = ("_slots", "_times", "deadlines", "weights", "matches")


class KeyedRows(Savable):
    """Rows by key slot and time.

    A row has a number, which is valid until the next `settle`; a weight: how many times it is there, 0 once it is
    gone; a deadline: the last moment of its life; and a count of its matches, which is the caller's to keep.

    Args:
        schema: the columns of the rows.
        by_content: whether rows can also be found by what they hold, with `locate`.
        by_time: whether the earliest time is known, as `least_time`.
    """

    SAVED = ("_rows", "_live", "_slots", "_times", "deadlines", "weights", "matches")
    DERIVED = ("_map", "_contents", "_starts", "_deadlines")

    def __init__(self, schema: pl.Schema, *, by_content: bool = False, by_time: bool = False) -> None:
        self._schema = schema
        self._by_content = by_content
        self._by_time = by_time
        self.clear()

    def clear(self) -> None:
        """Forget all rows."""
        self._rows = Rows(self._schema)
        self._map = MultiMap()
        self._contents = MultiMap()
        self._starts = Timeline(_NUMBER)
        self._deadlines = Timeline(_NUMBER)
        self._live = 0
        # By row number, with room for more.
        self._slots: Slots = np.empty(0, np.int32)
        self._times: Ticks = np.empty(0, np.int64)
        self.deadlines: Ticks = np.empty(0, np.int64)
        self.weights: RowNumbers = np.empty(0, np.int64)
        self.matches: RowNumbers = np.empty(0, np.int64)

    def saved(self) -> dict[str, Any]:
        """See `Savable`."""
        parts = super().saved()
        return parts | {name: parts[name][: len(self._rows)] for name in _BY_ROW}

    def restored(self) -> None:
        """Index the rows anew."""
        self._map, self._contents = MultiMap(), MultiMap()
        self._map.add(self._slots, self._times, 0)
        if self._by_content:
            self._contents.add(self._slots, _content(self._rows.whole()), 0)
        self._starts, self._deadlines = Timeline(_NUMBER), Timeline(_NUMBER)
        numbers = self.numbers()
        self._remember(numbers, self._times[numbers], self.deadlines[numbers])

    def absorb(self, other: Self, slots: Slots) -> None:
        """Take rows of another store: by slot there the slot here, -1 to leave them out."""
        theirs = other.numbers()
        mine = slots[other._slots[theirs]]
        theirs, mine = theirs[mine >= 0], mine[mine >= 0]
        numbers = self.add(
            mine,
            other._times[theirs],
            other.gather(theirs),
            other.deadlines[theirs],
            other.weights[theirs],
        )
        self.matches[numbers] = other.matches[theirs]

    def __len__(self) -> int:
        return self._live

    @property
    def size(self) -> StateSize:
        """How many rows are there, and about how much memory they take."""
        arrays = (self._slots, self._times, self.deadlines, self.weights, self.matches)
        maps = self._map.memory_bytes + self._contents.memory_bytes
        memory = self._rows.memory_bytes + maps + self._starts.size.bytes + self._deadlines.size.bytes
        return StateSize(self._live, memory + sum(array.nbytes for array in arrays))

    @property
    def least_time(self) -> int | None:
        """The earliest time of a row; needs `by_time`."""
        assert self._by_time
        self._starts.drop_first(self._are_gone)
        return self._starts.least

    @property
    def least_deadline(self) -> int | None:
        """The first deadline of a row, if any has one."""
        self._deadlines.drop_first(self._are_gone)
        return self._deadlines.least

    def add(
        self,
        slots: Slots,
        times: Ticks,
        rows: pl.DataFrame,
        deadlines: Ticks | None = None,
        weights: RowNumbers | None = None,
    ) -> RowNumbers:
        """Take rows.

        Args:
            slots: the slot of each row's key.
            times: the time of each row.
            rows: the rows.
            deadlines: the last moment in the life of each row; for ever by default.
            weights: how many times each row is there; once by default.

        Returns:
            The numbers of the rows.
        """
        start, end = len(self._rows), len(self._rows) + rows.height
        numbers = np.arange(start, end)
        if not len(numbers):
            return numbers
        self._rows.append(rows)
        self._map.add(slots, times, start)
        if self._by_content:
            self._contents.add(slots, _content(rows), start)
        ends = np.full(len(numbers), WATERMARK_MAX) if deadlines is None else deadlines
        self._remember(numbers, times, ends)
        self._slots = with_room(self._slots, end, -1)
        self._slots[start:end] = slots
        self._times, self.deadlines, self.weights, self.matches = (
            with_room(array, end, 0) for array in (self._times, self.deadlines, self.weights, self.matches)
        )
        self._times[start:end] = times
        self.deadlines[start:end] = ends
        self.weights[start:end] = 1 if weights is None else weights
        self._live += len(numbers)
        return numbers

    def find(self, slots: Slots, lower: Ticks, upper: Ticks) -> Matches:
        """The rows of each slot whose times lie between two bounds, both included; see `MultiMap.find`."""
        dead = len(self._rows) > self._live
        return self._map.find(slots, lower, upper, self._is_live if dead else None)

    def locate(self, slots: Slots, times: Ticks, rows: pl.DataFrame) -> RowNumbers:
        """The number of the row that equals each of these in slot, time and content; -1 where there is none.

        Null, NaN and the two zeros equal themselves. Of several equal rows it is any.
        """
        located = np.full(rows.height, -1)
        content = _content(rows)
        for probes, numbers in self._contents.find(slots, content, content, self._is_live):
            same = equal_rows(rows_at(rows, probes), self.gather(numbers)).to_numpy()
            same = same & (self._times[numbers] == times[probes])
            located[probes[same]] = numbers[same]
        return located

    def gather(self, numbers: RowNumbers) -> pl.DataFrame:
        """The rows of these numbers, in their order; -1 gives a row of nulls."""
        return self._rows.gather(numbers)

    def remove(self, numbers: RowNumbers) -> None:
        """Rows that are gone; each number once, and none that is gone already."""
        self.weights[numbers] = 0
        self._live -= len(numbers)

    def reweigh(self, numbers: RowNumbers, changes: RowNumbers) -> None:
        """Change the weights of rows, each given once; a row that has none left is gone."""
        self.weights[numbers] += changes
        self._live -= int((self.weights[numbers] == 0).sum())

    def expire(self, now: int) -> RowNumbers:
        """Remove the rows whose deadline is before `now`; their numbers, by deadline."""
        _, over = self._deadlines.take(now)
        numbers: RowNumbers = over["number"].to_numpy()
        numbers = numbers[self._is_live(numbers)]
        self.remove(numbers)
        return numbers

    def settle(self) -> None:
        """Free the rows that are gone, if there are many; the others may get new numbers."""
        if not self._live:
            if len(self._rows):
                self.clear()
        elif len(self._rows) > 2 * self._live + _SLACK_ROWS:
            self._compact()

    def live_slots(self) -> Slots:
        """The slots of the rows that are there, each once."""
        return np.unique(self._slots[self.numbers()])

    def move(self, slots: Slots) -> None:
        """Give the keys new slots.

        Args:
            slots: by old slot the new one, for the slots of the rows that are there.
        """
        self._compact()
        self._map.move(slots)
        self._contents.move(slots)
        self._slots = slots[self._slots[: len(self._rows)]]

    def _is_live(self, numbers: RowNumbers) -> Mask:
        live: Mask = self.weights[numbers] != 0
        return live

    def numbers(self) -> RowNumbers:
        """The numbers of the rows that are there."""
        return np.flatnonzero(self.weights[: len(self._rows)])

    def _compact(self) -> None:
        """Free the rows that are gone."""
        live = self.numbers()
        renumbered = np.full(len(self._rows), -1, np.int64)
        renumbered[live] = np.arange(len(live))
        self._map.keep(renumbered)
        self._contents.keep(renumbered)
        self._rows.keep(live)
        self._slots = self._slots[live]
        self._times, self.deadlines, self.weights, self.matches = (
            array[live] for array in (self._times, self.deadlines, self.weights, self.matches)
        )
        self._starts, self._deadlines = Timeline(_NUMBER), Timeline(_NUMBER)
        self._remember(np.arange(len(live)), self._times, self.deadlines)

    def _remember(self, numbers: RowNumbers, times: Ticks, ends: Ticks) -> None:
        """Put rows on the timelines: of when they begin, and of when they end, if they ever do."""
        if self._by_time:
            self._starts.add(times, pl.DataFrame({"number": numbers}))
        mortal = ends < WATERMARK_MAX
        self._deadlines.add(ends[mortal], pl.DataFrame({"number": numbers[mortal]}))

    def _are_gone(self, rows: pl.DataFrame) -> Mask:
        """Which of the rows on a timeline are gone."""
        return ~self._is_live(rows["number"].to_numpy())


def _content(rows: pl.DataFrame) -> Ticks:
    """A word for what rows hold; equal rows have equal words."""
    return rows.hash_rows().to_numpy().view(np.int64)
