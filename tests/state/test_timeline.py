"""A timeline against a sorted list."""

from functools import partial
from typing import Any

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from streame.core.time import Mask
from streame.state.timeline import Timeline
from tests.examples import examples

SCHEMA = pl.Schema({"n": pl.Int64()})
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(st.integers(-5, 15), max_size=8)),
        st.tuples(st.just("take"), st.integers(-6, 17)),
        st.tuples(st.just("drop"), st.sets(st.integers(0, 40))),
    ),
    max_size=30,
)


@settings(max_examples=examples(200))
@given(STEPS)
def test_rows_come_in_order_of_time_and_then_of_arrival(steps: list[tuple[str, Any]]) -> None:
    timeline = Timeline(SCHEMA)
    model: list[tuple[int, int]] = []
    count = 0
    for word, argument in steps:
        match word:
            case "add":
                numbers = range(count, count + len(argument))
                timeline.add(np.array(argument, np.int64), pl.DataFrame({"n": numbers}, schema=SCHEMA))
                model += zip(argument, numbers, strict=True)
                count += len(argument)
            case "take":
                times, rows = timeline.take(argument)
                taken = sorted(row for row in model if row[0] < argument)
                assert list(zip(times.tolist(), rows["n"], strict=True)) == taken
                model = [row for row in model if row not in taken]
            case _:
                timeline.drop_first(partial(_are_among, argument))
                left = [row for row in model if row[1] not in argument]
                assert timeline.least == min((time for time, _ in left), default=None)
                _, kept = timeline.take(100)
                assert {n for _, n in left} <= set(kept["n"]) <= {n for _, n in model}
                model = left
                timeline = Timeline(SCHEMA)
                for time, n in model:
                    timeline.add(np.array([time]), pl.DataFrame({"n": [n]}))
        assert len(timeline) == timeline.size.rows == len(model)
        assert timeline.least == min((time for time, _ in model), default=None)


def _are_among(gone: set[int], rows: pl.DataFrame) -> Mask:
    return np.array([n in gone for n in rows["n"]], np.bool_)


def test_what_is_left_of_a_batch_does_not_keep_all_of_it_alive() -> None:
    timeline = Timeline(pl.Schema({"text": pl.String()}))
    for start in range(0, 100_000, 1_000):
        texts = pl.DataFrame({"text": [f"{n:0100}" for n in range(1_000)]})
        times = np.append(np.arange(start, start + 999), 1_000_000)
        timeline.add(times, texts)
        timeline.take(start + 999)
    assert len(timeline) == 100
    assert timeline.size.bytes < 200_000
