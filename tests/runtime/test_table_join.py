"""The table join against Polars' own, and its small print."""

import math
from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from streame.core.messages import Positions
from streame.runtime.operators.table_join import STREAM, TABLE, TableJoinOperator
from tests.examples import examples
from tests.runtime.joining import SCHEMA, SECOND_US, Bench, How, numbered, two_key_operator


def right_outputs(
    stream: pl.DataFrame, table: pl.DataFrame, right_on: Sequence[str]
) -> tuple[tuple[str, str], ...]:
    names = [name for name in table.columns if name not in right_on]
    return tuple((name, f"{name}_right" if name in stream.columns else name) for name in names)


NAN = math.nan
TEXTS = st.sampled_from(["a", "b", "c", "dddddddddddddddddddd", "", None])
SMALL = st.one_of(st.none(), st.integers(-3, 3))
FLOATS = st.sampled_from([0.0, -0.0, NAN, -NAN, 1.5, 0.1, None])
KEYS: dict[str, tuple[tuple[Any, ...], tuple[Any, ...], tuple[st.SearchStrategy[Any], ...]]] = {
    "text": ((pl.String,), (pl.String,), (TEXTS,)),
    "dictionary": ((pl.Categorical,), (pl.Categorical,), (TEXTS,)),
    "integer": ((pl.Int64,), (pl.Int64,), (SMALL,)),
    "narrower table": ((pl.Int64,), (pl.Int8,), (st.one_of(SMALL, st.integers(-300, 300)),)),
    "wider table": ((pl.Int8,), (pl.Int64,), (SMALL,)),
    "unsigned table": ((pl.Int64,), (pl.UInt64,), (SMALL,)),
    "float": ((pl.Float64,), (pl.Float64,), (FLOATS,)),
    "narrower float": ((pl.Float64,), (pl.Float32,), (FLOATS,)),
    "composite": (
        (pl.String, pl.Int32, pl.Float64),
        (pl.String, pl.Int32, pl.Float64),
        (TEXTS, SMALL, FLOATS),
    ),
}


def frame_of(rows: list[tuple[Any, ...]], names: list[str], dtypes: Sequence[Any]) -> pl.DataFrame:
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    wide = {pl.Int8: pl.Int64, pl.UInt64: pl.Int64, pl.Float32: pl.Float64}
    series = [
        pl.Series(name, column, dtype=wide.get(dtype, dtype)).cast(dtype, strict=False)
        for name, column, dtype in zip(names, columns, dtypes, strict=True)
    ]
    return pl.DataFrame(series)


@pytest.mark.parametrize("kind", KEYS)
@settings(max_examples=examples(25))
@given(data=st.data())
def test_a_bounded_table_joins_as_polars_does(kind: str, data: st.DataObject) -> None:
    left_dtypes, right_dtypes, values = KEYS[kind]
    left_on = [f"l{n}" for n in range(len(values))]
    right_on = [f"r{n}" for n in range(len(values))]
    rows = st.lists(st.tuples(*values), max_size=20)
    stream = frame_of(data.draw(rows), left_on, left_dtypes).with_row_index("n")
    table = frame_of(data.draw(rows), right_on, right_dtypes).with_row_index("n")
    table = table.with_columns(name=pl.format("row number {}", "n"))
    how: How = data.draw(st.sampled_from(["inner", "left"]))
    nulls_equal = data.draw(st.booleans())
    bench = Bench(
        TableJoinOperator(
            left_on=left_on,
            right_on=right_on,
            how=how,
            right_outputs=right_outputs(stream, table, right_on),
            table_schema=table.schema,
            nulls_equal=nulls_equal,
            wait=data.draw(st.sampled_from([0, SECOND_US, None])),
            table_is_bounded=True,
        )
    )
    assert bench.held == {STREAM}
    for part in cut(table, data.draw(st.integers(1, 9))):
        bench.table(part)
    bench.end(TABLE)
    assert not bench.held
    for part in cut(stream, data.draw(st.integers(1, 9))):
        bench.stream(part)
    bench.end(STREAM)
    assert bench.operator.finished
    assert bench.timer_us is None
    expected = oracle(stream, table, left_on, right_on, how, nulls_equal=nulls_equal)
    got = pl.concat([expected.clear(), *(batch.frame for batch in bench.out.batches)])
    assert_frame_equal(got, expected, check_exact=True)


def oracle(
    stream: pl.DataFrame,
    table: pl.DataFrame,
    left_on: list[str],
    right_on: list[str],
    how: How,
    *,
    nulls_equal: bool,
) -> pl.DataFrame:
    # With a single key that both sides know to be sorted, Polars loses the matches of NaN; a second key that
    # is always equal keeps it from that path.
    same = pl.lit(0).alias("same")
    latest = table.unique(right_on, keep="last", maintain_order=True)
    joined = stream.with_columns(same).join(
        latest.with_columns(same),
        left_on=[*left_on, "same"],
        right_on=[*right_on, "same"],
        how=how,
        nulls_equal=nulls_equal,
        maintain_order="left",
    )
    return joined.drop("same")


