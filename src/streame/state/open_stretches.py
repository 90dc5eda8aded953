"""Open stretches: the stretches of time of each key that rows may still be added to."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import polars as pl

from streame.core.ordering import Slots, apart, begins, by_slot, distinct
from streame.core.stretches import Stretches, union
from streame.core.time import WATERMARK_MAX, WATERMARK_MIN, Mask, Ticks
from streame.state.rows import RowNumbers, with_room
from streame.state.snapshot import Savable
from streame.state.timeline import Timeline

_BY_NUMBER = ("_slots", "_starts", "_ends", "_seen", "_older", "_newer", "_is_live", "_is_closed")

_NUMBER = pl.Schema({"number": pl.Int64()})


@dataclass(frozen=True, slots=True)
class Near:
    """The open stretches that new ones may touch.

    Args:
        numbers: of each slot the latest ones, back to the first that no new stretch reaches.
        slots: the slots, in order.
        beyond: for each slot the number of that first one, -1 where there is none.
    """

    numbers: RowNumbers
    slots: Slots
    beyond: RowNumbers


@dataclass(frozen=True, slots=True)
class Merge:
    """What new stretches have done.

    Args:
        numbers: for each new stretch the number of the open one that it is part of now.
        gone: the open stretches that have become part of another one.
        into: the number of that one, for each of them.
    """

    numbers: RowNumbers
    gone: RowNumbers
    into: RowNumbers


class OpenStretches(Savable):
    """The open stretches of each key slot, of which no two are neighbours.

    A stretch has a number, valid until the next `compact`. It closes when nothing within the gap can come any more, and is
    still kept for its lateness. The stretches of a slot are a list with the latest one first, so that rows which come
    nearly in order touch only the first few.

    Args:
        gap: how far apart, in ticks.
        lateness: for how many ticks a closed stretch is kept.
    """

    SAVED = (
        "_slots", "_starts", "_ends", "_seen", "_older", "_newer", "_is_live", "_is_closed", "_latest", "_closing",
        "_leaving", "_count", "live",
    )  # fmt: skip

    def __init__(self, gap: int, lateness: int) -> None:
        self._gap = gap
        self._lateness = lateness
        self._count = 0
        self.live = 0
        # By number, with room for more.
        self._slots: Slots = np.empty(0, np.int32)
        self._starts: Ticks = np.empty(0, np.int64)
        self._ends: Ticks = np.empty(0, np.int64)
        self._seen: Ticks = np.empty(0, np.int64)
        self._older: RowNumbers = np.empty(0, np.int64)
        self._newer: RowNumbers = np.empty(0, np.int64)
        self._is_live: Mask = np.empty(0, np.bool_)
        self._is_closed: Mask = np.empty(0, np.bool_)
        # By slot, with room for more.
        self._latest: RowNumbers = np.empty(0, np.int64)
        # One entry for each stretch that has not closed, at its end or at an earlier one that it had; and one for each
        # that has.
        self._closing = Timeline(_NUMBER)
        self._leaving = Timeline(_NUMBER)

    def saved(self) -> dict[str, Any]:
        """See `Savable`."""
        return super().saved() | {name: getattr(self, name)[: self._count] for name in _BY_NUMBER}

    def __len__(self) -> int:
        """How many numbers have been given."""
        return self._count

    @property
    def memory_bytes(self) -> int:
        """The size of all of it."""
        arrays = (
            self._slots,
            self._starts,
            self._ends,
            self._older,
            self._newer,
            self._is_live,
            self._is_closed,
        )
        timelines = self._closing.size.bytes + self._leaving.size.bytes
        return sum(array.nbytes for array in arrays) + self._latest.nbytes + timelines

    def stretches(self, numbers: RowNumbers) -> Stretches:
        """The stretches of these numbers."""
        return Stretches(
            self._slots[numbers], self._starts[numbers], self._ends[numbers], self._seen[numbers]
        )

    def is_live(self, numbers: RowNumbers) -> Mask:
        """Which of these are neither gone nor part of another one."""
        live: Mask = self._is_live[numbers]
        return live

    def is_closed(self, numbers: RowNumbers) -> Mask:
        """Which of these have closed."""
        closed: Mask = self._is_closed[numbers]
        return closed

    def near(self, stretches: Stretches) -> Near:
        """The open stretches that new ones may touch."""
        order = by_slot(stretches.slots)
        at = np.flatnonzero(begins(stretches.slots[order]))
        slots = stretches.slots[order[at]]
        earliest = np.minimum.reduceat(stretches.seen[order], at) if len(at) else stretches.seen
        self._latest = with_room(self._latest, int(slots.max(initial=-1)) + 1, -1)
        beyond = self._latest[slots]
        found = [beyond[:0]]
        walking = np.flatnonzero(beyond >= 0)
        while len(walking):
            numbers = beyond[walking]
            reached = ~apart(self._ends[numbers], earliest[walking], self._gap)
            walking, numbers = walking[reached], numbers[reached]
            found.append(numbers)
            beyond[walking] = self._older[numbers]
            walking = walking[beyond[walking] >= 0]
        return Near(np.concatenate(found), slots, beyond)

    def add(self, stretches: Stretches, near: Near) -> Merge:
        """Add new stretches; those that touch open ones become part of them, and may make several of them one.

        Args:
            stretches: the new stretches, of which no two are neighbours.
            near: what `near` gave for them.
        """
        united = union(self.stretches(near.numbers), stretches, self._gap)
        of_near, of_new = np.split(united.of, [len(near.numbers)])
        # The number of each result: that of an open stretch in it, or a new one.
        numbers = np.full(len(united.stretches), -1)
        numbers[of_near] = near.numbers
        new = np.flatnonzero(numbers < 0)
        numbers[new] = self._count + np.arange(len(new))
        self._reserve(self._count + len(new))
        self._count += len(new)
        into = numbers[of_near]
        merged = into != near.numbers
        self._is_live[numbers[new]] = True
        self._is_live[near.numbers[merged]] = False
        self.live += len(new) - int(np.count_nonzero(merged))
        self._slots[numbers] = united.stretches.slots
        self._starts[numbers], self._ends[numbers] = united.stretches.starts, united.stretches.ends
        self._seen[numbers] = united.stretches.seen
        self._link(numbers, near)
        touched = np.zeros(len(numbers), np.bool_)
        touched[of_new] = True
        opened = numbers[touched]
        opened = opened[self._is_closed[opened] | (opened >= self._count - len(new))]
        self._is_closed[opened] = False
        self._enter(self._closing, opened)
        return Merge(numbers[of_new], near.numbers[merged], into[merged])

    def close(self, watermark: int) -> RowNumbers:
        """The stretches that close when event time has come to `watermark`, which is a `gap` after their end."""
        if watermark == WATERMARK_MAX:
            closed = np.flatnonzero(self._is_live[: self._count] & ~self._is_closed[: self._count])
            self._closing = Timeline(_NUMBER)
        else:
            last = max(watermark - self._gap, WATERMARK_MIN)
            entries: RowNumbers = self._closing.take(last + 1)[1]["number"].to_numpy()
            entries = entries[self._is_live[entries]]
            over = self._ends[entries] <= last
            self._enter(self._closing, entries[~over])
            closed = entries[over]
        self._is_closed[closed] = True
        self._enter(self._leaving, closed)
        return closed

    def expire(self, watermark: int) -> RowNumbers:
        """Let the closed stretches go whose lateness is over, and say which."""
        last = max(watermark - self._gap - self._lateness, WATERMARK_MIN)
        before = WATERMARK_MAX if watermark == WATERMARK_MAX else last + 1
        entries = distinct(self._leaving.take(before)[1]["number"].to_numpy())
        gone: RowNumbers = entries[
            self._is_live[entries] & self._is_closed[entries] & (self._ends[entries] < before)
        ]
        self._is_live[gone] = False
        self.live -= len(gone)
        # They are the oldest of their slot.
        newer = self._newer[gone]
        self._older[newer[newer >= 0]] = -1
        self._latest[self._slots[gone[newer < 0]]] = -1
        return gone

    def live_slots(self) -> Slots:
        """The slots that have a stretch."""
        return distinct(self._slots[self._live_numbers()])

    def compact(self) -> RowNumbers:
        """Free what is gone, and give the others new numbers in the same order.

        Returns:
            The old numbers of the stretches that stay.
        """
        kept = self._live_numbers()
        number = np.full(self._count + 1, -1, np.int64)  # the last one stands for none
        number[kept] = np.arange(len(kept))
        self._older, self._newer = number[self._older[kept]], number[self._newer[kept]]
        self._latest = number[self._latest]
        self._slots, self._starts, self._ends = self._slots[kept], self._starts[kept], self._ends[kept]
        self._seen = self._seen[kept]
        self._is_live, self._is_closed = self._is_live[kept], self._is_closed[kept]
        self._count = len(kept)
        self._closing, self._leaving = Timeline(_NUMBER), Timeline(_NUMBER)
        self._enter(self._closing, np.flatnonzero(~self._is_closed))
        self._enter(self._leaving, np.flatnonzero(self._is_closed))
        return kept

    def move(self, slots: Slots) -> None:
        """Give the keys new slots: by old slot the new one, for the slots that have a stretch."""
        live = self._live_numbers()
        self._slots[live] = slots[self._slots[live]]
        latest = live[self._newer[live] < 0]
        self._latest = np.full(len(latest), -1, np.int64)
        self._latest[self._slots[latest]] = latest

    def absorb(self, other: Self, slots: Slots, noted: RowNumbers) -> RowNumbers:
        """Take stretches of others.

        Args:
            other: the others; those that are there are taken.
            slots: by slot there the slot here, which has none yet; -1 to leave its stretches out.
            noted: some that are taken although they may be part of another one.

        Returns:
            By number there the number here, -1 for those that are left out.
        """
        taken = distinct(np.concatenate([other._live_numbers(), noted]))
        here = np.append(slots, np.int32(-1))[np.minimum(other._slots[taken], len(slots))]
        taken, here = taken[here >= 0], here[here >= 0]
        new = self._count + np.arange(len(taken))
        self._count += len(taken)
        self._reserve(self._count)
        for name in _BY_NUMBER:
            getattr(self, name)[new] = getattr(other, name)[taken]
        self._slots[new] = here
        number = np.full(len(other) + 1, -1, np.int64)  # the last one stands for none
        number[taken] = new
        live = new[self._is_live[new]]
        self._older[live], self._newer[live] = number[self._older[live]], number[self._newer[live]]
        self._latest = with_room(self._latest, int(here.max(initial=-1)) + 1, -1)
        latest = live[self._newer[live] < 0]
        self._latest[self._slots[latest]] = latest
        self.live += len(live)
        closed = self._is_closed[live]
        self._enter(self._closing, live[~closed])
        self._enter(self._leaving, live[closed])
        return number[:-1]

    def _live_numbers(self) -> RowNumbers:
        return np.flatnonzero(self._is_live[: self._count])

    def _reserve(self, count: int) -> None:
        self._slots = with_room(self._slots, count, -1)
        self._starts, self._ends, self._seen, self._older, self._newer = (
            with_room(array, count, -1)
            for array in (self._starts, self._ends, self._seen, self._older, self._newer)
        )
        self._is_live, self._is_closed = (
            with_room(array, count, False) for array in (self._is_live, self._is_closed)
        )

    def _link(self, numbers: RowNumbers, near: Near) -> None:
        """Make lists of stretches, given by slot and start, in front of those that were too old to be reached."""
        slots = self._slots[numbers]
        first = begins(slots)
        last = np.append(first[1:], True)[: len(first)]
        before, after = np.roll(numbers, 1), np.roll(numbers, -1)
        before[first] = near.beyond
        after[last] = -1
        self._older[numbers], self._newer[numbers] = before, after
        behind = near.beyond >= 0
        self._newer[near.beyond[behind]] = numbers[first][behind]
        self._latest[slots[last]] = numbers[last]

    def _enter(self, timeline: Timeline, numbers: RowNumbers) -> None:
        if len(numbers):
            timeline.add(self._ends[numbers], pl.Series("number", numbers).to_frame())
