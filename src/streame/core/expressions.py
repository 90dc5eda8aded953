"""Polars expressions as the arguments of a verb: what they name, which columns they read, what they are.

Nothing here looks at rows. The oracle for names and dtypes is `pl.LazyFrame(schema=...)`.
"""

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import Any

import polars as pl
from polars.exceptions import ColumnNotFoundError, PanicException, PolarsError
from polars.selectors import expand_selector

from streame.core.expression_tree import (
    Node,
    columns_of,
    from_tree,
    inputs,
    kind,
    rewrite,
    to_tree,
    walk,
    with_inputs,
)
from streame.errors import PlanError

_TEXT_LENGTH_MAX = 100


@dataclass(frozen=True, slots=True)
class NamedExpr:
    """One output column of a verb.

    Args:
        name: its name.
        expr: what computes it; its output name is `name`, and it gives one column.
        dtype: its dtype.

    Attributes:
        column: the input column that this is, under its own name or another; `None` when something is computed.
        roots: the input columns that it reads.
    """

    name: str
    expr: pl.Expr
    dtype: pl.DataType
    column: str | None = field(init=False)
    roots: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        """Look at the expression once: a plan asks for these again and again."""
        renamed = as_renamed_column(self.expr)
        column = None if renamed is None else renamed[0]
        roots = referenced_columns(self.expr) if column is None else {column}
        object.__setattr__(self, "column", column)
        object.__setattr__(self, "roots", frozenset(roots))

    @property
    def text(self) -> str:
        """What it is, for `explain()`."""
        return to_text(self.expr.meta.undo_aliases())


def parse_exprs(
    exprs: Sequence[Any],
    named_exprs: Mapping[str, Any],
    schema: pl.Schema,
    *,
    where: str,
    strings_are_columns: bool = True,
) -> tuple[NamedExpr, ...]:
    """The arguments of `select`, `with_columns` and the like, one expression for each output column.

    Selectors, regular expressions and several columns in one expression are worked out against `schema`; names,
    dtypes and order are those that Polars gives.

    Args:
        exprs: the positional arguments: column names, expressions, literals, or one iterable of these.
        named_exprs: the keyword arguments, by output name.
        schema: the columns that the expressions may read.
        where: the verb, named in errors.
        strings_are_columns: whether a string names a column; otherwise it is a literal.

    Raises:
        PlanError: when a column does not exist, an expression does not fit its dtypes, or two have one name.
    """
    parsed = [*_parse_positional(exprs, where, strings_are_columns=strings_are_columns)]
    parsed += [_parse_one(value, strings_are_columns).alias(name) for name, value in named_exprs.items()]
    named = tuple(chain.from_iterable(_expand(expr, schema, where) for expr in parsed))
    names = [each.name for each in named]
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise PlanError(
            f"{where}: two expressions are named {repeated[0]!r}; rename one with .alias(...) or a keyword argument"
        )
    return named


def resolve(expr: pl.Expr, schema: pl.Schema, *, where: str) -> pl.Schema:
    """The names and dtypes that an expression gives on columns of `schema`.

    Raises:
        PlanError: when it reads a column that does not exist or does not fit its dtypes.
    """
    try:
        return _no_rows(schema).select(expr).collect_schema()
    except (PolarsError, PanicException) as error:
        raise refused_by_polars(error, expr, schema, where=where) from error


def refused_by_polars(error: BaseException, expr: pl.Expr, schema: pl.Schema, *, where: str) -> PlanError:
    """The error that a user should see in the place of one from inside Polars."""
    if isinstance(error, ColumnNotFoundError):
        missing = re.search(r'"(.*?)"', str(error))
        name = (
            missing.group(1) if missing else next(iter(sorted(referenced_columns(expr) - set(schema))), "?")
        )
        return unknown_column(name, schema, where=where)
    reason = re.split(r"\n\s*\n|\n*Resolved plan|\n*This error occurred", str(error), maxsplit=1)[0].strip()
    return PlanError(f"{where}: {to_text(expr)} cannot be computed: {reason or type(error).__name__}")


