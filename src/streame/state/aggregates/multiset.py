"""Accumulators of which rows may be taken back, and that a few values do not suffice for: they keep a multiset."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.core.aggregates import GROUP, Distinct, Edge, Extreme
from streame.state.aggregates.accumulator import GroupValues
from streame.state.aggregates.batch import Batch, Groups
from streame.state.aggregates.cells import gathered
from streame.state.aggregates.kept import KeptRows
from streame.state.aggregates.order import ORDER, in_order, order_columns

Spec = Extreme | Edge | Distinct


class Multisets(GroupValues):
    """The values of a column with how often each is there, and what Polars makes of them.

    Args:
        specs: the accumulators; they are of one column, one mask, and all or none of them need the order of rows.
    """

    def __init__(self, specs: Sequence[Spec]) -> None:
        self._specs = specs
        self._column, self._mask, self._ordered = key_of(specs[0])
        order = ORDER if self._ordered else {}
        self.kept = KeptRows(pl.Schema({"value": specs[0].dtype, **order}), weighted=True)
        self.size = 0

    def resize(self, size: int) -> None:
        """See `GroupValues`."""
        self.size = size

    def add(self, batch: Batch) -> None:
        """See `GroupValues`."""
        batch = batch.where(self._mask)
        columns = [batch.column(self._column).alias("value")]
        if self._ordered:
            columns += order_columns(batch.rows, len(batch.groups))
        self.kept.add(batch.groups, columns, batch.weights)

    def values(self, groups: Groups) -> Sequence[pl.Series]:
        """See `GroupValues`."""
        rows = self.kept.rows_of(groups, self.size)
        if self._ordered:
            rows = in_order(rows, ["value"])
        made = rows.group_by(GROUP).agg(_expr(spec).alias(spec.name) for spec in self._specs)
        place = places(made[GROUP], self.size)[groups]
        found = [gathered(made[spec.name], place) for spec in self._specs]
        return [
            column.fill_null(0).cast(pl.Int64) if isinstance(spec, Distinct) else column
            for column, spec in zip(found, self._specs, strict=True)
        ]

    def parts(self, groups: Groups) -> Sequence[pl.Series]:
        """Rows are not parts."""
        raise AssertionError(self._specs)

    def merge(self, groups: Groups, parts: Sequence[pl.Series]) -> None:
        """Rows are not parts."""
        raise AssertionError(self._specs)

    def absorb(self, other: "Multisets", chosen: Groups, groups: Groups) -> None:
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


def multisets_of(specs: Sequence[Spec]) -> list[Multisets]:
    """As few multisets as these accumulators need."""
    by_key = groupby(sorted(specs, key=lambda spec: str(key_of(spec))), key=key_of)
    return [Multisets(list(same)) for _, same in by_key]


def key_of(spec: Spec) -> tuple[str, str | None, bool]:
    """Column, mask, and whether the order of rows is needed."""
    match spec:
        case Extreme():
            return spec.column, None, False
        case Distinct():
            return spec.column, spec.mask, False
        case Edge():
            return spec.column, spec.mask, True


def places(groups: pl.Series, size: int) -> npt.NDArray[np.int64]:
    """At which row each of the groups 0 to n-1 is, -1 where it is not."""
    place = np.full(size, -1, np.int64)
    place[groups.to_numpy()] = np.arange(len(groups))
    return place


def _expr(spec: Spec) -> pl.Expr:
    value = pl.col("value")
    match spec:
        case Extreme(nan_wins=True):
            return value.nan_max() if spec.largest else value.nan_min()
        case Extreme():
            return value.max() if spec.largest else value.min()
        case Edge():
            return value.last() if spec.last else value.first()
        case Distinct():
            return value.n_unique()
