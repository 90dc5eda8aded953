"""Group by that is stopped and goes on: every kind of aggregate, whenever results are said."""

from functools import partial
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hs

from streame.core.aggregate_arguments import parse_aggregates
from streame.core.aggregates import split_aggregates
from streame.runtime.letters import RefusalPolicy
from streame.runtime.operators.group_by import GroupByOperator
from streame.runtime.preparation import Preparation
from tests.examples import examples
from tests.runtime.resuming import check_rescaled, check_resumed
from tests.runtime.streams import SCHEMA, Numbers, stream

KEY = pl.Schema({"user": pl.String(), "odd": pl.Boolean()})
user, qty, price, item, tags = (pl.col(name) for name in ("user", "qty", "price", "item", "tags"))


AGGREGATES: dict[str, dict[str, Any]] = {
    "plain": {"n": pl.len(), "nulls": qty.null_count(), "sum": qty.cast(pl.Int128).sum(), "all": pl.col("odd").all()},
    "floats": {"sum": price.sum(), "mean": price.mean(), "var": price.var()},
    "extremes": {"low": qty.min(), "high": price.max(), "item": item.max(), "nan": price.nan_max()},
    "edges": {"first": qty.first(), "last": item.last(), "tags": tags.last(ignore_nulls=True)},
    "distinct": {"items": item.n_unique(), "qtys": qty.filter(qty > 1).n_unique()},
    "rows": {"median": qty.cast(pl.Int32, strict=False).median(), "qtys": qty.sort(), "items": item},
    "own": {"n": pl.len(), "qtys": Numbers("qty")},
}  # fmt: skip


def grouped(aggregates: dict[str, Any], *, emission: Any, retractable: bool) -> GroupByOperator:
    exprs = parse_aggregates([], aggregates, SCHEMA, (), where="agg")
    aggregation = split_aggregates(exprs, SCHEMA, where="agg", taken_back=retractable)
    return GroupByOperator(
        keys=["user", "odd"],
        key_schema=pl.Schema({"who": KEY["user"], "odd": KEY["odd"]}),
        aggregation=aggregation,
        preparation=Preparation(aggregation, None, RefusalPolicy("dead_letter", ["s"])),
        retractable=retractable,
        emission=emission,
    )


@pytest.mark.parametrize("kind", AGGREGATES)
@settings(max_examples=examples(8))
@given(
    seed=hs.integers(0, 2**32),
    emission=hs.sampled_from(["changes", "on_close", 5_000_000]),
    retractable=hs.booleans(),
    positions=hs.booleans(),
)
def test_groups_go_on(kind: str, seed: int, emission: Any, retractable: bool, positions: bool) -> None:
    make = partial(grouped, AGGREGATES[kind], emission=emission, retractable=retractable)
    steps = stream(Random(seed), timed=False, positions=positions, weights=retractable)
    check_resumed(make, steps, Random(seed))
    check_rescaled(make, [KEY], steps, Random(seed))