def unknown_column(name: str, schema: Iterable[str], *, where: str) -> PlanError:
    """The error for a column that is not there."""
    names = list(schema)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return PlanError(
        f"{where}: column {name!r} does not exist{hint} (available columns: {', '.join(names) or 'none'})"
    )


def dtype_of(node: Node, schema: pl.Schema) -> pl.DataType:
    """The dtype of a part of an expression that `resolve` has accepted."""
    read = pl.Schema({name: schema[name] for name in sorted(columns_of(node))})
    (dtype,) = _no_rows(read).select(from_tree(node)).collect_schema().dtypes()
    return dtype


def _no_rows(schema: pl.Schema) -> pl.LazyFrame:
    """A frame of these columns, to ask Polars what an expression gives."""
    return _made_once(tuple(schema.items()))


@lru_cache(maxsize=64)
def _made_once(columns: tuple[tuple[str, pl.DataType], ...]) -> pl.LazyFrame:
    """Making a frame costs far more than asking it, and neighbouring verbs have the same schema."""
    return pl.LazyFrame(schema=dict(columns))


def referenced_columns(expr: pl.Expr) -> set[str]:
    """The columns that an expression without selectors reads."""
    tree = to_tree(expr)
    return set(expr.meta.root_names()) if tree is None else columns_of(tree)


def as_renamed_column(expr: pl.Expr) -> tuple[str, str] | None:
    """`(column, output name)` of an expression that is just a column, maybe under another name."""
    bare = expr.meta.undo_aliases()
    return (bare.meta.root_names()[0], expr.meta.output_name()) if bare.meta.is_column() else None


def is_column(expr: pl.Expr) -> str | None:
    """The name of an expression that is just a column under its own name."""
    renamed = as_renamed_column(expr)
    return renamed[0] if renamed is not None and renamed[0] == renamed[1] else None


def substitute_columns(expr: pl.Expr, mapping: Mapping[str, pl.Expr | str]) -> pl.Expr | None:
    """The expression with other expressions in the place of columns; columns not in `mapping` stay.

    Args:
        expr: an expression without selectors.
        mapping: for each column the name of another one, or the expression that computes it.

    Returns:
        `None` where Polars does not show the inside of an expression. The output name may change.
    """
    trees: dict[str, Node | None] = {
        name: {"Column": new} if isinstance(new, str) else to_tree(new) for name, new in mapping.items()
    }
    tree = to_tree(expr)
    if tree is None or any(new is None for new in trees.values()):
        return None
    return from_tree(rewrite(tree, lambda node: trees.get(node["Column"]) if _names_column(node) else None))


def _names_column(node: Node) -> bool:
    return kind(node) == "Column" and isinstance(node["Column"], str)


def to_text(expr: pl.Expr) -> str:
    """A short form of an expression for people to read."""
    text = full_text(expr)
    return text if len(text) <= _TEXT_LENGTH_MAX else text[: _TEXT_LENGTH_MAX - 1] + "…"


