"""A stream joined with a table, against one Polars join of the whole input."""

from collections.abc import Callable
from pathlib import Path

import polars as pl

import streame as st
from streame.cli.bench.case import Bar, Case, Outcome, Work
from streame.cli.bench.counting import CountingSink, tally
from streame.cli.bench.orders import cut, orders

ROWS = 5_000_000
BATCH_ROWS = 65_536


def users(count: int) -> pl.DataFrame:
    """A table with a row for every user."""
    numbers = pl.int_range(count, eager=True)
    return pl.DataFrame({"user_id": numbers, "rating": numbers % 5, "city": (numbers % 97).cast(pl.String)})


def _streame(table_rows: int) -> Callable[[int, Path], Work]:
    def prepare(rows: int, folder: Path) -> Work:
        batches = cut(orders(rows, table_rows), BATCH_ROWS)
        table = st.scan_frames(cut(users(table_rows), BATCH_ROWS), name="users").as_table("user_id")
        sink = CountingSink("rating")
        job = st.sink(st.scan_frames(batches).join(table, on="user_id"), sink)

        def work() -> Outcome:
            job.run()
            return Outcome(rows, sink.tally.numbers)

        return work

    return prepare


def _polars(table_rows: int) -> Callable[[int, Path], Work]:
    def prepare(rows: int, folder: Path) -> Work:
        frame, table = orders(rows, table_rows), users(table_rows)

        def work() -> Outcome:
            return Outcome(rows, tally([frame.join(table, on="user_id")], "rating").numbers)

        return work

    return prepare


def _case(name: str, table_rows: int, rows_per_s: float) -> Case:
    return Case(
        name,
        f"join with a table of {table_rows:,} rows",
        streame=_streame(table_rows),
        peer=_polars(table_rows),
        peer_name="Polars, one join of all rows",
        rows=ROWS,
        smoke_rows=200_000,
        bars=(Bar("rows_per_s", rows_per_s),),
    )


CASES = (_case("join-1k", 1_000, 5e6), _case("join-1m", 1_000_000, 2e6))
