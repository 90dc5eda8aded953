"""Taking the expressions of `agg` apart into accumulators; what is not known keeps its rows."""

from collections.abc import Sequence
from itertools import chain

import polars as pl
from polars.exceptions import PanicException, PolarsError

from streame.core.aggregates.aggregation import GROUP, Aggregation, orders_rows
from streame.core.aggregates.parts import KeepsRowsError, Parts, cache_key, own_value_of, value_of
from streame.core.aggregates.reading import read_aggregate
from streame.core.expression_tree import Node, from_tree, inputs, kind, rewrite, to_tree, walk, with_inputs
from streame.core.expressions import NamedExpr, dtype_of, refused_by_polars, to_text
from streame.core.row_wise import require_row_wise
from streame.core.user_aggregates import UserAggregate, require_retract
from streame.errors import PlanError

_ORDERLESS = {"Median", "Sum", "Mean", "Min", "Max", "Var", "Std", "Count", "NUnique"}
"""Aggregates of all rows of a group that come out the same in any order."""


def split_aggregates(
    exprs: Sequence[NamedExpr], schema: pl.Schema, *, where: str, taken_back: bool = False
) -> Aggregation:
    """Check the expressions of `agg`, and find what must be known of the rows of a group to compute them.

    An expression is kept as a few values for each group when all its aggregates are known and what they aggregate
    and what is made of them is row-wise. Every other one keeps the rows of the group, and Polars computes it from
    them.

    Args:
        exprs: one expression for each output column.
        schema: the columns that they may read.
        where: the verb, named in errors.
        taken_back: whether rows may be taken back.

    Raises:
        PlanError: when a column does not exist, an expression does not fit its dtypes, or draws random values.
    """
    outputs: dict[str, pl.DataType] = {}
    finals: dict[str, pl.Expr] = {}
    rowful: dict[str, NamedExpr] = {}
    parts = Parts(schema)
    for each in exprs:
        if isinstance(each, UserAggregate):
            outputs[each.name], finals[each.name] = each.dtype, own_value_of(each, parts).alias(each.name)
            if taken_back:
                require_retract(each, where)
            continue
        outputs[each.name] = _resolve(each, schema, where)
        trial = parts.copy()
        try:
            finals[each.name] = _Cut(trial, where).final(each, outputs[each.name])
            parts = trial
        except KeepsRowsError:
            rowful[each.name] = each
    accumulators = tuple(parts.accumulators)
    roots = sorted(frozenset[str]().union(*(each.roots for each in rowful.values())))
    read = chain(roots, *(expr.meta.root_names() for expr in parts.prepared.values()))
    return Aggregation(
        where=where,
        schema=schema,
        outputs=pl.Schema(outputs),
        prepared=parts.prepared,
        accumulators=accumulators,
        finals=finals,
        rowful={name: each.expr for name, each in rowful.items()},
        columns=frozenset(read),
        rowful_columns=tuple(roots),
        needs_order=orders_rows(accumulators) or any(map(_depends_on_order, rowful.values())),
    )


def _resolve(each: NamedExpr, schema: pl.Schema, where: str) -> pl.DataType:
    """The dtype that an aggregation has in Polars."""
    tree = to_tree(each.expr)
    if tree is not None and any(_is_random(node) for node in walk(tree)):
        raise PlanError(
            f"{where}: {to_text(each.expr)} is refused: it draws random values, so a repeated run would give "
            "other results"
        )
    try:
        resolved = _grouped(schema).agg(each.expr).collect_schema()
    except (PolarsError, PanicException) as error:
        raise refused_by_polars(error, each.expr, schema, where=where) from error
    return resolved[each.name]


def _grouped(schema: pl.Schema) -> pl.lazyframe.group_by.LazyGroupBy:
    return pl.LazyFrame(schema={**schema, GROUP: pl.Int32()}).group_by(GROUP)


