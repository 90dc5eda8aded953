"""How many different values there are."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.core.aggregates import GROUP, Distinct
from streame.state.aggregates.accumulator import GroupValues
from streame.state.aggregates.batch import Batch, Groups, Weights, grown
from streame.state.aggregates.cells import gathered
from streame.state.aggregates.kept import places
from streame.state.index import KeyIndex
from streame.state.rows import with_room


class DistinctCounts(GroupValues):
    """A set of pairs of group and value, and the number of pairs of each group."""

    BY_GROUP = ("_counts",)
    SAVED = ("_pairs", "_counts")
    DERIVED = ("_group_of",)

    def __init__(self, spec: Distinct) -> None:
        self._spec = spec
        self._pairs = KeyIndex(pl.Schema({GROUP: pl.Int32(), "value": spec.dtype}))
        self._group_of: npt.NDArray[np.int32] = np.zeros(0, np.int32)
        self._counts: Weights = np.zeros(0, np.int64)

    def restored(self) -> None:
        """See `Savable`."""
        self._group_of = self._pairs.keys(np.arange(len(self._pairs)))[GROUP].to_numpy(writable=True)

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
        lists = self.pairs(groups).group_by(GROUP).agg("value")
        return [gathered(lists["value"], places(lists[GROUP], len(self._counts))[groups])]

    def pairs(self, groups: Groups) -> pl.DataFrame:
        """Every value of these groups."""
        asked = np.zeros(len(self._counts), np.bool_)
        asked[groups] = True
        return self._pairs.keys(np.flatnonzero(asked[self._group_of[: len(self._pairs)]]))

    def merge(self, groups: Groups, parts: Sequence[pl.Series]) -> None:
        """See `GroupValues`."""
        sizes = parts[0].list.len().fill_null(0).to_numpy()
        values = parts[0].drop_nulls().explode(empty_as_null=False, keep_nulls=False)
        self._add(np.repeat(groups, sizes), values)

    def absorb(self, other: "DistinctCounts", chosen: Groups, groups: Groups) -> None:
        """See `GroupValues`."""
        pairs = other.pairs(chosen)
        numbers = pairs[GROUP].to_numpy()
        targets = np.zeros(int(numbers.max(initial=0)) + 1 + int(chosen.max()), np.intp)
        targets[chosen] = groups
        self._add(targets[numbers], pairs["value"])

    def _add(self, groups: Groups, values: pl.Series) -> None:
        known = len(self._pairs)
        numbers = pl.Series(GROUP, groups.astype(np.int32))
        slots = self._pairs.slots(pl.DataFrame([numbers, values.alias("value")]))
        if len(self._pairs) > known:
            first = np.full(len(self._pairs) - known, -1, np.int64)
            new = np.flatnonzero(slots >= known)
            first[slots[new] - known] = new
            np.add.at(self._counts, groups[first], 1)
            self._group_of = with_room(self._group_of, len(self._pairs), 0)
            self._group_of[known : len(self._pairs)] = groups[first]

    @property
    def nbytes(self) -> int:
        """See `GroupValues`."""
        return self._pairs.memory_bytes + self._group_of.nbytes + self._counts.nbytes

    @property
    def rows(self) -> int:
        """See `GroupValues`."""
        return len(self._pairs)
