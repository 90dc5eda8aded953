"""A sink ten times slower than its source: memory must stay where it was."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl

import streame as st
from streame.cli.bench.case import Bar, Case, Outcome, Work
from streame.cli.bench.counting import CountingSink
from streame.cli.bench.orders import SCHEMA, orders
from streame.cli.bench.process import rss_mb

BATCH_ROWS = 65_536
TIMES_SLOWER = 10


class Producer:
    """Makes batches, each in memory of its own, and keeps the time that it needs for that."""

    def __init__(self, rows: int) -> None:
        self._batches = rows // BATCH_ROWS
        self._pattern = orders(BATCH_ROWS)
        self.made = 0
        self.seconds = 0.0

    def __iter__(self) -> Iterator[pl.DataFrame]:
        """The batches."""
        for _ in range(self._batches):
            began = time.perf_counter()
            batch = self._pattern.select(pl.all().reverse())
            self.seconds += time.perf_counter() - began
            self.made += 1
            yield batch

    def seconds_per_batch(self) -> float:
        """What a batch has cost on average."""
        return self.seconds / max(1, self.made)


class SlowSink(CountingSink):
    """Waits ten times as long as a batch took to make, and watches the memory."""

    separate = True

    def __init__(self, producer: Producer) -> None:
        super().__init__("qty")
        self._producer = producer
        self._never = threading.Event()
        self.highest_mb = 0.0

    def write(self, frame: pl.DataFrame) -> None:
        """Take a batch slowly."""
        super().write(frame)
        self._never.wait(TIMES_SLOWER * self._producer.seconds_per_batch() * frame.height / BATCH_ROWS)
        self.highest_mb = max(self.highest_mb, rss_mb())


def _streame(rows: int, folder: Path) -> Work:
    producer = Producer(rows)
    sink = SlowSink(producer)
    job = st.sink(st.scan_frames(iter(producer), schema=SCHEMA).filter(pl.col("qty") > 0), sink)

    def work() -> Outcome:
        start_mb = rss_mb()
        job.run()
        read, written = producer.made * BATCH_ROWS, sink.tally.numbers()
        assert written["rows"] == read, f"{read} rows were read, {written['rows']} came"
        growth_mb = sink.highest_mb - start_mb
        return Outcome(read, lambda: written, {"growth_mb": growth_mb, "source_s": producer.seconds})

    return work


CASES = (
    Case(
        "slow-sink",
        "a sink ten times slower than its source",
        streame=_streame,
        rows=20_000_000,
        smoke_rows=2_000_000,
        bars=(Bar("growth_mb", 200, "at most"),),
        rounds=3,
    ),
)
