"""Sixty windows' worth of rows against six: the memory must be the same."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

import streame as st
from streame.cli.bench.case import Bar, Case, Numbers, Outcome, Side, Work
from streame.cli.bench.counting import CountingSink
from streame.cli.bench.orders import SCHEMA, cut, orders
from streame.cli.bench.windows import tumbling

WINDOW_ROWS = 250_000
WINDOW_US = 10_000_000
BATCH_ROWS = 25_000
USERS = 100_000
FEWER = 10
"""How many times fewer windows the other side has."""


def batches(windows: int) -> Iterator[pl.DataFrame]:
    """Orders, each batch in memory of its own; the users of a window never come back."""
    place = pl.int_range(pl.len(), dtype=pl.Int64) * (WINDOW_US // WINDOW_ROWS)
    start = pl.col("ts").first()
    pattern = cut(
        orders(WINDOW_ROWS, USERS).with_columns(ts=start.dt.truncate("10s") + place.cast(pl.Duration("us"))),
        BATCH_ROWS,
    )
    for window in range(windows):
        for batch in pattern:
            yield batch.with_columns(
                pl.col("ts") + pl.duration(microseconds=window * WINDOW_US),
                pl.col("user_id") + window * USERS,
            )


def _streame(fewer: int) -> Side:
    def prepare(rows: int, folder: Path) -> Work:
        windows = rows // WINDOW_ROWS // fewer
        sink = CountingSink("spent")
        stream = st.scan_frames(batches(windows), schema=SCHEMA, event_time="ts")
        job = st.sink(tumbling(stream), sink)

        def per_window() -> Numbers:
            numbers = sink.tally.numbers()
            return {name: numbers[name] / windows for name in ("rows", "total")}

        def work() -> Outcome:
            job.run()
            return Outcome(windows * WINDOW_ROWS, per_window)

        return work

    return prepare


CASES = (
    Case(
        "windows-memory",
        "60 windows of 10 s against 6, each with users of its own",
        streame=_streame(1),
        peer=_streame(FEWER),
        peer_name="Streame, a tenth of the windows",
        rows=60 * WINDOW_ROWS,
        smoke_rows=FEWER * WINDOW_ROWS,
        bars=(Bar("peak_ratio", 1.2, "at most"),),
        rounds=3,
    ),
)
