"""Random row-wise verbs: each the same call on a stream and on a Polars frame."""

import polars as pl

from tests.plans.drawing import Draw
from tests.plans.expressions import col, predicate, value
from tests.plans.model import Step


def same(verb: str, node: int, code: str) -> Step:
    """A verb that is the same in Polars."""
    return Step(verb, (node,), code, code)


def filter_(draw: Draw, node: int) -> Step:
    """Some of the rows."""
    return same("filter_", node, f"$a.filter({predicate(draw, node)})")


def with_columns(draw: Draw, node: int) -> Step:
    """One more column, or one computed anew."""
    names = [name for name in draw.columns(node) if name != draw.stream(node).event_time]
    name = draw.one(names) if names and draw.chance(0.3) else draw.free_name(node)
    return same("with_columns", node, f"$a.with_columns(({value(draw, node)}).alias({name!r}))")


def select(draw: Draw, node: int) -> Step:
    """Some of the columns in another order, most often with the event time."""
    time = draw.stream(node).event_time
    names = draw.some(draw.columns(node), 6, 2)
    if time is not None and time not in names and draw.chance(0.9):
        names.insert(0, time)
    return same("select", node, f"$a.select({', '.join(map(col, names))})")


def rename(draw: Draw, node: int) -> Step:
    """Another name for a column, the event time's too."""
    name = draw.one(draw.columns(node))
    return same("rename", node, f"$a.rename({{{name!r}: {draw.free_name(node)!r}}})")


def drop(draw: Draw, node: int) -> Step | None:
    """Without a column."""
    names = [name for name in draw.columns(node) if name != draw.stream(node).event_time]
    return same("drop", node, f"$a.drop({draw.one(names)!r})") if len(names) > 1 else None


def nulls(draw: Draw, node: int) -> Step:
    """Without nulls."""
    names = [name for name in draw.columns(node) if name != draw.stream(node).event_time]
    calls = ["fill_null(0)", f"drop_nulls({draw.one(names or draw.columns(node))!r})", "fill_nan(None)"]
    return same("nulls", node, f"$a.{draw.one(calls)}")


def cast(draw: Draw, node: int) -> Step | None:
    """Another dtype."""
    names = draw.columns(node, lambda dtype: dtype.is_integer() or dtype == pl.Boolean)
    names = [name for name in names if name != draw.stream(node).event_time]
    if not names:
        return None
    return same("cast", node, f"$a.cast({{{draw.one(names)!r}: {draw.one(('pl.Float64', 'pl.String'))}}})")


def explode(draw: Draw, node: int) -> Step | None:
    """Two rows of each."""
    names = draw.columns(node, lambda dtype: dtype.is_integer())
    names = [name for name in names if name != draw.stream(node).event_time]
    if not names:
        return None
    name = draw.one(names)
    lists = f"$a.with_columns(pl.concat_list({col(name)}, {col(name)} + 1).alias({name!r}))"
    return same("explode", node, f"{lists}.explode({name!r})")


def concat(draw: Draw, node: int) -> Step:
    """The rows and some of them again."""
    part = f"$a.filter({predicate(draw, node)})"
    return Step("concat", (node,), f"st.concat([$a, {part}])", f"pl.concat([$a, {part}])")


VERBS = {
    filter_: 3, with_columns: 3, select: 2, rename: 2, drop: 1, nulls: 1, cast: 1, explode: 1, concat: 1
}  # fmt: skip
