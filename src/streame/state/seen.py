"""Seen keys: which keys have had a row, and when the last one was kept."""

from typing import Self

import numpy as np

from streame.core.metrics import StateSize
from streame.core.ordering import Slots
from streame.core.repeats import later, not_repeated
from streame.core.time import WATERMARK_MIN, Mask, Ticks
from streame.state.rows import with_room
from streame.state.snapshot import Savable


class SeenKeys(Savable):
    """For each key slot when the last row was kept.

    Args:
        within: for how many ticks others are repeats of it; `None` for ever.
    """

    SAVED = ("_count", "_since", "_watermark")

    def __init__(self, within: int | None) -> None:
        self._within = within
        self._count = 0
        # By slot, with room for more: the first time at which a row may be kept again.
        self._since: Ticks = np.empty(0, np.int64)
        self._watermark = WATERMARK_MIN

    @property
    def size(self) -> StateSize:
        """How many keys have had a row, and about how much memory that takes."""
        return StateSize(self._count, self._since.nbytes)

    def absorb(self, other: Self, slots: Slots) -> None:
        """Take what is known of keys elsewhere: by slot there the slot here, -1 to leave them out."""
        theirs = other.live_slots()
        theirs = theirs[slots[theirs] >= 0]
        self._count = max(self._count, int(slots[theirs].max(initial=-1)) + 1)
        if self._within is not None:
            self._since = with_room(self._since, self._count, WATERMARK_MIN)
            self._since[slots[theirs]] = other._since[theirs]
        self._watermark = max(self._watermark, other._watermark)

    def take(self, slots: Slots, times: Ticks | None) -> Mask:
        """Which rows are kept.

        Args:
            slots: the slot of the key of each row.
            times: the time of each row, in order; only asked for where keys are forgotten again.
        """
        known, self._count = self._count, max(self._count, int(slots.max(initial=-1)) + 1)
        if self._within is None:
            return _first_of_new(slots, known)
        assert times is not None
        self._since = with_room(self._since, self._count, WATERMARK_MIN)
        kept = not_repeated(slots, times, self._since[slots], self._within)
        # Of several times of one slot the last one stays.
        self._since[slots[kept]] = later(times[kept], self._within)
        return kept

    def forget(self, watermark: int) -> None:
        """No row of an earlier time than `watermark` will come."""
        self._watermark = watermark

    def settle(self) -> None:
        """There are no rows to free."""

    def live_slots(self) -> Slots:
        """The slots of the keys that are still needed."""
        if self._within is None:
            return np.arange(self._count, dtype=np.int32)
        return np.flatnonzero(self._since[: self._count] > self._watermark).astype(np.int32)

    def move(self, slots: Slots) -> None:
        """Give the keys new slots: by old slot the new one, for those that are still needed."""
        live = self.live_slots()
        since = self._since[live]
        self._count = len(live)
        if self._within is not None:
            self._since = np.empty(len(live), np.int64)
            self._since[slots[live]] = since


def _first_of_new(slots: Slots, known: int) -> Mask:
    """The first row of each slot that is not known yet; new slots are numbered in the order of their first rows."""
    reached = np.maximum.accumulate(slots)
    first = slots >= known
    first[1:] &= slots[1:] > reached[:-1]
    return first
