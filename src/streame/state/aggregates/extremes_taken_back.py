"""Smallest and largest values of rows that may be taken back."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.core.aggregates import GROUP, Extreme
from streame.state.aggregates.accumulator import GroupRows
from streame.state.aggregates.batch import Batch, Groups, grown
from streame.state.aggregates.extremes import extremes_of
from streame.state.aggregates.kept import KeptRows


class ExtremesTakenBack(GroupRows):
    """Extremes, and all values with how often each is there.

    Only where the extreme itself is taken back must the values be looked at, and only once it is asked for: what
    rises and is never lowered costs no more than if it were not taken back at all.
    """

    BY_GROUP = ("lost", "lowered")
    SAVED = ("best", "kept", "lost", "lowered")

    def __init__(self, spec: Extreme) -> None:
        self._spec = spec
        self.best = extremes_of(spec)
        self.kept = KeptRows(pl.Schema({"value": spec.dtype}), weighted=True)
        self.lost: npt.NDArray[np.bool_] = np.zeros(0, np.bool_)
        self.lowered: npt.NDArray[np.bool_] = np.zeros(0, np.bool_)

    def resize(self, size: int) -> None:
        """See `GroupValues`."""
        self.best.resize(size)
        self.lost = grown(self.lost, size, fill=False)
        self.lowered = grown(self.lowered, size, fill=False)

    def add(self, batch: Batch) -> None:
        """See `GroupValues`."""
        column = batch.column(self._spec.column)
        if column.null_count():
            batch = batch.at(np.flatnonzero(column.is_not_null().to_numpy()))
            column = batch.column(self._spec.column)
        if not len(batch.groups):
            return
        self.kept.add(batch.groups, [column.alias("value")], batch.weights)
        if batch.weights is None:
            self.best.add(batch)
            return
        self.best.add(batch.at(np.flatnonzero(batch.weights > 0)))
        gone = batch.at(np.flatnonzero(batch.weights < 0))
        self.lowered[gone.groups] = True
        (best,) = self.best.values(gone.groups)
        is_best = gone.column(self._spec.column).eq_missing(best).to_numpy()
        self.lost[gone.groups[is_best]] = True

    def values(self, groups: Groups) -> Sequence[pl.Series]:
        """See `GroupValues`."""
        lost = np.unique(groups[self.lost[groups]])
        if len(lost):
            self._find(lost)
        return self.best.values(groups)

    def absorb(self, other: Any, chosen: Groups, groups: Groups) -> None:
        """See `GroupValues`."""
        target = np.full(len(other.lost), -1, np.int32)
        target[chosen] = groups
        self.kept.absorb(other.kept, target)
        self.best.absorb(other.best, chosen, groups)
        # What was taken back there may be the extreme here.
        self.lost[groups[other.lowered[chosen]]] = True
        self.lowered[groups[other.lowered[chosen]]] = True

    def _find(self, lost: Groups) -> None:
        """Find the extremes of groups among all their values."""
        rows = self.kept.of(lost)
        self.best.clear(lost)
        self.best.take(rows[GROUP].to_numpy().astype(np.intp), rows["value"])
        self.lost[lost] = False

    @property
    def nbytes(self) -> int:
        """See `GroupValues`."""
        return self.best.nbytes + self.kept.nbytes + self.lost.nbytes + self.lowered.nbytes

    @property
    def rows(self) -> int:
        """See `GroupValues`."""
        return self.kept.height
