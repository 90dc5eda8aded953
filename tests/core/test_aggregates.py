"""What an aggregation comes apart into."""

from functools import cache

import polars as pl
import pytest

from streame.core.aggregates import Aggregation, Total, split_aggregates
from streame.core.expressions import parse_exprs
from streame.errors import PlanError
from tests.core.aggregate_table import KEPT, SCHEMA, SPLIT


def split(*exprs: pl.Expr, schema: pl.Schema = SCHEMA) -> Aggregation:
    return split_aggregates(parse_exprs(exprs, {}, schema, where="agg"), schema, where="agg")


TABLE = {**SPLIT, **KEPT}


@cache
def named(name: str) -> Aggregation:
    return split(TABLE[name])


@pytest.mark.parametrize("name", SPLIT)
def test_known_aggregations_keep_no_rows(name: str) -> None:
    assert named(name).kept == ()


@pytest.mark.parametrize("name", KEPT)
def test_other_aggregations_keep_their_rows(name: str) -> None:
    aggregation = named(name)
    assert aggregation.kept == tuple(aggregation.outputs)
    assert not aggregation.has_partials


@pytest.mark.parametrize("name", TABLE)
def test_names_and_dtypes_are_those_of_polars(name: str) -> None:
    grouped = pl.LazyFrame(schema={**SCHEMA, "k": pl.Int8()}).group_by("k").agg(TABLE[name])
    assert [*named(name).outputs.items()] == [*grouped.collect_schema().items()][1:]


def test_a_selector_gives_one_result_for_each_column() -> None:
    schema = pl.Schema({"a": pl.Int64(), "b": pl.Float32(), "s": pl.String()})
    aggregation = split(pl.selectors.numeric().sum(), pl.len(), schema=schema)
    assert aggregation.outputs == pl.Schema({"a": pl.Int64(), "b": pl.Float32(), "len": pl.UInt32()})
    assert aggregation.columns == {"a", "b"}


def test_equal_parts_are_kept_once() -> None:
    amount = pl.col("f") * pl.col("i")
    aggregation = split(
        amount.sum().alias("sum"), amount.mean().alias("mean"), (amount.sum() / pl.len()).alias("per row")
    )
    assert sum(isinstance(each, Total) for each in aggregation.accumulators) == 1
    assert len(aggregation.prepared) == 1


def test_one_result_that_keeps_rows_does_not_make_the_others_keep_them() -> None:
    aggregation = split(pl.col("i").max(), pl.col("f").median(), pl.col("s").first())
    assert aggregation.kept == ("f",)
    assert aggregation.rowful_columns == ("f",)


def test_only_what_is_read_is_asked_for() -> None:
    aggregation = split(pl.col("i").sum(), pl.col("f").filter(pl.col("m")).mean(), pl.col("s").sort())
    assert aggregation.columns == {"i", "f", "m", "s"}
    assert split(pl.len()).columns == set()


@pytest.mark.parametrize(
    ("expr", "needs_order"),
    [
        (pl.len(), False),
        (pl.col("i").sum(), False),
        (pl.col("i").first(), True),
        (pl.col("i").last() - pl.col("i").max(), True),
        (pl.col("f").median(), False),
        (pl.col("f").quantile(0.9) - pl.col("f").filter("m").median(), False),
        (pl.col("f").head(2), True),
        (pl.col("f"), True),
    ],
)
def test_order_is_asked_for_only_where_it_matters(expr: pl.Expr, *, needs_order: bool) -> None:
    assert split(expr).needs_order is needs_order


def test_prepared_columns_need_no_copy_where_they_are_columns_of_the_input() -> None:
    frame = pl.DataFrame({"i": [1, 2]}, schema_overrides=SCHEMA)
    prepared = split(pl.col("i").sum(), pl.col("i").max().alias("max")).prepare(frame, pl.Series([5, 6]))
    assert prepared.equals(frame)


def test_a_row_alone_is_prepared_as_among_others() -> None:
    expr, schema = (pl.col("f") / 3).sum(), pl.Schema({"f": pl.Float64()})
    frame = pl.DataFrame({"f": [float(number) for number in range(1000)]}, schema=schema)
    aggregation = split(expr, schema=schema)
    together = aggregation.prepare(frame)
    assert pl.concat([aggregation.prepare(frame[i : i + 1]) for i in range(1000)]).equals(together)


def test_an_unknown_column_is_refused() -> None:
    good = parse_exprs([pl.col("i").sum()], {}, SCHEMA, where="agg")
    with pytest.raises(PlanError, match=r"agg: column 'i' does not exist; did you mean 'ii'\?"):
        split_aggregates(good, pl.Schema({"ii": pl.Int64()}), where="agg")


def test_an_impossible_aggregate_is_refused() -> None:
    named = parse_exprs([pl.col("i").sum()], {}, SCHEMA, where="agg")
    with pytest.raises(PlanError, match=r"agg: col\(\"i\"\).sum\(\) cannot be computed"):
        split_aggregates(named, pl.Schema({"i": pl.String()}), where="agg")


def test_random_values_are_refused() -> None:
    with pytest.raises(PlanError, match=r"agg: .* is refused: it draws random values"):
        split(pl.col("i").sample(1).first())
