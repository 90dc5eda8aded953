"""The arguments of `agg`: which expressions they mean, one for each output column.

The oracle is `pl.LazyFrame.group_by(keys).agg(...)`: there a selector leaves the keys out.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import polars as pl
from polars.exceptions import PolarsError
from polars.selectors import expand_selector

from streame.core.expression_tree import Node, from_tree, rewrite, to_tree
from streame.core.expressions import NamedExpr, parse_exprs
from streame.core.hidden import check_names
from streame.core.user_aggregates import Aggregate, UserAggregate, user_aggregate
from streame.errors import PlanError


def parse_aggregates(
    aggs: Sequence[Any],
    named_aggs: Mapping[str, Any],
    schema: pl.Schema,
    keys: Collection[str],
    *,
    where: str,
) -> tuple[NamedExpr, ...]:
    """The expressions that `agg` is given, selectors and several columns in one worked out.

    Args:
        aggs: the positional arguments: column names, expressions, a user's own aggregates, or one iterable of these.
        named_aggs: the keyword arguments, by output name.
        schema: the columns that the expressions may read.
        keys: the names of the other output columns; a selector does not mean a column of such a name.
        where: the verb, named in errors.

    Raises:
        PlanError: when a column does not exist, or two outputs have one name.
    """
    others = pl.Schema({name: dtype for name, dtype in schema.items() if name not in keys})
    given = list(aggs[0]) if len(aggs) == 1 and isinstance(aggs[0], list | tuple) else list(aggs)
    own: dict[str, UserAggregate] = {}

    def prepared(value: Any, name: str | None = None) -> Any:
        if isinstance(value, type) and issubclass(value, Aggregate):
            raise PlanError(
                f"{where}: {value.__name__} is a class; name the columns that it reads, as in {value.__name__}('x')"
            )
        if not isinstance(value, Aggregate):
            return _without_keys(value, schema, others)
        made = user_aggregate(value, name, schema, where)
        own[made.name] = made
        return made.expr

    positional = [prepared(each) for each in given]
    named = {name: prepared(each, name) for name, each in named_aggs.items()}
    parsed = [own.get(each.name, each) for each in parse_exprs(positional, named, schema, where=where)]
    check_names([each.name for each in parsed], f"{where}: ")
    for each in parsed:
        if each.name in keys:
            raise PlanError(
                f"{where}: an aggregate is named {each.name!r}, as a key is; rename it with .alias(...)"
            )
    return tuple(parsed)


def _without_keys(value: Any, schema: pl.Schema, others: pl.Schema) -> Any:
    """An argument with its selectors replaced by the names of columns."""
    tree = to_tree(value) if isinstance(value, pl.Expr) else None
    if tree is None:
        return value

    def named(node: Node) -> Node | None:
        match node:
            case {"Selector": {"ByName": _} | {"ByIndex": _}}:
                columns = schema
            case {"Selector": _}:
                columns = others
            case _:
                return None
        try:
            names = expand_selector(columns, from_tree(node).meta.as_selector())
        except PolarsError:  # a column that does not exist; the verb will say so
            return None
        return (
            {"Column": names[0]}
            if len(names) == 1
            else {"Selector": {"ByName": {"names": list(names), "strict": True}}}
        )

    return from_tree(rewrite(tree, named))
