"""Plain arithmetic on columns: sums, differences and products computed directly, without a plan for each batch.

A `select` costs about as much as multiplying a hundred thousand numbers. Only where the answer is the same for sure:
columns of Int64 and Float64, whose common dtype is one of the two.
"""

from collections.abc import Callable
from operator import add, mul, sub

import polars as pl

from streame.core.expression_tree import Node, to_tree

Arithmetic = Callable[[pl.DataFrame], pl.Series]
"""Computes a column of a frame."""

_OPERATIONS: dict[str, Callable[[pl.Series, pl.Series], pl.Series]] = {
    "Plus": add,
    "Minus": sub,
    "Multiply": mul,
}


def as_arithmetic(expr: pl.Expr, schema: pl.Schema) -> Arithmetic | None:
    """What computes an expression directly; `None` where it is more than plain arithmetic.

    Args:
        expr: the expression.
        schema: the columns that it reads.
    """
    tree = to_tree(expr)
    name = expr.meta.output_name(raise_if_undetermined=False)
    compute = None if tree is None or name is None else _compute(tree, schema)
    if compute is None or name is None:
        return None
    found, named = compute, name
    return lambda frame: found(frame).alias(named)


def as_cast(expr: pl.Expr, dtype: pl.DataType) -> Arithmetic | None:
    """What computes a strict cast of a column directly; `None` where an expression is more than that.

    Args:
        expr: the expression.
        dtype: the dtype that it has.
    """
    node = to_tree(expr)
    while isinstance(node, dict) and "Alias" in node:
        node = node["Alias"][0]
    match node:
        case {"Cast": {"expr": {"Column": str(column)}, "options": "Strict"}}:
            name = expr.meta.output_name()
            return lambda frame: frame.get_column(column).cast(dtype, strict=True).alias(name)
        case _:
            return None


def _compute(node: Node, schema: pl.Schema) -> Arithmetic | None:
    match node:
        case {"Alias": [inner, _]}:
            return _compute(inner, schema)
        case {"Column": str(name)} if schema.get(name) in {pl.Int64(), pl.Float64()}:
            return lambda frame: frame.get_column(name)
        case {"BinaryExpr": {"left": left, "op": str(sign), "right": right}} if sign in _OPERATIONS:
            one, other, operation = _compute(left, schema), _compute(right, schema), _OPERATIONS[sign]
            if one is None or other is None:
                return None
            first, second = one, other
            return lambda frame: operation(first(frame), second(frame))
        case _:
            return None
