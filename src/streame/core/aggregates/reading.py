"""Which nodes of an expression are aggregates, and of what.

The shapes of nodes may change with any version of Polars: what is not exactly as it is here is not known.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from streame.core.expression_tree import Node, columns_of, from_tree, kind
from streame.core.row_wise import require_row_wise
from streame.errors import PlanError

_AGG = {
    "Sum": "sum",
    "Mean": "mean",
    "First": "first",
    "Last": "last",
    "FirstNonNull": "first",
    "LastNonNull": "last",
    "NUnique": "n_unique",
}


@dataclass(frozen=True, slots=True)
class Aggregate:
    """An aggregate over row-wise expressions.

    Args:
        kind: `len`, `sum`, ... as in Polars.
        input: what is aggregated, one value for each row; `None` for the rows themselves.
        mask: which rows count; `None` for all of them.
        ddof: of `var` and `std`.
        nan_wins: of `min` and `max`: whether NaN beats every value.
        ignore_nulls: of `any` and `all`: whether null is no value.
    """

    kind: str
    input: pl.Expr | None
    mask: pl.Expr | None
    ddof: int = 1
    nan_wins: bool = False
    ignore_nulls: bool = True


def read_aggregate(node: Node, schema: pl.Schema, where: str) -> Aggregate | None:
    """The aggregate that a node is; `None` where it is another, or over something that is not row-wise."""
    shape = _shape(node)
    if shape is None:
        return None
    name, below, options = shape
    if below is None:
        return Aggregate(name, None, None)
    found = _rows_that_count(below, schema, where)
    if found is None:
        return None
    x, mask = found
    if kind(node) == "Agg" and "NonNull" in kind(node["Agg"]):
        mask = x.is_not_null() if mask is None else mask & x.is_not_null()
    return Aggregate(name, x, mask, **options)


def _shape(node: Node) -> tuple[str, Node | None, Mapping[str, Any]] | None:
    """Kind, input and options of an aggregate."""
    match node:
        case "Len":
            return "len", None, {}
        case {"Agg": {"Count": {"input": below, "include_nulls": nulls}}}:
            return "len" if nulls else "count", below, {}
        case {"Agg": {"Min": {"input": below, "propagate_nans": nan_wins}}}:
            return "min", below, {"nan_wins": nan_wins}
        case {"Agg": {"Max": {"input": below, "propagate_nans": nan_wins}}}:
            return "max", below, {"nan_wins": nan_wins}
        case {"Agg": {"Var": [below, ddof]}}:
            return "var", below, {"ddof": ddof}
        case {"Agg": {"Std": [below, ddof]}}:
            return "std", below, {"ddof": ddof}
        case {"Agg": body} if isinstance(body, dict) and kind(body) in _AGG:
            return _AGG[kind(body)], body[kind(body)], {}
        case {"Function": {"input": [below], "function": "NullCount"}}:
            return "null_count", below, {}
        case {"Function": {"input": [below], "function": {"Boolean": "HasNulls"}}}:
            return "has_nulls", below, {}
        case {"Function": {"input": [below], "function": {"Boolean": {"Any": {"ignore_nulls": ignore}}}}}:
            return "any", below, {"ignore_nulls": ignore}
        case {"Function": {"input": [below], "function": {"Boolean": {"All": {"ignore_nulls": ignore}}}}}:
            return "all", below, {"ignore_nulls": ignore}
        case _:
            return None


def _rows_that_count(node: Node, schema: pl.Schema, where: str) -> tuple[pl.Expr, pl.Expr | None] | None:
    """The input of an aggregate without its filters, and which rows they let through."""
    match node:
        case {"Filter": {"input": below, "by": by}}:
            x, mask = (_row_wise(each, schema, where) for each in (below, by))
            return None if x is None or mask is None else (x, mask.fill_null(False))
        case {"Function": {"input": [below], "function": "DropNulls" | "DropNans" as dropped}}:
            found = _rows_that_count(below, schema, where)
            if found is None:
                return None
            x, mask = found
            stays = x.is_not_null() if dropped == "DropNulls" else x.is_not_nan().fill_null(True)
            return x, stays if mask is None else mask & stays
        case _:
            x = _row_wise(node, schema, where)
            return None if x is None else (x, None)


def _row_wise(node: Node, schema: pl.Schema, where: str) -> pl.Expr | None:
    """The expression of a node if it gives one value for each row."""
    if not columns_of(node):
        return None
    expr = from_tree(node)
    try:
        require_row_wise(expr, schema, where=where)
    except PlanError:
        return None
    return expr
