"""Stretches of time: rows of a key that follow each other closely, from the first to the last of them.

A row that comes `gap` or more after the row before it begins a new stretch. Where rows come in disorder there is more to
it: the stretch of the earlier row may have closed, and been said, before the later one was there. So each row is *seen*
at a moment: at its own time, or, if it is older than the watermark that its split had reached by then, at that
watermark. Two rows belong together if the later one was seen before the gap behind the earlier one was over; a row that
was seen after its own gap is late and in no stretch. This does not depend on which of several splits comes first.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streame.core.ordering import Slots, apart, begins, by_slot, by_slot_and_time
from streame.core.time import WATERMARK_MAX, WATERMARK_MIN, Mask, Ticks

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Stretches:
    """Stretches of several keys.

    Args:
        slots: the slot of the key of each.
        starts: the time of the first row of each.
        ends: the time of its last row.
        seen: the first moment at which any of its rows was seen.
    """

    slots: Slots
    starts: Ticks
    ends: Ticks
    seen: Ticks

    def __len__(self) -> int:
        return len(self.slots)


def stretches_of(slots: Slots, times: Ticks, seen: Ticks, gap: int) -> tuple[Stretches, Numbers]:
    """The stretches that rows make.

    Args:
        slots: the slot of the key of each row.
        times: the time of each row, in any order.
        seen: when each row was seen.
        gap: how far apart, in ticks.

    Returns:
        The stretches, and for each row the number of its stretch.
    """
    order = by_slot(slots)
    at = np.flatnonzero(begins(slots[order]))
    keys = slots[order[at]]
    key_of = np.empty(len(slots), np.int64)
    key_of[order] = np.repeat(np.arange(len(at)), np.diff(at, append=len(order)))
    whole = Stretches(
        keys,
        *(
            _of_each(least, of, order, at)
            for least, of in ((np.minimum, times), (np.maximum, times), (np.minimum, seen))
        ),
    )
    wide = apart(whole.starts, _of_each(np.maximum, seen, order, at), gap)
    if not wide.any():  # as it is where batches are short
        return whole, key_of
    narrow = np.flatnonzero(~wide)
    number = np.empty(len(keys), np.int64)
    number[narrow] = np.arange(len(narrow))
    stretch_of = number[key_of]
    rows = np.flatnonzero(wide[key_of])
    rows = rows[by_slot_and_time(slots[rows], times[rows])]
    row_slots, row_times, row_seen = slots[rows], times[rows], seen[rows]
    first = begins(row_slots)
    later = row_seen if row_seen is row_times else _least_from(row_slots, row_seen)
    first[1:] |= apart(row_times[:-1], later[1:], gap)
    stretch_of[rows] = len(narrow) + np.cumsum(first) - 1
    at = np.flatnonzero(first)
    last = np.append(at[1:], len(rows)) - 1
    stretches = Stretches(
        np.concatenate([keys[narrow], row_slots[at]]),
        np.concatenate([whole.starts[narrow], row_times[at]]),
        np.concatenate([whole.ends[narrow], row_times[last]]),
        np.concatenate([whole.seen[narrow], np.minimum.reduceat(row_seen, at)]),
    )
    return stretches, stretch_of


@dataclass(frozen=True, slots=True)
class Union:
    """What becomes of stretches that are put together.

    Args:
        stretches: the stretches that result, by slot and start.
        of: for each stretch that was given the number of the one that it is in now, first those of the first kind.
    """

    stretches: Stretches
    of: Numbers


def union(one: Stretches, other: Stretches, gap: int) -> Union:
    """Put stretches of two kinds together; those of one kind are no neighbours."""
    slots = np.concatenate([one.slots, other.slots])
    starts = np.concatenate([one.starts, other.starts])
    order = by_slot_and_time(slots, starts)
    slots, starts = slots[order], starts[order]
    ends = np.concatenate([one.ends, other.ends])[order]
    seen = np.concatenate([one.seen, other.seen])[order]
    is_one = order < len(one)
    # Of one kind both ends and moments rise, so that the nearest one of each kind is enough to look at.
    reached = np.maximum(*(_last(slots, ends, kind) for kind in (is_one, ~is_one)))
    to_come = np.minimum(*(_next(slots, seen, kind) for kind in (is_one, ~is_one)))
    first = begins(slots)
    first[1:] |= apart(reached[:-1], to_come[1:], gap)
    at = np.flatnonzero(first)
    of = np.empty(len(order), np.int64)
    of[order] = np.cumsum(first) - 1
    if len(at):
        ends, seen = np.maximum.reduceat(ends, at), np.minimum.reduceat(seen, at)
    return Union(Stretches(slots[at], starts[at], ends, seen), of)


def _of_each(least: np.ufunc, values: Ticks, order: Numbers, at: Numbers) -> Ticks:
    """The least or the greatest value of the rows of each key, which stand together in `order` from `at` on."""
    found: Ticks = least.reduceat(values[order], at) if len(at) else values
    return found


def _last(slots: Slots, values: Ticks, chosen: Mask) -> Ticks:
    """The value of the last chosen stretch of the same slot, up to and with each."""
    last = np.maximum.accumulate(np.where(chosen, np.arange(len(slots)), -1))
    known = (last >= 0) & (slots[last] == slots)
    return np.where(known, values[last], WATERMARK_MIN)


def _next(slots: Slots, values: Ticks, chosen: Mask) -> Ticks:
    """The value of the next chosen stretch of the same slot, from and with each."""
    count = len(slots)
    following = np.minimum.accumulate(np.where(chosen, np.arange(count), count)[::-1])[::-1]
    known = following < count
    known[known] = slots[following[known]] == slots[known]
    result = np.full(count, WATERMARK_MAX)
    result[known] = values[following[known]]
    return result


def _least_from(slots: Slots, values: Ticks) -> Ticks:
    """The least value of the same slot from each row on."""
    levels, ranks = np.unique(values, return_inverse=True)
    # Backwards slots fall, so that the least word so far is always one of the slot itself.
    words = slots.astype(np.int64) * len(levels) + ranks
    least = np.minimum.accumulate(words[::-1])[::-1]
    result: Ticks = levels[least % len(levels)]
    return result
