"""Results that Polars computes from all rows of a group."""

from contextlib import suppress

import numpy as np
import polars as pl
from polars.exceptions import PanicException, PolarsError

from streame.core.aggregates import GROUP, Aggregation
from streame.core.hidden import WEIGHT
from streame.state.aggregates.batch import Batch, Groups
from streame.state.aggregates.kept import KeptRows, places
from streame.state.aggregates.order import ORDER, in_order, order_columns
from streame.state.rows import rows_at
from streame.state.snapshot import Savable


class RowfulResults(Savable):
    """The rows of many groups, and the expressions that are computed from them.

    Args:
        aggregation: what is computed; here only `Aggregation.rowful`.
        retractable: whether rows may be taken back.
    """

    SAVED = ("kept",)

    def __init__(self, aggregation: Aggregation, *, retractable: bool) -> None:
        self._aggregation = aggregation
        self._names = aggregation.rowful_columns
        self._exprs = list(aggregation.rowful.values())
        self._dtypes = pl.Schema({name: aggregation.outputs[name] for name in aggregation.rowful})
        self._ordered = aggregation.needs_order
        self._weighted = retractable
        columns = {name: aggregation.schema[name] for name in self._names}
        self.kept = KeptRows(pl.Schema({**columns, **(ORDER if self._ordered else {})}), weighted=retractable)

    def add(self, batch: Batch) -> None:
        """Keep rows."""
        columns = [batch.column(name) for name in self._names]
        if self._ordered:
            columns += order_columns(batch.rows, len(batch.groups))
        self.kept.add(batch.groups, columns, batch.weights)

    def absorb(self, other: "RowfulResults", target: Groups) -> None:
        """Take the rows of another one; `target` says by group which group they go to, -1 for none."""
        self.kept.absorb(other.kept, target.astype(np.int32))

    def results(self, groups: Groups, size: int) -> pl.DataFrame:
        """The results of these of the `size` groups that there are.

        Raises:
            DataError: when one cannot be computed.
        """
        rows = self.kept.rows_of(groups, size)
        if self._weighted:
            rows = rows_at(rows, np.repeat(np.arange(rows.height), rows[WEIGHT].to_numpy()))
        if self._ordered:
            rows = in_order(rows, self._names if self._weighted else ())
        try:
            # Polars computes some things as another dtype than it says, the quantile of Booleans for one.
            made = rows.group_by(GROUP).agg(self._exprs).cast(self._dtypes)
        except (Exception, PanicException):  # an expression may call a Python function
            self._blame(rows)
            raise
        place = places(made[GROUP], size)[groups]
        if (place >= 0).all():
            return rows_at(made.drop(GROUP), place)
        found = pl.concat([made.drop(GROUP), self._of_no_rows(rows.clear())])
        return rows_at(found, np.where(place < 0, made.height, place))

    def _blame(self, rows: pl.DataFrame) -> None:
        """Raise an error that names the result that cannot be computed."""
        for name, expr in self._aggregation.rowful.items():
            try:
                rows.group_by(GROUP).agg(expr).cast(pl.Schema({name: self._dtypes[name]}))
            except (PolarsError, PanicException) as error:
                raise self._aggregation.failed(name, str(error)) from error
            except Exception as error:
                raise self._aggregation.failed(name, f"{type(error).__name__}: {error}") from error

    def _of_no_rows(self, nothing: pl.DataFrame) -> pl.DataFrame:
        """The results of a group without rows, as one row."""
        values = []
        for name, expr in self._aggregation.rowful.items():
            dtype = self._aggregation.outputs[name]
            empty: list[object] = [[]] if isinstance(dtype, pl.List) else [None]
            value = pl.Series(name, empty, dtype=dtype)
            # What works for groups may not work for a whole frame, as the least of several lists.
            with suppress(PolarsError, PanicException):
                of_nothing = nothing.select(expr).to_series()
                if len(of_nothing) == 1 and of_nothing.dtype == dtype:
                    value = of_nothing
            values.append(value)
        return pl.DataFrame(values)

    @property
    def height(self) -> int:
        """How many rows are kept."""
        return self.kept.height

    @property
    def nbytes(self) -> int:
        """About the memory that is used."""
        return self.kept.nbytes
