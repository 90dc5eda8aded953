"""What keeps rows by key, or the states of a user's function: stopped and going on, and shared out anew."""

from functools import partial
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hs

import streame as st
from streame.core.aggregate_arguments import parse_aggregates
from streame.core.aggregates import split_aggregates
from streame.core.encoding import ValueCodec
from streame.core.positions import POSITION_DTYPE
from streame.core.ranking import Ranking
from streame.core.rolling import rolling_rule
from streame.core.time import WATERMARK_MAX, EventTime
from streame.runtime.admission import Admission
from streame.runtime.keyed_function import KeyedFunction
from streame.runtime.letters import RefusalPolicy
from streame.runtime.operators.first_rows import FirstRowsOperator
from streame.runtime.operators.last_rows import LastRowsOperator
from streame.runtime.operators.map_with_state import MapWithStateOperator
from streame.runtime.operators.rolling import RollingOperator
from streame.runtime.operators.single_rows import SingleRowsOperator
from streame.runtime.operators.top_k import TopKOperator
from streame.runtime.preparation import Preparation
from streame.state.snapshot import Shadow, restore_snapshot, take_snapshot
from tests.examples import examples
from tests.runtime.recorder import OperatorBench
from tests.runtime.resuming import Make, check_rescaled, check_resumed
from tests.runtime.streams import SCHEMA, stream

KEY = pl.Schema({"user": pl.String(), "odd": pl.Boolean()})
AT = EventTime("at", pl.Int64())
POLICY = RefusalPolicy("dead_letter", ["s"])
SEEDS = hs.integers(0, 2**32)


def check(make: Make, seed: int, *, rescaled: bool = True, **settings: Any) -> None:
    """It goes on after it was stopped, and in several instances."""
    steps = stream(Random(seed), **settings)
    check_resumed(make, steps, Random(seed))
    if rescaled:
        check_rescaled(make, [KEY], steps, Random(seed))


@settings(max_examples=examples(10))
@given(
    seed=SEEDS,
    k=hs.integers(1, 6),
    by=hs.sampled_from([("price",), ("qty", "item"), ("item",), ("tags",)]),
    smallest=hs.booleans(),
    retractable=hs.booleans(),
    positions=hs.booleans(),
    keyed=hs.booleans(),
)
def test_the_best_rows_go_on(
    seed: int, k: int, by: Any, smallest: bool, retractable: bool, positions: bool, keyed: bool
) -> None:
    make = partial(
        TopKOperator,
        k=k,
        ranking=Ranking(by, (smallest,) * len(by), "at", tuple(SCHEMA) if retractable else ()),
        keys=list(KEY) if keyed else [],
        schema=SCHEMA,
        columns=list(SCHEMA),
        retractable=retractable,
        positions=POSITION_DTYPE if positions and not retractable else None,
    )
    check(make, seed, rescaled=keyed, timed=False, positions=positions, weights=retractable)


@settings(max_examples=examples(10))
@given(
    seed=SEEDS,
    within=hs.none() | hs.integers(1, 40),
    timed=hs.booleans(),
    behind=hs.booleans(),
    positions=hs.booleans(),
)
def test_the_first_rows_go_on(
    seed: int, within: int | None, timed: bool, behind: bool, positions: bool
) -> None:
    admission = Admission(AT, POLICY, list(SCHEMA)) if timed else None
    make = partial(
        FirstRowsOperator,
        keys=KEY,
        columns=list(SCHEMA),
        within=within if timed else None,
        admission=admission,
    )
    check(make, seed, timed=timed, behind=timed and behind, positions=positions)


@settings(max_examples=examples(8))
@given(seed=SEEDS, timed=hs.booleans(), positions=hs.booleans())
def test_the_last_rows_go_on(seed: int, timed: bool, positions: bool) -> None:
    time = AT if timed else None
    make = partial(LastRowsOperator, keys=KEY, schema=SCHEMA, time=time, positions=positions)
    check(make, seed, timed=timed, positions=positions)


@settings(max_examples=examples(6))
@given(seed=SEEDS)
def test_single_rows_go_on(seed: int) -> None:
    check(partial(SingleRowsOperator, keys=KEY, schema=SCHEMA), seed, timed=False)


# The last bit of a sum depends on the order in which rows are added up, and that on how they came.
price = pl.col("price").fill_nan(None).clip(0, 3) * 4
ROLLED: dict[str, dict[str, Any]] = {
    "sums": {"n": pl.len(), "sum": pl.col("qty").cast(pl.Int128).sum(), "price": price.floor().sum()},
    "edges": {"first": pl.col("item").first(), "last": pl.col("tags").last(), "low": pl.col("qty").min()},
    "rows": {"median": price.floor().median(), "items": pl.col("item").sort()},
    "nothing": {"n": pl.len()},
}


