"""The job of the demo with the flights coming one after the other, as they would: slow enough to be watched."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

import streame as st
from streame.cli.demo import pipeline

CHUNK_ROWS = 2_048


class Departing:
    """The flights of 2013 in their order, at a pace; one without an aircraft is a bad row.

    Args:
        rows: how many of them.
        rows_per_s: the pace; 0 for all at once.
    """

    bounded = True
    one_split = True

    def __init__(self, rows: int, rows_per_s: int) -> None:
        self.rows, self.rows_per_s = rows, rows_per_s

    def schema(self) -> pl.Schema:
        """See `st.Source`."""
        return pl.Schema(pl.read_parquet_schema(pipeline.DATA / "flights.parquet"))

    def splits(self) -> list[str]:
        """See `st.Source`."""
        return ["flights"]

    def read(self, split: str, offset: Any) -> Iterator[st.Chunk]:
        """See `st.Source`."""
        pace = threading.Event()
        flights = pl.read_parquet(pipeline.DATA / "flights.parquet", n_rows=self.rows).with_row_index(
            "offset"
        )
        for start in range(offset or 0, flights.height, CHUNK_ROWS):
            rows = flights[start : start + CHUNK_ROWS]
            if self.rows_per_s:
                pace.wait(rows.height / self.rows_per_s)
            good = rows.filter(pl.col("tailnum").is_not_null())
            bad = rows.filter(pl.col("tailnum").is_null()).to_dicts()
            yield st.Chunk(
                good.drop("offset"),
                start + rows.height,
                offsets=good["offset"].to_numpy,
                rejected=[
                    st.BadRow(each["offset"], "null", "column 'tailnum' is required", str(each).encode())
                    for each in bad
                ],
            )


def job(out: Path, rows: int, rows_per_s: int) -> st.Job:
    """The job of the demo.

    Args:
        out: where its output goes.
        rows: how many flights there are.
        rows_per_s: how many flights come in a second; 0 for all at once.
    """
    return pipeline.job(out, st.scan(Departing(rows, rows_per_s), on_error="dead_letter", name="flights"))
