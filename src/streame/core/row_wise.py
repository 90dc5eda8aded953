"""Row-wise expressions: those that give the same values however the rows are cut into batches.

Polars says of one node whether it computes each row from that row alone, and never looks at the nodes below; so
every node of the tree is asked. A few answers of Polars are not enough and are refused here by name. What cannot be
decided is refused.
"""

import re
from collections.abc import Sequence
from enum import Enum
from typing import Literal

import polars as pl
from polars.exceptions import PanicException, PolarsError

from streame.core.expression_tree import (
    Node,
    columns_of,
    from_tree,
    function_name,
    inputs,
    kind,
    rewrite,
    to_tree,
    walk,
    with_inputs,
)
from streame.core.expressions import (
    NamedExpr,
    dtype_of,
    parse_exprs,
    refused_by_polars,
    to_text,
)
from streame.errors import PlanError

_LOOKUPS = {
    "Boolean.IsIn",
    "Business.BusinessDayCount",
    "Business.AddBusinessDay",
    "Business.IsBusinessDay",
}
"""Functions that look values up in a Series, whatever its length."""


class _Rows(Enum):
    """How many values an expression gives for a batch."""

    ONE = "one, whatever the batch"
    SAME = "one for each row"
    OTHER = "another number"


_AGGREGATE = "it needs all rows at once; use group_by(...).agg(...) or windows, and join the result"
_NEIGHBOURS = "it needs other rows than its own, and those may be in another batch or not have arrived yet"
_PYTHON = (
    "Streame cannot see whether a Python function needs other rows than its own; "
    "use .map_batches(function, schema=..., row_wise=True)"
)
_RANDOM = "it draws random values, so a repeated run would give other results"
_FORMAT = "without a format Polars guesses one from the first values of each batch; give the format"
_CODES = "the codes of a Categorical depend on which values came first; use an Enum, or keep the strings"

_UNKNOWN = "Streame does not know whether it needs other rows than its own"
_MIXED = (
    "a part that changes the number of rows stands next to one that does not, and they fit only by chance"
)

_REASONS = {
    "Agg": _AGGREGATE,
    "Len": _AGGREGATE,
    "Over": "its groups reach over all rows; use group_by(...).agg(...) and join the result",
    "Rolling": "its windows reach over other rows; use the verb rolling(...).agg(...)",
    "Sort": "a stream that goes on has no last row to sort by; use top_k, or sort the result",
    "SortBy": "a stream that goes on has no last row to sort by; use top_k, or sort the result",
    "AnonymousFunction": _PYTHON,
    "PipeWithDtype": _PYTHON,
    "Gather": _NEIGHBOURS,
    "Slice": _NEIGHBOURS,
}
_FUNCTION_REASONS = {
    "FoldHorizontal": _PYTHON,
    "ReduceHorizontal": _PYTHON,
    "Unique": "which values are new depends on all rows before; use the verb unique(...)",
    "Range": "it counts the rows of a batch, not of the stream",
    "Repeat": "it has a length of its own; use pl.lit(...)",
}


def require_row_wise(
    expr: pl.Expr, schema: pl.Schema, *, where: str, length: Literal["same", "any"] = "same"
) -> None:
    """Refuse an expression whose values depend on how the rows are cut into batches.

    Args:
        expr: the expression; selectors are expanded.
        schema: the columns that it may read.
        where: the verb, named in errors.
        length: `same` when there must be one value for each row (or one for all), `any` when the number of rows
            may change, as with `explode`.

    Raises:
        PlanError: with the part of the expression that is refused, the reason, and what to do instead.
    """
    for named in parse_exprs([expr], {}, schema, where=where):
        rows = _rows_of(named, schema, where)
        if rows is _Rows.OTHER and length == "same":
            raise PlanError(
                f"{where}: {to_text(named.expr)} changes the number of rows; use a verb that does "
                "(filter, explode, drop_nulls), or select it alone"
            )


def require_row_wise_selection(exprs: Sequence[NamedExpr], schema: pl.Schema, *, where: str) -> bool:
    """Refuse a selection that gives other rows when the input is cut into other batches.

    Args:
        exprs: all the columns of the selection.
        schema: the columns that they may read.
        where: the verb, named in errors.

    Returns:
        Whether the selection gives one row for each row, and not another number as `explode` does.

    Raises:
        PlanError: with the part that is refused, the reason, and what to do instead.
    """
    rows = [_rows_of(each, schema, where) for each in exprs]
    if all(each is _Rows.ONE for each in rows):
        raise PlanError(
            f"{where}: no column of the input is selected, only literals, and Polars gives one row for those "
            "however many come in; select a column too, or use with_columns"
        )
    if _Rows.OTHER in rows and sum(each is not _Rows.ONE for each in rows) > 1:
        changing = exprs[rows.index(_Rows.OTHER)]
        raise PlanError(
            f"{where}: {to_text(changing.expr)} changes the number of rows and stands next to other columns, "
            "which only fit together by chance; use the verbs filter, explode or drop_nulls"
        )
    return _Rows.OTHER not in rows


