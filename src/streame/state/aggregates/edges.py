"""First and last values, in the order of time, ties in the order of positions or of arrival."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.core.aggregates import TIME, Edge
from streame.core.hidden import POSITION
from streame.core.positions import POSITION_DTYPE
from streame.state.aggregates.accumulator import GroupValues
from streame.state.aggregates.batch import Array, Batch, Groups, grown
from streame.state.aggregates.cells import cells_of, gathered
from streame.state.index import KeyIndex

_Integers = npt.NDArray[np.int64]


class Edges(GroupValues):
    """The values of the first or the last row of each group, of all columns for which that is the same row.

    Args:
        specs: the columns; `last` and `mask` are the same for all.
    """

    def __init__(self, specs: Sequence[Edge]) -> None:
        self._specs = specs
        self._last = specs[0].last
        self._cells = [cells_of(spec.dtype) for spec in specs]
        self._splits = _Splits()
        self._seen: npt.NDArray[np.bool_] = np.zeros(0, np.bool_)
        self._times: _Integers = np.zeros(0, np.int64)
        self._codes: _Integers = np.zeros(0, np.int64)
        self._offsets: _Integers = np.zeros(0, np.int64)
        self._winner: _Integers = np.zeros(0, np.int64)

    def resize(self, size: int) -> None:
        """See `GroupValues`."""
        bounds = np.iinfo(np.int64)
        self._seen = grown(self._seen, size, fill=False)
        self._times = grown(self._times, size, bounds.min if self._last else bounds.max)
        self._codes = grown(self._codes, size, 0)
        self._offsets = grown(self._offsets, size, 0)
        self._winner = np.zeros(size, np.int64)
        for cells in self._cells:
            cells.resize(size)

    def add(self, batch: Batch) -> None:
        """See `GroupValues`."""
        batch = batch.where(self._specs[0].mask)
        names = batch.rows.columns
        times = batch.column(TIME).to_numpy() if TIME in names else np.zeros(len(batch.groups), np.int64)
        positions = batch.column(POSITION) if POSITION in names else None
        self._take(batch.groups, times, positions, [batch.column(spec.column) for spec in self._specs])

    def values(self, groups: Groups) -> Sequence[pl.Series]:
        """See `GroupValues`."""
        pairs = zip(self._cells, self._specs, strict=True)
        return [cells.take(groups).alias(spec.name) for cells, spec in pairs]

    def parts(self, groups: Groups) -> Sequence[pl.Series]:
        """See `GroupValues`."""
        seen = pl.Series(self._seen[groups])
        positions = self._splits.positions(self._codes[groups], self._offsets[groups])
        return [seen, pl.Series(self._times[groups]), positions, *self.values(groups)]

    def merge(self, groups: Groups, parts: Sequence[pl.Series]) -> None:
        """See `GroupValues`."""
        _, times, positions, *columns = (part.filter(parts[0]) for part in parts)
        self._take(groups[parts[0].to_numpy()], times.to_numpy(), positions, columns)

    def _take(
        self, groups: Groups, times: _Integers, positions: pl.Series | None, columns: Sequence[pl.Series]
    ) -> None:
        """Let each row win its group if it comes before, or after, the one that has won so far."""
        if not len(groups):
            return
        known, before = self._seen[groups], self._times[groups]
        (np.maximum if self._last else np.minimum).at(self._times, groups, times)
        rows = np.flatnonzero(times == self._times[groups])
        if not len(rows):
            return
        groups = groups[rows]
        codes, offsets = self._splits.encode(
            None if positions is None else gathered(positions, rows), len(rows)
        )
        # Written in this order, the row that wins among those of equal time is written last.
        order = self._splits.sort(codes, offsets)[:: 1 if self._last else -1]
        self._winner[groups[order]] = order
        won = order[self._winner[groups[order]] == order]
        groups, rows, codes, offsets = groups[won], rows[won], codes[won], offsets[won]
        tied = known[rows] & (before[rows] == times[rows])
        comes_before = self._splits.comes_before(codes, offsets, self._codes[groups], self._offsets[groups])
        loses = tied & (comes_before if self._last else ~comes_before)
        if loses.any():
            groups, rows, codes, offsets = (each[~loses] for each in (groups, rows, codes, offsets))
        self._seen[groups], self._codes[groups], self._offsets[groups] = True, codes, offsets
        for cells, column in zip(self._cells, columns, strict=True):
            cells.put(groups, gathered(column, rows))

    @property
    def nbytes(self) -> int:
        """See `GroupValues`."""
        own: Sequence[Array] = (self._seen, self._times, self._codes, self._offsets, self._winner)
        return sum(array.nbytes for array in own) + sum(cells.nbytes for cells in self._cells)


class _Splits:
    """Numbers for the splits of positions, and the order of these. No position is number 0 and comes first."""

    def __init__(self) -> None:
        self._schema = pl.Schema({name: POSITION_DTYPE.to_schema()[name] for name in ("source", "split")})
        self._index = KeyIndex(self._schema)
        self._index.slots(pl.DataFrame({"source": [None], "split": [None]}, schema=self._schema))
        self._ranks: _Integers = np.zeros(1, np.int64)

    def encode(self, positions: pl.Series | None, count: int) -> tuple[_Integers, _Integers]:
        """The split, as its number, and the offset of each position."""
        if positions is None or not count:
            return np.zeros(count, np.int64), np.zeros(count, np.int64)
        names = pl.DataFrame([positions.struct.field(name) for name in self._schema])
        run = names.select(pl.struct(pl.all()).rle_id()).to_series().to_numpy()
        heads = np.flatnonzero(np.append(True, run[1:] != run[:-1]))
        codes = self._index.slots(names[pl.Series(heads.astype(np.uint32))]).astype(np.int64)[run]
        if len(self._index) > len(self._ranks):
            self._rank()
        return codes, positions.struct.field("offset").fill_null(0).to_numpy()

    def positions(self, codes: _Integers, offsets: _Integers) -> pl.Series:
        """The positions behind numbers."""
        names = self._index.keys(codes)
        return names.select(pl.struct(*self._schema, offset=pl.Series(offsets)).alias(POSITION)).to_series()

    def sort(self, codes: _Integers, offsets: _Integers) -> _Integers:
        """The order of the positions, equal ones as they stand."""
        ranks = self._ranks[codes]
        if (ranks == ranks[0]).all() and _is_sorted(offsets):
            return np.arange(len(codes))
        return np.lexsort((offsets, ranks))

    def comes_before(
        self, codes: _Integers, offsets: _Integers, than_codes: _Integers, than_offsets: _Integers
    ) -> npt.NDArray[np.bool_]:
        """Whether positions come before others."""
        ranks, than_ranks = self._ranks[codes], self._ranks[than_codes]
        return np.where(ranks == than_ranks, offsets < than_offsets, ranks < than_ranks)

    def _rank(self) -> None:
        names = self._index.keys(np.arange(len(self._index))).with_row_index("code")
        order = names.sort(*self._schema, nulls_last=False)["code"].to_numpy()
        self._ranks = np.empty(len(order), np.int64)
        self._ranks[order] = np.arange(len(order))


def _is_sorted(array: _Integers) -> bool:
    return bool((array[1:] >= array[:-1]).all())
