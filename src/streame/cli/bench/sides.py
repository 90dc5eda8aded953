"""The sides of a benchmark over event time: a job of Streame, a query of DuckDB, a call of Polars, on the same frames."""

from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl

import streame as st
from streame.cli.bench.case import Outcome, Side, Work
from streame.cli.bench.duck import Duck
from streame.cli.bench.keeping import KeepingSink, digest
from streame.cli.bench.orders import cut, orders

Inputs = Callable[[int], Mapping[str, pl.DataFrame]]
"""The frames that all sides read, by name, made for so many rows each; their event time is `ts`."""

BATCH_ROWS = 65_536


def placed_by(users: int) -> Inputs:
    """Orders of so many users."""

    def inputs(rows: int) -> Mapping[str, pl.DataFrame]:
        return {"orders": orders(rows, users)}

    return inputs


def streame(
    inputs: Inputs,
    plan: Callable[..., st.StreamDataFrame],
    *,
    batch_rows: int = BATCH_ROWS,
    parallelism: int = 1,
    changes: bool = False,
) -> Side:
    """A job from the frames in batches to a sink.

    Args:
        inputs: what is read.
        plan: takes a stream for every frame, in their order.
        batch_rows: how many rows come at once.
        parallelism: that of the job.
        changes: whether the plan gives a changes stream.
    """

    def prepare(rows: int, folder: Path) -> Work:
        frames = inputs(rows)
        streams = [
            st.scan_frames(cut(frame, batch_rows), event_time="ts", name=name)
            for name, frame in frames.items()
        ]
        sink = KeepingSink()
        job = st.sink(plan(*streams), sink, changes=changes)

        def work() -> Outcome:
            job.run(parallelism=parallelism)
            return Outcome(_height(frames), sink.digest)

        return work

    return prepare


def duckdb(inputs: Inputs, sql: str) -> Side:
    """One query over all rows, which are in tables with the names of the frames."""

    def prepare(rows: int, folder: Path) -> Work:
        frames = inputs(rows)
        duck, height = Duck(frames, folder), _height(frames)
        del frames

        def work() -> Outcome:
            result = duck.query(sql)
            return Outcome(height, lambda: digest([result]))

        return work

    return prepare


def polars(inputs: Inputs, plan: Callable[..., pl.LazyFrame]) -> Side:
    """One call over all rows; the plan takes a frame for every input, in their order."""

    def prepare(rows: int, folder: Path) -> Work:
        frames = inputs(rows)
        lazy = plan(*(frame.lazy() for frame in frames.values()))

        def work() -> Outcome:
            result = lazy.collect()
            return Outcome(_height(frames), lambda: digest([result]))

        return work

    return prepare


def _height(frames: Mapping[str, pl.DataFrame]) -> int:
    return sum(frame.height for frame in frames.values())