class _RefusedError(Exception):
    """A node is not row-wise."""

    def __init__(self, node: Node, reason: str) -> None:
        super().__init__(reason)
        self.node = node


def _rows_of(named: NamedExpr, schema: pl.Schema, where: str) -> _Rows:
    """How many rows an expression gives, after all of it was found to be row-wise."""
    tree = to_tree(named.expr)
    if tree is None:
        raise PlanError(f"{where}: {to_text(_python_part(named.expr))} is refused: {_PYTHON}")
    try:
        rows = _rows(tree, schema)
    except _RefusedError as refused:
        part, whole = to_text(from_tree(refused.node)), to_text(named.expr)
        within = "" if part == whole else f" in {whole}"
        raise PlanError(f"{where}: {part}{within} is refused: {refused}") from None
    try:
        # Only the columns that it reads: a frame of all of them for each of a thousand outputs takes seconds.
        pl.DataFrame(schema={name: schema[name] for name in named.roots} or schema).select(named.expr)
    except (PolarsError, PanicException) as error:
        raise refused_by_polars(error, named.expr, schema, where=where) from error
    return rows


def _python_part(expr: pl.Expr) -> pl.Expr:
    """The innermost part that cannot be read."""
    below = [part for part in expr.meta.pop() if to_tree(part) is None]
    return _python_part(below[0]) if below else expr


def _rows(node: Node, schema: pl.Schema) -> _Rows:
    """How many rows `node` gives; raises `_RefusedError` when a part of it is not row-wise."""
    below = inputs(node)
    if below is None:
        raise _RefusedError(node, _REASONS.get(kind(node), _UNKNOWN))
    match node:
        case {"Literal": {"Series": _}}:
            raise _RefusedError(node, "a Series has a length of its own; join a table instead")
        case {"Literal": _}:
            return _Rows.ONE
        case {"Column": _}:
            return _Rows.SAME
        case {"Field": _} | {"Selector": _} | "Element":
            raise _RefusedError(node, _UNKNOWN)
        case {"StructEval": {"evaluation": evaluation}}:
            below = (*below, *(_with_fields_of(below[0], each) for each in evaluation))
    is_lookup = kind(node) == "Function" and function_name(node) in _LOOKUPS
    rows = [_Rows.ONE if is_lookup and _is_series(each) else _rows(each, schema) for each in below]
    match node:
        case {"Function": _}:
            return _function_rows(node, below, rows, schema)
        case {"Filter": _} | {"Explode": _}:
            return _changed_rows(node, rows)
        case {"Eval": body}:
            _require_list_body(node, body)
        case {"Cast": {"expr": inner}}:
            _require_possible_cast(node, inner, schema)
        case {"BinaryExpr": _}:
            _require_same_shape(node, below, schema)
            _require_list_of_numbers(node, below, schema)
        case {"Ternary": _}:
            _require_same_shape(node, below[1:], schema)
    return _common_rows(node, rows)


def _function_rows(node: Node, below: Sequence[Node], rows: Sequence[_Rows], schema: pl.Schema) -> _Rows:
    name = function_name(node)
    if reason := _reason_to_refuse(node, name, below, schema):
        raise _RefusedError(node, reason)
    if name in {"FillNull", "Coalesce", "MaxHorizontal", "MinHorizontal"}:
        _require_same_shape(node, below, schema)
    constant = set(rows) == {_Rows.ONE}
    columns = [each if one is _Rows.ONE else {"Column": "x"} for each, one in zip(below, rows, strict=True)]
    asked = from_tree(with_inputs(node, columns)).meta
    try:
        is_row_wise = asked.is_row_separable()
        keeps_length = asked.is_scalar() if constant else asked.is_length_preserving()
    except PolarsError:  # Polars tells only for a known dtype
        is_row_wise = keeps_length = _is_known_row_wise(node)
    if not is_row_wise:
        raise _RefusedError(node, _FUNCTION_REASONS.get(name.split(".")[0], _NEIGHBOURS))
    return _common_rows(node, rows) if keeps_length else _changed_rows(node, rows)


def _is_known_row_wise(node: Node) -> bool:
    """Whether a function that Polars does not judge without the dtype is row-wise."""
    match node["Function"]["function"]:
        case {"ArrayExpr": {"ToStruct": _}} | {"Sql": {"Binary": _}}:
            return True
        case {"Bin": {"method": {"Intervals": {"spec": {"Breaks": _}}}}}:
            return True
        case _:
            return False


