"""The state of aggregations against Polars over all rows at once."""

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from streame.core.aggregates import Aggregation, split_aggregates
from streame.core.expressions import parse_exprs
from streame.state.aggregates import AggregateState
from streame.testing.strategies import batch_cuts, frames

SCHEMA = pl.Schema({"t": pl.Int64(), "a": pl.Int64(), "f": pl.Float64(), "s": pl.String()})
GROUPS = 5


def aggregation(*exprs: pl.Expr, schema: pl.Schema = SCHEMA) -> Aggregation:
    return split_aggregates(parse_exprs(exprs, {}, schema, where="agg"), schema, where="agg")


@settings(max_examples=50)
@given(st.data())
def test_any_cut_gives_what_polars_gives(data: st.DataObject) -> None:
    frame = data.draw(frames(SCHEMA, max_size=30)).with_columns(pl.col("t").fill_null(0) % 7)
    groups = data.draw(st.lists(st.integers(0, GROUPS - 1), min_size=frame.height, max_size=frame.height))
    frame = frame.with_columns(pl.Series("g", groups, dtype=pl.Int64))
    exprs = [
        pl.len().alias("n"),
        pl.col("a").max().alias("max"),
        pl.col("s").first().alias("first"),
        pl.col("a").alias("all"),
        pl.col("f").min().alias("min"),
    ]
    wanted = aggregation(*exprs)
    state, other = AggregateState(wanted), AggregateState(wanted)
    for target, cut in enumerate(data.draw(batch_cuts(frame))):
        rows = wanted.prepare(cut, cut["t"])
        (other if target > 2 else state).add(cut["g"].to_numpy(), rows)
    state.absorb(other, np.arange(GROUPS))
    expected = frame.sort("t", maintain_order=True).group_by("g", maintain_order=True).agg(exprs)
    got = state.results(expected["g"].to_numpy())
    assert_frame_equal(got, expected.drop("g"))
    assert (
        state.counts(np.arange(GROUPS)).tolist()
        == np.bincount(np.array(groups, int), minlength=GROUPS).tolist()
    )


def test_rows_taken_back_were_never_there() -> None:
    wanted = aggregation(pl.col("a").max(), pl.len().alias("n"))
    state = AggregateState(wanted, retractable=True)
    rows = wanted.prepare(pl.DataFrame({"t": [1, 2, 3], "a": [5, 9, 7]}), None)
    state.add(np.array([0, 0, 1]), rows)
    state.add(np.array([0, 1]), rows[1:], np.array([-1, -1]))
    assert state.results(np.array([1, 0])).rows() == [(None, 0), (5, 1)]
    assert state.counts(np.array([0, 1])).tolist() == [1, 0]
