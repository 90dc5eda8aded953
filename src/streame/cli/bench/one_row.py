"""Batches of one row: what the engine itself costs per batch."""

from pathlib import Path

import streame as st
from streame.cli.bench.case import Bar, Case, Outcome, Work
from streame.cli.bench.chain import four_calls, four_verbs
from streame.cli.bench.counting import CountingSink, tally
from streame.cli.bench.orders import cut, orders


def _streame(rows: int, folder: Path) -> Work:
    batches = cut(orders(rows), 1)
    sink = CountingSink("qty")
    job = st.sink(four_verbs(st.scan_frames(batches)), sink)

    def work() -> Outcome:
        status = job.run()
        return Outcome(rows, sink.tally.numbers, {"us_per_batch": status.seconds / rows * 1e6})

    return work


def _polars(rows: int, folder: Path) -> Work:
    batches = cut(orders(rows), 1)

    def work() -> Outcome:
        return Outcome(rows, tally(four_calls(batches), "qty").numbers)

    return work


CASES = (
    Case(
        "one-row",
        "four verbs in memory, batches of one row",
        streame=_streame,
        peer=_polars,
        peer_name="Polars, eager",
        rows=20_000,
        smoke_rows=1_000,
        bars=(Bar("us_per_batch", 100, "at most"),),
    ),
)
