"""Columns as numpy arrays of what is behind their values, and back."""

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.state.aggregates.batch import Array

_PLAIN: dict[Any, Any] = {
    pl.Int8: np.int8,
    pl.Int16: np.int16,
    pl.Int32: np.int32,
    pl.Int64: np.int64,
    pl.UInt8: np.uint8,
    pl.UInt16: np.uint16,
    pl.UInt32: np.uint32,
    pl.UInt64: np.uint64,
    pl.Float16: np.float16,
    pl.Float32: np.float32,
    pl.Float64: np.float64,
    pl.Date: np.int32,
    pl.Datetime: np.int64,
    pl.Duration: np.int64,
    pl.Time: np.int64,
    pl.Boolean: np.uint8,
    pl.Enum: np.uint32,
}


def array_dtype(dtype: pl.DataType) -> npt.DTypeLike | None:
    """The dtype of an array that holds values of a column in their order; `None` where there is none.

    It has room for a value below and above all of them, but for plain numbers.
    """
    return _PLAIN.get(dtype.base_type())


def to_array(column: pl.Series, fill: Any) -> Array:
    """The values of a column, `fill` for null."""
    dtype = column.dtype
    if dtype == pl.Boolean:
        column = column.cast(pl.UInt8)
    elif dtype == pl.Enum:
        column = column.to_physical().cast(pl.UInt32)
    elif dtype.is_temporal():
        column = column.to_physical()
    return (column.fill_null(fill) if column.null_count() else column).to_numpy()


def from_array(array: Array, dtype: pl.DataType) -> pl.Series:
    """The column of these values."""
    column = pl.Series(array)
    if dtype == pl.Enum:
        return column.cat.to(dtype)
    return column if column.dtype == dtype else column.cast(dtype)


def is_plain(dtype: pl.DataType) -> bool:
    """Whether every value of the array stands for a value of the column."""
    return dtype.is_numeric() or dtype.base_type() in {pl.Date, pl.Datetime, pl.Duration}
