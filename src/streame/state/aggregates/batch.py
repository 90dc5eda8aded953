"""The rows of one batch as arrays, for accumulators to add."""

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

Groups = npt.NDArray[np.intp]
Weights = npt.NDArray[np.int64]
Array = npt.NDArray[Any]


class Batch:
    """Prepared rows, and the group of each.

    Args:
        groups: the group of each row.
        rows: the prepared columns.
        weights: +1 or -1 for each row, `None` for +1 everywhere.
    """

    def __init__(self, groups: Groups, rows: pl.DataFrame, weights: Weights | None = None) -> None:
        self.groups = groups
        self.rows = rows
        self.weights = weights

    def column(self, name: str) -> pl.Series:
        """A prepared column."""
        return self.rows.get_column(name)

    def where(self, mask: str | None) -> "Batch":
        """The rows where a Boolean column is true."""
        if mask is None:
            return self
        column = self.column(mask)
        if column.all(ignore_nulls=False):
            return self
        chosen = np.flatnonzero(filled(column, fill=False).to_numpy())
        weights = None if self.weights is None else self.weights[chosen]
        return Batch(self.groups[chosen], self.rows[pl.Series(chosen.astype(np.uint32))], weights)


def filled(column: pl.Series, *, fill: Any) -> pl.Series:
    """The column with a value in the place of null."""
    return column.fill_null(fill) if column.null_count() else column


def grown(array: Array, size: int, fill: Any) -> Array:
    """A copy of the array with `size` elements."""
    if fill == 0:
        longer = np.zeros(size, array.dtype)  # costs nothing until it is written
    else:
        longer = np.empty(size, array.dtype)
        longer[len(array) :] = fill
    longer[: len(array)] = array
    return longer
