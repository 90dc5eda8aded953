"""Random windows, sessions and rolling groups, each with its definition in Polars."""

import polars as pl

from tests.plans.drawing import Draw
from tests.plans.expressions import aggregates, named_aggregates
from tests.plans.grouping_verbs import key_columns
from tests.plans.model import Step


def timed(draw: Draw, node: int) -> str | None:
    """The event time, where a verb over time is possible; rows without a time are set aside there."""
    return None if draw.is_changes(node) else draw.stream(node).event_time


def group_by_dynamic(draw: Draw, node: int) -> Step | None:
    """Windows: tumbling, overlapping or with gaps, moved and labelled in all ways."""
    time = timed(draw, node)
    if time is None:
        return None
    dtype = draw.schema(node)[time]
    if isinstance(dtype, pl.Datetime) and (dtype.time_zone or draw.chance(0.3)):
        every = draw.one(("1h", "1d", "30m") if dtype.time_zone else ("1h", "1d", "1mo", "1w", "1q", "7h"))
        period, overlap = draw.one(
            ((None, 1), (None, 1), (f"2{every.lstrip('1')}" if every[0] == "1" else None, 2))
        )
        offset = draw.one((None, None, "10m"))
    else:
        steps = draw.one((1, 2, 3, 10))
        every = draw.duration(node, steps)
        length, overlap = draw.one(((None, 1), (None, 1), (1, 1), (2 * steps, 2), (3 * steps - 1, 3)))
        period = None if length is None else draw.duration(node, length)
        offset = draw.one((None, None, draw.duration(node, 1)))
    words = {"every": every, "period": period, "offset": offset}
    words["closed"] = draw.one((None, None, "right", "both", "none"))
    words["label"] = draw.one((None, None, "right", "datapoint"))
    given = ", ".join(f"{name}={word!r}" for name, word in words.items() if word is not None)
    keys = key_columns(draw, node)
    by = f", group_by={keys!r}" if keys else ""
    ends = ", include_boundaries=True" if draw.chance(0.2) else ""
    emit = draw.one(("", "", "", ", emit='changes'", ", emit='1s'", ", lateness={}"))
    emit = emit.format(repr(draw.duration(node, 3)))
    return Step(
        "group_by_dynamic",
        (node,),
        f"$a.group_by_dynamic({time!r}, {given}{by}{ends}{emit}, $name).agg($aggs)",
        f"windows($a, {time!r}, {overlap}, {given}{by}{ends}).agg($aggs)",
        {"aggs": aggregates(draw, node, [*keys, time])},
    )


def group_by_session(draw: Draw, node: int) -> Step | None:
    """Sessions."""
    time = timed(draw, node)
    if time is None:
        return None
    keys = key_columns(draw, node)
    if {"start", "end"} & {*keys}:
        return None
    by = f", group_by={keys!r}" if keys else ""
    gap = draw.duration(node, draw.one((1, 2, 3, 10)))
    emit = draw.one(("", "", "", ", emit='changes'", ", emit='1s'", f", lateness={draw.duration(node, 3)!r}"))
    return Step(
        "group_by_session",
        (node,),
        f"$a.group_by_session({time!r}, gap={gap!r}{by}{emit}, $name).agg($aggs)",
        f"sessions($a, {time!r}, {gap!r}, {keys!r}, [$aggs])",
        {"aggs": named_aggregates(draw, node, [*keys, time])},
    )


def rolling(draw: Draw, node: int) -> Step | None:
    """A group for each row: what happened shortly before it."""
    time = timed(draw, node)
    if time is None or draw.rows(node).height > 2_000:
        return None
    words = {"period": draw.duration(node, draw.one((1, 2, 5, 20)))}
    if draw.chance(0.4):
        words["closed"] = draw.one(("left", "both", "none", "right"))
    given = ", ".join(f"{name}={word!r}" for name, word in words.items())
    keys = key_columns(draw, node)
    by = f", group_by={keys!r}" if keys else ""
    return Step(
        "rolling",
        (node,),
        f"$a.rolling({time!r}, {given}{by}, $name).agg($aggs)",
        f"rolling($a, {time!r}, {given}{by}).agg($aggs)",
        {"aggs": aggregates(draw, node, [*keys, time])},
    )


VERBS = {group_by_dynamic: 6, group_by_session: 4, rolling: 4}