def full_text(expr: pl.Expr) -> str:
    """An expression as Polars prints it, on one line; nothing is cut off."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(expr))
    text = re.sub(r"dyn (?:int|float): ", "", text.replace("strict_cast(", "cast("))
    text = re.sub(r"\s+", " ", text).strip()
    return text[1:-1] if re.fullmatch(r"\[[^\[\]]*\]", text) else text


def _parse_positional(exprs: Sequence[Any], where: str, *, strings_are_columns: bool) -> Iterator[pl.Expr]:
    if len(exprs) == 1 and isinstance(exprs[0], Mapping):
        raise PlanError(
            f"{where}: a dict is no list of expressions; give its entries as keyword arguments (**)"
        )
    if (
        len(exprs) == 1
        and isinstance(exprs[0], Iterable)
        and not isinstance(exprs[0], str | bytes | pl.Series)
    ):
        exprs = list(exprs[0])
    for value in exprs:
        yield _parse_one(value, strings_are_columns)


def _parse_one(value: Any, strings_are_columns: bool) -> pl.Expr:
    if isinstance(value, pl.Expr):
        return value
    if isinstance(value, str) and strings_are_columns:
        return pl.col(value)
    return pl.lit(value)


def _expand(expr: pl.Expr, schema: pl.Schema, where: str) -> Iterator[NamedExpr]:
    """One expression for each column that `expr` gives."""
    given = resolve(expr, schema, where=where)
    tree = to_tree(expr)
    if tree is not None and len(given) == 1 and not any(map(_is_wide, walk(tree))):
        single = [expr]
    else:
        single = _expand_tree(expr, tree, schema, given) or [
            pl.struct(expr).struct.field(name) for name in given
        ]
    for each, (name, dtype) in zip(single, given.items(), strict=True):
        named = each if each.meta.output_name(raise_if_undetermined=False) == name else each.alias(name)
        yield NamedExpr(name, named, dtype)


def _expand_tree(
    expr: pl.Expr, tree: Node | None, schema: pl.Schema, given: pl.Schema
) -> list[pl.Expr] | None:
    """The expressions behind the columns `given`; `None` where that cannot be told for sure."""
    if tree is None:  # perhaps only because a Python function makes the names
        tree = to_tree(expr.meta.undo_aliases())
    if tree is None:
        return None
    try:
        single = [from_tree(node) for node in _expand_node(tree, schema) or ()]
        dtypes = [_no_rows(schema).select(each).collect_schema().dtypes() for each in single]
    except PolarsError:  # without its names it is another expression
        return None
    return single if dtypes == [[dtype] for dtype in given.dtypes()] else None


def _expand_node(node: Node, schema: pl.Schema) -> list[Node] | None:
    """`node` for one column after the other, as Polars would expand it; `None` where that is not known."""
    if _is_selector(node):
        return [{"Column": name} for name in expand_selector(schema, from_tree(node).meta.as_selector())]
    if _is_wide(node):
        fields = _no_rows(schema).select(from_tree(node)).collect_schema().names()
        by_name = ({"StructExpr": {"FieldByName": name}} for name in fields)
        return [{"Function": {**node["Function"], "function": function}} for function in by_name]
    below = inputs(node)
    if below is None:
        return _expand_unknown(node, schema)
    expanded = [_expand_node(each, schema) for each in below]
    if any(each is None for each in expanded):
        return None
    columns = [each for each in expanded if each is not None]
    wide = {len(each) for each in columns} - {1}
    if not wide:
        return [with_inputs(node, [each[0] for each in columns])]
    count = len(_no_rows(schema).select(from_tree(node)).collect_schema())
    if kind(node) == "Function" and count == 1:
        return [with_inputs(node, list(chain.from_iterable(columns)))]
    if wide != {count}:
        return None
    rows = (each if len(each) == count else each * count for each in columns)
    return [with_inputs(node, row) for row in zip(*rows, strict=True)]


def _expand_unknown(node: Node, schema: pl.Schema) -> list[Node] | None:
    """As `_expand_node` for a node with inputs in places that are not known: all selectors at once."""
    selectors = [each for each in walk(node) if _is_selector(each)]
    selected = [_expand_node(each, schema) or [] for each in selectors]
    counts = {len(each) for each in selected}
    if not selected:
        return [node]
    if len(counts) != 1:
        return None
    return [_replace(node, selectors, row) for row in zip(*selected, strict=True)]


def _replace(node: Node, old: Sequence[Node], new: Sequence[Node]) -> Node:
    return rewrite(node, lambda each: new[old.index(each)] if each in old else None)


def _is_selector(node: Node) -> bool:
    return isinstance(node, dict) and "Selector" in node


def _is_wide(node: Node) -> bool:
    """Whether a node gives several columns by itself."""
    match node:
        case {"Selector": _} | {"Function": {"function": {"StructExpr": {"SelectFields": _}}}}:
            return True
        case _:
            return False
