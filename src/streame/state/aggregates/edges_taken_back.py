"""First and last values of rows that may be taken back."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from streame.core.aggregates import GROUP, Edge
from streame.state.aggregates.accumulator import GroupRows
from streame.state.aggregates.batch import Batch, Groups
from streame.state.aggregates.cells import gathered
from streame.state.aggregates.kept import KeptRows, places
from streame.state.aggregates.order import ORDER, in_order, order_columns


class EdgesTakenBack(GroupRows):
    """All values of a column in the order of time, ties in the order of positions, then of the values.

    Args:
        specs: what is wanted of them; column and mask are the same for all.
    """

    SAVED = ("size", "kept")

    def __init__(self, specs: Sequence[Edge]) -> None:
        self._specs = specs
        self.size = 0
        self.kept = KeptRows(pl.Schema({"value": specs[0].dtype, **ORDER}), weighted=True)

    def resize(self, size: int) -> None:
        """See `GroupValues`."""
        self.size = size

    def add(self, batch: Batch) -> None:
        """See `GroupValues`."""
        batch = batch.where(self._specs[0].mask)
        value = batch.column(self._specs[0].column).alias("value")
        self.kept.add(batch.groups, [value, *order_columns(batch.rows, len(batch.groups))], batch.weights)

    def values(self, groups: Groups) -> Sequence[pl.Series]:
        """See `GroupValues`."""
        rows = in_order(self.kept.rows_of(groups, self.size), ["value"])
        value = pl.col("value")
        made = rows.group_by(GROUP).agg(
            (value.last() if spec.last else value.first()).alias(spec.name) for spec in self._specs
        )
        place = places(made[GROUP], self.size)[groups]
        return [gathered(made[spec.name], place) for spec in self._specs]

    def absorb(self, other: Any, chosen: Groups, groups: Groups) -> None:
        """See `GroupValues`."""
        target = np.full(other.size, -1, np.int32)
        target[chosen] = groups
        self.kept.absorb(other.kept, target)

    @property
    def nbytes(self) -> int:
        """See `GroupValues`."""
        return self.kept.nbytes

    @property
    def rows(self) -> int:
        """See `GroupValues`."""
        return self.kept.height
