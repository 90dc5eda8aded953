"""Rolling windows give what Polars gives for all rows, whatever the disorder, and in both ways of computing them."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hst

import streame as st
from streame.state import recent, shared_keys
from streame.state.rolling import RollingResults
from streame.testing import strategies
from tests.examples import examples
from tests.properties.test_group_by import keys, same
from tests.properties.timed import TIME, duration, play, ticks

pytestmark = pytest.mark.timeout(600)

VALUES = {"v": pl.Int8(), "s": pl.String(), "f": pl.Float64(), "b": pl.Boolean(), "d": pl.Decimal(10, 2)}

AGGREGATES: dict[str, pl.Expr] = {
    "n": pl.len(),
    "sum": pl.col("v").sum(),
    "mean": pl.col("v").mean(),
    "product": (pl.col("v").cast(pl.Int64) * 3).sum() - pl.len(),
    "low": pl.col("f").min(),
    "high": pl.col("s").max(),
    "worst": pl.col("f").nan_max(),
    "first": pl.col("v").first(),
    "last": pl.col("s").last(),
    "early": pl.col(TIME).min(),
    "nulls": pl.col("s").null_count(),
    "true": pl.col("b").sum(),
    "any": pl.col("b").any(),
    "all": pl.col("b").all(),
    "d": pl.col("d").sum(),
    "some": pl.col("v").filter(pl.col("b")).sum(),
    "kinds": pl.col("s").n_unique(),
    "median": pl.col("v").median(),
    "list": pl.col("v"),
}


def how(data: hst.DataObject, patch: pytest.MonkeyPatch) -> None:
    """Compute windows in one way or the other, and keep nothing longer than needed."""
    way = data.draw(hst.sampled_from(["rolled", "added up", "as it pays"]), label="way")
    if way != "as it pays":
        is_rolled = way == "rolled"
        patch.setattr(RollingResults, "_rolls", lambda self, *_: is_rolled and self._values is not None)
    patch.setattr(recent, "_SLACK_ROWS", 0)
    patch.setattr(shared_keys, "_SLACK_KEYS", 0)


@given(hst.data())
@settings(max_examples=examples(80))
def test_rolling_is_that_of_polars(data: hst.DataObject) -> None:
    dtype = data.draw(hst.sampled_from(strategies.TIMES))
    key = data.draw(hst.one_of(hst.just({}), keys()))
    rows = data.draw(strategies.timed_frames(key, VALUES, dtype=dtype), label="rows")
    period = data.draw(hst.sampled_from([1, 2, 5, 100]), label="period")
    offset = data.draw(hst.sampled_from([None, None, -7, -2, 0, 3]), label="offset")
    closed: Any = data.draw(hst.sampled_from(["left", "right", "both", "none"]), label="closed")
    delay = data.draw(hst.sampled_from([0, 1, 4, 50]), label="delay")
    disorder = delay + data.draw(hst.sampled_from([0, 0, 5]), label="disorder beyond")
    choice = data.draw(hst.lists(hst.sampled_from(list(AGGREGATES)), min_size=1, max_size=4, unique=True))
    aggs = {name: AGGREGATES[name] for name in choice}
    windows: dict[str, Any] = {"period": duration(dtype, period), "closed": closed}
    if offset is not None:
        windows["offset"] = ("-" if offset < 0 else "") + duration(dtype, abs(offset))
    ahead = 0 if offset is None else max(0, period + offset)

    def verb(frame: st.StreamDataFrame) -> st.StreamDataFrame:
        return frame.rolling(TIME, group_by=list(key), **windows).agg(**aggs)

    with pytest.MonkeyPatch.context() as patch:
        how(data, patch)
        for played in play(data, verb, rows, delay, disorder=disorder):
            same(pl.concat([played.too_late.clear(), *played.late]), played.too_late)
            expected = played.taken.rolling(TIME, group_by=list(key) or None, **windows).agg(**aggs)
            if not played.ended:
                if played.watermark is None:
                    continue
                complete = played.watermark - ticks(dtype, ahead)
                expected = expected.filter(pl.col(TIME).to_physical() < complete)
            same(played.frame(expected.schema), expected)


CALENDAR = ["1d", "2d", "1w", "1mo", "1q", "1d12h"]


@given(hst.data())
@settings(max_examples=examples(40))
def test_windows_of_the_calendar(data: hst.DataObject) -> None:
    dtype = data.draw(
        hst.sampled_from(
            [pl.Datetime("us"), pl.Datetime("ms", "Europe/Berlin"), pl.Datetime("ns", "UTC"), pl.Date()]
        )
    )
    rows = data.draw(
        strategies.timed_frames(
            {"k": pl.UInt8()}, {"v": pl.Int8()}, dtype=dtype, start=_start(dtype), step="1d"
        ),
        label="rows",
    )
    choices = CALENDAR[:-1] if dtype == pl.Date else CALENDAR
    windows: dict[str, Any] = {"period": data.draw(hst.sampled_from(choices), label="period")}
    offset = data.draw(hst.sampled_from([None, None, "-1mo", "-3d", "2d"]), label="offset")
    if offset is not None:
        windows["offset"] = offset
    windows["closed"] = data.draw(hst.sampled_from(["left", "right", "both", "none"]), label="closed")
    aggs = {"n": pl.len(), "v": pl.col("v"), "sum": pl.col("v").sum()}

    def verb(frame: st.StreamDataFrame) -> st.StreamDataFrame:
        return frame.rolling(TIME, group_by="k", **windows).agg(**aggs)

    with pytest.MonkeyPatch.context() as patch:
        how(data, patch)
        for played in play(data, verb, rows, 3):
            if played.ended:
                expected = played.taken.rolling(TIME, group_by="k", **windows).agg(**aggs)
                same(played.frame(expected.schema), expected)


def _start(dtype: pl.DataType) -> int:
    """Noon of a day in March 2024, so that a clock is put forward and months are of different lengths."""
    days = 19_784
    if dtype == pl.Date:
        return days
    unit = dtype.time_unit  # type: ignore[attr-defined]
    return (days * 24 + 12) * 3_600 * {"ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
