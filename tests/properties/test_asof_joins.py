"""An as-of join is Polars' join_asof of the sorted rows, whatever the keys, the cuts, the order and the disorder."""

import warnings
from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as hst

from streame.testing import strategies
from tests.examples import examples
from tests.properties import two_streams

pytestmark = pytest.mark.timeout(600)

STRATEGIES = ("backward", "forward", "nearest")
TIMES: list[tuple[Any, list[Any]]] = [
    (pl.Datetime("us"), ["0s", "1s", "1s1us", timedelta(seconds=5)]),
    (pl.Datetime("ms", "Europe/Berlin"), ["0s", "1s", "5s"]),
    (pl.Date(), ["0d", "1d", "5d"]),
    (pl.Int64(), [0, 1, 5]),
]
"""Dtypes of event time, and tolerances."""
BY = [[], *([dtype] for dtype in strategies.KEYS), [pl.String(), pl.Int64()], [pl.Float64(), pl.Date()]]


def in_polars(left: pl.DataFrame, right: pl.DataFrame, **settings_of: Any) -> pl.DataFrame:
    """The join as Polars has it, of the rows in the order of their times."""
    left, right = (
        left.sort("at", maintain_order=True),
        right.sort(settings_of["right_on"], maintain_order=True),
    )
    if not left.height or not right.height:
        # Polars panics on some empty sides.
        schema = left.lazy().join_asof(right.lazy(), **settings_of).collect_schema()
        nulls = {name: pl.lit(None, dtype) for name, dtype in schema.items() if name not in left.columns}
        return left.with_columns(**nulls).select(schema.names())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sortedness of columns cannot be checked")
        return left.join_asof(right, **settings_of)


@hst.composite
def settings_of_joins(draw: hst.DrawFn, by: list[Any], tolerances: list[Any]) -> dict[str, Any]:
    """Arguments of `join_asof`."""
    right_time = draw(hst.sampled_from(["at", "when"]))
    arguments: dict[str, Any] = {"left_on": "at", "right_on": right_time}
    arguments |= {
        "strategy": draw(hst.sampled_from(STRATEGIES)),
        "tolerance": draw(hst.sampled_from([None, *tolerances])),
        "allow_exact_matches": draw(hst.booleans()),
        "coalesce": draw(hst.booleans()),
        "suffix": draw(hst.sampled_from(["_right", "!"])),
    }
    if by:
        renamed = draw(hst.booleans())
        arguments["by_left"] = [f"k{number}" for number in range(len(by))]
        arguments["by_right"] = [f"{name}_t" if renamed else name for name in arguments["by_left"]]
    return arguments


@given(hst.data())
@settings(max_examples=examples(80))
def test_an_asof_join_gives_what_polars_gives(data: hst.DataObject) -> None:
    dtype, tolerances = data.draw(hst.sampled_from(TIMES), label="time")
    by = data.draw(hst.sampled_from(BY), label="by")
    arguments = data.draw(settings_of_joins(by, tolerances), label="arguments")
    left_key = dict(zip(arguments.get("by_left", ()), by, strict=True))
    right_key = dict(zip(arguments.get("by_right", ()), by, strict=True))
    left = data.draw(strategies.timed_frames(left_key, {"v": pl.Int64()}, time="at", dtype=dtype, steps=12))
    right = data.draw(
        strategies.timed_frames(
            right_key, {"v": pl.String(), "w": pl.Int8()}, time=arguments["right_on"], dtype=dtype, steps=12
        )
    )
    left = data.draw(two_streams.untimely(left, "at"))
    right = data.draw(two_streams.untimely(right, arguments["right_on"]))
    expected = in_polars(left, right, **arguments)
    sides = (
        two_streams.source(left, "left", "at"),
        two_streams.source(right, "right", arguments["right_on"]),
    )
    joined = sides[0].join_asof(sides[1], **arguments)
    assert joined.schema == expected.schema
    batches = data.draw(two_streams.givens(left, right), label="batches")
    order = data.draw(two_streams.orders(batches), label="order")
    for parallelism in (1, 3):
        note(f"{parallelism=}")
        kept_max = (
            0 if arguments["strategy"] == "forward" else right.select(list(right_key) or pl.lit(0)).n_unique()
        )
        found = two_streams.played(joined, batches, order, parallelism=parallelism, kept_max=kept_max)
        assert two_streams.rows_of(found) == two_streams.rows_of(expected)


@given(hst.data())
@settings(max_examples=examples(24))
def test_rows_of_equal_time_count_in_the_order_of_splits_and_positions(data: hst.DataObject) -> None:
    strategy: Any = data.draw(hst.sampled_from(STRATEGIES), label="strategy")
    schema = {"at": pl.Int64(), "k": pl.String(), "v": pl.Int64()}
    rows = hst.lists(hst.tuples(hst.integers(0, 3), hst.sampled_from("ab"), hst.integers(0, 99)), max_size=8)
    left = pl.DataFrame(sorted(data.draw(rows)), schema=schema, orient="row")
    splits = [pl.DataFrame(sorted(data.draw(rows)), schema=schema, orient="row") for _ in "xy"]
    expected = in_polars(
        left, pl.concat(splits), left_on="at", right_on="at", by_left="k", by_right="k", strategy=strategy
    )
    given_batches: two_streams.Given = {
        "left": [(None, left)],
        "right": [
            (name, batch)
            for name, frame in zip("xy", splits, strict=True)
            for batch in data.draw(strategies.batch_cuts(frame))
        ],
    }
    order = data.draw(two_streams.orders(given_batches))
    sides = two_streams.source(left, "left", "at"), two_streams.source(left, "right", "at")
    joined = sides[0].join_asof(sides[1], on="at", by="k", strategy=strategy)
    found = two_streams.played(joined, given_batches, order, splits={"right": ["x", "y"]}, kept_max=2)
    assert two_streams.rows_of(found) == two_streams.rows_of(expected)
