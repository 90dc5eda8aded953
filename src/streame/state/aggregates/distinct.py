"""How many different values there are."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from streame.core.aggregates import GROUP, Distinct
from streame.state.aggregates.accumulator import GroupValues
from streame.state.aggregates.batch import Batch, Groups, Weights, grown
from streame.state.aggregates.cells import gathered
from streame.state.index import KeyIndex


class DistinctCounts(GroupValues):
    """A set of pairs of group and value, and the number of pairs of each group."""

    def __init__(self, spec: Distinct) -> None:
        self._spec = spec
        self._pairs = KeyIndex(pl.Schema({GROUP: pl.Int32(), "value": spec.dtype}))
        self._counts: Weights = np.zeros(0, np.int64)

    def resize(self, size: int) -> None:
        """See `GroupValues`."""
        self._counts = grown(self._counts, size, 0)

    def add(self, batch: Batch) -> None:
        """See `GroupValues`."""
        batch = batch.where(self._spec.mask)
        self._add(batch.groups, batch.column(self._spec.column))

    def values(self, groups: Groups) -> Sequence[pl.Series]:
        """See `GroupValues`."""
        return [pl.Series(self._spec.name, self._counts[groups])]

    def parts(self, groups: Groups) -> Sequence[pl.Series]:
        """See `GroupValues`."""
        asked = np.zeros(len(self._counts), np.bool_)
        asked[groups] = True
        pairs = self.pairs()
        lists = pairs.filter(pl.Series(asked[pairs[GROUP].to_numpy()])).group_by(GROUP).agg("value")
        place = np.full(len(self._counts), -1, np.int64)
        place[lists[GROUP].to_numpy()] = np.arange(lists.height)
        return [gathered(lists["value"], place[groups])]

    def pairs(self) -> pl.DataFrame:
        """Every value of every group."""
        return self._pairs.keys(np.arange(len(self._pairs)))

    def merge(self, groups: Groups, parts: Sequence[pl.Series]) -> None:
        """See `GroupValues`."""
        sizes = parts[0].list.len().fill_null(0).to_numpy()
        values = parts[0].drop_nulls().explode(empty_as_null=False, keep_nulls=False)
        self._add(np.repeat(groups, sizes), values)

    def absorb(self, other: "DistinctCounts", chosen: Groups, groups: Groups) -> None:
        """See `GroupValues`."""
        pairs = other.pairs()
        numbers = pairs[GROUP].to_numpy()
        targets = np.full(int(max(chosen.max(), numbers.max(initial=0))) + 1, -1, np.intp)
        targets[chosen] = groups
        target = targets[numbers]
        kept = np.flatnonzero(target >= 0)
        self._add(target[kept], gathered(pairs["value"], kept))

    def _add(self, groups: Groups, values: pl.Series) -> None:
        known = len(self._pairs)
        numbers = pl.Series(GROUP, groups.astype(np.int32))
        slots = self._pairs.slots(pl.DataFrame([numbers, values.alias("value")]))
        if len(self._pairs) > known:
            first = np.full(len(self._pairs) - known, -1, np.int64)
            new = np.flatnonzero(slots >= known)
            first[slots[new] - known] = new
            np.add.at(self._counts, groups[first], 1)

    @property
    def nbytes(self) -> int:
        """See `GroupValues`."""
        return self._pairs.memory_bytes + self._counts.nbytes

    @property
    def rows(self) -> int:
        """See `GroupValues`."""
        return len(self._pairs)
