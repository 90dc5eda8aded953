"""Aggregations: what a grouping verb computes for each group.

The oracle for every aggregation is `frame.sort(time, maintain_order=True).group_by(key).agg(...)`: within a group
rows stand in event-time order, ties in the order of their `__position`, where there is none in order of arrival.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
from polars.exceptions import PanicException, PolarsError

from streame.core.expressions import NamedExpr, refused_by_polars
from streame.core.hidden import POSITION

GROUP = "__group"
"""The number of the group that a row belongs to."""

TIME = "__time"
"""The hidden column of prepared rows that orders them: event time in ticks."""


@dataclass(frozen=True, slots=True)
class Aggregation:
    """What is computed for each group, and what must be known of its rows for that.

    Args:
        exprs: one expression for each output column.
        schema: the columns that they may read.
        outputs: names and dtypes of the results.
        columns: the columns of the input that are read.
        needs_order: whether a result may depend on the order of the rows in a group.
        kept: the outputs that need all rows of a group, and not only a few values.
    """

    exprs: tuple[NamedExpr, ...]
    schema: pl.Schema
    outputs: pl.Schema
    columns: frozenset[str]
    needs_order: bool
    kept: tuple[str, ...]

    @property
    def has_partials(self) -> bool:
        """Whether a few values for each group, which can be merged, take the place of its rows."""
        return not self.kept

    def prepare(self, frame: pl.DataFrame, time: pl.Series | None = None) -> pl.DataFrame:
        """What must be known of each row; to be computed once for each batch.

        Args:
            frame: the rows; hidden columns may stand among them.
            time: the event time of each row in ticks; `None` where rows are ordered by arrival alone.

        Returns:
            One row for each row of the frame, with columns that only an `AggregateState` understands.
        """
        columns = [frame[name] for name in sorted(self.columns)]
        if self.needs_order and time is not None:
            columns.append(time.alias(TIME))
        if self.needs_order and POSITION in frame.columns:
            columns.append(frame[POSITION])
        return pl.DataFrame(columns) if columns else pl.DataFrame(height=frame.height)


def split_aggregates(exprs: Sequence[NamedExpr], schema: pl.Schema, *, where: str) -> Aggregation:
    """Check the expressions of `agg`, and find what must be known of the rows of a group to compute them.

    Args:
        exprs: one expression for each output column.
        schema: the columns that they may read.
        where: the verb, named in errors.

    Raises:
        PlanError: when a column does not exist or an expression does not fit its dtypes.
    """
    grouped = pl.LazyFrame(schema={**schema, GROUP: pl.Int32()}).group_by(GROUP)
    outputs: dict[str, pl.DataType] = {}
    for each in exprs:
        try:
            resolved = grouped.agg(each.expr).collect_schema()
        except (PolarsError, PanicException) as error:
            raise refused_by_polars(error, each.expr, schema, where=where) from error
        outputs[each.name] = resolved[each.name]
    columns = frozenset[str]().union(*(each.roots for each in exprs))
    return Aggregation(
        tuple(exprs), schema, pl.Schema(outputs), columns, needs_order=True, kept=tuple(outputs)
    )
