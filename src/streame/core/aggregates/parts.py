"""Each aggregate as accumulators over prepared columns, and an expression that makes its value of theirs."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeVar

import msgspec
import polars as pl

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
from streame.core.aggregates.reading import Aggregate
from streame.core.expressions import as_renamed_column
from streame.core.hidden import unused
from streame.core.user_aggregates import UserAggregate

ROWS = "rows"
"""The column of values that says how many rows a group has."""

_A = TypeVar("_A", bound=Accumulator)


class KeepsRowsError(Exception):
    """An aggregate that needs the rows of its group."""


@dataclass(slots=True)
class Parts:
    """What the aggregates of one verb need, each thing once.

    Args:
        schema: the columns of the input.
        prepared: the expression of each prepared column; one that is a column of the input has its name.
        accumulators: what is kept of them.
    """

    schema: pl.Schema
    prepared: dict[str, pl.Expr] = field(default_factory=dict)
    accumulators: dict[Accumulator, None] = field(default_factory=dict)
    _names: dict[bytes, str] = field(default_factory=dict)

    def copy(self) -> "Parts":
        """The same parts, to add to."""
        return Parts(self.schema, {**self.prepared}, {**self.accumulators}, {**self._names})

    def column(self, expr: pl.Expr) -> str:
        """The name of the prepared column that a row-wise expression gives."""
        renamed = as_renamed_column(expr)
        if renamed is not None:
            self.prepared[renamed[0]] = pl.col(renamed[0])
            return renamed[0]
        key = expr.meta.serialize()
        if key not in self._names:
            name = unused(f"__prepared_{len(self._names)}", self.schema)
            self._names[key] = name
            self.prepared[name] = expr.alias(name)
        return self._names[key]

    def keep(self, accumulator: Accumulator) -> pl.Expr:
        """The value of an accumulator."""
        self.accumulators[accumulator] = None
        return pl.col(accumulator.name)

    def nulls(self, column: str) -> pl.Expr:
        """How many values of a prepared column are null."""
        return self.keep(Nulls(column))

    def count(self, column: str) -> pl.Expr:
        """How many values of a prepared column are not null."""
        return pl.col(ROWS) - self.nulls(column)

    def hits(self, condition: pl.Expr) -> pl.Expr:
        """In how many rows a condition is true."""
        return self.keep(Total(self.column(condition), pl.Boolean()))


def value_of(aggregate: Aggregate, dtype: pl.DataType, parts: Parts) -> pl.Expr:
    """The value of an aggregate, as an expression of the values of accumulators.

    Counts are Int64, sums of integers Int64 or Int128: what Polars makes of them is for the caller to cast.

    Args:
        aggregate: the aggregate.
        dtype: the dtype of its input.
        parts: what is needed is added to it.

    Raises:
        KeepsRowsError: when it cannot be kept as a few values.
    """
    x, mask = aggregate.input, aggregate.mask
    if x is None:
        return pl.col(ROWS)
    match aggregate.kind:
        case "len":
            return pl.col(ROWS) if mask is None else parts.hits(mask)
        case "count":
            return parts.count(parts.column(x)) if mask is None else parts.hits(mask & x.is_not_null())
        case "null_count":
            return _null_count(x, mask, parts)
        case "has_nulls":
            return _null_count(x, mask, parts) > 0
        case "sum":
            return _sum(_masked(x, mask), dtype, parts)
        case "mean":
            return _mean(_masked(x, mask), dtype, parts)
        case "var" | "std":
            return _variance(aggregate, _masked(x, mask), dtype, parts)
        case "min" | "max":
            return _extreme(aggregate, _masked(x, mask), dtype, parts)
        case "any" | "all":
            return _any_or_all(aggregate, x, dtype, parts)
        case "first" | "last":
            return parts.keep(
                Edge(parts.column(x), _orderless(dtype), aggregate.kind == "last", _mask(mask, parts))
            )
        case "n_unique":
            return parts.keep(Distinct(parts.column(x), _orderless(dtype), _mask(mask, parts)))
        case _:
            raise KeepsRowsError(aggregate.kind)


def own_value_of(named: UserAggregate, parts: Parts) -> pl.Expr:
    """The value of a user's own aggregate."""
    columns = tuple(parts.column(each.expr) for each in named.inputs)
    labels = tuple(each.name for each in named.inputs)
    return parts.keep(Own(named.name, columns, labels, named.dtype, named.aggregate))


