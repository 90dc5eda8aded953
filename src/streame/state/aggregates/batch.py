"""The rows of one batch as arrays, for accumulators to add."""

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

Groups = npt.NDArray[np.intp]
Weights = npt.NDArray[np.int64]
Array = npt.NDArray[Any]

_HALF_BITS = 16
_HALF = 2**_HALF_BITS - 1


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
        return self.at(np.flatnonzero((column.fill_null(value=False)).to_numpy()))

    def at(self, chosen: Groups) -> "Batch":
        """The rows of these numbers."""
        weights = None if self.weights is None else self.weights[chosen]
        return Batch(self.groups[chosen], self.rows[pl.Series(chosen.astype(np.uint32))], weights)


def order_by_group(groups: npt.NDArray[np.signedinteger[Any]]) -> Groups:
    """A stable order of rows by group: numpy sorts 16 bits at a time in a twentieth of the time."""
    order = np.argsort((groups & _HALF).astype(np.uint16), kind="stable")
    if not len(groups) or int(groups.max()) <= _HALF:
        return order
    upper = groups[order] >> _HALF_BITS
    narrow = upper.astype(np.uint16) if int(upper.max()) <= _HALF else upper
    return order[np.argsort(narrow, kind="stable")]


def grown(array: Array, size: int, fill: Any) -> Array:
    """A copy of the array with `size` elements."""
    if fill == 0:
        longer = np.zeros(size, array.dtype)  # costs nothing until it is written
    else:
        longer = np.empty(size, array.dtype)
        longer[len(array) :] = fill
    longer[: len(array)] = array
    return longer
