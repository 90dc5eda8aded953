"""A job that updates many groups with texts as keys: `python -m tests.runtime.updating GROUPS LIMIT` says what memory it took."""

import sys
from collections.abc import Iterator

import numpy as np
import polars as pl

import streame as st
from streame.cli.bench.process import peak_rss_mb, rss_mb
from streame.core import config

ROWS = 32_768


class _Counts(st.Sink):
    rows = 0

    def write(self, frame: pl.DataFrame) -> None:
        self.rows += frame.height


def _batches(groups: int, rounds: int) -> Iterator[pl.DataFrame]:
    for start in range(0, rounds * groups, ROWS):
        numbers = np.arange(start, min(start + ROWS, rounds * groups)) * 7_919 % groups
        yield pl.DataFrame({"v": numbers}).select("v", name=pl.format("customer number {}", "v"))


def _run(groups: int, rounds: int, limit: str) -> tuple[int, int]:
    """The groups that came out, and the bytes on disk."""
    rows = st.scan_frames(_batches(groups, rounds), schema={"v": pl.Int64, "name": pl.String}, name="rows")
    sink = _Counts()
    totals = rows.group_by("name", emit="on_close").agg(n=pl.len(), total=pl.col("v").sum())
    handle = st.sink(totals, sink).start(memory_limit=limit, channel_rows=2 * ROWS)
    handle.wait()
    return sink.rows, sum(each.state_disk_bytes for each in handle.metrics().values())


def _main(groups: str, limit: str) -> None:
    config.MEMORY_LIMIT_MIN = 1  # so that the first run needs little
    _run(1_000, 200, "1KB")
    idle = rss_mb()
    found, disk = _run(int(groups), 2, limit)
    print(int((peak_rss_mb() - idle) * 1e6), disk, found)


if __name__ == "__main__":
    _main(*sys.argv[1:])
