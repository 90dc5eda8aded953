"""First and last values, in the order of time, ties in the order of positions or of arrival."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.core.aggregates import TIME, Edge
from streame.core.hidden import POSITION
from streame.state.aggregates.accumulator import GroupValues
from streame.state.aggregates.batch import Batch, Groups, grown
from streame.state.aggregates.cells import cells_of, gathered
from streame.state.aggregates.places import Places, Splits
from streame.state.snapshot import Changed

_Integers = npt.NDArray[np.int64]

_TIMES = np.iinfo(np.int64)


class Edges(GroupValues):
    """The values of the first or the last row of each group, of all columns for which that is the same row.

    Args:
        specs: the columns; `last` and `mask` are the same for all.
    """

    BY_GROUP = ("_seen", "_times")
    SAVED = ("_seen", "_times", "_splits", "_cells", "_places")
    DERIVED = ("_winner",)

    def __init__(self, specs: Sequence[Edge]) -> None:
        self._specs = specs
        self._last = specs[0].last
        self._no_time = _TIMES.min if self._last else _TIMES.max
        self._cells = [cells_of(spec.dtype) for spec in specs]
        self._seen: npt.NDArray[np.bool_] = np.zeros(0, np.bool_)
        self._times: _Integers = np.zeros(0, np.int64)
        self._winner: _Integers = np.zeros(0, np.int64)
        self._splits = Splits()
        self._places: Places | None = None

    def saved(self) -> dict[str, Any]:
        """See `Savable`."""
        parts = super().saved()
        del parts["_places"]
        if self._places is not None:
            splits, offsets = self._places.splits, self._places.offsets
            parts |= {"place_splits": self._of_groups(splits), "place_offsets": self._of_groups(offsets)}
        return parts

    def changed(self, name: str) -> Changed | None:
        """See `Savable`."""
        return super().changed("_times" if name.startswith("place_") else name)

    def restore(self, parts: dict[str, Any]) -> None:
        """See `Savable`."""
        self._seen, self._times = parts["_seen"], parts["_times"]
        self._winner = np.zeros(len(self._times), np.int64)
        self._splits.restore(parts["_splits"])
        for cells, part in zip(self._cells, parts["_cells"], strict=True):
            cells.restore(part)
        self._places = (
            Places(parts["place_splits"], parts["place_offsets"]) if "place_splits" in parts else None
        )

    def resize(self, size: int) -> None:
        """See `GroupValues`."""
        self._seen = grown(self._seen, size, fill=False)
        self._times = grown(self._times, size, self._no_time)
        self._winner = np.zeros(size, np.int64)
        if self._places is not None:
            self._places = self._places.grown(size)
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
        places = Places.nowhere(len(groups)) if self._places is None else self._places.at(groups)
        seen, times = (pl.Series(each[groups]) for each in (self._seen, self._times))
        return [seen, times, self._splits.positions(places), *self.values(groups)]

    def merge(self, groups: Groups, parts: Sequence[pl.Series]) -> None:
        """See `GroupValues`."""
        times, positions, *columns = (part.filter(parts[0]) for part in parts[1:])
        has_positions = positions.null_count() < len(positions)
        self._take(
            groups[parts[0].to_numpy()], times.to_numpy(), positions if has_positions else None, columns
        )

    def _take(
        self, groups: Groups, times: _Integers, positions: pl.Series | None, columns: Sequence[pl.Series]
    ) -> None:
        """Let each row win its group if it comes before, or after, the one that has won so far."""
        if not len(groups):
            return
        if positions is not None and self._places is None:
            self._places = Places.nowhere(len(self._times))
        before = self._times.take(groups)
        (np.maximum if self._last else np.minimum).at(self._times, groups, times)
        rows = np.flatnonzero(times == self._times.take(groups))
        places = None
        if self._places is not None:
            rows, places = self._splits.sorted(rows, positions)
        won = self._written_last(groups[rows])
        rows, places = rows[won], None if places is None else places.at(won)
        numbers = groups[rows]
        wins = self._wins(numbers, times[rows], before[rows], places)
        if not wins.all():
            rows, numbers, places = rows[wins], numbers[wins], None if places is None else places.at(wins)
        self._seen[numbers] = True
        if self._places is not None and places is not None:
            self._places.put(numbers, places)
        for cells, column in zip(self._cells, columns, strict=True):
            cells.put(numbers, gathered(column, rows))

    def _written_last(self, groups: Groups) -> _Integers:
        """Of rows in order, the last one of each group, or the first one."""
        numbers = np.arange(len(groups))
        step = 1 if self._last else -1
        self._winner[groups[::step]] = numbers[::step]
        return np.flatnonzero(self._winner.take(groups) == numbers)

    def _wins(
        self, groups: Groups, times: _Integers, before: _Integers, places: Places | None
    ) -> npt.NDArray[np.bool_]:
        """Whether each row comes after, or before, the one that has won its group so far."""
        wins = times > before if self._last else times < before
        tied = np.flatnonzero(times == before)
        if not len(tied):
            return wins
        # The time of a group without rows loses against every other but its like.
        unseen = ~self._seen[groups[tied]]
        if self._places is None or places is None:
            wins[tied] = unseen | self._last
        else:
            earlier = self._splits.come_before(places.at(tied), self._places.at(groups[tied]))
            wins[tied] = unseen | (~earlier if self._last else earlier)
        return wins

    @property
    def nbytes(self) -> int:
        """See `GroupValues`."""
        places = 0 if self._places is None else self._places.nbytes
        return (
            self._seen.nbytes
            + self._times.nbytes
            + self._winner.nbytes
            + places
            + sum(cells.nbytes for cells in self._cells)
        )
