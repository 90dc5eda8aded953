"""Sessions, windows of a number of rows, and what stands before keyed verbs: all are stopped and go on."""

from collections.abc import Sequence
from functools import partial
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hs

from streame.core.aggregate_arguments import parse_aggregates
from streame.core.aggregates import Aggregation, split_aggregates
from streame.core.messages import SplitStatus
from streame.core.sessions import SessionRule
from streame.core.time import WATERMARK_MAX, EventTime
from streame.core.windows import window_rule
from streame.runtime.admission import Admission
from streame.runtime.letters import RefusalPolicy
from streame.runtime.operators.clock_time import ClockTimeOperator
from streame.runtime.operators.count_window import CountWindowOperator
from streame.runtime.operators.event_time import EventTimeOperator
from streame.runtime.operators.pre_aggregation import PreAggregationOperator
from streame.runtime.operators.session import SessionOperator
from streame.runtime.preparation import Preparation
from streame.state import counted, sessions, shared_keys
from tests.examples import examples
from tests.runtime.recorder import OperatorBench
from tests.runtime.resuming import check_rescaled, check_resumed, copied
from tests.runtime.steps import Mark, Pass, Push, Step, Tell
from tests.runtime.streams import SCHEMA, rows, stream

AT = EventTime("at", pl.Int64())
POLICY = RefusalPolicy("dead_letter", ["s"])
AGGREGATES = {
    "n": pl.len(),
    "sum": pl.col("qty").cast(pl.Int128).sum(),
    "last": pl.col("item").last(),
    "prices": pl.col("price").n_unique(),
    "sorted": pl.col("qty").sort(),
}

named = hs.lists(hs.sampled_from(sorted(AGGREGATES)), min_size=1, max_size=3, unique=True)
keyed = hs.sampled_from([("user", "odd"), ("user",), ()])


