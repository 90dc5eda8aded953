"""Rows that are kept, found by their group."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.core.aggregates import GROUP
from streame.core.hidden import WEIGHT
from streame.state.aggregates.batch import Groups, Weights, order_by_group
from streame.state.rows import owned, rows_at
from streame.state.snapshot import Savable

_SMALL_ROWS = 8192
_RATIO = 8
_WEIGHTED_RATIO = 2
_FEW = 4
_PENDING_ROWS_MAX = 65_536


@dataclass(frozen=True, slots=True)
class _Level:
    """Rows sorted by group, and the group of each."""

    rows: pl.DataFrame
    groups: npt.NDArray[np.int32]


class KeptRows(Savable):
    """The rows of many groups, in order of arrival.

    Batches are kept as they came, by reference: at the end they become one frame, once. Only when few groups are
    asked for, as for early results, they are sorted by group into levels, each several times as long as the next,
    so that a row is sorted a few times however many come.

    Args:
        schema: the columns of the rows.
        weighted: whether rows may be taken back. Then equal rows are one with a weight, and their order is not
            that of arrival, but that of their values.
    """

    SAVED = ("_levels", "_pending")
    DERIVED = ("_pending_rows",)

    def __init__(self, schema: pl.Schema, *, weighted: bool) -> None:
        self._weighted = weighted
        # Putting equal rows together costs more than finding a group in one more level.
        self._ratio = _WEIGHTED_RATIO if weighted else _RATIO
        self._identity = [GROUP, *schema]
        full = {GROUP: pl.Int32(), **schema, **({WEIGHT: pl.Int64()} if weighted else {})}
        self._none = pl.DataFrame(schema=full)
        self._names = self._none.columns
        self._has_buffers = not all(dtype.is_numeric() or dtype.is_temporal() for dtype in schema.dtypes())
        self._levels: list[_Level] = []
        self._pending: list[pl.DataFrame] = []
        self._pending_rows = 0

    def saved(self) -> dict[str, Any]:
        """See `Savable`."""
        return {"levels": [level.rows for level in self._levels], "pending": self._pending}

    def restore(self, parts: dict[str, Any]) -> None:
        """See `Savable`."""
        self._levels = [_Level(rows, rows[GROUP].to_numpy()) for rows in parts["levels"]]
        self._pending = parts["pending"]
        self._pending_rows = sum(frame.height for frame in self._pending)

    def add(self, groups: Groups, columns: Sequence[pl.Series], weights: Weights | None) -> None:
        """Take rows.

        Args:
            groups: the group of each row.
            columns: the columns of the schema, in its order.
            weights: +1 or -1 for each row, `None` for +1 everywhere.
        """
        given = [pl.Series(GROUP, groups.astype(np.int32)), *columns]
        if self._weighted:
            ones = np.ones(len(groups), np.int64) if weights is None else weights
            given.append(pl.Series(WEIGHT, ones))
        frame = pl.DataFrame(given)
        # A filtered or sliced batch would keep the texts of the whole one alive.
        self._append(owned(frame) if self._has_buffers else frame)

    def absorb(self, other: "KeptRows", target: npt.NDArray[np.int32]) -> None:
        """Take the rows of another one, which is not used any more; `target` says by group which group they go to."""
        chosen = np.flatnonzero(target >= 0)
        are_few = _FEW * len(chosen) < len(target)
        for frame in other.found(chosen) if are_few else other.frames():
            groups = target[frame[GROUP].to_numpy()]
            if (groups < 0).any():
                kept = np.flatnonzero(groups >= 0)
                frame, groups = rows_at(frame, kept), groups[kept]  # noqa: PLW2901
            if len(groups):
                self._append(frame.with_columns(pl.Series(GROUP, groups)))

    def frames(self) -> list[pl.DataFrame]:
        """All rows, of every group in order of arrival."""
        return [level.rows for level in self._levels] + self._pending

    def rows_of(self, groups: Groups, size: int) -> pl.DataFrame:
        """The rows of these groups, and maybe of others of the `size` groups there are."""
        return self.of(np.unique(groups)) if _FEW * len(groups) < size else self.all()

    def all(self) -> pl.DataFrame:
        """All rows in one frame."""
        frames = self.frames()
        whole = pl.concat(frames, rechunk=True) if frames else self._none
        if not self._levels:
            self._pending = [whole]
        return self._folded(whole)

    def of(self, groups: Groups) -> pl.DataFrame:
        """The rows of these groups, which are all different, without looking at the others."""
        found = self.found(groups)
        return self._folded(pl.concat(found, rechunk=True)) if found else self._none

    def found(self, groups: Groups) -> list[pl.DataFrame]:
        """The rows of these groups as they were kept."""
        self._sort_pending()
        return [_rows_of(level, groups) for level in self._levels]

    def _append(self, frame: pl.DataFrame) -> None:
        self._pending.append(frame)
        self._pending_rows += frame.height
        while len(self._pending) > 1:
            older, newer = (each.height for each in self._pending[-2:])
            if older > _SMALL_ROWS or older > _RATIO * newer:
                break
            self._pending[-2:] = [pl.concat(self._pending[-2:], rechunk=True)]
        if self._weighted and self._pending_rows > _PENDING_ROWS_MAX:
            self._sort_pending()

    def _sort_pending(self) -> None:
        """Make a level of the rows that came since the last one."""
        if not self._pending:
            return
        self._levels.append(self._level(self._pending))
        self._pending, self._pending_rows = [], 0
        while len(self._levels) > 1:
            older, newer = (level.rows.height for level in self._levels[-2:])
            if older > self._ratio * newer:
                break
            self._levels[-2:] = [self._level([level.rows for level in self._levels[-2:]])]

    def _level(self, frames: Sequence[pl.DataFrame]) -> _Level:
        rows = pl.concat(frames)
        if self._weighted:
            rows = rows.group_by(self._identity).agg(pl.col(WEIGHT).sum()).filter(pl.col(WEIGHT) != 0)
        rows = rows_at(rows, order_by_group(rows[GROUP].to_numpy()))
        return _Level(rows, rows[GROUP].to_numpy())

    def _folded(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with all weights of equal ones put together, without those that are gone."""
        if not self._weighted:
            return rows
        return rows.group_by(self._identity).agg(pl.col(WEIGHT).sum()).filter(pl.col(WEIGHT) > 0)

    @property
    def height(self) -> int:
        """How many rows are kept."""
        return self._pending_rows + sum(level.rows.height for level in self._levels)

    @property
    def nbytes(self) -> int:
        """About the memory that is used."""
        return sum(int(frame.estimated_size()) for frame in self.frames())


def _rows_of(level: _Level, groups: Groups) -> pl.DataFrame:
    """The rows of these groups in a level."""
    starts = np.searchsorted(level.groups, groups, "left")
    lengths = np.searchsorted(level.groups, groups, "right") - starts
    ends = np.cumsum(lengths)
    rows = np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - lengths), lengths)
    return rows_at(level.rows, rows)


def places(groups: pl.Series, size: int) -> npt.NDArray[np.int64]:
    """At which row each of the groups 0 to n-1 is, -1 where it is not."""
    place = np.full(size, -1, np.int64)
    place[groups.to_numpy()] = np.arange(len(groups))
    return place
