"""A user's own aggregates: what they are called with, how they are named, and what is refused."""

from typing import Any

import numpy as np
import polars as pl
import pytest

import streame as st
from streame.core.aggregate_arguments import parse_aggregates
from streame.core.aggregates import split_aggregates
from streame.errors import PlanError
from streame.state.aggregates import AggregateState

SCHEMA = pl.Schema({"k": pl.Int64(), "v": pl.Int64(), "w": pl.String()})


class Total(st.Aggregate):
    """A sum, that remembers how it was called."""

    dtype: Any = pl.Int64

    def create(self) -> Any:
        return 0

    def add(self, state: Any, *columns: pl.Series) -> Any:
        assert all(len(column) for column in columns)
        return state + sum(int(column.sum()) for column in columns)

    def merge(self, state: Any, other: Any) -> Any:
        return state + other

    def finish(self, state: Any) -> Any:
        return state

    def retract(self, state: Any, *columns: pl.Series) -> Any:
        """Take rows back."""
        return state - sum(int(column.sum()) for column in columns)


class Names(Total):
    """The names of the columns."""

    dtype = pl.String

    def create(self) -> Any:
        return ""

    def add(self, state: Any, *columns: pl.Series) -> Any:
        return ",".join(column.name for column in columns)


class Untyped(Total):
    """It does not say what it returns."""

    dtype: Any

    def output_dtype(self, *dtypes: pl.DataType) -> Any:
        return self.nothing  # type: ignore[attr-defined]


class Unkept(Total):
    """A state that has no encoding."""

    def create(self) -> Any:
        return object()


class Silent(Total):
    """It forgets about its columns."""

    def __init__(self) -> None:
        pass


def parsed(*aggs: Any, **named: Any) -> Any:
    """The outputs of an `agg`."""
    return parse_aggregates(aggs, named, SCHEMA, ["k"], where="agg")


def test_names_are_those_of_the_column_the_alias_or_the_keyword() -> None:
    found = parsed(
        "v", Total(pl.col("v") * 2).alias("twice"), Total("v", "k").alias("both"), one=Total("v"), n=pl.len()
    )
    assert [each.name for each in found] == ["v", "twice", "both", "one", "n"]
    assert [each.dtype for each in found[1:4]] == [pl.Int64()] * 3
    assert found[2].roots == {"v", "k"}
    assert found[3].text == 'Total(col("v")), Python once per group and batch'


def test_an_alias_is_a_copy() -> None:
    total = Total("v")
    assert total.alias("other").name == "other"
    assert total.name is None


@pytest.mark.parametrize(
    ("aggregate", "message"),
    [
        (Total("x"), "agg: Total: column 'x' does not exist"),
        (Total(), "agg: Total reads 0 columns"),
        (Silent(), "agg: Silent reads 0 columns"),
        (Total(pl.lit(1)), "agg: Total reads 1 columns"),
        (Total(pl.col("v", "k")), "agg: Total reads 1 columns"),
        (Total(pl.col("v").cum_sum()), r"agg: Total: col\(\"v\"\).cum_sum\(\) is refused"),
        (Total(pl.col("v").drop_nulls()), "agg: Total: "),
        (Untyped("v"), "agg: Untyped: say what finish returns"),
        (Unkept("v"), "agg: Unkept: it cannot be encoded: a object has no encoding"),
    ],
)
def test_what_cannot_be_computed_is_refused(aggregate: st.Aggregate, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        parsed(x=aggregate)


def test_names_that_meet_are_refused() -> None:
    with pytest.raises(PlanError, match="two expressions are named 'v'"):
        parsed("v", Total("v"))
    with pytest.raises(PlanError, match="'k', as a key is"):
        parsed(k=Total("v"))


def state_of(*aggs: Any, taken_back: bool = False, **named: Any) -> AggregateState:
    """An empty state."""
    outputs = parsed(*aggs, **named)
    aggregation = split_aggregates(outputs, SCHEMA, where="agg", taken_back=taken_back)
    assert not aggregation.kept
    assert not aggregation.has_partials
    return AggregateState(aggregation, retractable=taken_back)


def rows(**columns: list[Any]) -> pl.DataFrame:
    """Rows of `SCHEMA`."""
    height = len(next(iter(columns.values())))
    full = {name: columns.get(name, [None] * height) for name in SCHEMA}
    return pl.DataFrame(full, schema=SCHEMA)


def test_columns_come_under_the_names_that_the_user_knows() -> None:
    outputs = parsed(n=Names("w", pl.col("v") * 2, (pl.col("v") + 1).alias("more")))
    aggregation = split_aggregates(outputs, SCHEMA, where="agg")
    state = AggregateState(aggregation)
    state.add(pl.Series([0, 0]).to_numpy(), aggregation.prepare(rows(v=[1, 2])))
    assert state.results(pl.Series([0]).to_numpy())["n"].to_list() == ["w,v,more"]


def test_parts_meet_again() -> None:
    one, other = state_of(t=Total("v")), state_of(t=Total("v"))
    aggregation = split_aggregates(parsed(t=Total("v")), SCHEMA, where="agg")
    one.add(np.array([0, 1, 0]), aggregation.prepare(rows(v=[1, 2, 3])))
    other.add(np.array([1, 2]), aggregation.prepare(rows(v=[10, 20])))
    one.absorb(other, np.array([-1, 0, 3]))
    assert one.results(np.array([0, 1, 2, 3]))["t"].to_list() == [14, 2, 0, 20]
    assert one.size().bytes > 0


def test_rows_are_taken_back() -> None:
    state = state_of(t=Total("v"), taken_back=True)
    aggregation = split_aggregates(parsed(t=Total("v")), SCHEMA, where="agg")
    state.add(np.array([0, 0, 1]), aggregation.prepare(rows(v=[1, 2, 3])), np.array([1, 1, 1]))
    state.add(np.array([0, 1, 0]), aggregation.prepare(rows(v=[1, 3, 5])), np.array([-1, -1, 1]))
    assert state.results(np.array([0, 1]))["t"].to_list() == [7, 0]


def test_without_retract_no_row_is_taken_back() -> None:
    class Adds(st.Aggregate):
        dtype = pl.Int64
        create, add, merge, finish = Total.create, Total.add, Total.merge, Total.finish

    with pytest.raises(PlanError, match="'t' is a Adds: the rows of a changes stream may be taken back"):
        state_of(t=Adds("v"), taken_back=True)
    orders = st.scan_frames([rows(v=[1])])
    with pytest.raises(PlanError, match="give it a method retract"):
        orders.group_by("k").agg(v=pl.col("v").sum()).group_by("k").agg(t=Adds("v"))
