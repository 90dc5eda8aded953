"""Aggregations: what a grouping verb computes for each group, and what must be known of its rows for that.

The oracle is `frame.sort(time, maintain_order=True).group_by(key).agg(...)`: within a group rows stand in
event-time order, ties in the order of their `__position`, where there is none in order of arrival.

Every expression of `agg` is taken apart into three steps:

1. *prepared* columns, computed row by row, once for each batch: `price * qty`, `when(late).then(delay)`;
2. *accumulators* of prepared columns, a few values for each group that rows are added to and that merge: how many
   nulls, a total, an extreme, the first value;
3. a *final* expression, row-wise over the values of the accumulators: `total / count`.

`sum(x) / len()` is a total of `x` and the number of rows; `mean(x)` shares that total. Whatever does not come apart
like that keeps the rows of each group, and Polars itself computes it from them.
"""

from streame.core.aggregates.accumulators import (
    Accumulator,
    Deviation,
    Distinct,
    Edge,
    Extreme,
    Nulls,
    Own,
    Total,
)
from streame.core.aggregates.aggregation import GROUP, TIME, Aggregation
from streame.core.aggregates.parts import ROWS
from streame.core.aggregates.split import split_aggregates

__all__ = [
    "GROUP",
    "ROWS",
    "TIME",
    "Accumulator",
    "Aggregation",
    "Deviation",
    "Distinct",
    "Edge",
    "Extreme",
    "Nulls",
    "Own",
    "Total",
    "split_aggregates",
]