def _reason_to_refuse(node: Node, name: str, below: Sequence[Node], schema: pl.Schema) -> str | None:
    """Why a function is not row-wise on these inputs although Polars says so."""
    if name == "Boolean.IsIn":
        searched = below[1]
        if dtype_of(below[0], schema).is_nested() and columns_of(searched):
            return "Polars searches for lists and structs only in a literal"
        if not _is_series(searched) and dtype_of(searched, schema).base_type() not in {pl.List, pl.Array}:
            return "a column that is no list is searched as a whole; give a list, or join a table"
    if name in {"Replace", "ReplaceStrict"} and any(map(columns_of, below[1:3])):
        return "the values of a whole column are looked up; join a table instead"
    if name in {"StringExpr.Replace", "StringExpr.ContainsAny"} and any(map(columns_of, below[1:])):
        return "Polars treats a pattern or replacement from a column differently in a batch of one row"
    if name in {"ListExpr.Get", "ArrayExpr.Get"} and not dtype_of(below[1], schema).is_integer():
        return "the position is no integer"
    if name in {"ToPhysical", "Categorical.Physical"} and dtype_of(below[0], schema) == pl.Categorical:
        return _CODES
    return _reason_anywhere(node)


def _reason_anywhere(node: Node) -> str | None:
    """Why a node is not row-wise although Polars says so, inside lists too."""
    match node:
        case {"AnonymousFunction": _} | {"PipeWithDtype": _}:
            return _PYTHON
        case {"Function": {"function": {"StringExpr": {"Strptime": [_, {"format": None}]}}}}:
            return _FORMAT
        case {"Function": {"function": {"Random": _} | {"ListExpr": {"Sample": _}}}}:
            return _RANDOM
        case _:
            return None


def _with_fields_of(struct: Node, node: Node) -> Node:
    """An expression on the fields of a struct as one on the struct."""

    def change(each: Node) -> Node | None:
        match each:
            case {"Field": [str(name)]}:
                return {"Function": {"input": [struct], "function": {"StructExpr": {"FieldByName": name}}}}
            case _:
                return None

    return rewrite(node, change)


def _require_list_body(node: Node, body: Node) -> None:
    """Check what is computed inside each list."""
    if not re.match("List|Array|{'Array", str(body["variant"])):
        raise _RefusedError(node, _NEIGHBOURS)
    if columns_of(body["evaluation"]):
        raise _RefusedError(node, "inside a list only pl.element() can be read")
    for each in walk(body["evaluation"]):
        if reason := _reason_anywhere(each):
            raise _RefusedError(node, reason)


def _require_possible_cast(node: Node, inner: Node, schema: pl.Schema) -> None:
    source, target = dtype_of(inner, schema), dtype_of(node, schema)
    if source == pl.Categorical and target.is_numeric():
        raise _RefusedError(node, _CODES)
    if source == pl.String and (target == pl.Boolean or target.is_temporal()):
        raise _RefusedError(node, "Polars casts no string to it; use .str.to_datetime(format) and the like")
    is_other_shape = (source == pl.Struct) != (target == pl.Struct)
    if is_other_shape and target != pl.String and source != pl.Null:
        raise _RefusedError(node, "Polars casts the fields of a struct one by one; give a struct of dtypes")


def _require_same_shape(node: Node, below: Sequence[Node], schema: pl.Schema) -> None:
    dtypes = [dtype_of(each, schema) for each in below]
    if len({dtype == pl.Struct for dtype in dtypes if dtype != pl.Null}) > 1:
        raise _RefusedError(node, "a struct stands beside a value that is none; pick one of its fields")


def _require_list_of_numbers(node: Node, below: Sequence[Node], schema: pl.Schema) -> None:
    """Refuse a list beside a column of another dtype: the dtype that Polars gives depends on the batch."""
    dtypes = [dtype_of(each, schema) for each in below]
    inner = [dtype.inner for dtype in dtypes if isinstance(dtype, pl.List | pl.Array)]
    for each, dtype in zip(below, dtypes, strict=True):
        if inner and not dtype.is_nested() and columns_of(each) and dtype not in inner:
            raise _RefusedError(
                node, f"a list of {inner[0]} stands beside a column of {dtype}; cast the column"
            )


def _common_rows(node: Node, rows: Sequence[_Rows]) -> _Rows:
    """The rows of a node whose inputs stand side by side."""
    wide = [each for each in rows if each is not _Rows.ONE]
    if _Rows.OTHER in wide and len(wide) > 1:
        raise _RefusedError(node, _MIXED)
    return wide[0] if wide else _Rows.ONE


def _changed_rows(node: Node, rows: Sequence[_Rows]) -> _Rows:
    """The rows of a node that changes their number."""
    if rows[0] is _Rows.ONE:
        raise _RefusedError(node, "it gives the rows of a literal, however many rows come in")
    _common_rows(node, rows)
    return _Rows.OTHER


def _is_series(node: Node) -> bool:
    return kind(node) == "Literal" and "Series" in node["Literal"]
