"""State larger than memory: groups and a table under a limit against the same without one."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

import numpy as np
import polars as pl

import streame as st
from streame.cli.bench.case import Bar, Case, Outcome, Side, Work
from streame.cli.bench.counting import CountingSink
from streame.cli.bench.process import peak_rss_mb, rss_mb

BATCH_ROWS = 65_536
SCHEMA = {"k": pl.Int64, "v": pl.Int64, "at": pl.Int64}

GROUP_BYTES = 75
"""About what a group of three values takes in memory."""

ROW_BYTES = 100
"""About what a row of the table takes in memory."""

_SPREAD = 7_919
"""A prime: multiplied by it, the numbers of rows go through all keys in no order."""


class _Watch:
    """Sees the rows go by: how fast they are read once all keys are there, and the files that lie on disk."""

    def __init__(self, rows: int, from_row: int, cold: Path | None) -> None:
        self._rows, self._from, self._cold = rows, from_row, cold
        self._began = 0.0
        self.seconds = 0.0

    def batches(self, keys: int) -> Iterator[pl.DataFrame]:
        """Each key once, then keys at random."""
        random = np.random.default_rng(1)
        for start in range(0, self._rows, BATCH_ROWS):
            numbers = np.arange(start, start + BATCH_ROWS)
            key = numbers * _SPREAD % keys if start < keys else random.integers(0, keys, BATCH_ROWS)
            if self._began == 0.0 and start >= self._from:
                self._began = perf_counter()
            if self._cold is not None:
                _forget_pages(self._cold)
            yield pl.DataFrame({"k": key, "v": key & 1023, "at": numbers}, SCHEMA)
        self.seconds = perf_counter() - self._began


def _forget_pages(folder: Path) -> None:
    """Let the system forget what it has of the files below a folder, so that they are read from the disk again."""
    for path in folder.glob("streame-spill-*/*"):
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError:
            continue  # it was replaced meanwhile
        try:
            os.fdatasync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def _groups(stream: st.StreamDataFrame, keys: int) -> st.StreamDataFrame:
    return stream.group_by("k", emit="on_close").agg(
        n=pl.len(), total=pl.col("v").sum(), last=pl.col("at").max()
    )


def _joined(stream: st.StreamDataFrame, keys: int) -> st.StreamDataFrame:
    def table() -> Iterator[pl.DataFrame]:
        for start in range(0, keys, BATCH_ROWS):
            key = np.arange(start, min(start + BATCH_ROWS, keys))
            yield pl.DataFrame(
                {"k": key, "a": key + 1, "b": key * 2}, {"k": pl.Int64, "a": pl.Int64, "b": pl.Int64}
            )

    schema = {"k": pl.Int64, "a": pl.Int64, "b": pl.Int64}
    rows = st.scan_frames(table(), schema=schema, name="table")
    return stream.join(rows.as_table("k"), on="k", how="inner").select(
        "k", "at", total=pl.col("v") + pl.col("a")
    )


def _side(
    plan: Callable[[st.StreamDataFrame, int], st.StreamDataFrame],
    keys_of: Callable[[int], int],
    *,
    column: str,
    limit_of: Callable[[int], int] | None,
    cold: bool = False,
) -> Side:
    """A job whose keys are all there before its speed is measured.

    Args:
        plan: what it does with a stream of rows, given how many keys there are.
        keys_of: how many keys there are among so many rows.
        column: what is added up of its results.
        limit_of: the memory limit for so many keys.
        cold: whether the files are read from the disk each time.
    """

    def prepare(rows: int, folder: Path) -> Work:
        keys = keys_of(rows)
        os.environ["TMPDIR"] = str(folder)
        _warm(plan)
        idle_mb = rss_mb()
        watch = _Watch(rows, keys, folder if cold else None)
        limit = None if limit_of is None else limit_of(keys)
        sink = CountingSink(column)
        job = st.sink(plan(st.scan_frames(watch.batches(keys), schema=SCHEMA, name="rows"), keys), sink)

        def work() -> Outcome:
            job.run(memory_limit=limit, channel_rows=2 * BATCH_ROWS)
            above_mb = peak_rss_mb() - idle_mb
            steady = (rows - keys) / watch.seconds
            measures = {"steady_rows_per_s": steady, "above_idle_mb": above_mb}
            if limit is not None:
                measures["above_idle_by_limit"] = above_mb * 1e6 / limit
            return Outcome(rows, sink.tally.numbers, measures)

        return work

    return prepare


def _warm(plan: Callable[[st.StreamDataFrame, int], st.StreamDataFrame]) -> None:
    """Run the same job on a few rows: what it loads and starts is no state."""
    number = pl.int_range(20_000, eager=True)  # so many that some of it is put on disk
    few = pl.DataFrame({"k": number, "v": number, "at": number}, SCHEMA)
    stream = st.scan_frames([few, few], name="rows")
    st.sink(plan(stream, 2), CountingSink("k")).run(memory_limit="1MB")


def _case(name: str, title: str, rows: int, *, table: bool, cold: bool = False) -> Case:
    plan = _joined if table else _groups
    each = ROW_BYTES if table else GROUP_BYTES
    column = "total"

    def keys_of(rows: int) -> int:
        return rows // 2

    return Case(
        name,
        title,
        streame=_side(plan, keys_of, column=column, limit_of=lambda keys: keys * each // 10, cold=cold),
        peer=_side(plan, keys_of, column=column, limit_of=None),
        peer_name="Streame without a limit",
        rows=rows,
        smoke_rows=400_000,
        bars=() if cold else (Bar("ratio", 0.25), Bar("above_idle_by_limit", 1.2, "at most")),
        rounds=1,
    )


CASES = (
    _case("spill-groups", "totals of 20,000,000 groups, a tenth of them in memory", 40_000_000, table=False),
    _case(
        "spill-groups-cold",
        "the same, with files that the system has to read from the disk",
        40_000_000,
        table=False,
        cold=True,
    ),
    _case(
        "spill-table",
        "a join with a table of 10,000,000 rows, a tenth of it in memory",
        20_000_000,
        table=True,
    ),
)
