"""Rows on the console, one aligned line each."""

import sys
from collections.abc import Iterator
from typing import TextIO

import polars as pl
from rich.console import Console
from rich.text import Text

from streame.errors import PlanError
from streame.io.sink import Sink

_SLICE = 256
_WIDTH_MAX = 40


class ConsoleSink(Sink):
    """Prints rows as they come, in colour where the stream is a terminal; in a cluster, where the job is led.

    Args:
        limit: rows to print of one batch; the others are counted. `None` prints all.
        stream: where to print; standard output if it is not given.

    Raises:
        PlanError: when `limit` is negative.
    """

    separate = False

    def __init__(self, limit: int | None = None, stream: TextIO | None = None) -> None:
        if limit is not None and limit < 0:
            raise PlanError(f"limit={limit}: give the number of rows to print of a batch, or None for all")
        self._limit = limit
        self._given = stream

    def open(self, schema: pl.Schema) -> None:
        """Get ready to print; the names of the columns come with the first rows."""
        self._stream: TextIO = sys.stdout if self._given is None else self._given
        self._rich = Console(file=self._stream, soft_wrap=True) if self._stream.isatty() else None
        self._names = list(schema)
        self._right = [dtype.is_numeric() for dtype in schema.dtypes()]
        self._widths = [0] * len(schema)
        self._begun = False

    def write(self, frame: pl.DataFrame) -> None:
        """Print some rows."""
        shown = frame if self._limit is None else frame.head(self._limit)
        for cells in _slices(shown):
            self._print(cells)
        if hidden := frame.height - shown.height:
            self._line(f"... {hidden:,} more rows", "dim")
        self._stream.flush()

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """Nothing is left to do; the stream is the caller's."""

    def abort(self) -> None:
        """Nothing is held."""

    def _print(self, rows: list[list[str]]) -> None:
        before = list(self._widths)
        for row in rows if self._begun else [self._names, *rows]:
            self._widths = [
                max(w, min(len(cell), _WIDTH_MAX)) for w, cell in zip(self._widths, row, strict=True)
            ]
        if self._widths != before:
            self._line(self._aligned(self._names), "bold")
        self._begun = True
        for row in rows:
            self._line(self._aligned(row), "")

    def _aligned(self, row: list[str]) -> str:
        cells = zip(row, self._widths, self._right, strict=True)
        return "  ".join(cell.rjust(w) if right else cell.ljust(w) for cell, w, right in cells).rstrip()

    def _line(self, text: str, style: str) -> None:
        if self._rich is None:
            self._stream.write(text + "\n")
        else:
            self._rich.print(Text(text, style=style))


def _slices(frame: pl.DataFrame) -> Iterator[list[list[str]]]:
    for start in range(0, frame.height, _SLICE):
        yield [[_cell(value) for value in row] for row in frame.slice(start, _SLICE).iter_rows()]


def _cell(value: object) -> str:
    """A value on one line: a control character must not move the cursor or begin a line."""
    text = "null" if value is None else str(value)
    return text if text.isprintable() else repr(text)[1:-1]
