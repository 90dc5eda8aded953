"""Open stretches are the connected rows, in whatever order and batches they come, and close in time."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as hst

from streame.core.stretches import stretches_of
from streame.core.time import WATERMARK_MAX
from streame.state.open_stretches import OpenStretches
from tests.examples import examples

Row = tuple[int, int, int]
"""The slot, the time, and how long after that it was seen."""


def connected(rows: list[Row], gap: int) -> list[tuple[int, int, int]]:
    """The slots, first and last times of rows that belong together, pair by pair."""
    parts = [{number} for number in range(len(rows))]
    for i, (slot, time, _) in enumerate(rows):
        for j, (other_slot, later, delay) in enumerate(rows):
            if i != j and slot == other_slot and time <= later and later + delay < time + gap:
                one, other = (next(part for part in parts if number in part) for number in (i, j))
                if one is not other:
                    parts.remove(other)
                    one |= other
    return sorted(
        (rows[min(part)][0], min(rows[i][1] for i in part), max(rows[i][1] for i in part)) for part in parts
    )


@given(hst.data(), hst.integers(1, 8))
@settings(max_examples=examples(300))
def test_stretches_are_the_connected_rows(data: hst.DataObject, gap: int) -> None:
    row = hst.tuples(
        hst.integers(0, 2), hst.integers(0, 30), hst.one_of(hst.just(0), hst.integers(0, gap - 1))
    )
    batches = data.draw(hst.lists(hst.lists(row, max_size=6), max_size=6))
    stretches = OpenStretches(gap, 0)
    number_of: list[int] = []
    for batch in batches:
        slots, times, delays = np.array(batch, np.int64).reshape(-1, 3).T
        new, of = stretches_of(slots.astype(np.int32), times, times + delays, gap)
        merge = stretches.add(new, stretches.near(new))
        into = dict(zip(merge.gone.tolist(), merge.into.tolist(), strict=True))
        number_of = [into.get(number, number) for number in number_of]
        number_of += merge.numbers[of].tolist()
        if data.draw(hst.booleans()):
            kept = stretches.compact().tolist()
            number_of = [kept.index(number) for number in number_of]
    rows = [row for batch in batches for row in batch]
    numbers = stretches.close(WATERMARK_MAX)
    found = stretches.stretches(numbers)
    assert sorted(zip(found.slots, found.starts, found.ends, strict=True)) == connected(rows, gap)
    assert sorted(set(number_of)) == numbers.tolist()
    for (slot, time, _), number in zip(rows, number_of, strict=True):
        stretch = stretches.stretches(np.array([number]))
        assert (stretch.slots[0], stretch.starts[0] <= time <= stretch.ends[0]) == (slot, True)


def test_times_at_the_ends_of_64_bits() -> None:
    times = np.array([-(2**63), -(2**63) + 3, 2**63 - 2, 2**63 - 1], np.int64)
    new, of = stretches_of(np.zeros(4, np.int32), times, times, 4)
    assert of.tolist() == [0, 0, 1, 1]
    assert new.ends.tolist() == [-(2**63) + 3, 2**63 - 1]
    stretches = OpenStretches(4, 0)
    assert stretches.add(new, stretches.near(new)).numbers.tolist() == [0, 1]
    assert stretches.close(0).tolist() == [0]
