"""DuckDB as a peer: the rows in a table of its own before the clock starts, one query over all of them."""

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import polars as pl

MODULE = "duckdb"
THREADS = os.cpu_count() or 1
"""As many as Streame may use, which are all there are."""


class Duck:
    """A database in memory.

    Args:
        tables: its tables; the frames are no longer needed afterwards.
        folder: where the rows may lie for a moment on their way into it.
    """

    def __init__(self, tables: Mapping[str, pl.DataFrame], folder: Path) -> None:
        self._connection: Any = import_module(MODULE).connect(config={"threads": THREADS})
        for name, frame in tables.items():
            path = folder / f"{name}.duck.parquet"
            frame.write_parquet(path, compression="uncompressed")
            self._connection.execute(f"CREATE TABLE {name} AS FROM read_parquet('{path}')")
            path.unlink()

    def query(self, sql: str) -> pl.DataFrame:
        """The whole result of a query, handed over without a copy where that is possible."""
        return pl.DataFrame(self._connection.sql(sql))