def rolling(aggregates: dict[str, Any], keyed: bool, **window: Any) -> RollingOperator:
    """An aggregation of the rows around each."""
    exprs = parse_aggregates([], aggregates, SCHEMA, (), where="agg")
    aggregation = split_aggregates(exprs, SCHEMA, where="agg")
    return RollingOperator(
        rolling_rule(AT, **window, where="rolling"),
        keys=list(KEY) if keyed else [],
        key_schema=KEY if keyed else pl.Schema(),
        aggregation=aggregation,
        admission=Admission(AT, POLICY, list(SCHEMA)),
        preparation=Preparation(aggregation, AT, POLICY),
    )


@pytest.mark.parametrize("kind", ROLLED)
@settings(max_examples=examples(5))
@given(
    seed=SEEDS,
    period=hs.integers(1, 30),
    offset=hs.none() | hs.integers(-30, 10),
    closed=hs.sampled_from(["left", "right", "both", "none"]),
    behind=hs.booleans(),
    positions=hs.booleans(),
    keyed=hs.booleans(),
)
def test_rolling_windows_go_on(
    kind: str, seed: int, period: int, offset: Any, closed: Any, behind: bool, positions: bool, keyed: bool
) -> None:
    window = {"period": f"{period}i", "offset": None if offset is None else f"{offset}i", "closed": closed}
    make = partial(rolling, ROLLED[kind], keyed, **window)
    check(make, seed, rescaled=keyed, behind=behind, positions=positions)


OUTPUT = pl.Schema({"user": pl.String(), "what": pl.String()})


def counting(
    rows: pl.DataFrame, state: list[Any] | None, group: st.Group
) -> tuple[pl.DataFrame | None, list[Any] | None]:
    """Says what it is called with, sets timers, fails and forgets, all by what its rows are."""
    calls, texts = state or [0, []]
    items = rows["item"].drop_nulls().to_list()
    number = calls + len(items) + 3 * rows.height
    if rows["qty"].eq(-5).any() and number % 2:
        raise ValueError("it cannot be done")
    if number % 4 == 1:
        if group.moment.time is not None:
            group.call_at(None if number % 8 == 1 else (group.watermark or 0) + 3 + number % 7)
        if not group.fired:
            group.call_after(f"{2 + number % 5}s")
    what = f"{group.fired} {group.due if group.fired == 'time' else ''} {calls} {texts} {rows.height}"
    made = pl.DataFrame({"user": [group.key[0]], "what": [what]}, OUTPUT)
    if number % 11 == 0:
        return made, None
    return (made if number % 3 else None), [calls + 1, [*texts, *items][-3:]]


def mapped(timed: bool, in_order: bool, ttl: int | None) -> MapWithStateOperator:
    """A function with a state for each key."""
    codec = ValueCodec(list)
    work = KeyedFunction(
        function=counting,
        key_columns=tuple(KEY),
        key_schema=KEY,
        columns=SCHEMA,
        output=OUTPUT,
        codec=codec,
        initial=codec.encode([0, []]),
    )
    return MapWithStateOperator(work, AT if timed else None, POLICY, in_order=in_order, ttl=ttl)


@settings(max_examples=examples(16))
@given(
    seed=SEEDS,
    timed=hs.booleans(),
    in_order=hs.booleans(),
    ttl=hs.none() | hs.integers(1, 40),
    behind=hs.booleans(),
    positions=hs.booleans(),
)
def test_a_function_with_a_state_goes_on(
    seed: int, timed: bool, in_order: bool, ttl: int | None, behind: bool, positions: bool
) -> None:
    kept = ttl if timed or ttl is None else ttl * 500_000
    make = partial(mapped, timed, in_order, kept)
    check(make, seed, timed=timed, behind=timed and behind, positions=positions)


def again(rows: pl.DataFrame, state: int | None, group: st.Group) -> tuple[pl.DataFrame, int]:
    """Says which timer it is called for, and sets the next one."""
    calls = (state or 0) + 1
    group.call_at(100 * calls)
    return pl.DataFrame({"user": [group.key[0]], "what": [f"{calls} {group.fired}"]}, OUTPUT), calls


def test_a_timer_that_is_set_at_the_end_does_not_fire_when_the_end_is_told_again() -> None:
    codec = ValueCodec(int)
    work = KeyedFunction(
        function=again,
        key_columns=("user",),
        key_schema=pl.Schema({"user": pl.String()}),
        columns=SCHEMA,
        output=OUTPUT,
        codec=codec,
        initial=codec.encode(0),
    )
    make = partial(MapWithStateOperator, work, AT, POLICY, in_order=True, ttl=None)
    before, after = OperatorBench(make()), OperatorBench(make())
    before.push(pl.DataFrame({name: [None] for name in SCHEMA} | {"at": [1], "user": ["ann"]}, SCHEMA))
    before.watermark(WATERMARK_MAX)
    assert before.out.rows == [("ann", "1 None"), ("ann", "2 time")]
    restore_snapshot(after.operator, take_snapshot(before.operator, Shadow()))
    after.watermark(WATERMARK_MAX)
    assert after.out.rows == []
    assert after.out.watermarks == [WATERMARK_MAX]