@pytest.fixture(autouse=True)
def _little_slack(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is gone is freed at once, so that numbers and slots are given anew."""
    monkeypatch.setattr(sessions, "_SLACK_SESSIONS", 0)
    monkeypatch.setattr(counted, "_SLACK_WINDOWS", 0)
    monkeypatch.setattr(shared_keys, "_SLACK_KEYS", 0)


def aggregation_of(names: Sequence[str]) -> Aggregation:
    exprs = parse_aggregates([], {name: AGGREGATES[name] for name in names}, SCHEMA, (), where="agg")
    return split_aggregates(exprs, SCHEMA, where="agg")


def of_keys(by: Sequence[str], names: Sequence[str], time: EventTime | None = AT) -> dict[str, Any]:
    aggregation = aggregation_of(names)
    return {
        "keys": list(by),
        "key_schema": pl.Schema({f"{name} of": SCHEMA[name] for name in by}),
        "aggregation": aggregation,
        "preparation": Preparation(aggregation, time, POLICY),
    }


def session(by: Sequence[str], names: Sequence[str], emission: Any, lateness: int) -> SessionOperator:
    rule = SessionRule(AT, gap=4, lateness=lateness, emission=emission)
    admission = Admission(AT, POLICY, list(SCHEMA), lateness + 3)
    return SessionOperator(rule, admission=admission, **of_keys(by, names))


def count_window(by: Sequence[str], names: Sequence[str], time: EventTime | None) -> CountWindowOperator:
    admission = None if time is None else Admission(time, POLICY, list(SCHEMA))
    return CountWindowOperator(3, admission=admission, **of_keys(by, names, time))


def check(make: Any, by: Sequence[str], steps: Sequence[Step], seed: int) -> None:
    check_resumed(make, steps, Random(seed))
    if by:
        check_rescaled(make, [pl.Schema({name: SCHEMA[name] for name in by})], steps, Random(seed))


@settings(max_examples=examples(24))
@given(
    seed=hs.integers(0, 2**32),
    by=keyed,
    names=named,
    emission=hs.sampled_from(["on_close", "changes", 5_000_000]),
    lateness=hs.sampled_from([0, 12]),
)
def test_sessions_go_on(seed: int, by: Sequence[str], names: list[str], emission: Any, lateness: int) -> None:
    steps = stream(Random(seed), behind=True, positions=True)
    check(partial(session, by, names, emission, lateness), by, steps, seed)


@settings(max_examples=examples(24))
@given(seed=hs.integers(0, 2**32), by=keyed, names=named, timed=hs.booleans())
def test_count_windows_go_on(seed: int, by: Sequence[str], names: list[str], timed: bool) -> None:
    steps = stream(Random(seed), timed=timed, behind=timed, positions=True)
    check(partial(count_window, by, names, AT if timed else None), by, steps, seed)


def test_what_a_row_made_one_session_is_taken_back_elsewhere() -> None:
    def push(at: int) -> Push:
        frame = pl.DataFrame({"user": ["ann", "bob"], "at": [at, at]})
        return Push(pl.concat([pl.DataFrame(schema=SCHEMA), frame], how="diagonal"))

    steps: list[Step] = [push(0), push(6), Pass(5), push(3), Pass(5), push(3), Mark(30), Mark(WATERMARK_MAX)]
    make = partial(session, ("user",), ["n"], 5_000_000, 12)
    for seed in range(30):
        check_resumed(make, steps, Random(seed))
        check_rescaled(make, [pl.Schema({"user": pl.String()})], steps, Random(seed), [1, 2])


def pre_aggregation(names: Sequence[str]) -> PreAggregationOperator:
    aggregation = aggregation_of(names)
    key = pl.Schema({"user": pl.String()})
    return PreAggregationOperator("group", key, aggregation, Preparation(aggregation, AT, POLICY))


@settings(max_examples=examples(8))
@given(seed=hs.integers(0, 2**32))
def test_rows_are_aggregated_before_as_they_would_have_been(seed: int) -> None:
    check_resumed(partial(pre_aggregation, ["n", "sum", "last"]), stream(Random(seed)), Random(seed))


def splits(random: Random) -> list[Step]:
    """What a source with three splits says and gives."""
    steps: list[Step] = []
    state = dict.fromkeys(["a", "b", "c"], "new")
    now = dict.fromkeys(state, 0)
    for _ in range(random.randrange(5, 40)):
        name = random.choice(list(state))
        split = ("s", name)
        match state[name]:
            case "ended":
                continue
            case "open" if random.random() < 0.6:
                steps.append(Push(rows(random, 4, since=now[name]), split=split))
                now[name] += random.randrange(12)
                continue
            case "open":
                state[name] = random.choice(["idle", "ended"])
            case _:
                state[name] = "open"
        after_us = 10 if state[name] == "idle" else None
        steps.append(Tell(SplitStatus(split, state[name], after_us)))  # type: ignore[arg-type]
    return [*steps, Mark(WATERMARK_MAX)]


@settings(max_examples=examples(24))
@given(seed=hs.integers(0, 2**32), delay=hs.sampled_from([0, 5]))
def test_event_time_goes_on(seed: int, delay: int) -> None:
    make = partial(EventTimeOperator, AT, delay, POLICY, 10, ["s"])
    check_resumed(make, splits(Random(seed)), Random(seed))


def test_a_split_that_is_opened_again_keeps_what_is_known_of_it() -> None:
    make = partial(EventTimeOperator, AT, 2, POLICY, None, ["s"])
    bench = OperatorBench(make())
    for name, time in (("a", 10), ("b", 30)):
        bench.operator.on_split(0, SplitStatus(("s", name), "open"), bench.out)
        frame = pl.DataFrame({"at": [time]})
        bench.operator.on_batch(0, Push(frame, split=("s", name)).batch, bench.out)
    assert bench.out.watermarks[-1] == 8
    again = OperatorBench(copied(make, bench.operator))
    for name in ("a", "b"):
        again.operator.on_split(0, SplitStatus(("s", name), "open"), again.out)
    assert set(again.out.watermarks) == {8}
    again.operator.on_batch(0, Push(pl.DataFrame({"at": [25]}), split=("s", "b")).batch, again.out)
    (late,) = again.out.batches
    assert late.frame.rows() == [(25, 28)], "it is behind what its split had reached"


def test_event_time_of_one_unknown_split_goes_on() -> None:
    make = partial(EventTimeOperator, AT, 5, POLICY)
    for seed in range(20):
        random = Random(seed)
        steps: list[Step] = [Push(rows(random, 4, since=at)) for at in range(0, 50, 7)]
        check_resumed(make, [*steps, Mark(WATERMARK_MAX)], random)


def test_clock_time_goes_on_and_never_back() -> None:
    rule = window_rule(EventTime("now", pl.Datetime("us")), every="10s", where="test")
    frame = pl.DataFrame({"qty": [1, 2]})
    make = partial(ClockTimeOperator, rule)
    for seed in range(20):
        random = Random(seed)
        given: list[Step] = [Push(frame), Pass(3), Pass(14)]
        steps = random.choices(given, k=15)
        check_resumed(make, steps, random)
    bench = OperatorBench(make())
    bench.advance(60)
    bench.push(frame)
    earlier = OperatorBench(make())
    earlier.operator.restore(bench.operator.saved())
    earlier.push(frame)
    assert earlier.out.rows == bench.out.rows, "the clock of this process is behind that of the last one"