def cut(frame: pl.DataFrame, size: int) -> list[pl.DataFrame]:
    return list(frame.iter_slices(size)) if frame.height else [frame]


def test_the_stream_ends_and_its_last_rows_wait_on() -> None:
    bench = Bench(two_key_operator("left", 10 * SECOND_US))
    bench.stream(numbered("x", "y"))
    bench.end(STREAM)
    assert not bench.operator.finished
    bench.advance(9)
    bench.table(numbered("x"))
    assert bench.out.rows == [("x", 0, 0, 0)]
    assert not bench.operator.finished
    bench.advance(1)
    bench.fire()
    assert bench.out.rows[1:] == [("y", 0, 1, None)]
    assert bench.operator.finished


def test_nothing_keeps_an_ended_stream_from_finishing() -> None:
    bench = Bench(two_key_operator("inner", None))
    bench.stream(numbered("x"))
    bench.table(numbered("x"))
    bench.end(STREAM)
    assert bench.operator.finished


def test_null_keys_do_not_wait() -> None:
    bench = Bench(two_key_operator("left", None))
    bench.stream(numbered("x", None))
    assert bench.out.rows == [(None, 0, 1, None)]


def test_a_waiting_row_meets_the_first_row_that_comes() -> None:
    bench = Bench(two_key_operator("inner", None))
    bench.stream(numbered("x"))
    bench.table(numbered("y", "x", "x"))
    bench.stream(numbered("x"))
    assert [row[-1] for row in bench.out.rows] == [1, 2]


@pytest.mark.parametrize(
    ("how", "keys", "kept"), [("left", "xy", True), ("inner", "xx", True), ("inner", "xy", False)]
)
def test_positions_stay_while_all_rows_do(how: How, keys: str, kept: bool) -> None:
    bench = Bench(two_key_operator(how, 0))
    bench.table(numbered("x"))
    positions = Positions("source", "split", lambda: pl.Series([1, 2]).to_numpy())
    bench.stream(numbered(*keys), positions)
    assert [batch.positions for batch in bench.out.batches] == [positions if kept else None]


def test_positions_go_where_a_row_waits() -> None:
    bench = Bench(two_key_operator("left", None))
    bench.table(numbered("x"))
    bench.stream(numbered("x", "y"), Positions("source", "split", lambda: pl.Series([1, 2]).to_numpy()))
    assert [(batch.frame.height, batch.positions) for batch in bench.out.batches] == [(1, None)]


def test_a_hidden_column_travels_with_its_row() -> None:
    bench = Bench(two_key_operator("left", SECOND_US))
    hidden = pl.Series("__position", [{"offset": 7}, {"offset": 8}])
    bench.stream(numbered("x", "y").hstack([hidden]))
    bench.table(numbered("y"))
    bench.end(TABLE)
    assert bench.out.rows == [("y", 0, 1, {"offset": 8}, 0), ("x", 0, 0, {"offset": 7}, None)]


def test_a_table_of_keys_only_keeps_the_matching_rows() -> None:
    operator = TableJoinOperator(
        left_on=("a", "b"), right_on=("a", "b"), how="inner", right_outputs=(), table_schema=SCHEMA
    )
    bench = Bench(operator)
    bench.table(numbered("x"))
    bench.stream(numbered("x", "y"))
    assert bench.out.rows == [("x", 0, 0)]


@pytest.mark.parametrize("how", ["inner", "left"])
def test_nothing_comes_of_nothing(how: How) -> None:
    bench = Bench(two_key_operator(how, SECOND_US))
    bench.stream(numbered())
    bench.table(numbered())
    bench.stream(numbered("x"))
    bench.table(numbered("y"))
    assert bench.out.batches == []


def test_many_rows_that_stop_waiting_leave_in_usual_batches() -> None:
    bench = Bench(two_key_operator("left", SECOND_US))
    for _ in range(2):
        bench.stream(numbered(*["x"] * 60_000))
    bench.advance(1)
    bench.fire()
    assert [batch.frame.height for batch in bench.out.batches] == [65_536, 54_464]


def test_a_column_may_be_used_twice() -> None:
    operator = TableJoinOperator(
        left_on=("b", "n"),
        right_on=("n", "n"),
        how="inner",
        right_outputs=(("a", "name"),),
        table_schema=SCHEMA,
    )
    bench = Bench(operator)
    bench.table(numbered("x", "y"))
    bench.stream(numbered("p", "q"))
    assert bench.out.rows == [("p", 0, 0, "x")]
