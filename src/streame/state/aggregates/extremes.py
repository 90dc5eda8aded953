"""Smallest and largest values."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from streame.core.aggregates import GROUP, Extreme
from streame.state.aggregates.accumulator import GroupValues
from streame.state.aggregates.batch import Array, Batch, Groups, grown
from streame.state.aggregates.cells import cells_of
from streame.state.aggregates.physical import array_dtype, from_array, is_plain, to_array


class ArrayExtremes(GroupValues):
    """Extremes of values that an array can hold.

    Before the first value stands the one that loses against every other, which null counts as too.
    """

    def __init__(self, spec: Extreme) -> None:
        self._spec = spec
        self._array_dtype = np.dtype(array_dtype(spec.dtype))
        self._loser = _loser(spec, self._array_dtype)
        self._values: Array = np.zeros(0, self._array_dtype)
        ignores_nan = spec.dtype.is_float() and not spec.nan_wins
        smaller, larger = (np.fmin, np.fmax) if ignores_nan else (np.minimum, np.maximum)
        self._wins = larger if spec.largest else smaller

    def resize(self, size: int) -> None:
        """See `GroupValues`."""
        self._values = grown(self._values, size, self._loser)

    def add(self, batch: Batch) -> None:
        """See `GroupValues`."""
        self._wins.at(self._values, batch.groups, to_array(batch.column(self._spec.column), self._loser))

    def values(self, groups: Groups) -> Sequence[pl.Series]:
        """See `GroupValues`."""
        values = self._values[groups]
        if not is_plain(self._spec.dtype):
            values = np.where(values == self._loser, 0, values).astype(self._array_dtype, copy=False)
        return [from_array(values, self._spec.dtype).alias(self._spec.name)]

    def parts(self, groups: Groups) -> Sequence[pl.Series]:
        """See `GroupValues`."""
        return [pl.Series(self._values[groups])]

    def merge(self, groups: Groups, parts: Sequence[pl.Series]) -> None:
        """See `GroupValues`."""
        self._wins.at(self._values, groups, parts[0].to_numpy())

    @property
    def nbytes(self) -> int:
        """See `GroupValues`."""
        return self._values.nbytes


class CellExtremes(GroupValues):
    """Extremes of values of any dtype, that Polars compares: first those of a batch, then with what there was."""

    def __init__(self, spec: Extreme) -> None:
        self._spec = spec
        self._cells = cells_of(spec.dtype)

    def resize(self, size: int) -> None:
        """See `GroupValues`."""
        self._cells.resize(size)

    def add(self, batch: Batch) -> None:
        """See `GroupValues`."""
        self._add(batch.groups, batch.column(self._spec.column))

    def values(self, groups: Groups) -> Sequence[pl.Series]:
        """See `GroupValues`."""
        return [self._cells.take(groups).alias(self._spec.name)]

    def parts(self, groups: Groups) -> Sequence[pl.Series]:
        """See `GroupValues`."""
        return self.values(groups)

    def merge(self, groups: Groups, parts: Sequence[pl.Series]) -> None:
        """See `GroupValues`."""
        self._add(groups, parts[0])

    def _add(self, groups: Groups, values: pl.Series) -> None:
        best = extreme_of(pl.DataFrame([pl.Series(GROUP, groups), values.alias("value")]), self._spec)
        known = self._cells.take(best[GROUP].to_numpy()).alias("value")
        both = extreme_of(pl.concat([best, best.select(GROUP).hstack([known])]), self._spec)
        self._cells.put(both[GROUP].to_numpy(), both["value"])

    @property
    def nbytes(self) -> int:
        """See `GroupValues`."""
        return self._cells.nbytes


def extreme_of(frame: pl.DataFrame, spec: Extreme) -> pl.DataFrame:
    """The extreme of the column `value` in each group that has one."""
    value = pl.col("value")
    if spec.nan_wins:
        best = value.nan_max() if spec.largest else value.nan_min()
    else:
        best = value.max() if spec.largest else value.min()
    return frame.filter(value.is_not_null()).group_by(GROUP).agg(best)


def _loser(spec: Extreme, dtype: np.dtype[Any]) -> Any:
    """The value that loses against every other."""
    if dtype.kind == "f":
        if not spec.nan_wins:
            return dtype.type(np.nan)
        return dtype.type(-np.inf if spec.largest else np.inf)
    bounds = np.iinfo(dtype)
    return dtype.type(bounds.min if spec.largest else bounds.max)
