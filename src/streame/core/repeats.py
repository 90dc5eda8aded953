"""Repeats: rows of a key that come too soon after one that was kept."""

import numpy as np

from streame.core.ordering import RowNumbers, Slots, begins, by_slot
from streame.core.time import WATERMARK_MAX, Mask, Ticks


def not_repeated(slots: Slots, times: Ticks, since: Ticks, within: int) -> Mask:
    """Which rows are kept: the first of its slot, then always the first that comes `within` or more after the last.

    Args:
        slots: the slot of the key of each row.
        times: the time of each row, in order.
        since: for each row the first time at which its slot may keep one again.
        within: for how many ticks after a row that was kept others are repeats of it.
    """
    order = by_slot(slots)
    slots, times, since = slots[order], times[order], since[order]
    # The first row at which each row, were it kept, would be followed by the next one; the last one is that of none.
    following = np.append(_first_from(slots, times, later(times, within)), len(slots))
    first = np.flatnonzero(begins(slots))
    kept = np.zeros(len(slots) + 1, np.bool_)
    kept[_first_from(slots, times, since)[first]] = True
    # Each turn goes twice as far as the one before it, so that a key with many rows needs only a few.
    count = 0
    while count < (count := int(np.count_nonzero(kept))):
        kept[following[kept]] = True
        following = following[following]
    result = np.empty(len(slots), np.bool_)
    result[order] = kept[:-1]
    return result


def later(times: Ticks, by: int) -> Ticks:
    """Times moved forward; beyond 64 bits they stay at the end."""
    return np.minimum(times, WATERMARK_MAX - by) + by


def _first_from(slots: Slots, times: Ticks, since: Ticks) -> RowNumbers:
    """For each row the first of its slot that is not before a time; the number of rows where there is none.

    Args:
        slots: the slot of each row, those of one slot together.
        times: the time of each row, in order within a slot.
        since: the time.
    """
    # Times become numbers from 0 on, so that a slot and a time fit into one word.
    levels, ranks = np.unique(times, return_inverse=True)
    width = len(levels) + 1
    part = np.cumsum(begins(slots)) * width
    found = np.searchsorted(part + ranks, part + np.searchsorted(levels, since))
    inside = found < len(slots)
    inside[inside] = slots[found[inside]] == slots[inside]
    return np.where(inside, found, len(slots))
