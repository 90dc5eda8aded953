"""Random grouping verbs, each with what it means in Polars."""

from tests.plans.drawing import Draw
from tests.plans.expressions import aggregates, col
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


VERBS = {group_by: 3}