def _masked(x: pl.Expr, mask: pl.Expr | None) -> pl.Expr:
    """The input with a null in the place of a value that is filtered out: a filter within a group is slow."""
    return x if mask is None else pl.when(mask).then(x)


def _mask(mask: pl.Expr | None, parts: Parts) -> str | None:
    return None if mask is None else parts.column(mask)


def _null_count(x: pl.Expr, mask: pl.Expr | None, parts: Parts) -> pl.Expr:
    return parts.nulls(parts.column(x)) if mask is None else parts.hits(mask & x.is_null())


def _sum(x: pl.Expr, dtype: pl.DataType, parts: Parts) -> pl.Expr:
    if not (_is_number(dtype) or dtype.base_type() in {pl.Boolean, pl.Duration}):
        raise KeepsRowsError
    total = parts.keep(Total(parts.column(x), dtype))
    if isinstance(dtype, pl.Decimal):
        unit = pl.lit(Decimal(1).scaleb(-dtype.scale), dtype=pl.Decimal(38, dtype.scale))
        return total.cast(pl.Decimal(38, 0)) * unit
    return total.cast(pl.Int64) if dtype == pl.Duration else total


def _mean(x: pl.Expr, dtype: pl.DataType, parts: Parts) -> pl.Expr:
    if not (_is_number(dtype) or dtype == pl.Boolean):
        raise KeepsRowsError
    column = parts.column(x)
    total = parts.keep(Total(column, dtype)).cast(pl.Float64)
    if isinstance(dtype, pl.Decimal):
        total /= 10.0**dtype.scale
    count = parts.count(column)
    return pl.when(count > 0).then(total / count)


def _variance(aggregate: Aggregate, x: pl.Expr, dtype: pl.DataType, parts: Parts) -> pl.Expr:
    if not (_is_number(dtype) or dtype == pl.Boolean):
        raise KeepsRowsError
    column = parts.column(x.cast(pl.Float64) if isinstance(dtype, pl.Decimal) else x)
    freedom = parts.count(column) - aggregate.ddof
    variance = pl.when(freedom > 0).then(parts.keep(Deviation(column)) / freedom)
    return variance.sqrt() if aggregate.kind == "std" else variance


def _extreme(aggregate: Aggregate, x: pl.Expr, dtype: pl.DataType, parts: Parts) -> pl.Expr:
    if dtype.is_nested() or dtype in {pl.Null, pl.Object}:
        raise KeepsRowsError
    column = parts.column(x)
    nan_wins = aggregate.nan_wins and dtype.is_float()
    extreme = parts.keep(Extreme(column, dtype, aggregate.kind == "max", nan_wins))
    return pl.when(parts.count(column) > 0).then(extreme)


def _any_or_all(aggregate: Aggregate, x: pl.Expr, dtype: pl.DataType, parts: Parts) -> pl.Expr:
    if dtype != pl.Boolean:
        raise KeepsRowsError
    decides = x if aggregate.kind == "any" else x.not_()
    mask = aggregate.mask
    decided = parts.hits(decides if mask is None else mask & decides) > 0
    value = decided if aggregate.kind == "any" else decided.not_()
    if aggregate.ignore_nulls:
        return value
    return pl.when(decided | (_null_count(x, mask, parts) == 0)).then(value)


def _is_number(dtype: pl.DataType) -> bool:
    """Whether it is a number whose sum is kept; UInt128 has no room above it."""
    return dtype.is_numeric() and dtype != pl.UInt128


def _orderless(dtype: pl.DataType) -> pl.DataType:
    if dtype in {pl.Null, pl.Object}:
        raise KeepsRowsError
    return dtype


def cache_key(node: object) -> bytes:
    """Bytes that are equal for equal trees."""
    return msgspec.msgpack.encode(node)
