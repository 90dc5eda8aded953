"""Emitting changes: what is taken back, what is said, and what is left alone."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streame.core.hidden import WEIGHT
from streame.runtime.emit import changes

NAN = float("nan")


def emitted(old: list[Any], new: list[Any], dtype: Any = pl.Int64) -> list[tuple[Any, ...]]:
    """What is said of groups 0, 1, ..; the text "-" stands for a group that is not there."""
    frames = [
        pl.DataFrame({"n": pl.Series([None if x == "-" else x for x in side], dtype=dtype)})
        for side in (old, new)
    ]
    was, now = (np.array([x != "-" for x in side], np.bool_) for side in (old, new))
    frame = changes(pl.DataFrame({"k": list(range(len(old)))}), frames[0], frames[1], was, now)
    assert frame.columns == ["k", "n", WEIGHT]
    assert frame.schema[WEIGHT] == pl.Int64
    return frame.rows()


def test_a_new_group_is_said_and_a_gone_one_taken_back() -> None:
    assert emitted(["-", 1, 2, 3, "-"], [5, "-", 2, 4, "-"]) == [(1, 1, -1), (3, 3, -1), (0, 5, 1), (3, 4, 1)]


def test_nothing_was_said_before() -> None:
    now = np.array([True, False])
    frame = changes(pl.DataFrame({"k": [1, 2]}), None, pl.DataFrame({"n": [3, 4]}), ~now, now)
    assert frame.rows() == [(1, 3, 1)]


def test_a_group_without_key_columns_has_rows_too() -> None:
    now = np.array([True])
    frame = changes(pl.DataFrame(height=1), pl.DataFrame({"n": [3]}), pl.DataFrame({"n": [4]}), now, now)
    assert frame.rows() == [(3, -1), (4, 1)]


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        (pl.Float64, [None, NAN, 1.0, float("inf")]),
        (pl.String, [None, "", "a"]),
        (pl.Boolean, [None, True, False]),
        (pl.List(pl.Int64), [None, [], [None], [1, 2]]),
        (pl.Struct({"a": pl.Int64, "b": pl.Float64}), [{"a": None, "b": NAN}, {"a": 1, "b": None}]),
        (pl.Decimal(10, 2), [None, 1]),
        (pl.Null, [None]),
    ],
)
def test_a_result_that_is_the_same_is_left_alone(dtype: Any, values: list[Any]) -> None:
    for value in values:
        assert emitted([value], [value], dtype) == []
        for other in values:
            if other is not value:
                assert [row[-1] for row in emitted([value], [other], dtype)] == [-1, 1]


@given(
    st.lists(st.tuples(*[st.one_of(st.just("-"), st.none(), st.integers(0, 2))] * 2), max_size=8),
)
def test_the_fold_of_old_and_changes_is_new(groups: list[tuple[Any, Any]]) -> None:
    old, new = ([pair[side] for pair in groups] for side in (0, 1))
    table = {key: value for key, value in enumerate(old) if value != "-"}
    for key, value, weight in emitted(old, new):
        if weight == -1:
            assert table.pop(key) == value
        else:
            assert key not in table
            table[key] = value
    assert table == {key: value for key, value in enumerate(new) if value != "-"}
