"""Counted rows: the values of an aggregation for every so many rows of each key."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl

from streame.core.aggregates import Aggregation
from streame.core.metrics import StateSize
from streame.core.ordering import RowNumbers, Slots, begins, by_slot
from streame.core.time import Ticks
from streame.state.aggregates import AggregateState
from streame.state.rows import with_room
from streame.state.snapshot import Savable

_SLACK_WINDOWS = 1024


@dataclass(frozen=True, slots=True)
class CountedWindows:
    """Windows with their results.

    Args:
        slots: the slots of their keys.
        starts: the times of their first rows.
        ends: the times of their last rows.
        results: what is computed of each.
    """

    slots: Slots
    starts: Ticks
    ends: Ticks
    results: pl.DataFrame


class CountedRows(Savable):
    """The windows of key slots that are not complete: of the rows of a slot every so many, in order, are a window.

    Args:
        count: how many rows make a window.
        aggregation: what is computed of them.
    """

    SAVED = ("_state", "_windows", "_open_windows", "_rows", "_number", "_starts", "_ends")

    def __init__(self, count: int, aggregation: Aggregation) -> None:
        self._count = count
        self._aggregation = aggregation
        self._state = AggregateState(aggregation)
        self._windows = 0
        self._open_windows = 0
        # By slot, with room for more: how many rows the window has that is not complete, and its number.
        self._rows: RowNumbers = np.empty(0, np.int64)
        self._number: RowNumbers = np.empty(0, np.int64)
        # By the number of the window, with room for more.
        self._starts: Ticks = np.empty(0, np.int64)
        self._ends: Ticks = np.empty(0, np.int64)

    @property
    def size(self) -> StateSize:
        """How many windows or rows are there, and about how much memory they take."""
        values = self._state.size()
        arrays = (self._rows, self._number, self._starts, self._ends)
        rows = values.rows if self._aggregation.kept else self._open_windows
        return StateSize(rows, values.bytes + sum(array.nbytes for array in arrays))

    def add(self, slots: Slots, times: Ticks, rows: pl.DataFrame) -> CountedWindows:
        """Take rows.

        Args:
            slots: the slot of each row's key.
            times: the time of each row; rows of a key stand in their order.
            rows: what `Aggregation.prepare` gave for them.

        Returns:
            The windows that they complete.
        """
        width = int(slots.max(initial=-1)) + 1
        self._rows, self._number = with_room(self._rows, width, 0), with_room(self._number, width, -1)
        order = by_slot(slots)
        slots, times = slots[order], times[order]
        first = begins(slots)
        since = np.arange(len(slots)) - np.flatnonzero(first)[np.cumsum(first) - 1]
        begun = self._rows[slots]
        place = begun + since
        opens = place % self._count == 0
        goes_on = (begun > 0) & (place < self._count)
        numbers = np.where(goes_on, self._number[slots], self._windows + np.cumsum(opens) - 1)
        self._open(numbers[opens], times[opens])
        number_of = np.empty(len(order), np.int64)
        number_of[order] = numbers
        self._state.add(number_of, rows)
        last = np.flatnonzero(np.append(first[1:], True)[: len(first)])
        left = (place[last] + 1) % self._count
        self._open_windows += int(np.count_nonzero(left)) - int(np.count_nonzero(begun[last]))
        self._rows[slots[last]] = left
        self._number[slots[last]] = numbers[last]
        self._ends[numbers[last]] = times[last]
        complete = np.flatnonzero(place % self._count == self._count - 1)
        return self._results(slots[complete], numbers[complete], times[complete])

    def rest(self) -> CountedWindows:
        """The windows that are not complete; they count as said."""
        slots = self.live_slots()
        numbers = self._number[slots]
        self._rows[slots] = 0
        self._open_windows = 0
        return self._results(slots, numbers, self._ends[numbers])

    def settle(self) -> None:
        """Free the windows that are complete, if there are many."""
        if self._windows <= 2 * self._open_windows + _SLACK_WINDOWS:
            return
        slots = self.live_slots()
        kept = self._number[slots]
        number = np.full(self._windows, -1, np.int64)
        number[kept] = np.arange(len(kept))
        state = AggregateState(self._aggregation)
        state.absorb(self._state, number)
        self._state, self._windows = state, len(kept)
        self._number[slots] = number[kept]
        self._starts, self._ends = self._starts[kept], self._ends[kept]

    def live_slots(self) -> Slots:
        """The slots that have rows of a window."""
        return np.flatnonzero(self._rows).astype(np.int32)

    def move(self, slots: Slots) -> None:
        """Give the keys new slots: by old slot the new one, for the slots that have rows."""
        live = self.live_slots()
        rows, number = self._rows[live], self._number[live]
        self._rows, self._number = np.zeros(len(live), np.int64), np.full(len(live), -1, np.int64)
        self._rows[slots[live]], self._number[slots[live]] = rows, number

    def absorb(self, other: Self, slots: Slots) -> None:
        """Take other windows: by slot there the slot here, which has no rows yet; -1 to leave them out."""
        theirs = other.live_slots()
        theirs = theirs[slots[theirs] >= 0]
        ours, numbers = slots[theirs], other._number[theirs]
        new = self._windows + np.arange(len(theirs))
        self._open(new, other._starts[numbers])
        self._ends[new] = other._ends[numbers]
        self._open_windows += len(theirs)
        width = int(ours.max(initial=-1)) + 1
        self._rows, self._number = with_room(self._rows, width, 0), with_room(self._number, width, -1)
        self._rows[ours], self._number[ours] = other._rows[theirs], new
        number = np.full(other._windows, -1, np.int64)
        number[numbers] = new
        self._state.absorb(other._state, number)

    def _open(self, numbers: RowNumbers, times: Ticks) -> None:
        """Begin windows."""
        self._windows += len(numbers)
        self._starts, self._ends = (
            with_room(array, self._windows, 0) for array in (self._starts, self._ends)
        )
        self._starts[numbers] = times

    def _results(self, slots: Slots, numbers: RowNumbers, ends: Ticks) -> CountedWindows:
        return CountedWindows(slots, self._starts[numbers], ends, self._state.results(numbers))
