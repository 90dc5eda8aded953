"""A sink that keeps only numbers of what it gets: cheap enough to leave the time to the engine."""

from collections.abc import Iterable

import polars as pl

import streame as st
from streame.cli.bench.case import Numbers


class Tally:
    """Counts rows and columns, and adds up one column.

    Args:
        column: a numeric column; `None` adds up nothing.
    """

    def __init__(self, column: str | None) -> None:
        self._column = column
        self._rows = 0
        self._columns = 0
        self._total = 0.0

    def add(self, frame: pl.DataFrame) -> None:
        """Count a frame in."""
        self._rows += frame.height
        self._columns = frame.width
        if self._column is not None:
            self._total += float(frame.get_column(self._column).sum())

    def numbers(self) -> Numbers:
        """The result."""
        return {"rows": self._rows, "columns": self._columns, "total": self._total}


def tally(frames: Iterable[pl.DataFrame], column: str | None = None) -> Tally:
    """What a plain loop over frames counts."""
    counted = Tally(column)
    for frame in frames:
        counted.add(frame)
    return counted


class CountingSink(st.Sink):
    """Counts rows and columns, and adds up one column.

    Args:
        column: a numeric column; `None` adds up nothing.
    """

    separate = False

    def __init__(self, column: str | None = None) -> None:
        self.tally = Tally(column)

    def write(self, frame: pl.DataFrame) -> None:
        """Count some rows."""
        self.tally.add(frame)
