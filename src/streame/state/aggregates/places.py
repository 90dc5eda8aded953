"""Positions of rows as numbers that can be compared: the split, and the offset in it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.core.hidden import POSITION
from streame.core.positions import POSITION_DTYPE
from streame.state.aggregates.batch import Groups
from streame.state.aggregates.batch import grown as grown_array
from streame.state.aggregates.cells import gathered
from streame.state.index import KeyIndex
from streame.state.rows import as_index
from streame.state.snapshot import Savable

_Integers = npt.NDArray[np.int64]

_NOWHERE = 0
"""The number in the place of a split where there is no position; it comes before all others."""


@dataclass(frozen=True, slots=True)
class Places:
    """Positions: the number of the split of each, and the offset."""

    splits: _Integers
    offsets: _Integers

    @staticmethod
    def nowhere(count: int) -> "Places":
        """As many places of no position."""
        return Places(np.zeros(count, np.int64), np.zeros(count, np.int64))

    def grown(self, size: int) -> "Places":
        """The same places and new ones of no position."""
        return Places(grown_array(self.splits, size, _NOWHERE), grown_array(self.offsets, size, 0))

    def at(self, rows: Groups | npt.NDArray[np.bool_]) -> "Places":
        """Some of them."""
        return Places(self.splits[rows], self.offsets[rows])

    def put(self, rows: Groups, places: "Places") -> None:
        """Write others over them."""
        self.splits[rows] = places.splits
        self.offsets[rows] = places.offsets

    @property
    def nbytes(self) -> int:
        """The memory that is used."""
        return self.splits.nbytes + self.offsets.nbytes


class Splits(Savable):
    """Numbers for the splits of positions, and the order of these."""

    SAVED = ("_index",)
    DERIVED = ("_ranks",)

    def __init__(self) -> None:
        self._schema = pl.Schema({name: POSITION_DTYPE.to_schema()[name] for name in ("source", "split")})
        self._index = KeyIndex(self._schema)
        # By number; the splits themselves begin at 1.
        self._ranks: _Integers = np.zeros(1, np.int64)

    def restored(self) -> None:
        """See `Savable`."""
        self._rank()

    def sorted(self, rows: Groups, positions: pl.Series | None) -> tuple[Groups, Places]:
        """Rows in the order of their positions, those with the same one as they stand, and their places."""
        if positions is None or not len(rows):
            return rows, Places.nowhere(len(rows))
        places = self._places(gathered(positions, rows))
        splits, offsets = places.splits, places.offsets
        if (splits == splits[0]).all() and (offsets[1:] >= offsets[:-1]).all():
            return rows, places
        order = np.lexsort((offsets, self._ranks[splits]))
        return rows[order], places.at(order)

    def come_before(self, places: Places, others: Places) -> npt.NDArray[np.bool_]:
        """Whether each place comes before the other one."""
        ranks, other_ranks = self._ranks[places.splits], self._ranks[others.splits]
        return np.where(ranks == other_ranks, places.offsets < others.offsets, ranks < other_ranks)

    def positions(self, places: Places) -> pl.Series:
        """The positions that are at these places."""
        names = self._index.keys(places.splits - 1)
        position = pl.struct(*self._schema, offset=pl.Series(places.offsets))
        is_somewhere = pl.lit(pl.Series(places.splits != _NOWHERE))
        return names.select(pl.when(is_somewhere).then(position).alias(POSITION)).to_series()

    def _places(self, positions: pl.Series) -> Places:
        names = pl.DataFrame([positions.struct.field(name) for name in self._schema])
        run = names.select(pl.struct(pl.all()).rle_id()).to_series().to_numpy()
        first = names[as_index(np.flatnonzero(np.append(True, run[1:] != run[:-1])))]
        splits = self._index.slots(first).astype(np.int64) + 1
        splits[first["source"].is_null().to_numpy()] = _NOWHERE
        if len(self._index) >= len(self._ranks):
            self._rank()
        return Places(splits[run], positions.struct.field("offset").fill_null(0).to_numpy())

    def _rank(self) -> None:
        """Work out the order of all splits: by source, then by split."""
        names = self._index.keys(np.arange(len(self._index))).with_row_index("number", offset=1)
        order = names.sort(*self._schema)["number"].to_numpy()
        self._ranks = np.zeros(1 + len(order), np.int64)
        self._ranks[order] = np.arange(1, 1 + len(order))
