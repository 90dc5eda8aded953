"""Rows kept in memory, that grow at the end and are read by number."""

import io
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.core.frames import frame_of
from streame.state.snapshot import Savable

RowNumbers = npt.NDArray[np.int64]
_Value = TypeVar("_Value", np.int32, np.int64, np.float64, np.bool_)

_RATIO = 8
_SMALL_ROWS = 8192
_FEW_COLUMNS = 4
_FEW_ROWS = 65_536


class Rows(Savable):
    """Rows that are appended, and gathered by number.

    Appending one row costs a constant number of copies on average: the rows lie in pieces, each at least eight
    times as long as the next. Reading often enough makes them one piece, which is the fastest to read.

    Args:
        schema: columns and dtypes of the rows.
    """

    SAVED = ("_pieces", "_rows")
    DERIVED = ("_gathered",)

    def __init__(self, schema: pl.Schema) -> None:
        self._pieces = [pl.DataFrame(schema=schema)]
        self._rows = 0
        self._gathered = 0

    def __len__(self) -> int:
        return self._rows

    @property
    def memory_bytes(self) -> int:
        """The size of the rows."""
        return sum(int(piece.estimated_size()) for piece in self._pieces)

    def append(self, frame: pl.DataFrame) -> None:
        """Add rows at the end.

        Args:
            frame: rows of the schema; they are copied, so that none of the batch they came in stays alive.
        """
        if not frame.height:
            return
        self._rows += frame.height
        self._gathered = 0
        self._pieces.append(owned(frame))
        while len(self._pieces) > 1 and self._pieces[-2].height <= _RATIO * self._pieces[-1].height:
            self._merge(2)

    def gather(self, rows: RowNumbers) -> pl.DataFrame:
        """The rows of these numbers, in their order; -1 gives a row of nulls."""
        self._gathered += len(rows)
        if len(self._pieces) > 1:
            if self._gathered < self._rows:
                return self._gather_from_pieces(rows)
            self._merge(len(self._pieces))
        return rows_at(self._pieces[0], rows)

    def whole(self) -> pl.DataFrame:
        """All rows, in the order of their numbers."""
        if len(self._pieces) > 1:
            self._merge(len(self._pieces))
        return self._pieces[0]

    def keep(self, rows: RowNumbers) -> None:
        """Drop all but the rows of these numbers, which are numbered anew from 0; frees the memory."""
        kept = self.gather(rows)
        self._pieces = [owned(kept)]
        self._rows = kept.height
        self._gathered = 0

    def _gather_from_pieces(self, rows: RowNumbers) -> pl.DataFrame:
        """Gather from each piece apart, and put the rows back in order."""
        found = []
        place = np.full(len(rows), -1, np.int64)
        start = count = 0
        for piece in self._pieces:
            inside = np.flatnonzero((rows >= start) & (rows < start + piece.height))
            if len(inside):
                found.append(rows_at(piece, rows[inside] - start))
                place[inside] = np.arange(count, count + len(inside))
                count += len(inside)
            start += piece.height
        if not found:
            return rows_at(self._pieces[0], rows)
        return rows_at(pl.concat(found, rechunk=True), place)

    def _merge(self, count: int) -> None:
        """Make the last `count` pieces one."""
        merged = pl.concat(self._pieces[-count:], rechunk=True)
        # The texts of many tiny pieces would stay in as many buffers.
        self._pieces[-count:] = [owned(merged) if merged.height <= _SMALL_ROWS else merged]


def with_room(array: npt.NDArray[_Value], size: int, fill: int) -> npt.NDArray[_Value]:
    """The array if it has `size` elements, else a copy of at least twice its length, padded with `fill`."""
    if size <= len(array):
        return array
    padding = np.full(max(size, 2 * len(array)) - len(array), fill, array.dtype)
    return np.concatenate([array, padding])


def as_index(rows: npt.NDArray[np.signedinteger]) -> pl.Series:
    """Row numbers as Polars' own index type, the fastest to gather with; -1 becomes null."""
    index = pl.Series(rows.astype(np.uint32))
    absent = rows < 0
    return index.set(pl.Series(absent), None) if absent.any() else index


def rows_at(frame: pl.DataFrame, rows: npt.NDArray[np.signedinteger]) -> pl.DataFrame:
    """The rows of these numbers, in their order; -1 gives a row of nulls.

    Polars gathers a frame in its pool of threads. Where all cores are busy, waiting for one of them costs milliseconds, so
    that a few columns of a few rows are gathered one by one in this thread.
    """
    index = as_index(rows)
    if 0 < frame.width <= _FEW_COLUMNS and len(rows) <= _FEW_ROWS:
        return frame_of([column[index] for column in frame.iter_columns()])
    return frame[index]


def owned(frame: pl.DataFrame) -> pl.DataFrame:
    """A copy that shares no memory with other frames.

    Polars' slices, filters and gathers keep the whole text buffers of the frame they come from alive. The way
    through Arrow's stream format with plain offsets leaves only what the rows need.
    """
    stream = io.BytesIO()
    frame.write_ipc_stream(stream, compat_level=pl.CompatLevel.oldest())
    stream.seek(0)
    return pl.read_ipc_stream(stream)
