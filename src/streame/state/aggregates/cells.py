"""One value of any dtype for each group, that is written and read for many groups at once."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.state.aggregates.batch import Array, Groups, grown
from streame.state.aggregates.physical import array_dtype, from_array, to_array
from streame.state.aggregates.touched import ByGroup
from streame.state.rows import Rows, as_index

_SLACK_ROWS = 1024


class Cells(ByGroup, ABC):
    """A value, or null, for each of the groups 0 to n-1."""

    @abstractmethod
    def resize(self, size: int) -> None:
        """Make room for so many groups."""

    @abstractmethod
    def put(self, groups: Groups, values: pl.Series) -> None:
        """Write values; the groups are all different."""

    @abstractmethod
    def take(self, groups: Groups) -> pl.Series:
        """Read values."""

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """About the memory that is used."""


def cells_of(dtype: pl.DataType) -> Cells:
    """Cells for values of a dtype."""
    array = array_dtype(dtype)
    return _RowCells(dtype) if array is None else _ArrayCells(dtype, array)


class _ArrayCells(Cells):
    """Values in an array."""

    SAVED = BY_GROUP = ("_values", "_present")

    def __init__(self, dtype: pl.DataType, array: npt.DTypeLike) -> None:
        self._dtype = dtype
        self._values: Array = np.zeros(0, array)
        self._present: npt.NDArray[np.bool_] = np.zeros(0, np.bool_)

    def resize(self, size: int) -> None:
        self._values = grown(self._values, size, 0)
        self._present = grown(self._present, size, fill=False)

    def put(self, groups: Groups, values: pl.Series) -> None:
        self._values[groups] = to_array(values, 0)
        self._present[groups] = values.is_not_null().to_numpy() if values.null_count() else True

    def take(self, groups: Groups) -> pl.Series:
        values = from_array(self._values[groups], self._dtype)
        absent = ~self._present[groups]
        return values.set(pl.Series(absent), None) if absent.any() else values

    @property
    def nbytes(self) -> int:
        return self._values.nbytes + self._present.nbytes


class _RowCells(Cells):
    """Values as rows that are appended, and for each group the number of its latest one."""

    SAVED = ("_rows", "_numbers", "_live")

    def __init__(self, dtype: pl.DataType) -> None:
        self._rows = Rows(pl.Schema({"value": dtype}))
        self._numbers: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._live = 0

    def resize(self, size: int) -> None:
        self._numbers = grown(self._numbers, size, -1)

    def put(self, groups: Groups, values: pl.Series) -> None:
        self._live += int((self._numbers[groups] < 0).sum())
        self._numbers[groups] = np.arange(len(self._rows), len(self._rows) + len(groups))
        self._rows.append(values.alias("value").to_frame())
        if len(self._rows) > 2 * self._live + _SLACK_ROWS:
            live = np.flatnonzero(self._numbers >= 0)
            self._rows.keep(self._numbers[live])
            self._numbers[live] = np.arange(len(live))

    def take(self, groups: Groups) -> pl.Series:
        return self._rows.gather(self._numbers[groups]).to_series()

    @property
    def nbytes(self) -> int:
        return self._rows.memory_bytes + self._numbers.nbytes


def gathered(column: pl.Series, rows: npt.NDArray[Any]) -> pl.Series:
    """The values at these rows."""
    return column.gather(as_index(rows))