class _Cut:
    """Cuts the aggregates out of an expression.

    Args:
        parts: what they need is added to it.
        where: the verb, named in errors.
    """

    def __init__(self, parts: Parts, where: str) -> None:
        self._parts = parts
        self._where = where
        self._names: dict[bytes, str] = {}
        self._values: dict[str, pl.Expr] = {}
        self._dtypes: dict[str, pl.DataType] = {}

    def final(self, named: NamedExpr, dtype: pl.DataType) -> pl.Expr:
        """The expression of the values of accumulators that gives the result.

        Raises:
            KeepsRowsError: when there is none.
        """
        tree = to_tree(named.expr)
        if tree is None:
            raise KeepsRowsError
        outer = self._cut(tree)
        if not self._values:
            raise KeepsRowsError
        self._require_row_wise(from_tree(outer).alias(named.name), dtype)
        values = {name: to_tree(expr) for name, expr in self._values.items()}
        assert all(value is not None for value in values.values()), named
        inlined = rewrite(outer, lambda node: values.get(node["Column"]) if kind(node) == "Column" else None)
        return from_tree(inlined).alias(named.name)

    def _cut(self, node: Node) -> Node:
        """The tree with a column in the place of each aggregate."""
        match node:
            case {"Cast": {"expr": inner, "dtype": {"Literal": _}}} if wide := self._whole_number(inner):
                return with_inputs(node, [wide])
            case {"Column": _}:
                raise KeepsRowsError
        column = self._column(node, wide=False)
        if column is not None:
            return column
        below = inputs(node)
        if below is None or kind(node) in {"Filter", "Explode"}:
            raise KeepsRowsError
        return with_inputs(node, [self._cut(each) for each in below])

    def _whole_number(self, node: Node) -> Node | None:
        """The column of a count or a sum of integers in all its width, for a cast that stands around it."""
        schema = self._parts.schema
        is_count = read_aggregate(node, schema, self._where) is not None
        if is_count and _grouped(schema).agg(from_tree(node)).collect_schema().dtypes()[-1].is_integer():
            return self._column(node, wide=True)
        return None

    def _column(self, node: Node, *, wide: bool) -> Node | None:
        """The column that takes the place of an aggregate, under the name that this had; `None` for any other node."""
        schema = self._parts.schema
        aggregate = read_aggregate(node, schema, self._where)
        if aggregate is None:
            return None
        key = cache_key([node, wide])
        if key not in self._names:
            name = f"__value_{len(self._names)}"
            of = pl.Null() if aggregate.input is None else dtype_of(to_tree(aggregate.input), schema)
            value = value_of(aggregate, of, self._parts)
            dtype = (
                pl.Int128() if wide else _grouped(schema).agg(from_tree(node)).collect_schema().dtypes()[-1]
            )
            self._names[key] = name
            self._values[name] = value if wide else value.cast(dtype)
            self._dtypes[name] = dtype
        return {"Alias": [{"Column": self._names[key]}, from_tree(node).meta.output_name()]}

    def _require_row_wise(self, outer: pl.Expr, dtype: pl.DataType) -> None:
        """Make sure that an expression over aggregates means the same over columns of their values."""
        values = pl.Schema(self._dtypes)
        try:
            require_row_wise(outer, values, where=self._where)
            same = pl.LazyFrame(schema=values).select(outer).collect_schema().dtypes() == [dtype]
        except (PlanError, PolarsError, PanicException):
            same = False
        if not same:
            raise KeepsRowsError


def _depends_on_order(each: NamedExpr) -> bool:
    """Whether an expression of all rows of a group may come out differently in another order of them."""
    tree = to_tree(each.expr)
    return tree is None or not _is_orderless(tree, inside=False)


def _is_orderless(node: Node, *, inside: bool) -> bool:
    match node:
        case "Len":
            return not inside
        case {"Agg": body} if isinstance(body, dict) and kind(body) in _ORDERLESS and not inside:
            return all(_is_orderless(each, inside=True) for each in _below(body))
        case {"Function": {"input": [below, {"Literal": _}], "function": {"Quantile": _}}} if not inside:
            return _is_orderless(below, inside=True)
        case {"Column": _}:
            return inside
        case {"Literal": {"Series": _}}:
            return False
        case {"BinaryExpr": _} | {"Cast": _} | {"Alias": _} | {"Literal": _}:
            return all(_is_orderless(each, inside=inside) for each in inputs(node) or ())
        case {"Filter": _}:
            return inside and all(_is_orderless(each, inside=True) for each in inputs(node) or ())
        case _:
            return False


def _below(body: Node) -> Sequence[Node]:
    """The input of an aggregate."""
    match body[kind(body)]:
        case {"input": below} | [below, _]:
            return [below]
        case below:
            return [below]


def _is_random(node: Node) -> bool:
    match node:
        case {"Function": {"function": {"Random": _}}}:
            return True
        case _:
            return False
