"""Sums that become large, and sums that rows are taken back from."""

from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streame.core.aggregates import Aggregation, split_aggregates
from streame.core.expressions import parse_exprs
from streame.errors import DataError
from streame.state.aggregates import AggregateState


def split(expr: pl.Expr, *more: pl.Expr, schema: pl.Schema) -> Aggregation:
    return split_aggregates(parse_exprs([expr, *more], {}, schema, where="agg"), schema, where="agg")


SMALL = pl.Schema({"x": pl.Int32(), "y": pl.Int64(), "d": pl.Decimal(38, 0), "h": pl.Int128()})


def state_of(expr: pl.Expr, column: str, values: list[Any], *, retractable: bool = False) -> AggregateState:
    wanted = split(expr, schema=SMALL)
    frame = pl.DataFrame({column: values}, schema={column: SMALL[column]})
    state = AggregateState(wanted, retractable=retractable)
    for half in (frame[: frame.height // 2], frame[frame.height // 2 :]):
        state.add(np.zeros(half.height, np.int64), wanted.prepare(half))
    return state


@pytest.mark.parametrize(
    ("expr", "column", "values"),
    [
        (pl.col("x").sum(), "x", [2**31 - 1, 1, 1]),
        (pl.col("y").sum(), "y", [2**63 - 1, 1]),
        (pl.col("y").sum(), "y", [-(2**63), -(2**63)]),
        (pl.col("d").sum(), "d", [Decimal("9" * 38), Decimal(1)]),
        (pl.col("h").sum(), "h", [2**127 - 1, 1]),
        (pl.col("h").sum(), "h", [2**127 - 1] * 5),
        (pl.col("y").sum().cast(pl.Int32) + 1, "y", [2**31]),
    ],
)
def test_a_sum_that_does_not_fit_is_an_error_that_names_it(
    expr: pl.Expr, column: str, values: list[Any]
) -> None:
    state = state_of(expr.alias("total"), column, values)
    with pytest.raises(DataError, match="agg: the value of 'total' cannot be computed as"):
        state.results(np.array([0]))


@pytest.mark.parametrize(
    ("expr", "column", "values", "expected"),
    [
        (pl.col("x").sum().cast(pl.Int64), "x", [2**31 - 1, 1, 1], 2**31 + 1),
        (pl.col("y").sum().cast(pl.Int128), "y", [2**63 - 1] * 4, 4 * (2**63 - 1)),
        (pl.col("y").sum().cast(pl.Int128), "y", [-(2**63)] * 3, -3 * 2**63),
        (pl.col("y").sum().cast(pl.Float64), "y", [2**62] * 4, 2.0**64),
        (pl.col("y").sum(), "y", [2**63 - 1, 2**63 - 1, 1 - 2**63, -(2**63)], -1 + 0),
        (pl.col("y").mean(), "y", [2**62] * 8, 2.0**62),
        (pl.col("h").sum(), "h", [2**126, 2**126 - 1, -(2**127)], -1),
        (pl.col("d").sum(), "d", [Decimal("9" * 38), Decimal(-1)], Decimal("9" * 37 + "8")),
        (pl.len().cast(pl.UInt64), "y", [1, 2], 2),
    ],
)
def test_sums_are_exact_to_128_bits(expr: pl.Expr, column: str, values: list[Any], expected: Any) -> None:
    assert state_of(expr, column, values).results(np.array([0])).item() == expected


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(-(2**63), 2**63 - 1)), min_size=1), st.data())
def test_wide_sums_survive_merging_and_retraction(drawn: list[tuple[int, int]], data: st.DataObject) -> None:
    wanted = split(pl.col("y").sum().cast(pl.Int128), schema=SMALL)
    groups = np.array([group for group, _ in drawn])
    rows = wanted.prepare(pl.DataFrame({"y": [value for _, value in drawn]}, schema={"y": pl.Int64()}))
    middle = data.draw(st.integers(0, len(drawn)))
    left, right = (AggregateState(wanted, retractable=True) for _ in range(2))
    left.add(groups[:middle], rows[:middle])
    right.add(groups[middle:], rows[middle:])
    left.add_partials(np.arange(3), right.partials(np.arange(3)))
    gone = data.draw(st.integers(0, len(drawn)))
    left.add(groups[:gone], rows[:gone], np.full(gone, -1))
    expected = [sum(value for group, value in drawn[gone:] if group == each) for each in range(3)]
    assert left.results(np.arange(3)).to_series().to_list() == expected


# Floats that are taken back.

FLOATS = pl.Schema({"f": pl.Float64()})


def sums(values: list[float], weights: list[int]) -> tuple[float, ...]:
    f = pl.col("f")
    wanted = split(f.sum().alias("sum"), f.mean().alias("mean"), f.var(ddof=0).alias("var"), schema=FLOATS)
    state = AggregateState(wanted, retractable=True)
    rows = wanted.prepare(pl.DataFrame({"f": values}, schema=FLOATS))
    state.add(np.zeros(len(values), np.int64), rows, np.array(weights))
    result: tuple[float, ...] = state.results(np.array([0])).row(0)
    return result


def test_small_floats_survive_large_ones() -> None:
    assert sums([1e16, 1.0, 1e16], [1, 1, -1]) == (1.0, 1.0, 0.0)
    assert sums([1e308, 1e308, 5.0, 1e308, 1e308], [1, 1, 1, -1, -1])[:2] == (5.0, 5.0)
    assert sums([1e9, 1.0, 3.0, 1e9], [1, 1, 1, -1]) == (4.0, 2.0, 1.0)


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_can_be_taken_back(odd: float) -> None:
    assert sums([odd, 1.0, 3.0, odd], [1, 1, 1, -1]) == (4.0, 2.0, 1.0)
    of_odd = sums([odd, 1.0], [1, 1])
    assert str(of_odd[0]) == str(odd + 1)
    assert str(of_odd[2]) == "nan"


def test_infinities_of_both_signs_sum_to_nothing() -> None:
    up, down = float("inf"), float("-inf")
    assert str(sums([up, down], [1, 1])[0]) == "nan"
    assert sums([up, down, down], [1, 1, -1])[0] == up


@given(
    st.lists(st.floats(-1e200, 1e200), min_size=1, max_size=40),
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40),
)
def test_precise_sums_have_nothing_of_what_was_taken_back(gone: list[float], left: list[float]) -> None:
    """Exact up to what 106 bits hold of the largest sum on the way."""
    small = [value for value in gone if abs(value) < 1e12]
    got = sums([*small, *left, *small], [1] * len(small) + [1] * len(left) + [-1] * len(small))
    expected = pl.Series(left)
    assert got[0] == pytest.approx(float(sum(map(Decimal, left))), rel=1e-12, abs=1e-9)
    assert got[2] == pytest.approx(expected.var(ddof=0), rel=1e-9, abs=1e-6)
