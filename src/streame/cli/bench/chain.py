"""Four row-wise verbs over orders in memory, against a plain loop of eager Polars calls."""

from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl

import streame as st
from streame.cli.bench.case import Bar, Case, Outcome, Work
from streame.cli.bench.counting import CountingSink, tally
from streame.cli.bench.orders import cut, orders

ROWS = 5_000_000
PASSES = 8
"""How often a run goes over the same rows: once takes less than a tenth of a second."""
COLUMNS = ("ts", "item", "unit_price", "qty", "origin")

Loop = Callable[[list[pl.DataFrame]], Iterator[pl.DataFrame]]


def four_verbs(frame: st.StreamDataFrame) -> st.StreamDataFrame:
    """What is measured, in Streame."""
    return (
        frame.filter(pl.col("qty") > 2)
        .add_static_column("origin", "web")
        .rename({"price": "unit_price"})
        .select(*COLUMNS)
    )


def four_calls(batches: list[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The same verbs in Polars, one call each."""
    for batch in batches:
        yield (
            batch.filter(pl.col("qty") > 2)
            .with_columns(pl.lit("web").alias("origin"))
            .rename({"price": "unit_price"})
            .select(*COLUMNS)
        )


def two_calls(batches: list[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The same by hand in as few calls as Polars allows, with the expressions made once."""
    predicate = pl.col("qty") > 2
    columns = [
        pl.col("ts"),
        pl.col("item"),
        pl.col("price").alias("unit_price"),
        pl.col("qty"),
        pl.lit("web").alias("origin"),
    ]
    for batch in batches:
        yield batch.filter(predicate).select(columns)


def _streame(batch_rows: int) -> Callable[[int, Path], Work]:
    def prepare(rows: int, folder: Path) -> Work:
        batches = cut(orders(rows), batch_rows) * PASSES
        sink = CountingSink("qty")
        job = st.sink(four_verbs(st.scan_frames(batches)), sink)

        def work() -> Outcome:
            job.run()
            return Outcome(rows * PASSES, sink.tally.numbers)

        return work

    return prepare


def _plain(batch_rows: int, loop: Loop) -> Callable[[int, Path], Work]:
    def prepare(rows: int, folder: Path) -> Work:
        batches = cut(orders(rows), batch_rows) * PASSES

        def work() -> Outcome:
            return Outcome(rows * PASSES, tally(loop(batches), "qty").numbers)

        return work

    return prepare


def _case(name: str, batch_rows: int, loop: Loop, peer_name: str, bars: tuple[Bar, ...]) -> Case:
    return Case(
        name,
        f"four verbs in memory, batches of {batch_rows:,} rows",
        streame=_streame(batch_rows),
        peer=_plain(batch_rows, loop),
        peer_name=peer_name,
        rows=ROWS,
        smoke_rows=200_000,
        bars=bars,
        rounds=9,
    )


CASES = (
    _case("chain-8k", 8_192, four_calls, "Polars, eager", (Bar("ratio", 0.8),)),
    _case("chain-64k", 65_536, four_calls, "Polars, eager", (Bar("ratio", 0.8),)),
    _case("chain-8k-merged", 8_192, two_calls, "Polars, two eager calls", ()),
    _case("chain-64k-merged", 65_536, two_calls, "Polars, two eager calls", ()),
)
