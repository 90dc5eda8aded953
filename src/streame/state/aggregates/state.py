"""The state of an aggregation over many groups."""

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.core.aggregates import GROUP, TIME, Aggregation
from streame.core.hidden import POSITION
from streame.core.metrics import StateSize
from streame.state.rows import as_index

Groups = npt.NDArray[np.int32] | npt.NDArray[np.int64]
Weights = npt.NDArray[np.int64]

_WEIGHT = "__weight"


class AggregateState:
    """The values of an aggregation for the groups 0 to n-1; the caller gives groups their numbers.

    Args:
        aggregation: what is computed for each group.
        retractable: whether rows may be taken back, with a weight of -1.
    """

    def __init__(self, aggregation: Aggregation, *, retractable: bool = False) -> None:
        self._aggregation = aggregation
        self._retractable = retractable
        self.pieces: list[pl.DataFrame] = []
        self._counts: Weights = np.zeros(0, np.int64)

    def add(self, groups: Groups, rows: pl.DataFrame, weights: Weights | None = None) -> None:
        """Take new rows.

        Args:
            groups: the group of each row; numbers that are new make the state grow.
            rows: what `Aggregation.prepare` gave for them.
            weights: +1 for a row that is there, -1 for one that is taken back; `None` for +1 everywhere.
        """
        if not len(groups):
            return
        assert weights is None or self._retractable
        columns = [pl.Series(GROUP, groups, dtype=pl.Int32)]
        if self._retractable:
            ones = np.ones(len(groups), np.int64) if weights is None else weights
            columns.append(pl.Series(_WEIGHT, ones, dtype=pl.Int64))
        self._take(rows.hstack(columns) if rows.width else pl.DataFrame(columns), groups, weights)

    def absorb(self, other: "AggregateState", groups: Groups) -> None:
        """Merge the groups of another state into groups of this one.

        Args:
            other: a state of the same aggregation. It stays as it is: a slice of time is merged into every window over it.
            groups: for each group of `other` the group here, -1 to leave it out.
        """
        for piece in other.pieces:
            target = groups[piece[GROUP].to_numpy()]
            kept = np.flatnonzero(target >= 0)
            mapped = piece[as_index(kept)].with_columns(pl.Series(GROUP, target[kept], dtype=pl.Int32))
            weights = mapped[_WEIGHT].to_numpy() if self._retractable else None
            self._take(mapped, target[kept], weights)

    def results(self, groups: Groups) -> pl.DataFrame:
        """The result of each of these groups, in their order; a group without rows gives that of no rows."""
        aggregation = self._aggregation
        rows = self._rows_of(groups)
        exprs = [each.expr for each in aggregation.exprs]
        present = rows.group_by(GROUP, maintain_order=True).agg(exprs)
        place = np.full(max(len(self._counts), int(groups.max(initial=-1)) + 1), -1, np.int64)
        place[present[GROUP].to_numpy()] = np.arange(present.height)
        empty = self._of_no_rows(rows)
        at = place[groups]
        found = pl.concat([present.select(aggregation.outputs.names()), empty], how="vertical")
        return found[as_index(np.where(at < 0, present.height, at))]

    def counts(self, groups: Groups) -> Weights:
        """How many rows each of these groups holds."""
        self._grow(int(groups.max(initial=-1)) + 1)
        return self._counts[groups]

    def partials(self, groups: Groups) -> pl.DataFrame:
        """The values of each of these groups, in their order, for `add_partials` of another state."""
        raise NotImplementedError

    def add_partials(self, groups: Groups, partials: pl.DataFrame) -> None:
        """Merge values that another state has given.

        Args:
            groups: the group of each row of values.
            partials: what `partials` of a state of the same aggregation gave.
        """
        raise NotImplementedError

    def size(self) -> StateSize:
        """How many rows are kept, and about how much memory they take."""
        size = sum(int(piece.estimated_size()) for piece in self.pieces) + self._counts.nbytes
        return StateSize(sum(piece.height for piece in self.pieces), size)

    def _take(self, piece: pl.DataFrame, groups: Groups, weights: Weights | None) -> None:
        if not piece.height:
            return
        self._grow(int(groups.max()) + 1)
        np.add.at(self._counts, groups, 1 if weights is None else weights)
        self.pieces.append(piece)

    def _grow(self, size: int) -> None:
        if size > len(self._counts):
            padding = np.zeros(max(size, 2 * len(self._counts)) - len(self._counts), np.int64)
            self._counts = np.concatenate([self._counts, padding])

    def _rows_of(self, groups: Groups) -> pl.DataFrame:
        """The rows of these groups in the order of time."""
        if not self.pieces:
            return self._none()
        rows = pl.concat(self.pieces)
        rows = rows.filter(pl.col(GROUP).is_in(pl.Series(groups, dtype=pl.Int32).implode()))
        order = [name for name in (TIME, POSITION) if name in rows.columns]
        if self._retractable:
            identity = [name for name in rows.columns if name != _WEIGHT]
            rows = rows.group_by(identity, maintain_order=True).agg(pl.col(_WEIGHT).sum())
            rows = rows.filter(pl.col(_WEIGHT) > 0)
            order += [name for name in identity if name not in {GROUP, *order}]
            times = rows[_WEIGHT].to_numpy()
            rows = rows[as_index(np.repeat(np.arange(rows.height), times))]
        return rows.sort(order, maintain_order=True) if order else rows

    def _none(self) -> pl.DataFrame:
        names = sorted(self._aggregation.columns)
        frame = pl.DataFrame(schema={name: self._aggregation.schema[name] for name in names})
        return frame.with_columns(pl.Series(GROUP, [], dtype=pl.Int32))

    def _of_no_rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The one row of results that a group without rows has."""
        values = []
        for name, dtype in self._aggregation.outputs.items():
            (expr,) = (each.expr for each in self._aggregation.exprs if each.name == name)
            value = rows.clear().select(expr).to_series()
            nothing: list[object] = [[]] if isinstance(dtype, pl.List) else [None]
            is_value = len(value) == 1 and value.dtype == dtype
            values.append(value if is_value else pl.Series(name, nothing, dtype=dtype))
        return pl.DataFrame(values)
