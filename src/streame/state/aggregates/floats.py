"""Sums of floats, and the sums of squared distances that variances are made of."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.core.aggregates import Deviation, Total
from streame.state.aggregates.accumulator import GroupValues
from streame.state.aggregates.batch import Array, Batch, Groups, grown

_Floats = npt.NDArray[np.float64]


class FloatTotals(GroupValues):
    """Sums of floats, to which rows are only ever added."""

    SAVED = BY_GROUP = ("_sums",)

    def __init__(self, spec: Total) -> None:
        self._spec = spec
        self._sums: _Floats = np.zeros(0)

    def resize(self, size: int) -> None:
        """See `GroupValues`."""
        self._sums = grown(self._sums, size, 0)

    def add(self, batch: Batch) -> None:
        """See `GroupValues`."""
        column = batch.column(self._spec.column)
        np.add.at(self._sums, batch.groups, floats_of(column.fill_null(0) if column.null_count() else column))

    def values(self, groups: Groups) -> Sequence[pl.Series]:
        """See `GroupValues`."""
        return [pl.Series(self._spec.name, self._sums[groups])]

    def parts(self, groups: Groups) -> Sequence[pl.Series]:
        """See `GroupValues`."""
        return self.values(groups)

    def merge(self, groups: Groups, parts: Sequence[pl.Series]) -> None:
        """See `GroupValues`."""
        np.add.at(self._sums, groups, parts[0].to_numpy())

    @property
    def nbytes(self) -> int:
        """See `GroupValues`."""
        return self._sums.nbytes


class Deviations(GroupValues):
    """Sums of squared distances from the mean, to which rows are only ever added.

    Values are taken relative to the first one of their group: `sum((x - first)^2) - sum(x - first)^2 / n` loses
    nothing that matters, because the first value is itself no further from the mean than the result says.
    """

    SAVED = BY_GROUP = ("_counts", "_firsts", "_sums", "_squares")

    def __init__(self, spec: Deviation) -> None:
        self._spec = spec
        self._counts: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._firsts: _Floats = np.zeros(0)
        self._sums: _Floats = np.zeros(0)
        self._squares: _Floats = np.zeros(0)

    def resize(self, size: int) -> None:
        """See `GroupValues`."""
        self._counts = grown(self._counts, size, 0)
        self._firsts = grown(self._firsts, size, np.nan)
        self._sums = grown(self._sums, size, 0)
        self._squares = grown(self._squares, size, 0)

    def add(self, batch: Batch) -> None:
        """See `GroupValues`."""
        column = batch.column(self._spec.column)
        groups = batch.groups
        if column.null_count():
            groups = groups[column.is_not_null().to_numpy()]
            column = column.drop_nulls()
        values = floats_of(column)
        self._set_firsts(groups, values)
        distances = values - self._firsts[groups]
        np.add.at(self._counts, groups, 1)
        np.add.at(self._sums, groups, distances)
        np.add.at(self._squares, groups, distances * distances)

    def values(self, groups: Groups) -> Sequence[pl.Series]:
        """See `GroupValues`."""
        counts, sums = self._counts[groups], self._sums[groups]
        deviations = self._squares[groups] - sums * sums / np.maximum(counts, 1)
        return [pl.Series(self._spec.name, np.maximum(deviations, 0))]

    def parts(self, groups: Groups) -> Sequence[pl.Series]:
        """See `GroupValues`."""
        kept: Sequence[Array] = (self._counts, self._firsts, self._sums, self._squares)
        return [pl.Series(array[groups]) for array in kept]

    def merge(self, groups: Groups, parts: Sequence[pl.Series]) -> None:
        """See `GroupValues`."""
        present = parts[0].to_numpy() > 0
        counts, firsts, sums, squares = (part.to_numpy()[present] for part in parts)
        groups = groups[present]
        self._set_firsts(groups, firsts)
        distances = firsts - self._firsts[groups]
        np.add.at(self._counts, groups, counts)
        np.add.at(self._sums, groups, sums + counts * distances)
        np.add.at(self._squares, groups, squares + distances * (2 * sums + counts * distances))

    def _set_firsts(self, groups: Groups, values: _Floats) -> None:
        """Give groups without a first value one of these."""
        unset = np.flatnonzero(np.isnan(self._firsts[groups]))
        if len(unset):
            self._firsts[groups[unset]] = values[unset]

    @property
    def nbytes(self) -> int:
        """See `GroupValues`."""
        return 4 * self._sums.nbytes


def floats_of(column: pl.Series) -> npt.NDArray[Any]:
    """The values of a numeric or Boolean column without nulls as 64-bit floats."""
    return (column if column.dtype == pl.Float64 else column.cast(pl.Float64)).to_numpy()
