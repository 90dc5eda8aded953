"""Which rows an expression fails on: the strict casts and parses in it, computed leniently.

A strict cast or parse raises for a whole batch when one value does not fit. Its lenient form gives null instead, so
the failing rows are those where the lenient form is null and its input is not. Polars computes the branches of a
`when` only for the rows that take them, and so do the masks here.
"""

from collections.abc import Iterator
from functools import reduce
from operator import or_
from typing import Any

import polars as pl

from streame.core.expression_tree import Node, columns_of, from_tree, function_name, inputs, rewrite, to_tree
from streame.core.expressions import dtype_of

_OPERATORS = frozenset(
    [
        "Eq",
        "NotEq",
        "EqValidity",
        "NotEqValidity",
        "Lt",
        "LtEq",
        "Gt",
        "GtEq",
        "Plus",
        "Minus",
        "Multiply",
        "TrueDivide",
        "FloorDivide",
        "Modulus",
        "And",
        "Or",
        "Xor",
        "LogicalAnd",
        "LogicalOr",
    ]
)
_FUNCTIONS = frozenset(
    [
        "Abs",
        "Negate",
        "Floor",
        "Ceil",
        "Round",
        "Sign",
        "Exp",
        "Log",
        "Log1p",
        "FillNull",
        "Coalesce",
        "MaxHorizontal",
        "MinHorizontal",
        "AsStruct",
        "Pow.Sqrt",
        "Pow.Cbrt",
        "Trigonometry.Sin",
        "Trigonometry.Cos",
        "Trigonometry.Tan",
        "Trigonometry.Degrees",
        "Trigonometry.Radians",
        "StructExpr.FieldByName",
        "ListExpr.Length",
        "Boolean.IsNull",
        "Boolean.IsNotNull",
        "Boolean.IsNan",
        "Boolean.IsNotNan",
        "Boolean.IsFinite",
        "Boolean.IsInfinite",
        "Boolean.Not",
        "Boolean.IsBetween",
        "Boolean.AllHorizontal",
        "Boolean.AnyHorizontal",
        "StringExpr.LenBytes",
        "StringExpr.LenChars",
        "StringExpr.Lowercase",
        "StringExpr.Uppercase",
        "StringExpr.Reverse",
        "StringExpr.StartsWith",
        "StringExpr.EndsWith",
        "StringExpr.StripChars",
        "StringExpr.StripCharsStart",
        "StringExpr.StripCharsEnd",
        "StringExpr.StripPrefix",
        "StringExpr.StripSuffix",
        "StringExpr.ConcatHorizontal",
        "TemporalExpr.Year",
        "TemporalExpr.Month",
        "TemporalExpr.Day",
        "TemporalExpr.Weekday",
        "TemporalExpr.OrdinalDay",
        "TemporalExpr.Hour",
        "TemporalExpr.Minute",
        "TemporalExpr.Second",
        "TemporalExpr.Quarter",
    ]
)
"""Functions that fail on no row."""

_OF_ANY_DTYPE = frozenset(
    ["AsStruct", "Boolean.IsNull", "Boolean.IsNotNull", "StructExpr.FieldByName", "ListExpr.Length"]
)

_FUNCTIONS_OF_LITERALS = frozenset(
    [
        "Clip",
        "StringExpr.Contains",
        "StringExpr.Replace",
        "StringExpr.Extract",
        "StringExpr.CountMatches",
        "StringExpr.Split",
        "StringExpr.Slice",
        "StringExpr.Head",
        "StringExpr.Tail",
        "Boolean.IsIn",
    ]
)
"""Functions that fail on no row when all arguments but the first are literals."""

_INTEGER_BITS: dict[Any, tuple[bool, int]] = {
    pl.Int8: (True, 8),
    pl.Int16: (True, 16),
    pl.Int32: (True, 32),
    pl.Int64: (True, 64),
    pl.Int128: (True, 128),
    pl.UInt8: (False, 8),
    pl.UInt16: (False, 16),
    pl.UInt32: (False, 32),
    pl.UInt64: (False, 64),
}
"""Whether an integer dtype is signed, and its width."""


