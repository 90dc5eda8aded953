"""Random grouping verbs, each with what it means in Polars."""

import polars as pl

from tests.plans.drawing import Draw
from tests.plans.expressions import aggregates, col, named_aggregates
from tests.plans.model import Step


def key_columns(draw: Draw, node: int, *, least: int = 0, most: int = 2) -> list[str]:
    """Columns to group by, most often those made for it."""
    plain = draw.columns(node, lambda dtype: not dtype.is_nested())
    names = [name for name in plain if name != draw.stream(node).event_time]
    likely = [name for name in names if name in {"k", "l", "s", "b"}]
    return draw.some(likely if likely and draw.chance(0.8) else names, most, least)


def group_by(draw: Draw, node: int) -> Step | None:
    """One row for each key, said anew whenever it changes."""
    keys = key_columns(draw, node, least=1)
    if not keys:
        return None
    emit = draw.one(("", "", "", ", emit='on_close'", ", emit='1s'"))
    by = ", ".join(map(col, keys))
    return Step(
        "group_by",
        (node,),
        f"$a.group_by({by}{emit}, $name).agg($aggs)",
        f"$a.group_by({by}).agg($aggs)",
        {"aggs": aggregates(draw, node, keys)},
    )


def top_k(draw: Draw, node: int) -> Step | None:
    """The best rows, of all or of each group."""
    names = draw.columns(node, lambda dtype: not dtype.is_nested() and dtype != pl.Categorical)
    keys = key_columns(draw, node) if draw.chance(0.6) else []
    if not names:
        return None
    by = draw.some(names, 2)
    if not draw.in_order(node) or draw.is_changes(node):
        by = draw.columns(node)  # then ties are rows that equal each other
        if set(by) != set(names):
            return None
    verb, k = ("top_k" if keys else draw.one(("top_k", "bottom_k"))), draw.one((1, 2, 5))
    reverse = [draw.chance(0.3) for _ in by]
    frame = f"$a.group_by({', '.join(map(col, keys))})" if keys else "$a"
    smallest = reverse if verb == "top_k" else [not each for each in reverse]
    return Step(
        "top_k",
        (node,),
        f"{frame}.{verb}({k}, by={by!r}, reverse={reverse!r}, $name)",
        f"best($a, {k}, {by!r}, {smallest!r}, {keys!r})",
    )


def group_by_count(draw: Draw, node: int) -> Step | None:
    """Every few rows of a key."""
    if not draw.in_order(node) or draw.is_changes(node):
        return None
    keys = key_columns(draw, node)
    time = draw.time(node)
    if {"start", "end"} & {*keys}:
        return None
    by = f", group_by={keys!r}" if keys else ""
    n = draw.one((1, 2, 3, 10))
    return Step(
        "group_by_count",
        (node,),
        f"$a.group_by_count({n}{by}, $name).agg($aggs)",
        f"counted($a, {n}, {time!r}, {keys!r}, [$aggs])",
        {"aggs": named_aggregates(draw, node, [*keys, *([time] if time else [])])},
    )


def map_with_state(draw: Draw, node: int) -> Step | None:
    """A function that numbers the rows of each key."""
    if not draw.in_order(node) or draw.is_changes(node) or "number" in draw.schema(node):
        return None
    keys = key_columns(draw, node, least=1)
    if not keys:
        return None
    schema = "{'number': pl.Int64, **$a.schema}"
    return Step(
        "map_with_state",
        (node,),
        f"$a.group_by({keys!r}).map_with_state(number, state=0, schema={schema}, ttl=None, $name)",
        f"numbered($a, {keys!r})",
    )


def unique(draw: Draw, node: int) -> Step | None:
    """Rows without repetition, of all columns or of some."""
    plain = draw.columns(node, lambda dtype: not dtype.is_nested())
    event_time = draw.stream(node).event_time
    if event_time is not None and draw.time(node) is None:
        return None  # rows without a time are bad rows here
    if draw.is_changes(node) or not draw.in_order(node):
        if len(plain) < len(draw.columns(node)):
            return None
        keep = draw.one(("any", "none"))  # which of some equal rows is kept makes no difference
        return Step("unique", (node,), f"$a.unique(keep={keep!r}, $name)", f"$a.unique(keep={keep!r})")
    time = draw.time(node)
    keys = key_columns(draw, node, least=1)
    if not keys:
        return None
    if time is not None and draw.chance(0.3):
        within = draw.duration(node, draw.one((1, 3, 10)))
        code = f"first_within($a, {time!r}, {keys!r}, {within!r})"
        return Step("unique", (node,), f"$a.unique({keys!r}, within={within!r}, $name)", code)
    keep = draw.one(("any", "first", "last", "none"))
    ordered = ", maintain_order=True" if draw.chance(0.2) else ""
    return Step(
        "unique",
        (node,),
        f"$a.unique({keys!r}, keep={keep!r}{ordered}, $name)",
        f"$a.unique({keys!r}, keep={keep.replace('any', 'first')!r}, maintain_order=True)",
    )


VERBS = {group_by: 3, top_k: 2, group_by_count: 1, map_with_state: 1, unique: 2}
