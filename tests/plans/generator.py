"""Draws a plan from a seed."""

from collections import Counter
from collections.abc import Callable, Mapping
from random import Random

import polars as pl

import streame as st
from tests.plans import grouping_verbs, join_verbs, row_wise_verbs, window_verbs
from tests.plans.drawing import Draw, Known, Order
from tests.plans.model import Plan, Step
from tests.plans.running import OracleError
from tests.plans.sources import add_source

Verb = Callable[[Draw, int], Step | None]

VERBS: dict[Verb, int] = {
    **row_wise_verbs.VERBS, **grouping_verbs.VERBS, **window_verbs.VERBS, **join_verbs.VERBS
}  # fmt: skip
"""Every verb, and how often it is drawn beside the others."""

KEEPS_ORDER = {"filter_", "with_columns", "select", "rename", "drop", "nulls", "cast", "explode"}

ROWS_MAX = 300_000

refused: Counter[str] = Counter()
"""How often a verb was refused when a plan was drawn: what is always refused is never tested."""


def plan(seed: int, verbs: Mapping[Verb, int] | None = None) -> tuple[Plan, st.StreamDataFrame, pl.DataFrame]:
    """The plan of a seed, its stream, and what Polars gives.

    Args:
        seed: the same seed gives the same plan.
        verbs: what to choose from, and how often each comes beside the others; everything by default.
    """
    verbs = VERBS if verbs is None else verbs
    draw = Draw(Random(seed))
    for _ in range(draw.one((1, 1, 2))):
        add_source(draw)
    wanted = draw.one((1, 2, 3, 3, 4, 5, 6))
    for _ in range(4 * wanted):
        if sum(isinstance(part, Step) for part in draw.parts) == wanted:
            break
        verb = draw.random.choices(list(verbs), list(verbs.values()))[0]
        # Most often a verb goes on from the last one.
        node = len(draw.parts) - 1 if draw.chance(0.8) else draw.random.randrange(len(draw.parts))
        add_verb(draw, verb, node)
    parallelism = draw.random.choices((1, 2, 3, 7), (40, 25, 25, 10))[0]
    last = len(draw.parts) - 1
    tidy = Plan(tuple(draw.parts), parallelism, draw.chance(0.7)).tidy()
    return tidy, draw.stream(last), draw.rows(last)


def add_verb(draw: Draw, verb: Verb, node: int) -> bool:
    """One more verb behind a part; whether Streame and Polars both have an answer."""
    step = verb(draw, node)
    if step is None:
        return False
    inputs = [draw.known[each] for each in step.inputs]
    order: Order = inputs[0].order if step.verb in KEEPS_ORDER else None
    known = Known(order, inputs[0].unit, frozenset().union(*(each.sources for each in inputs)))
    try:
        number = draw.add(step, known)
    except OracleError:
        return False
    except (st.PlanError, AttributeError) as error:
        refused[f"{step.verb}: {str(error)[:60]}"] += 1
        return False
    if draw.rows(number).height > ROWS_MAX:
        draw.parts.pop()
        draw.known.pop()
        return False
    return True
