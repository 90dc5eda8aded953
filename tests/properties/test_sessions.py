"""Sessions are those of Polars over all rows, whatever the disorder within the watermark; and so is what was said early."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hst

import streame as st
from streame.core.changes import fold
from streame.testing import strategies
from tests.examples import examples
from tests.properties.test_group_by import same
from tests.properties.timed import TIME, duration, play, ticks

pytestmark = pytest.mark.timeout(600)

VALUES = {"v": pl.Int8(), "s": pl.String(), "f": pl.Float64()}

AGGREGATES: dict[str, pl.Expr] = {
    "n": pl.len(),
    "sum": pl.col("v").sum(),
    "mean": pl.col("v").mean(),
    "low": pl.col("f").min(),
    "high": pl.col("s").max(),
    "first": pl.col("v").first(),
    "last": pl.col("s").last(),
    "kinds": pl.col("s").n_unique(),
    "median": pl.col("v").median(),
    "list": pl.col("v"),
}


def sessions(rows: pl.DataFrame, key: list[str], gap: int, aggs: dict[str, pl.Expr]) -> pl.DataFrame:
    """The definition; `seen` says when each row was seen."""
    least = pl.col("seen").reverse().cum_min().reverse()
    begins = least - pl.col(TIME).to_physical().cast(pl.Int64).shift() >= gap
    if key:
        least = least.over(key)
        begins = least - pl.col(TIME).to_physical().cast(pl.Int64).shift().over(key) >= gap
    number = begins.fill_null(value=False).cum_sum()
    number = number.over(key) if key else number
    times = {"start": pl.col(TIME).first(), "end": pl.col(TIME).last()}
    grouped = rows.with_columns(__number=number).group_by([*key, "__number"], maintain_order=True)
    return grouped.agg(**times, **aggs).drop("__number")


@given(hst.data())
@settings(max_examples=examples(80))
def test_sessions_are_those_of_polars(data: hst.DataObject) -> None:
    dtype = data.draw(hst.sampled_from(strategies.TIMES))
    keys = data.draw(hst.lists(hst.sampled_from(list(strategies.KEYS)), max_size=2))
    key = {f"k{number}": each for number, each in enumerate(keys)}
    rows = data.draw(strategies.timed_frames(key, VALUES, dtype=dtype), label="rows")
    gap = data.draw(hst.sampled_from([1, 2, 5, 100]), label="gap")
    delay = data.draw(hst.sampled_from([0, 1, 4, 50]), label="delay")
    disorder = delay + data.draw(hst.sampled_from([0, 0, 5]), label="disorder beyond")
    lateness = data.draw(hst.sampled_from([0, 0, 3]), label="lateness")
    emit = data.draw(hst.sampled_from(["on_close", "on_close", "changes", "10s"]), label="emit")
    choice = data.draw(hst.lists(hst.sampled_from(list(AGGREGATES)), min_size=1, max_size=4, unique=True))
    aggs = {name: AGGREGATES[name] for name in choice}

    def verb(frame: st.StreamDataFrame) -> st.StreamDataFrame:
        sizes: dict[str, Any] = {"gap": duration(dtype, gap), "lateness": duration(dtype, lateness)}
        return frame.group_by_session(TIME, **sizes, group_by=list(key), emit=emit).agg(**aggs)

    spare = ticks(dtype, gap) - 1
    for played in play(data, verb, rows, delay, disorder=disorder, lateness=ticks(dtype, lateness) + spare):
        same(pl.concat([played.too_late.clear(), *played.late]), played.too_late)
        seen = pl.max_horizontal(pl.col(TIME).to_physical(), played.seen - ticks(dtype, lateness))
        taken = played.taken.with_columns(seen=seen)
        expected = sessions(taken, list(key), ticks(dtype, gap), aggs)
        if not played.ended and emit == "on_close":
            if played.watermark is None:
                continue
            expected = expected.filter(pl.col("end").to_physical() <= played.watermark - ticks(dtype, gap))
        if not played.ended and emit == "10s":
            continue
        is_changes = emit != "on_close" or lateness
        found = played.frame(
            pl.Schema({**expected.schema, "_diff": pl.Int64()} if is_changes else expected.schema)
        )
        same(fold(found) if is_changes else found, expected)
