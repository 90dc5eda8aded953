"""Neighbours in time: of each row, the nearest row before and after it among others of its key."""

import numpy as np
import numpy.typing as npt

from streame.core.time import Ticks

Slots = npt.NDArray[np.int32]
RowNumbers = npt.NDArray[np.int64]


def previous(
    slots: Slots, times: Ticks, other_slots: Slots, other_times: Ticks, *, exact: bool
) -> RowNumbers:
    """For each row the last other row of its slot that is not later.

    Args:
        slots: the slot of each row's key.
        times: the time of each row, in order.
        other_slots: the same of the other rows.
        other_times: the same of the other rows, in order.
        exact: whether a row of the same time counts.

    Returns:
        Numbers of other rows, -1 where there is none.
    """
    if not len(times) or not len(other_times):
        return np.full(len(times), -1)
    earlier = np.searchsorted(other_times, times, side="right" if exact else "left")
    if _one_slot(slots, other_slots):
        return earlier - 1
    return _nearest(slots, other_slots, earlier)


def following(
    slots: Slots, times: Ticks, other_slots: Slots, other_times: Ticks, *, exact: bool
) -> RowNumbers:
    """For each row the first other row of its slot that is not earlier; see `previous`."""
    if not len(times) or not len(other_times):
        return np.full(len(times), -1)
    earlier = np.searchsorted(other_times, times, side="left" if exact else "right")
    last = len(other_times) - 1
    if _one_slot(slots, other_slots):
        return np.where(earlier <= last, earlier, -1)
    # The same, with both in reverse.
    later = last + 1 - earlier[::-1]
    found = _nearest(slots[::-1], other_slots[::-1], later)[::-1]
    return np.where(found >= 0, last - found, -1)


def last_of_equals(slots: Slots, times: Ticks) -> RowNumbers:
    """For each row the last one of its slot and time; the times are in order."""
    numbers = np.arange(len(times))
    same = times[1:] == times[:-1]
    tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
    if len(tied):
        some_slots, some_times = slots[tied], times[tied]
        numbers[tied] = tied[previous(some_slots, some_times, some_slots, some_times, exact=True)]
    return numbers


def first_of_slots(slots: Slots) -> tuple[Slots, RowNumbers]:
    """The slots that there are, and the first row of each."""
    first = np.full(int(slots.max(initial=-1)) + 1, -1)
    first[slots[::-1]] = np.arange(len(slots))[::-1]
    there = np.flatnonzero(first >= 0)
    return there.astype(np.int32), first[there]


def _one_slot(slots: Slots, other_slots: Slots) -> bool:
    """Whether all rows have the same key."""
    slot = slots[0]
    return bool((slots == slot).all() and (other_slots == slot).all())


def _nearest(slots: Slots, other_slots: Slots, earlier: RowNumbers) -> RowNumbers:
    """For each row the last other row of its slot among the first `earlier`."""
    rows, total = len(slots), len(slots) + len(other_slots)
    # All rows in one order, each at its place.
    places = np.arange(rows) + earlier
    is_other = np.ones(total, np.bool_)
    is_other[places] = False
    other_places = np.flatnonzero(is_other)
    number = np.empty(total, np.int64)
    number[places] = np.arange(rows)
    number[other_places] = np.arange(len(other_slots))
    # By slot, and within a slot in that order: no word is there twice, so the fastest sort will do.
    bits = total.bit_length()
    words = np.empty(total, np.int64)
    words[:rows] = (slots.astype(np.int64) << bits) | places
    words[rows:] = (other_slots.astype(np.int64) << bits) | other_places
    words.sort()
    sorted_places, sorted_slots = words & ((1 << bits) - 1), words >> bits
    sorted_other = is_other[sorted_places]
    sorted_numbers = number[sorted_places]
    last_other = np.maximum.accumulate(np.where(sorted_other, np.arange(total), -1))
    asked = np.flatnonzero(~sorted_other)
    candidates = last_other[asked]
    found = np.where(
        (candidates >= 0) & (sorted_slots[candidates] == sorted_slots[asked]), sorted_numbers[candidates], -1
    )
    result = np.empty(rows, np.int64)
    result[sorted_numbers[asked]] = found
    return result
