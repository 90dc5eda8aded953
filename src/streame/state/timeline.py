"""A timeline: rows in the order of their times, that come in any order and are taken from the front."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from streame.core.metrics import StateSize
from streame.core.time import Mask, Ticks
from streame.state.rows import owned, rows_at
from streame.state.snapshot import Savable

_PIECES_MAX = 8
_RATIO = 8
_CHUNKS_MAX = 2


@dataclass(slots=True)
class _Piece:
    """Rows in order of time, and how many there were when it was made."""

    times: Ticks
    rows: pl.DataFrame
    height: int


class Timeline(Savable):
    """Rows in the order of their times; those of equal time in the order in which they came.

    They lie in pieces that are each in order, so that taking rows from the front touches only what is taken. A
    row is copied a constant number of times, or a few more where rows come one by one.

    Args:
        schema: the columns of the rows.
    """

    SAVED = ("_pieces",)

    def __init__(self, schema: pl.Schema) -> None:
        self._none = pl.DataFrame(schema=schema)
        self._pieces: list[_Piece] = []

    def saved(self) -> dict[str, Any]:
        """See `Savable`."""
        return {
            "times": [piece.times for piece in self._pieces],
            "rows": [piece.rows for piece in self._pieces],
        }

    def restore(self, parts: dict[str, Any]) -> None:
        """See `Savable`."""
        pairs = zip(parts["times"], parts["rows"], strict=True)
        self._pieces = [_Piece(times, rows, len(times)) for times, rows in pairs]

    @property
    def schema(self) -> pl.Schema:
        """The columns of the rows."""
        return self._none.schema

    def whole(self) -> tuple[Ticks, pl.DataFrame]:
        """All rows in order, and their times."""
        return _merged(self._pieces, self._none)

    def absorb(self, other: "Timeline", owned: Callable[[pl.DataFrame], Mask]) -> None:
        """Take those rows of another one of which `owned` is true."""
        times, rows = other.whole()
        mask = owned(rows)
        self.add(times[mask], rows.filter(pl.Series(mask)))

    def __len__(self) -> int:
        return sum(len(piece.times) for piece in self._pieces)

    @property
    def size(self) -> StateSize:
        """How many rows are there, and about how much memory they take."""
        memory = sum(piece.times.nbytes + int(piece.rows.estimated_size()) for piece in self._pieces)
        return StateSize(len(self), memory)

    @property
    def least(self) -> int | None:
        """The time of the first row."""
        return min((int(piece.times[0]) for piece in self._pieces), default=None)

    def add(self, times: Ticks, rows: pl.DataFrame) -> None:
        """Take rows.

        Args:
            times: the time of each row.
            rows: the rows.
        """
        if not len(times):
            return
        if (times[1:] < times[:-1]).any():
            order = np.argsort(times, kind="stable")
            times, rows = times[order], rows_at(rows, order)
        self._pieces.append(_Piece(times, rows, len(times)))
        while len(self._pieces) > _PIECES_MAX and self._tail_is_small():
            merged_times, merged = _merged(self._pieces[-2:], self._none)
            self._pieces[-2:] = [_Piece(merged_times, owned(merged), len(merged_times))]

    def take(self, before: int) -> tuple[Ticks, pl.DataFrame]:
        """Take out the rows of earlier times than `before`, in order."""
        taken, left = [], []
        for piece in self._pieces:
            count = int(np.searchsorted(piece.times, before))
            if count:
                taken.append(_Piece(piece.times[:count], piece.rows[:count], count))
            if count < len(piece.times):
                left.append(_after(piece, count))
        self._pieces = left
        return _merged(taken, self._none)

    def drop_first(self, is_gone: Callable[[pl.DataFrame], Mask]) -> None:
        """Drop rows at the front of each piece as long as they are gone, so that `least` is the time of a row that is not.

        Args:
            is_gone: says which rows are gone.
        """
        pieces = [_after(piece, _leading(piece.rows, is_gone)) for piece in self._pieces]
        self._pieces = [piece for piece in pieces if len(piece.times)]

    def _tail_is_small(self) -> bool:
        """Whether the last two pieces are near enough in size to be merged."""
        *_, one, other = self._pieces
        return len(one.times) <= _RATIO * len(other.times)


def _after(piece: _Piece, count: int) -> _Piece:
    """A piece without its first rows; once few are left, in memory of their own."""
    if not count:
        return piece
    times, rows = piece.times[count:], piece.rows[count:]
    if _RATIO * len(times) > piece.height:
        return _Piece(times, rows, piece.height)
    return _Piece(times.copy(), owned(rows), len(times))


def _leading(rows: pl.DataFrame, is_gone: Callable[[pl.DataFrame], Mask]) -> int:
    """How many rows at the front are gone; looks at no more than about twice as many."""
    start, count = 0, 1
    while start < rows.height:
        gone = is_gone(rows[start : start + count])
        if not gone.all():
            return start + int(np.argmin(gone))
        start, count = start + count, 2 * count
    return rows.height


def _merged(pieces: list[_Piece], none: pl.DataFrame) -> tuple[Ticks, pl.DataFrame]:
    """The rows of all pieces in one order."""
    if not pieces:
        return np.empty(0, np.int64), none
    if len(pieces) == 1:
        return pieces[0].times, pieces[0].rows
    times = np.concatenate([piece.times for piece in pieces])
    # Copying a few pieces into one costs more than reading them one by one.
    rows = pl.concat([piece.rows for piece in pieces], rechunk=len(pieces) > _CHUNKS_MAX)
    if (times[1:] < times[:-1]).any():
        order = np.argsort(times, kind="stable")
        times, rows = times[order], rows_at(rows, order)
    return times, rows
