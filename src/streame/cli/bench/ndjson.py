"""NDJSON to NDJSON through four verbs, against the streaming engine of Polars."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

import streame as st
from streame.cli.bench.case import Bar, Case, Numbers, Outcome, Work
from streame.cli.bench.chain import COLUMNS, four_verbs
from streame.cli.bench.orders import SCHEMA, orders

ROWS = 2_000_000
GOOD_PER_BAD = 999
CLEAN = "clean.ndjson"
DIRTY = "dirty.ndjson"
PLAIN: Mapping[str, Any] = {**SCHEMA, "ts": pl.String()}
TIMED: Mapping[str, Any] = dict(SCHEMA)

BAD_LINES = (
    b'{"ts":"2023-11-14T22:13:20.000000","user_id":17,"item":"item-00\n',
    b'{"ts":"2023-11-14T22:13:20.000000","user_id":"many","item":"item-0001","price":1.5,"qty":1}\n',
    b'{"ts":"2023-11-14T22:13:20.000000","user_id":17,"item":"item-0001","price":1.5,"qty":99999999999999999999}\n',
    b"2023-11-14 22:13:20 ERROR the shop is closed\n",
)
"""Cut off, of a wrong type, too large, and no JSON at all; by turns."""


def write_files(rows: int, folder: Path) -> None:
    """The clean file, and the same lines with one bad line after each 999."""
    if (folder / DIRTY).exists():
        return
    frame = orders(rows).with_columns(pl.col("ts").dt.strftime("%Y-%m-%dT%H:%M:%S%.6f"))
    frame.write_ndjson(folder / CLEAN)
    with (folder / DIRTY).open("wb") as file:
        for number, part in enumerate(frame.iter_slices(GOOD_PER_BAD)):
            part.write_ndjson(file)
            file.write(BAD_LINES[number % len(BAD_LINES)])


def _digest(path: Path) -> Numbers:
    written = pl.read_ndjson(path)
    sums = written.select(
        pl.col("qty", "unit_price").sum(),
        web=pl.col("origin").eq("web").sum(),
        seconds=pl.col("ts").str.slice(17, 2).cast(pl.Int64).sum(),
    )
    return {"rows": written.height, **sums.row(0, named=True)}


def _streame(schema: Mapping[str, Any], source: str) -> Callable[[int, Path], Work]:
    def prepare(rows: int, folder: Path) -> Work:
        output, errors = folder / "streame.ndjson", folder / "errors"
        dirty = source == DIRTY
        lines = st.scan_ndjson(folder / source, schema, on_error="dead_letter" if dirty else "fail")
        job = four_verbs(lines).sink_ndjson(output)
        bad = -(-rows // GOOD_PER_BAD) if dirty else 0

        def work() -> Outcome:
            status = job.run(errors=errors if dirty else None)
            assert status.rejected == bad, f"{status.rejected} bad lines were found, {bad} are there"
            return Outcome(rows + bad, lambda: _digest(output))

        return work

    return prepare


def _polars(schema: Mapping[str, Any]) -> Callable[[int, Path], Work]:
    def prepare(rows: int, folder: Path) -> Work:
        output = folder / "polars.ndjson"
        plan = (
            pl.scan_ndjson(folder / CLEAN, schema=dict(schema))
            .filter(pl.col("qty") > 2)
            .with_columns(pl.lit("web").alias("origin"))
            .rename({"price": "unit_price"})
            .select(*COLUMNS)
        )

        def work() -> Outcome:
            plan.sink_ndjson(output)
            return Outcome(rows, lambda: _digest(output))

        return work

    return prepare


def _case(name: str, title: str, schema: Mapping[str, Any], source: str, bar: float) -> Case:
    return Case(
        name,
        title,
        streame=_streame(schema, source),
        peer=_polars(schema),
        peer_name="Polars, sink_ndjson" if source == CLEAN else "Polars, clean file",
        rows=ROWS,
        smoke_rows=100_000,
        bars=(Bar("ratio", bar),),
        files=write_files,
    )


CASES = (
    _case("ndjson", "NDJSON to NDJSON", PLAIN, CLEAN, 0.8),
    _case("ndjson-time", "NDJSON to NDJSON with a Datetime", TIMED, CLEAN, 0.8),
    _case("ndjson-bad", "the same, 1 bad line in 1,000", PLAIN, DIRTY, 0.4),
    _case("ndjson-bad-time", "the same with a Datetime, 1 bad line in 1,000", TIMED, DIRTY, 0.4),
)
