"""The state of aggregations against Polars over all rows at once."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from streame.core.aggregates import Aggregation, split_aggregates
from streame.core.expressions import parse_exprs
from streame.core.positions import POSITION_DTYPE
from streame.errors import DataError
from streame.state.aggregates import AggregateState
from tests.core.aggregate_table import KEPT, SCHEMA, SPLIT
from tests.core.aggregate_values import rows
from tests.examples import examples

GROUPS = 4
TABLE = {**SPLIT, **KEPT}


def split(*exprs: pl.Expr, schema: Any = SCHEMA) -> Aggregation:
    schema = pl.Schema(schema)
    return split_aggregates(parse_exprs(exprs, {}, schema, where="agg"), schema, where="agg")


def numbered(names: list[str]) -> list[pl.Expr]:
    return [TABLE[name].alias(f"result {i}") for i, name in enumerate(names)]


def polars(frame: pl.DataFrame, exprs: list[pl.Expr], order: list[str]) -> pl.DataFrame:
    return frame.sort(order, maintain_order=True).group_by("g", maintain_order=True).agg(exprs)


def assert_same(got: pl.DataFrame, expected: pl.DataFrame) -> None:
    """Floats differ in their last bits with the order in which they are added."""
    narrow = {pl.Float32, pl.Float16}
    names = [name for name, dtype in expected.schema.items() if dtype in narrow]
    assert_frame_equal(got.select(names), expected.select(names), rel_tol=1e-3)
    assert_frame_equal(got.drop(names), expected.drop(names), rel_tol=1e-9, abs_tol=1e-6)


def cut(data: st.DataObject, frame: pl.DataFrame) -> list[pl.DataFrame]:
    places = sorted(data.draw(st.lists(st.integers(0, frame.height), max_size=3)))
    return [frame[a:b] for a, b in zip([0, *places], [*places, frame.height], strict=True)]


def add(state: AggregateState, wanted: Aggregation, frame: pl.DataFrame, weight: int = 1) -> None:
    weights = None if weight == 1 else np.full(frame.height, weight)
    state.add(frame["g"].to_numpy(), wanted.prepare(frame, frame["t"]), weights)


def merged(data: st.DataObject, wanted: Aggregation, states: list[AggregateState]) -> AggregateState:
    """One state of several, neighbours merged in any order, by values or by rows."""
    while len(states) > 1:
        at = data.draw(st.integers(0, len(states) - 2))
        left, right = states[at : at + 2]
        if right.has_partials and data.draw(st.booleans()):
            groups = np.flatnonzero(right.counts(np.arange(GROUPS)))
            left.add_partials(groups, right.partials(groups))
        else:
            left.absorb(right, np.arange(GROUPS))
        states = [*states[:at], left, *states[at + 2 :]]
    return states[0]


@settings(max_examples=examples(40))
@given(st.data())
def test_any_cut_and_any_merge_gives_what_polars_gives(data: st.DataObject) -> None:
    exprs = numbered(data.draw(st.lists(st.sampled_from(sorted(TABLE)), min_size=1, max_size=6)))
    wanted = split(*exprs)
    frame = data.draw(rows(name for expr in exprs for name in expr.meta.root_names()))
    states = [AggregateState(wanted)]
    for piece in cut(data, frame):
        if data.draw(st.booleans()):
            states.append(AggregateState(wanted))
        add(states[-1], wanted, piece)
    state = merged(data, wanted, states)
    expected = polars(frame, exprs, ["t"])
    assert_same(state.results(expected["g"].to_numpy()), expected.drop("g"))
    counts = frame.group_by("g").len().sort("g")
    assert state.counts(counts["g"].to_numpy()).tolist() == counts["len"].to_list()


@settings(max_examples=examples(40))
@given(st.data())
def test_rows_taken_back_were_never_there(data: st.DataObject) -> None:
    exprs = numbered(data.draw(st.lists(st.sampled_from(sorted(TABLE)), min_size=1, max_size=6)))
    wanted = split(*exprs)
    frame = data.draw(rows(name for expr in exprs for name in expr.meta.root_names()))
    # Rows that are taken back leave no order of arrival behind, so every time is another.
    times = data.draw(st.permutations(range(frame.height)))
    frame = frame.with_columns(pl.Series("t", times, dtype=pl.Int64))
    stays = pl.Series(data.draw(st.lists(st.booleans(), min_size=frame.height, max_size=frame.height)))
    states = [AggregateState(wanted, retractable=True)]
    for piece in cut(data, frame):
        if data.draw(st.booleans()):
            states.append(AggregateState(wanted, retractable=True))
        add(states[-1], wanted, piece)
    state = merged(data, wanted, states)
    for piece in cut(data, frame.filter(~stays)):
        state.results(np.arange(GROUPS))
        add(state, wanted, piece, weight=-1)
    expected = polars(frame.filter(stays), exprs, ["t"])
    assert_same(state.results(expected["g"].to_numpy()), expected.drop("g"))
    assert state.counts(np.arange(GROUPS)).sum() == stays.sum()


def test_a_group_without_rows_has_the_results_of_no_rows() -> None:
    exprs = numbered(sorted({*SPLIT, "median", "bare column", "literal", "min of lists"}))
    wanted = split(*exprs)
    data = {name: [None] for name in wanted.columns}
    frame = pl.DataFrame({**data, "t": [1], "g": [2]}, schema_overrides=SCHEMA)
    never, emptied = AggregateState(wanted), AggregateState(wanted, retractable=True)
    add(never, wanted, frame)
    add(emptied, wanted, frame.with_columns(g=0))
    add(emptied, wanted, frame.with_columns(g=0), weight=-1)
    of_none = never.results(np.array([0]))
    assert_same(emptied.results(np.array([0])), of_none)
    assert_same(never.results(np.array([7, 1])), pl.concat([of_none, of_none]))
    row = dict(
        zip(sorted({*SPLIT, "median", "bare column", "literal", "min of lists"}), of_none.row(0), strict=True)
    )
    assert (row["sum of i"], row["rows"], row["any"], row["all"]) == (0, 0, False, True)
    assert (row["n_unique of s"], row["max of s"], row["mean of f"], row["bare column"]) == (
        0,
        None,
        None,
        [],
    )


def test_results_come_in_the_order_asked_for_and_as_often() -> None:
    wanted = split(pl.len(), pl.col("i").median(), schema={"i": pl.Int64()})
    state = AggregateState(wanted)
    state.add(np.array([3, 0, 3]), wanted.prepare(pl.DataFrame({"i": [1, 2, 4]})))
    assert state.results(np.array([0, 3, 3, 0])).rows() == [(1, 2.0), (2, 2.5), (2, 2.5), (1, 2.0)]
    assert state.results(np.array([], np.int64)).schema == wanted.outputs


# Order.

TIMED = pl.Schema({"t": pl.Int64(), "v": pl.Int64()})


def positioned(split_names: list[str], offsets: list[int]) -> pl.Series:
    pairs = zip(split_names, offsets, strict=True)
    values = [{"source": "orders", "split": name, "offset": offset} for name, offset in pairs]
    return pl.Series("__position", values, dtype=POSITION_DTYPE)


@given(st.data())
def test_ties_are_in_the_order_of_positions_whatever_comes_first(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 20))
    frame = pl.DataFrame(
        {
            "t": data.draw(st.lists(st.integers(0, 2), min_size=count, max_size=count)),
            "v": range(count),
            "g": data.draw(st.lists(st.integers(0, 1), min_size=count, max_size=count)),
            "__position": positioned(
                data.draw(st.lists(st.sampled_from(["a", "b", "c"]), min_size=count, max_size=count)),
                data.draw(st.permutations(range(count))),
            ),
        },
    )
    v = pl.col("v")
    exprs = [
        v.first().alias("first"),
        v.last().alias("last"),
        v.implode().alias("all"),
        v.filter(v > 3).last(),
    ]
    wanted = split(*exprs, schema=TIMED)
    retractable = data.draw(st.booleans())
    states = [AggregateState(wanted, retractable=retractable) for _ in range(2)]
    for piece in cut(data, frame):
        add(data.draw(st.sampled_from(states)), wanted, piece)
    states[0].absorb(states[1], np.arange(2))
    by_position = [pl.col("__position").struct.field(name) for name in ("split", "offset")]
    ordered = frame.sort("t", *by_position)
    expected = ordered.group_by("g", maintain_order=True).agg(exprs)
    assert_frame_equal(states[0].results(expected["g"].to_numpy()), expected.drop("g"))


@pytest.mark.parametrize("time", [-(2**63), 2**63 - 1])
def test_the_first_and_the_last_time_of_all_are_times(time: int) -> None:
    v = pl.col("v")
    wanted = split(v.first().alias("first"), v.last().alias("last"), schema=TIMED)
    state, other = AggregateState(wanted), AggregateState(wanted)
    frame = pl.DataFrame({"t": [time, time], "v": [1, 2]}, schema=TIMED)
    state.add(np.zeros(2, np.int64), wanted.prepare(frame, frame["t"]))
    other.add_partials(np.array([0]), state.partials(np.array([0])))
    assert other.results(np.array([0])).rows() == [(1, 2)]


def test_without_positions_ties_are_in_order_of_arrival() -> None:
    v = pl.col("v")
    wanted = split(v.first().alias("first"), v.last().alias("last"), v.implode().alias("all"), schema=TIMED)
    state = AggregateState(wanted)
    for values in ([3, 1], [2]):
        frame = pl.DataFrame({"t": [7] * len(values), "v": values}, schema=TIMED)
        state.add(np.zeros(len(values), np.int64), wanted.prepare(frame, frame["t"]))
    assert state.results(np.array([0])).row(0) == (3, 2, [3, 1, 2])


def test_ties_of_rows_that_may_be_taken_back_are_in_the_order_of_values() -> None:
    v = pl.col("v")
    wanted = split(v.first().alias("first"), v.last().alias("last"), v.implode().alias("all"), schema=TIMED)
    state = AggregateState(wanted, retractable=True)
    for values in ([3, 1], [2]):
        frame = pl.DataFrame({"t": [7] * len(values), "v": values}, schema=TIMED)
        state.add(np.zeros(len(values), np.int64), wanted.prepare(frame, frame["t"]))
    assert state.results(np.array([0])).row(0) == (1, 3, [1, 2, 3])


# Size.


def test_a_hundred_thousand_rows_in_one_group_and_in_as_many() -> None:
    rng = np.random.default_rng(0)
    count = 100_000
    schema = pl.Schema({"t": pl.Int64(), "i": pl.Int64(), "f": pl.Float64(), "s": pl.String()})
    frame = pl.DataFrame(
        {
            "t": rng.integers(0, 1000, count),
            "i": rng.integers(-(2**40), 2**40, count),
            "f": 1e6 + rng.random(count),
            "s": [f"text {number}" for number in rng.integers(0, 1000, count)],
        }
    )
    names = ["sum of i", "max of s", "var of f", "last of s", "n_unique of s", "median", "first of f", "rows"]
    exprs = numbered(names)
    wanted = split(*exprs, schema=schema)
    for groups in (np.zeros(count, np.int64), rng.permutation(count), rng.integers(0, 5000, count)):
        state = AggregateState(wanted)
        keyed = frame.with_columns(pl.Series("g", groups))
        for start in range(0, count, 30_000):
            add(state, wanted, keyed[start : start + 30_000])
        expected = polars(keyed, exprs, ["t"])
        assert_same(state.results(expected["g"].to_numpy()), expected.drop("g"))
        some = expected[::1000]
        assert_same(state.results(some["g"].to_numpy()), some.drop("g"))


def test_few_groups_are_found_among_many_rows_that_are_taken_back() -> None:
    wanted = split(pl.col("f").median(), pl.col("s").max(), schema={"f": pl.Float64(), "s": pl.String()})
    state = AggregateState(wanted, retractable=True)
    rng = np.random.default_rng(0)
    count = 100_000
    frame = pl.DataFrame({"f": rng.random(count), "s": [str(number) for number in range(count)]})
    groups = rng.integers(0, 10_000, count)
    rows = wanted.prepare(frame)
    state.add(groups, rows)
    gone = np.flatnonzero(rng.random(count) < 0.9)
    state.add(groups[gone], rows[gone], np.full(len(gone), -1))
    keyed = frame.with_columns(pl.Series("g", groups)).filter(~pl.int_range(pl.len()).is_in(gone.tolist()))
    expected = keyed.group_by("g").agg(pl.col("f").median(), pl.col("s").max()).head(20)
    assert_frame_equal(state.results(expected["g"].to_numpy()), expected.drop("g"))
    held = state.size()
    assert held.rows < 2 * 2 * keyed.height


def test_the_size_grows_with_what_is_kept() -> None:
    wanted = split(pl.col("s").n_unique(), pl.col("f").sum(), schema=SCHEMA)
    state = AggregateState(wanted)
    before = state.size()
    frame = pl.DataFrame(
        {"s": [str(number) for number in range(5000)], "f": [0.5] * 5000}, schema_overrides=SCHEMA
    )
    state.add(np.zeros(5000, np.int64), wanted.prepare(frame))
    assert state.size().rows == 5000
    assert state.size().bytes > before.bytes + 5000 * 4


def test_a_result_that_polars_cannot_compute_is_an_error_that_names_it() -> None:
    wanted = split(pl.col("s").sort().first().cast(pl.Int64).alias("number"), schema=SCHEMA)
    state = AggregateState(wanted)
    frame = pl.DataFrame({"s": ["no number"]})
    state.add(np.zeros(1, np.int64), wanted.prepare(frame))
    with pytest.raises(DataError, match="agg: the value of 'number' cannot be computed as Int64"):
        state.results(np.array([0]))
