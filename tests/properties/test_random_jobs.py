"""Jobs of random shape, with channels that hold next to nothing: they end, and every sink gets what Polars gives."""

from dataclasses import dataclass

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hst
from hypothesis.strategies import DrawFn

import streame as st
from streame.io.memory import MemorySink
from tests.examples import examples
from tests.properties.running import rows_of, scanned

pytestmark = pytest.mark.timeout(600)

ENDS_WITHIN_S = 20.0


@dataclass
class Step:
    """One more stream, made of earlier ones, which are named by their number."""

    verb: str
    of: int
    other: int


@dataclass
class Shape:
    """A job: the heights of its sources, what is made of them, and which streams go to sinks."""

    heights: list[int]
    batch: int
    steps: list[Step]
    sinks: list[int]


VERBS = ("filter", "add", "concat", "inner", "left", "explode")


@hst.composite
def shapes(draw: DrawFn) -> Shape:
    """Small graphs in which streams fork, join and meet again."""
    heights = draw(hst.lists(hst.sampled_from([0, 1, 50, 700]), min_size=1, max_size=3))
    steps = []
    for number in range(len(heights), len(heights) + draw(hst.integers(1, 6))):
        earlier = hst.integers(0, number - 1)
        steps.append(Step(draw(hst.sampled_from(VERBS)), draw(earlier), draw(earlier)))
    streams = hst.integers(0, len(heights) + len(steps) - 1)
    sinks = draw(hst.lists(streams, min_size=1, max_size=3, unique=True))
    return Shape(heights, draw(hst.sampled_from([1, 10, 1000])), steps, sinks)


def rows(number: int, height: int) -> pl.DataFrame:
    """Rows of a source; keys repeat and some are null."""
    keys = [None if n % 11 == 10 else (n * (number + 3)) % 60 for n in range(height)]
    return pl.DataFrame({"k": keys, "v": range(height)}, schema={"k": pl.Int64, "v": pl.Int64})


def in_polars(shape: Shape) -> list[pl.DataFrame]:
    """Every stream, as Polars has it."""
    streams = [rows(number, height) for number, height in enumerate(shape.heights)]
    for step in shape.steps:
        one, other = streams[step.of], streams[step.other]
        match step.verb:
            case "filter":
                streams.append(one.filter(pl.col("v") % 3 != 1))
            case "add":
                streams.append(one.with_columns(pl.col("v") + 1))
            case "concat":
                streams.append(pl.concat([one, other]))
            case "explode":
                two = one.filter(pl.col("v") < 20).with_columns(pl.concat_list("v", "v"))
                streams.append(two.explode("v"))
            case "inner":
                streams.append(one.join(other.unique("k"), on="k").select("k", "v"))
            case _:
                joined = one.join(other.unique("k"), on="k", how="left")
                streams.append(joined.select("k", v=pl.col("v") + pl.col("v_right").is_null()))
    return streams


def in_streame(shape: Shape) -> list[st.StreamDataFrame]:
    """The same as streams."""
    streams = []
    for number, height in enumerate(shape.heights):
        frame = rows(number, height)
        cuts = [frame[at : at + shape.batch] for at in range(0, height, shape.batch)] or [frame]
        streams.append(scanned(cuts, f"source {number}"))
    for number, step in enumerate(shape.steps):
        one, other = streams[step.of], streams[step.other]
        name = f"join {number}"
        match step.verb:
            case "filter":
                streams.append(one.filter(pl.col("v") % 3 != 1))
            case "add":
                streams.append(one.with_columns(pl.col("v") + 1))
            case "concat":
                streams.append(st.concat([one, other]))
            case "explode":
                two = one.filter(pl.col("v") < 20).with_columns(pl.concat_list("v", "v"))
                streams.append(two.explode("v"))
            case "inner":
                streams.append(one.join(other.as_table("k"), on="k", name=name).select("k", "v"))
            case _:
                joined = one.join(other.as_table("k"), on="k", how="left", name=name)
                streams.append(joined.select("k", v=pl.col("v") + pl.col("v_right").is_null()))
    return streams


@given(shapes(), hst.sampled_from([1, 3]), hst.sampled_from([1, 100]))
@settings(max_examples=examples(24))
def test_a_job_of_any_shape_ends_and_is_right(shape: Shape, parallelism: int, channel_rows: int) -> None:
    expected, streams = in_polars(shape), in_streame(shape)
    sinks = {number: MemorySink() for number in shape.sinks}
    job = st.job([st.sink(streams[number], sink) for number, sink in sinks.items()])
    handle = job.start(parallelism=parallelism, channel_rows=channel_rows)
    assert handle.wait(ENDS_WITHIN_S), "the job hangs"
    for number, sink in sinks.items():
        assert rows_of(sink.frame()) == rows_of(expected[number]), f"stream {number}"


@given(shapes(), hst.sampled_from([1, 3]), hst.integers(0, 300))
@settings(max_examples=examples(16))
def test_a_job_of_any_shape_can_be_stopped_and_can_fail(
    shape: Shape, parallelism: int, fails_at: int
) -> None:
    streams = in_streame(shape)

    def explode(frame: pl.DataFrame) -> pl.DataFrame:
        if (frame["v"] >= fails_at).any():
            raise ZeroDivisionError(fails_at)
        return frame

    sinks = [st.sink(streams[number].map_batches(explode), MemorySink()) for number in shape.sinks]
    handle = st.job(sinks).start(parallelism=parallelism, channel_rows=1)
    if fails_at % 2:
        handle.stop()
    try:
        assert handle.wait(ENDS_WITHIN_S), "the job hangs"
    except st.DataError as error:
        assert isinstance(error.__cause__, ZeroDivisionError)  # noqa: PT017 - it need not be raised