def may_fail(expr: pl.Expr, schema: pl.Schema) -> bool:
    """Whether there may be a row on which `expr` raises; false only where all of it is known not to."""
    tree = to_tree(expr)
    return tree is None or _may_fail(tree, schema)


def failure_mask(expr: pl.Expr, schema: pl.Schema) -> pl.Expr | None:
    """A Boolean expression that is true on exactly the rows on which `expr` raises.

    Returns:
        `None` where something else than a strict cast or parse may fail.
    """
    tree = to_tree(expr)
    if tree is None or _may_fail(_lenient(tree), schema):
        return None
    return reduce(or_, _failures(tree, schema), pl.lit(value=False))


def _failures(node: Node, schema: pl.Schema) -> Iterator[pl.Expr]:
    """One mask for each strict part."""
    match node:
        case {"Ternary": {"predicate": predicate, "truthy": truthy, "falsy": falsy}}:
            taken = from_tree(_lenient(predicate)).fill_null(value=False)
            yield from _failures(predicate, schema)
            yield from (taken & mask for mask in _failures(truthy, schema))
            yield from (~taken & mask for mask in _failures(falsy, schema))
            return
        case _:
            below = inputs(node) or ()
    for each in below:
        yield from _failures(each, schema)
    if _loosened(node) is not None and columns_of(below[0]):
        yield from_tree(_lenient(node)).is_null() & from_tree(_lenient(below[0])).is_not_null()


def _lenient(node: Node) -> Node:
    """The tree with null where a strict part would raise."""

    def change(each: Node) -> Node | None:
        loose = _loosened(each)
        return None if loose is None else {name: _lenient_body(body) for name, body in loose.items()}

    return rewrite(node, change)


def _lenient_body(body: dict[str, Any]) -> dict[str, Any]:
    """The body of a node with lenient inputs."""
    return {
        name: ([_lenient(each) for each in value] if isinstance(value, list) else _lenient(value))
        for name, value in body.items()
    }


def _loosened(node: Node) -> Node | None:
    """A strict node in its lenient form, its inputs as they are; `None` for any other node."""
    match node:
        case {"Cast": {"options": "Strict"} as body}:
            return {"Cast": {**body, "options": "NonStrict"}}
        case {
            "Function": {
                "function": {"StringExpr": {"Strptime": [dtype, {"strict": True} as options]}}
            } as body
        }:
            function: Any = {"Strptime": [dtype, {**options, "strict": False}]}
        case {"Function": {"function": {"StringExpr": {"ToInteger": {"strict": True} as options}}} as body}:
            function = {"ToInteger": {**options, "strict": False}}
        case {"Function": {"function": {"StringExpr": {"HexDecode": True}}} as body}:
            function = {"HexDecode": False}
        case {"Function": {"function": {"StringExpr": {"Base64Decode": True}}} as body}:
            function = {"Base64Decode": False}
        case _:
            return None
    return {"Function": {**body, "function": {"StringExpr": function}}}


def _may_fail(node: Node, schema: pl.Schema) -> bool:
    below = inputs(node)
    if below is None or any(_may_fail(each, schema) for each in below):
        return True
    match node:
        case {"Column": _} | {"Literal": _} | {"Alias": _} | {"KeepName": _} | {"RenameAlias": _}:
            return False
        case {"Ternary": _}:
            return not _are_alike(below[1:], schema)
        case {"BinaryExpr": {"op": str(operator)}}:
            return operator not in _OPERATORS or not _are_alike(below, schema)
        case {"Cast": {"options": options}}:
            return _cast_may_fail(
                dtype_of(below[0], schema), dtype_of(node, schema), strict=options == "Strict"
            )
        case {"Function": _}:
            return _function_may_fail(node, below, schema)
        case _:
            return True


