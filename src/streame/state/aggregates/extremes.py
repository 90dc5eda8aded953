"""Smallest and largest values."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from streame.core.aggregates import GROUP, Extreme
from streame.state.aggregates.accumulator import GroupValues
from streame.state.aggregates.batch import Array, Batch, Groups, grown
from streame.state.aggregates.cells import cells_of
from streame.state.aggregates.physical import array_dtype, from_array, is_plain, to_array


class Extremes(GroupValues):
    """Extremes, to which single values can be given."""

    @abstractmethod
    def take(self, groups: Groups, values: pl.Series) -> None:
        """Let values win their groups."""

    @abstractmethod
    def clear(self, groups: Groups) -> None:
        """Let groups, which are all different, be without a value."""


def extremes_of(spec: Extreme) -> Extremes:
    """Extremes of values of any dtype."""
    return _CellExtremes(spec) if array_dtype(spec.dtype) is None else _ArrayExtremes(spec)


class _ArrayExtremes(Extremes):
    """Extremes of values that an array can hold.

    Before the first value stands the one that loses against every other, which null counts as too.
    """

    SAVED = BY_GROUP = ("_values",)

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
        self.take(batch.groups, batch.column(self._spec.column))

    def take(self, groups: Groups, values: pl.Series) -> None:
        """See `Extremes`."""
        self._wins.at(self._values, groups, to_array(values, self._loser))

    def clear(self, groups: Groups) -> None:
        """See `Extremes`."""
        self._values[groups] = self._loser

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


class _CellExtremes(Extremes):
    """Extremes of values that no array can hold: Polars finds those of a batch, and compares them with what there was."""

    SAVED = ("_cells",)

    def __init__(self, spec: Extreme) -> None:
        self._spec = spec
        self._cells = cells_of(spec.dtype)

    def resize(self, size: int) -> None:
        """See `GroupValues`."""
        self._cells.resize(size)

    def add(self, batch: Batch) -> None:
        """See `GroupValues`."""
        self.take(batch.groups, batch.column(self._spec.column))

    def values(self, groups: Groups) -> Sequence[pl.Series]:
        """See `GroupValues`."""
        return [self._cells.take(groups).alias(self._spec.name)]

    def parts(self, groups: Groups) -> Sequence[pl.Series]:
        """See `GroupValues`."""
        return self.values(groups)

    def merge(self, groups: Groups, parts: Sequence[pl.Series]) -> None:
        """See `GroupValues`."""
        self.take(groups, parts[0])

    def clear(self, groups: Groups) -> None:
        """See `Extremes`."""
        self._cells.put(groups, pl.Series([None], dtype=self._spec.dtype).new_from_index(0, len(groups)))

    def take(self, groups: Groups, values: pl.Series) -> None:
        """See `Extremes`."""
        numbers = pl.Series(GROUP, groups.astype(np.int32))
        frame = pl.DataFrame([numbers, values.alias("value")])
        if values.null_count():
            frame = frame.filter(pl.col("value").is_not_null())
        value = pl.col("value")
        best = frame.group_by(GROUP).agg(value.max() if self._spec.largest else value.min())
        groups, values = best[GROUP].to_numpy(), best["value"]
        known = self._cells.take(groups)
        wins = (values > known if self._spec.largest else values < known) | known.is_null()
        if wins.any():
            self._cells.put(groups[wins.to_numpy()].astype(np.intp), values.filter(wins))

    @property
    def nbytes(self) -> int:
        """See `GroupValues`."""
        return self._cells.nbytes


def _loser(spec: Extreme, dtype: np.dtype[Any]) -> Any:
    """The value that loses against every other."""
    if dtype.kind == "f":
        if not spec.nan_wins:
            return dtype.type(np.nan)
        return dtype.type(-np.inf if spec.largest else np.inf)
    bounds = np.iinfo(dtype)
    return dtype.type(bounds.min if spec.largest else bounds.max)
