"""Joins that are stopped and go on, and joins that are shared out anew."""

from functools import partial
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as hs

from streame.core.joining import JOIN_HOWS, JoinHow, asof_columns, join_columns, join_keys
from streame.core.time import EventTime
from streame.runtime.joining import JoinSide
from streame.runtime.operators.asof_join import AsofJoinOperator
from streame.runtime.operators.interval_join import IntervalJoinOperator
from streame.runtime.operators.stream_join import StreamJoinOperator
from streame.runtime.operators.table_join import TableJoinOperator
from tests.examples import examples
from tests.runtime.resuming import Make, check_rescaled, check_resumed
from tests.runtime.steps import Step
from tests.runtime.streams import SCHEMA
from tests.runtime.two_inputs import two_inputs

ON = ["user", "odd"]
KEY = pl.Schema({name: SCHEMA[name] for name in ON})
AT = EventTime("at", pl.Int64())
SEEDS = hs.integers(0, 2**32)


def check(make: Make, steps: list[Step], seed: int, *, may_be_ahead: bool = False) -> None:
    """It goes on after it was stopped, and in several instances; which pair of a row comes first is left open."""
    check_resumed(make, steps, Random(seed), in_order=False)
    check_rescaled(make, [KEY, KEY], steps, Random(seed), may_be_ahead=may_be_ahead)


def sides(time: EventTime | None) -> tuple[JoinSide, JoinSide]:
    """Two inputs of the same columns."""
    side = JoinSide(SCHEMA, tuple(SCHEMA), time)
    return side, side


def joined(
    kind: type, how: JoinHow, time: EventTime | None, *, nulls_equal: bool = False, **settings: Any
) -> Any:
    """A join of two streams."""
    columns = join_columns(SCHEMA, SCHEMA, (ON, ON), how, suffix="_r", coalesce=None, verb="join")
    keys = join_keys(SCHEMA, SCHEMA, (ON, ON), nulls_equal=nulls_equal, verb="join")
    return kind(*sides(time), keys=keys, columns=columns, how=how, **settings)


@pytest.mark.parametrize("how", JOIN_HOWS)
@settings(max_examples=examples(5))
@given(
    seed=SEEDS,
    time=hs.sampled_from([None, AT]),
    ttl=hs.integers(1, 20),
    changes=hs.tuples(hs.booleans(), hs.booleans()),
    forever=hs.booleans(),
    nulls_equal=hs.booleans(),
)
def test_a_stream_join_goes_on(
    how: JoinHow, seed: int, time: Any, ttl: int, changes: Any, forever: bool, nulls_equal: bool
) -> None:
    kept: int | None = ttl if time is not None else None if forever else ttl * 1_000_000
    make = partial(joined, StreamJoinOperator, how, time, nulls_equal=nulls_equal, changes=changes, ttl=kept)
    check(make, two_inputs(Random(seed), timed=time is not None, weights=changes), seed)


@pytest.mark.parametrize("how", JOIN_HOWS)
@settings(max_examples=examples(5))
@given(seed=SEEDS, lower=hs.integers(-20, 20), width=hs.integers(0, 20), behind=hs.booleans())
def test_an_interval_join_goes_on(how: JoinHow, seed: int, lower: int, width: int, behind: bool) -> None:
    make = partial(joined, IntervalJoinOperator, how, AT, lower=lower, upper=lower + width)
    check(make, two_inputs(Random(seed), behind=behind), seed)


def asof(**settings: Any) -> AsofJoinOperator:
    """A join of each row with the nearest one."""
    columns = asof_columns(SCHEMA, SCHEMA, ON, suffix="_r", verb="join_asof")
    keys = join_keys(SCHEMA, SCHEMA, (ON, ON), nulls_equal=False, verb="join_asof")
    return AsofJoinOperator(*sides(AT), keys=keys, columns=columns, **settings)


@pytest.mark.parametrize("strategy", ["backward", "forward", "nearest"])
@settings(max_examples=examples(5))
@given(
    seed=SEEDS,
    tolerance=hs.none() | hs.integers(0, 20),
    exact=hs.booleans(),
    positions=hs.booleans(),
    behind=hs.booleans(),
)
@example(seed=64045, tolerance=None, exact=False, positions=False, behind=False)
def test_an_asof_join_goes_on(
    strategy: Any, seed: int, tolerance: int | None, exact: bool, positions: bool, behind: bool
) -> None:
    make = partial(asof, strategy=strategy, tolerance=tolerance, exact=exact, by_position=positions)
    check(make, two_inputs(Random(seed), behind=behind, positions=positions), seed, may_be_ahead=True)


def table_join(**settings: Any) -> TableJoinOperator:
    """A join with a table."""
    outputs = (("qty", "table_qty"), ("item", "table_item"))
    return TableJoinOperator(left_on=ON, right_on=ON, right_outputs=outputs, table_schema=SCHEMA, **settings)


@pytest.mark.parametrize("kind", ["at once", "clock", "event time", "for ever", "bounded"])
@settings(max_examples=examples(5))
@given(
    seed=SEEDS,
    how=hs.sampled_from(["inner", "left"]),
    wait=hs.integers(1, 30),
    changes=hs.booleans(),
    nulls_equal=hs.booleans(),
    positions=hs.booleans(),
)
@example(seed=1381421, how="left", wait=11, changes=False, nulls_equal=False, positions=False)
def test_a_table_join_goes_on(
    kind: str, seed: int, how: Any, wait: int, changes: bool, nulls_equal: bool, positions: bool
) -> None:
    make = partial(
        table_join,
        how=how,
        nulls_equal=nulls_equal,
        wait={"clock": wait * 1_000_000, "event time": wait, "for ever": None}.get(kind, 0),
        time=AT if kind in {"event time", "for ever"} else None,
        table_is_bounded=kind == "bounded",
        table_changes=changes,
    )
    steps = two_inputs(
        Random(seed),
        positions=positions,
        weights=(False, changes),
        right_first=kind == "bounded",
        left_timed=True,
    )
    check(make, steps, seed, may_be_ahead=True)