def _function_may_fail(node: Node, below: tuple[Node, ...], schema: pl.Schema) -> bool:
    name = function_name(node)
    rest_is_literal = not any(map(columns_of, below[1:]))
    match node["Function"]["function"]:
        case {"StringExpr": {"Strptime": [{"Literal": dtype}, {"strict": False, "format": str(layout)}]}}:
            has_zone = "%z" in layout or "%Z" in layout or (isinstance(dtype, dict) and dtype["Datetime"][1])
            known = not has_zone and rest_is_literal
        case {"StringExpr": {"ToInteger": {"strict": False}}}:
            known = rest_is_literal
        case {"StringExpr": {"HexDecode": False} | {"Base64Decode": False}}:
            known = True
        case _:
            known = name in _FUNCTIONS or (name in _FUNCTIONS_OF_LITERALS and rest_is_literal)
    return not known or not _fit(name, below, schema)


def _fit(name: str, below: tuple[Node, ...], schema: pl.Schema) -> bool:
    """Whether a function takes these dtypes; Polars finds out only when it computes."""
    dtypes = [dtype_of(each, schema) for each in below]
    if name.startswith("StringExpr."):
        return dtypes[0] == pl.String and all(
            dtype in {pl.String(), pl.Null()} or dtype.is_integer() for dtype in dtypes
        )
    if name.startswith("TemporalExpr."):
        return dtypes[0].is_temporal()
    if name == "Boolean.IsIn":
        return not _is_odd(dtypes[0])
    if name in _OF_ANY_DTYPE:
        return True
    return _are_alike(below, schema)


def _are_alike(nodes: tuple[Node, ...], schema: pl.Schema) -> bool:
    """Whether values can be computed with, compared and mixed without an error; Decimal can overflow."""
    dtypes = [dtype_of(each, schema) for each in nodes]
    families = {_family(dtype) for dtype in dtypes} - {"null"}
    return len(families) <= 1 and not any(map(_is_odd, dtypes))


def _family(dtype: pl.DataType) -> str:
    if dtype.is_numeric() or dtype == pl.Boolean:
        return "number"
    if dtype.is_temporal():
        return "time"
    return "null" if dtype == pl.Null else str(dtype)


def _is_odd(dtype: pl.DataType) -> bool:
    return dtype.is_nested() or dtype.base_type() in {pl.Decimal, pl.Categorical, pl.Enum, pl.Object}


def _cast_may_fail(source: pl.DataType, target: pl.DataType, *, strict: bool) -> bool:
    """Whether a cast may raise, leniently or strictly."""
    if source == target or (not strict and _gives_null(source, target)):
        return False
    match source, target:
        case (pl.Null(), _) | (pl.Boolean(), pl.String()) | (pl.Categorical() | pl.Enum(), pl.String()):
            return False
        case (pl.Boolean(), _) | (pl.Float32() | pl.Float64(), pl.Float32() | pl.Float64()):
            return not target.is_integer() and not target.is_float()
        case (pl.Float32() | pl.Float64(), pl.String() | pl.Boolean()) | (pl.Date(), pl.Int32() | pl.Int64()):
            return False
        case (pl.Datetime() | pl.Duration() | pl.Time(), pl.Int64()):
            return False
    if source.base_type() in _INTEGER_BITS:
        if target.base_type() in _INTEGER_BITS:
            return not _fits(source, target)
        return not (target.is_float() or target in {pl.String(), pl.Boolean()})
    return True


def _fits(source: pl.DataType, target: pl.DataType) -> bool:
    """Whether every value of an integer dtype is one of another."""
    signed, bits = _INTEGER_BITS[source.base_type()]
    target_signed, target_bits = _INTEGER_BITS[target.base_type()]
    if signed == target_signed:
        return bits <= target_bits
    return target_signed and bits < target_bits


def _gives_null(source: pl.DataType, target: pl.DataType) -> bool:
    """Whether a lenient cast gives null for a value that does not fit, and raises on none."""
    if source == pl.String:
        return target.is_numeric() or target.base_type() in {pl.Categorical, pl.Enum}
    if source.is_integer():
        return target.is_numeric() or target.base_type() in {
            pl.Boolean,
            pl.Datetime,
            pl.Duration,
            pl.Time,
            pl.Date,
        }
    if source.is_float():
        return target.is_integer() or target.is_float() or target == pl.Boolean
    return source == pl.Boolean and (target.is_integer() or target.is_float())
