"""How many different values there are, of rows that may be taken back."""

from typing import Any

import numpy as np
import polars as pl

from streame.core.aggregates import GROUP, Distinct
from streame.state.aggregates.accumulator import GroupRows
from streame.state.aggregates.batch import Batch, Groups, Weights, grown
from streame.state.aggregates.cells import gathered
from streame.state.index import KeyIndex

_SLACK_PAIRS = 4096


class DistinctCountsTakenBack(GroupRows):
    """How often each value of each group is there, and how many of them are."""

    BY_GROUP = ("_counts",)
    SAVED = ("_pairs", "_weights", "_counts", "_live")
    DERIVED = ("_newest",)

    def __init__(self, spec: Distinct) -> None:
        self._spec = spec
        self._schema = pl.Schema({GROUP: pl.Int32(), "value": spec.dtype})
        self._pairs = KeyIndex(self._schema)
        self._weights: Weights = np.zeros(0, np.int64)
        self._newest: Groups = np.zeros(0, np.intp)
        self._counts: Weights = np.zeros(0, np.int64)
        self._live = 0

    def restored(self) -> None:
        """See `Savable`."""
        self._newest = np.zeros(len(self._weights), np.intp)

    def resize(self, size: int) -> None:
        """See `GroupValues`."""
        self._counts = grown(self._counts, size, 0)

    def add(self, batch: Batch) -> None:
        """See `GroupValues`."""
        batch = batch.where(self._spec.mask)
        self._add(batch.groups, batch.column(self._spec.column), batch.weights)

    def values(self, groups: Groups) -> list[pl.Series]:
        """See `GroupValues`."""
        return [pl.Series(self._spec.name, self._counts[groups])]

    def absorb(self, other: Any, chosen: Groups, groups: Groups) -> None:
        """See `GroupValues`."""
        pairs, weights = other.contents()
        numbers = pairs[GROUP].to_numpy()
        targets = np.full(int(max(chosen.max(), numbers.max(initial=0))) + 1, -1, np.intp)
        targets[chosen] = groups
        target = targets[numbers]
        kept = np.flatnonzero(target >= 0)
        self._add(target[kept], gathered(pairs["value"], kept), weights[kept])

    def contents(self) -> tuple[pl.DataFrame, Weights]:
        """Every value of every group, and how often it is there; it may be less than not at all for a while."""
        numbers = np.flatnonzero(self._weights[: len(self._pairs)])
        return self._pairs.keys(numbers), self._weights[numbers]

    def _add(self, groups: Groups, values: pl.Series, weights: Weights | None) -> None:
        if not len(groups):
            return
        slots = self._pairs.slots(
            pl.DataFrame([pl.Series(GROUP, groups.astype(np.int32)), values.alias("value")])
        )
        self._reserve()
        numbers = np.arange(len(slots))
        self._newest[slots] = numbers
        rows = np.flatnonzero(self._newest[slots] == numbers)
        touched = slots[rows]
        before = self._weights[touched]
        np.add.at(self._weights, slots, 1 if weights is None else weights)
        after = self._weights[touched]
        np.add.at(self._counts, groups[rows], (after > 0).astype(np.int64) - (before > 0))
        self._live += int((after != 0).sum()) - int((before != 0).sum())
        if len(self._pairs) > 2 * self._live + _SLACK_PAIRS:
            self._compact()

    def _reserve(self) -> None:
        """Make room for all pairs."""
        if len(self._pairs) > len(self._weights):
            size = 2 * len(self._pairs)
            self._weights = grown(self._weights, size, 0)
            self._newest = np.zeros(size, np.intp)

    def _compact(self) -> None:
        """Free the pairs that are not there any more."""
        pairs, weights = self.contents()
        self._pairs = KeyIndex(self._schema)
        self._weights = np.zeros(0, np.int64)
        slots = self._pairs.slots(pairs)
        self._reserve()
        self._weights[slots] = weights

    @property
    def nbytes(self) -> int:
        """See `GroupValues`."""
        own = self._weights.nbytes + self._newest.nbytes + self._counts.nbytes
        return self._pairs.memory_bytes + own

    @property
    def rows(self) -> int:
        """See `GroupValues`."""
        return len(self._pairs)
