"""Neighbours in time, against the definition."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streame.core.neighbours import Slots, following, previous
from streame.core.time import Ticks
from tests.examples import examples

EXTREMES = st.one_of(st.integers(0, 6), st.sampled_from([-(2**63), 2**63 - 1]))
ROWS = st.lists(st.tuples(EXTREMES, st.integers(0, 2)), max_size=12)


@settings(max_examples=examples(300))
@given(ROWS, ROWS, st.booleans(), st.booleans())
def test_the_definition(
    rows: list[tuple[int, int]], others: list[tuple[int, int]], exact: bool, one_key: bool
) -> None:
    if one_key:
        rows, others = ([(time, 5) for time, _ in each] for each in (rows, others))
    rows, others = (sorted(each, key=lambda row: row[0]) for each in (rows, others))
    (slots, times), (other_slots, other_times) = _arrays(rows), _arrays(others)
    before, after = [], []
    for time, slot in rows:
        same = [(number, other) for number, (other, key) in enumerate(others) if key == slot]
        before.append([number for number, other in same if other < time or (exact and other == time)])
        after.append([number for number, other in same if other > time or (exact and other == time)])
    found = previous(slots, times, other_slots, other_times, exact=exact)
    assert found.tolist() == [max(each, default=-1) for each in before]
    found = following(slots, times, other_slots, other_times, exact=exact)
    assert found.tolist() == [min(each, default=-1) for each in after]


def _arrays(rows: list[tuple[int, int]]) -> tuple[Slots, Ticks]:
    return np.array([slot for _, slot in rows], np.int32), np.array([time for time, _ in rows], np.int64)
