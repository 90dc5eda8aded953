"""Latency from queue to queue through four verbs at 1,000 rows a second, alone and beside a pipeline that pours."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import streame as st
from streame.cli.bench.case import Bar, Case, Outcome, Work
from streame.cli.bench.chain import four_verbs
from streame.cli.bench.counting import CountingSink
from streame.cli.bench.orders import SCHEMA as ORDERS
from streame.cli.bench.orders import orders

ROWS_PER_S = 1_000
WARM_UP = 200
BATCH_ROWS = 65_536

SCHEMA = pl.Schema({"sent_ns": pl.Int64(), "user_id": pl.Int64(), "price": pl.Float64(), "qty": pl.Int64()})
COLUMNS = ("sent_ns", "user_id", "unit_price", "origin")

Items = queue.SimpleQueue[Any]
Connect = Callable[[Items, Items, ExitStack], None]
"""Starts a pipeline from one queue to the other; what ends it goes on the stack."""


def send(rows: int, items: Items) -> None:
    """Put rows on time, whatever happens to those before."""
    never = threading.Event()
    began = time.perf_counter()
    for number in range(rows):
        never.wait(max(0.0, began + number / ROWS_PER_S - time.perf_counter()))
        items.put({"sent_ns": time.perf_counter_ns(), "user_id": number, "price": 9.5, "qty": 3})
    items.put(st.END)


def receive(items: Items) -> list[int]:
    """Nanoseconds that each row was under way."""
    taken = []
    while (row := items.get()) is not st.END:
        taken.append(time.perf_counter_ns() - row["sent_ns"])
    return taken


def _streame(source: Items, target: Items, ending: ExitStack) -> None:
    rows = (
        st.scan_queue(source, SCHEMA)
        .filter(pl.col("qty") > 2)
        .add_static_column("origin", "web")
        .rename({"price": "unit_price"})
        .select(*COLUMNS)
    )
    ending.enter_context(rows.sink_queue(target).start())


def _polars(source: Items, target: Items, ending: ExitStack) -> None:
    """The plain loop: take what is there, four eager verbs, put."""

    def loop() -> None:
        ended = False
        while not ended:
            rows = [source.get()]
            while not source.empty():
                rows.append(source.get())
            ended = rows[-1] is st.END
            frame = pl.DataFrame(rows[: len(rows) - ended], schema=SCHEMA, orient="row")
            frame = (
                frame.filter(pl.col("qty") > 2)
                .with_columns(pl.lit("web").alias("origin"))
                .rename({"price": "unit_price"})
                .select(*COLUMNS)
            )
            for row in frame.to_dicts():
                target.put(row)
        target.put(st.END)

    thread = threading.Thread(target=loop)
    thread.start()
    ending.callback(thread.join)


def _pour_streame(ending: ExitStack) -> None:
    def endless() -> Iterator[pl.DataFrame]:
        batch = orders(BATCH_ROWS)
        while True:
            yield batch

    poured = st.sink(four_verbs(st.scan_frames(endless(), schema=ORDERS, name="poured")), CountingSink("qty"))
    ending.enter_context(poured.start())


def _pour_nothing(ending: ExitStack) -> None:
    """No neighbour."""


def _side(connect: Connect, pour: Callable[[ExitStack], None]) -> Callable[[int, Path], Work]:
    def prepare(rows: int, folder: Path) -> Work:
        def work() -> Outcome:
            source: Items = queue.SimpleQueue()
            target: Items = queue.SimpleQueue()
            with ExitStack() as ending:
                pour(ending)
                connect(source, target, ending)
                sender = threading.Thread(target=send, args=(rows + WARM_UP, source))
                sender.start()
                taken = receive(target)
                sender.join()
            p50, p99 = (float(ns) / 1e6 for ns in np.percentile(taken[WARM_UP:], [50, 99]))
            return Outcome(rows, lambda: {"rows": len(taken)}, {"p50_ms": p50, "p99_ms": p99})

        return work

    return prepare


CASES = (
    Case(
        "latency",
        "queue to queue, 1,000 rows/s",
        streame=_side(_streame, _pour_nothing),
        peer=_side(_polars, _pour_nothing),
        peer_name="Polars, a plain loop",
        rows=6_000,
        smoke_rows=300,
        bars=(Bar("p50_ms", 0.5, "at most"), Bar("p99_ms", 2, "at most")),
        rounds=3,
    ),
    Case(
        "latency-poured",
        "the same beside a pipeline that pours",
        streame=_side(_streame, _pour_streame),
        peer=_side(_polars, _pour_streame),
        peer_name="Polars, a plain loop",
        rows=6_000,
        smoke_rows=300,
        bars=(Bar("p99_ms", 5, "at most"),),
        rounds=3,
    ),
)
