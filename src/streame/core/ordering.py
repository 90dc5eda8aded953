"""Orders of rows: by key slot, and within a slot by time."""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from streame.core.time import Mask, Ticks

Slots = npt.NDArray[np.int32]
RowNumbers = npt.NDArray[np.int64]
_Int = TypeVar("_Int", np.int32, np.int64)


def by_slot(slots: Slots) -> RowNumbers:
    """The rows in the order of their slots, those of one slot in the order in which they stand."""
    # No word is there twice, so the fastest sort will do.
    bits = max(1, len(slots).bit_length())
    words = (slots.astype(np.int64) << bits) | np.arange(len(slots))
    words.sort()
    return words & ((1 << bits) - 1)


def by_slot_and_time(slots: Slots, times: Ticks) -> RowNumbers:
    """The rows in the order of their slots, those of one slot by time, ties in the order in which they stand."""
    if (times[1:] >= times[:-1]).all():
        return by_slot(slots)
    in_time = np.argsort(times, kind="stable")
    return in_time[by_slot(slots[in_time])]


def begins(slots: Slots) -> Mask:
    """Which rows are the first of their slot, where the rows of a slot stand together."""
    first = np.ones(len(slots), np.bool_)
    first[1:] = slots[1:] != slots[:-1]
    return first


def distinct(numbers: npt.NDArray[_Int]) -> npt.NDArray[_Int]:
    """Each number once, in order: `np.unique`, which does it by a slower way."""
    ordered = np.sort(numbers)
    first = np.ones(len(ordered), np.bool_)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first]


def apart(earlier: Ticks, later: Ticks, gap: int) -> Mask:
    """Which times lie at least `gap` after others; never those that lie before them."""
    # The difference may need 64 bits.
    distance = later.view(np.uint64) - earlier.view(np.uint64)
    result: Mask = (later > earlier) & (distance >= np.uint64(gap))
    return result
