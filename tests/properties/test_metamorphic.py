"""What holds between two queries: of a union and of its parts, with the optimizer and without, on one task and on many."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hst

import streame as st
from streame.testing import strategies
from tests.examples import examples
from tests.plans.prelude import difference, run

pytestmark = pytest.mark.timeout(600)

VALUES = {"v": pl.Int64(), "f": pl.Float64(), "b": pl.Boolean()}

PARTS = {
    "n": pl.len(),
    "count": pl.col("v").count(),
    "sum": pl.col("v").cast(pl.Decimal(38, 0)).sum(),
    "low": pl.col("v").min(),
    "high": pl.col("f").max(),
    "any": pl.col("b").any(),
    "all": pl.col("b").all(),
}
"""Aggregates that can be computed of parts."""

WHOLE = {
    "n": pl.col("n").sum(),
    "count": pl.col("count").sum(),
    "sum": pl.col("sum").sum(),
    "low": pl.col("low").min(),
    "high": pl.col("high").max(),
    "any": pl.col("any").any(),
    "all": pl.col("all").all(),
}
"""How their results come together."""


@hst.composite
def two_streams(draw: hst.DrawFn) -> tuple[st.StreamDataFrame, st.StreamDataFrame, list[str]]:
    """Two streams with the same columns and an event time, and the names of their keys."""
    dtypes = draw(hst.lists(hst.sampled_from(list(strategies.KEYS)), min_size=1, max_size=2))
    key = {f"k{number}": dtype for number, dtype in enumerate(dtypes)}
    streams = []
    for name in ("one", "other"):
        rows = draw(strategies.timed_frames(key, VALUES, steps=10))
        cuts = draw(strategies.batch_cuts(draw(strategies.disordered(rows, "at", "2s"))))
        streams.append(st.scan_frames(cuts, name=name, schema=rows.schema, event_time="at", watermark="2s"))
    return streams[0], streams[1], list(key)


def by_keys(frame: st.StreamDataFrame, keys: list[str], name: str, **aggs: Any) -> st.StreamDataFrame:
    return frame.group_by(keys, name=name).agg(**aggs)


def by_windows(frame: st.StreamDataFrame, keys: list[str], name: str, **aggs: Any) -> st.StreamDataFrame:
    return frame.group_by_dynamic("at", every="3s", group_by=keys, name=name).agg(**aggs)


@pytest.mark.parametrize("verb", [by_keys, by_windows])
@given(two_streams(), hst.sampled_from([1, 2, 3, 7]))
@settings(max_examples=examples(16))
def test_a_union_is_what_its_parts_come_to(
    verb: Any, streams: tuple[st.StreamDataFrame, st.StreamDataFrame, list[str]], parallelism: int
) -> None:
    one, other, keys = streams
    whole = verb(st.concat([one, other]), keys, "whole", **PARTS)
    parts = st.concat([verb(one, keys, "one part", **PARTS), verb(other, keys, "other part", **PARTS)])
    together = verb(parts, keys, "together", **WHOLE).cast(dict(whole.schema))
    expected = run(whole, 1, optimized=False)
    differs = difference(run(together, parallelism, optimized=parallelism % 2 == 0), expected)
    assert not differs, differs


@given(two_streams())
@settings(max_examples=examples(5))
def test_neither_optimizer_nor_parallelism_shows(
    streams: tuple[st.StreamDataFrame, st.StreamDataFrame, list[str]],
) -> None:
    one, other, keys = streams
    near = one.join_interval(other, on=keys, lower="-1s", upper="2s", how="left", suffix="_0")
    visits = near.filter(pl.col("v") > -100).with_columns(w=pl.col("v_0").fill_null(0) // 2)
    sums = visits.filter(pl.col("w").is_not_null()).group_by_session("at", gap="2s", group_by=keys)
    table = other.group_by(keys, name="latest").agg(most=pl.col("v").max())
    stream = sums.agg(pl.col("w").max(), n=pl.len()).join(table, on=keys, how="left", ttl=None)
    stream = stream.filter(pl.col("n") > 0).select(*keys, "end", "w", "most")
    expected = run(stream, 1, optimized=False)
    for parallelism, optimized in ((1, True), (2, False), (3, True), (7, True)):
        differs = difference(run(stream, parallelism, optimized=optimized), expected)
        assert not differs, f"{parallelism=} {optimized=}: {differs}"


def test_a_task_for_each_key_group() -> None:
    rows = pl.DataFrame({"at": range(1_000), "k": [n * 7 % 300 for n in range(1_000)], "v": range(1_000)})
    stream = st.scan_frames([rows], event_time="at").group_by_dynamic("at", every="50i", group_by="k")
    expected = rows.group_by_dynamic("at", every="50i", group_by="k").agg(pl.col("v").sum())
    assert not difference(run(stream.agg(pl.col("v").sum()), 128, optimized=True), expected)
