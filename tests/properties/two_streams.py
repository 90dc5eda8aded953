"""Two streams pushed into one join by hand: in any order, in any cuts, from one split or two."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from hypothesis import strategies as hst

import streame as st
from streame.core.changes import DIFF, fold
from streame.runtime.stage import Stage
from streame.testing import Driver, strategies

DELAYS: Mapping[Any, tuple[str | int, str | int]] = {
    pl.Date(): ("1d", "3d"),
    pl.Int64(): (1, 4),
    pl.Int32(): (1, 4),
}
"""By dtype of event time a short and a long delay; others have seconds."""


def delay_of(dtype: Any) -> str | int:
    """How late rows of a stream may be."""
    return DELAYS.get(dtype, ("1s", "4s"))[1]


def source(frame: pl.DataFrame, name: str, time: str | None) -> st.StreamDataFrame:
    """A stream with the columns of a frame, for rows that are pushed."""
    if time is None:
        return st.scan_frames([], schema=frame.schema, name=name)
    delay = delay_of(frame.schema[time])
    return st.scan_frames([], schema=frame.schema, name=name, event_time=time, watermark=delay)


@hst.composite
def untimely(draw: hst.DrawFn, frame: pl.DataFrame, time: str) -> pl.DataFrame:
    """The rows in a disorder that makes none of them late, a few without a time."""
    mixed = draw(strategies.disordered(frame, time, delay_of(frame.schema[time])))
    unknown = draw(hst.lists(hst.integers(0, 9), min_size=mixed.height, max_size=mixed.height))
    keep = pl.Series([number > 0 for number in unknown], dtype=pl.Boolean)
    return mixed.with_columns(pl.when(keep).then(pl.col(time)).alias(time))


Given = Mapping[str, Sequence[tuple[str | None, pl.DataFrame]]]
"""By source the batches in their order, each with its split."""


@hst.composite
def givens(draw: hst.DrawFn, left: pl.DataFrame, right: pl.DataFrame) -> Given:
    """The rows of both sides cut into batches."""
    return {
        name: [(None, batch) for batch in draw(strategies.batch_cuts(frame))]
        for name, frame in (("left", left), ("right", right))
    }


@hst.composite
def orders(draw: hst.DrawFn, given: Given) -> list[str]:
    """An order in which the batches of both sides come, by the names of the sides."""
    return draw(hst.permutations([name for name, batches in given.items() for _ in batches]))


def played(
    joined: st.StreamDataFrame,
    given: Given,
    order: Sequence[str],
    *,
    parallelism: int = 1,
    splits: Mapping[str, Sequence[str]] | None = None,
    ends: Sequence[str] = ("left", "right"),
    kept_max: int = 0,
) -> pl.DataFrame:
    """What comes out of a pipeline of the sources `left` and `right`; `kept_max` rows are left when both have ended."""
    driver = Driver(joined, parallelism=parallelism, splits=splits)
    stages = joining(driver)
    batches = {name: iter(each) for name, each in given.items()}
    for name in order:
        split, batch = next(batches[name])
        driver.push(batch, to=name, split=split)
    for name in ends:
        driver.end(name)
    driver.close()
    frames = driver.take()
    assert all(0 < frame.height <= 65_536 for frame in frames)
    assert sum(stage.operator.state_size().rows for stage in stages) <= kept_max
    if not joined.node.is_changes:
        return pl.concat([pl.DataFrame(schema=joined.schema), *frames])
    weighted = pl.Schema({**joined.schema, DIFF: pl.Int64()})
    return fold(pl.concat([pl.DataFrame(schema=weighted), *frames]))


def joining(driver: Driver) -> list[Stage]:
    """The running joins."""
    stages = [stage for task in driver._tasks for stage in task.stages()]
    return [stage for stage in stages if "Join" in type(stage.operator).__name__]


def rows_of(frame: pl.DataFrame) -> list[str]:
    """The rows without their order; the two zeros are one."""
    zeros = [
        pl.when(pl.col(name) == 0).then(0.0).otherwise(pl.col(name)).alias(name)
        for name, dtype in frame.schema.items()
        if dtype.is_float()
    ]
    return sorted(map(repr, frame.with_columns(zeros).rows()))
