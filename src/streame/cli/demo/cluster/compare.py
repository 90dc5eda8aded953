"""Whether the cluster has written what one process writes: every row, in whatever order."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

import streame as st
from streame.cli.demo.folder import DemoFolder
from streame.cli.demo.pipeline import SINKS
from streame.core.deadletters import DEAD_LETTER_SCHEMA

WHEN = "at"
"""The column of a dead letter that no two runs have in common."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One output.

    Args:
        name: of the sink.
        rows: how many one process writes.
        missing: how many of these the cluster has not.
        more: how many the cluster has besides.
        example: one of either kind.
    """

    name: str
    rows: int
    missing: int
    more: int
    example: str = ""

    @property
    def exact(self) -> bool:
        """Whether they are the same."""
        return not (self.missing or self.more)


def compared(cluster: DemoFolder, alone: DemoFolder) -> list[Comparison]:
    """All outputs.

    Args:
        cluster: what the cluster has written.
        alone: what one process has.
    """
    found = [
        compare(name, rows_of(getattr(cluster, folder)), rows_of(getattr(alone, folder)))
        for name, folder in zip(SINKS, ("flights", "hours", "routes"), strict=True)
    ]
    return [*found, compare("errors", letters(cluster.errors), letters(alone.errors))]


def compare(name: str, found: pl.DataFrame, expected: pl.DataFrame) -> Comparison:
    """Two outputs, as bags of rows.

    Args:
        name: what they are called.
        found: what is there.
        expected: what should be.
    """
    sides = [found.with_columns(__side=pl.lit(1)), expected.with_columns(__side=pl.lit(-1))]
    odd = (
        pl.concat(sides)
        .group_by(expected.columns)
        .agg(times=pl.col("__side").sum())
        .filter(pl.col("times") != 0)
    )
    times = odd["times"].to_list()
    return Comparison(
        name,
        expected.height,
        -sum(each for each in times if each < 0),
        sum(each for each in times if each > 0),
        str(odd.row(0, named=True)) if times else "",
    )


def rows_of(folder: Path) -> pl.DataFrame:
    """What has been written, as everybody may read it; of a changes stream what it comes to."""
    rows = st.scan_parquet(folder).collect()
    if "_diff" not in rows.columns:
        return rows
    columns = [name for name in rows.columns if name != "_diff"]
    return rows.group_by(columns).agg(pl.col("_diff").sum()).filter(pl.col("_diff") != 0)


def letters(folder: Path) -> pl.DataFrame:
    """The dead letters, without the time at which each was written."""
    schema = {name: pl.String for name in DEAD_LETTER_SCHEMA if name != WHEN}
    if not folder.exists():
        return pl.DataFrame(schema=schema)
    return st.scan_ndjson(folder, {**schema, "offset": pl.Int64}).collect()
