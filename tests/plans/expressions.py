"""Random expressions: values from one row, predicates, and aggregates."""

from collections.abc import Callable

import polars as pl

from tests.plans.drawing import Draw


def col(name: str) -> str:
    """The column as code."""
    return f"pl.col({name!r})"


def value(draw: Draw, node: int) -> str:
    """A value from one row."""
    name = draw.one(draw.columns(node))
    return draw.one(_values(col(name), draw.schema(node)[name]))


def _values(it: str, dtype: pl.DataType) -> list[str]:
    anything = [it, f"{it}.is_null()", "pl.lit(5)"]
    if dtype.is_integer():
        return [*anything, f"{it} % 3", f"-{it}.cast(pl.Int64)", f"{it} / 2", f"{it}.fill_null(7)"]
    if dtype.is_float():
        return [*anything, f"{it} * 2", f"{it}.is_nan()", f"{it}.fill_nan(None)", f"{it}.abs()"]
    if dtype == pl.String:
        return [*anything, f"{it}.str.to_uppercase()", f"{it}.str.len_chars()", f"{it} + '!'"]
    if dtype == pl.Boolean:
        return [*anything, f"~{it}", f"{it}.cast(pl.Int64)"]
    if isinstance(dtype, pl.Datetime):
        return [*anything, f"{it}.dt.truncate('1h')", f"{it}.dt.day()"]
    return anything


def predicate(draw: Draw, node: int) -> str:
    """A test of one row."""
    name = draw.one(draw.columns(node))
    it, dtype = col(name), draw.schema(node)[name]
    tests = [f"{it}.is_not_null()"]
    if dtype.is_numeric() and not dtype.is_decimal():
        tests += [f"{it} > 0", f"{it} != 1", f"{it} < 5"]
    if dtype == pl.String:
        tests += [f"{it} != 'p'", f"{it} > 'a'"]
    if dtype == pl.Boolean:
        tests += [it, f"~{it}"]
    if draw.chance(0.2):
        return f"({draw.one(tests)}) | ({predicate(draw, node)})"
    return draw.one(tests)


Wanted = Callable[[pl.DataType], bool]


def is_number(dtype: pl.DataType) -> bool:
    """Whether it can be added up."""
    return dtype.is_numeric()


def aggregates(draw: Draw, node: int, keys: list[str], *, most: int = 4) -> tuple[str, ...]:
    """Named aggregates of the columns that are no keys."""
    names = [name for name in draw.columns(node) if name not in keys]
    found = []
    for number in range(draw.random.randint(1, most)):
        text = draw.one(_of_group(draw, node, draw.one(names))) if names and draw.chance(0.9) else "pl.len()"
        found.append(f"a{number}={text}")
    return tuple(found)


def named_aggregates(draw: Draw, node: int, keys: list[str]) -> tuple[str, ...]:
    """The same, each an expression that knows its name."""
    parts = [each.partition("=") for each in aggregates(draw, node, keys)]
    return tuple(f"({code}).alias({name!r})" for name, _, code in parts)


def _of_group(draw: Draw, node: int, name: str) -> list[str]:
    it, dtype = col(name), draw.schema(node)[name]
    nested = dtype.is_nested()
    found = ["pl.len()", f"{it}.count()", f"{it}.null_count()"]
    if not nested:
        found += [f"{it}.n_unique()", f"{it}.min()", f"{it}.max()"]
    if is_number(dtype):
        found += [f"{it}.sum()", f"({it}.sum() + pl.len())", f"{it}.filter({predicate(draw, node)}).sum()"]
    if dtype.is_integer() or dtype.is_float():
        found += [f"{it}.mean()", f"{it}.median()", f"{it}.quantile(0.5)", f"({it}.max() - {it}.min())"]
        found += [f"{it}.fill_null(0).sum()", f"({it} > 1).sum()", f"{it}.filter({it} > 0).mean()"]
    if dtype.is_integer():
        found += [f"{it}.std()", f"{it}.var()"]
    if dtype == pl.Boolean:
        found += [f"{it}.any()", f"{it}.all()", f"{it}.sum()", f"{it}.all(ignore_nulls=False)"]
    if draw.in_order(node) and not draw.is_changes(node):
        found += [f"{it}.first()", f"{it}.last()", f"{it}.drop_nulls().first()"]
        if not nested:
            found += [f"{it}.implode()" if draw.chance(0.3) else f"{it}.head(2)"]
    return found
