"""Windows put together before their rows go to another node: only those that close go, and all comes to the same."""

from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hs

from streame.core.aggregate_arguments import parse_aggregates
from streame.core.aggregates import ROWS, split_aggregates
from streame.core.messages import Batch
from streame.core.time import WATERMARK_MAX, EventTime
from streame.core.windows import window_rule
from streame.runtime.letters import RefusalPolicy
from streame.runtime.operator import Collector, Operator, OperatorContext
from streame.runtime.operators import window_pre_aggregation
from streame.runtime.operators.pre_aggregation import values_of
from streame.runtime.operators.window import WindowOperator
from streame.runtime.operators.window_pre_aggregation import WindowPreAggregationOperator
from streame.runtime.outputs import ChannelOutput
from streame.runtime.partition import Partitioner
from streame.runtime.preparation import Preparation
from streame.runtime.window_results import WindowSetup
from tests.examples import examples
from tests.runtime.recorder import OperatorBench, Recorder
from tests.runtime.resuming import Said, check_resumed, undisturbed
from tests.runtime.streams import SCHEMA, stream

AT = EventTime("at", pl.Int64())
POLICY = RefusalPolicy("dead_letter", ["s"])
AGGREGATES = {
    "n": pl.len(),
    "sum": pl.col("qty").cast(pl.Int128).sum(),
    "least": pl.col("price").min(),
    "items": pl.col("item").n_unique(),
}
WINDOWS = {
    "tumbling": {"every": "10i"},
    "with gaps": {"every": "10i", "period": "4i"},
    "hopping": {"every": "5i", "period": "15i", "closed": "right"},
    "cumulating": {"every": "3i", "cumulate": "9i"},
}
TARGETS = 3


def setup(*, lateness: int = 0, **windows: Any) -> WindowSetup:
    """Windows with some aggregates of each user."""
    exprs = parse_aggregates([], AGGREGATES, SCHEMA, (), where="agg")
    return WindowSetup(
        rule=window_rule(AT, where="windows", **windows),
        key=pl.Schema({"user": SCHEMA["user"]}),
        key_columns=("user",),
        aggregation=split_aggregates(exprs, SCHEMA, where="agg"),
        lateness=lateness,
    )


def before(windows: WindowSetup) -> WindowPreAggregationOperator:
    """What stands before these windows."""
    return WindowPreAggregationOperator(
        "windows", windows, Preparation(windows.aggregation, AT, POLICY), TARGETS
    )


class Bench(OperatorBench):
    """What stands before windows of 10 ticks."""

    def __init__(self, **windows: Any) -> None:
        super().__init__(before(setup(**windows or {"every": "10i"})))

    def rows(self, *rows: tuple[int, str]) -> None:
        """Rows come: times and users."""
        frame = pl.DataFrame(rows, {"at": pl.Int64(), "user": pl.String()}, orient="row")
        self.push(pl.concat([pl.DataFrame(schema=SCHEMA), frame], how="diagonal"))

    def twice(self, *rows: tuple[int, str]) -> None:
        """Rows come twice, so that something is gained."""
        self.rows(*rows * 2)

    def flush(self) -> None:
        """A barrier is to go by."""
        self.operator.flush(self.out)

    def said(self) -> list[dict[tuple[int, str], int]]:
        """For each batch since the last time how many rows each of its rows stands for, by the begin of ten ticks and user."""
        found = []
        for batch in self.out.batches:
            values = values_of(batch.frame)
            counts = [1] * batch.frame.height if values is None else values[ROWS].to_list()
            counted: dict[tuple[int, str], int] = {}
            for at, user, count in zip(batch.frame["at"], batch.frame["user"], counts, strict=True):
                counted[at // 10 * 10, user] = counted.get((at // 10 * 10, user), 0) + count
            assert values is None or len(counted) == batch.frame.height
            found.append(counted)
        self.out.batches.clear()
        return found

    @property
    def is_put_together(self) -> bool:
        """Whether rows that come now are put together; nothing is afterwards."""
        self.flush()
        self.out.batches.clear()
        self.rows(*[(5_000, "ann")] * 4)
        went_on = bool(self.out.batches)
        self.flush()
        self.out.batches.clear()
        return not went_on


def test_only_windows_that_close_go_on() -> None:
    bench = Bench()
    bench.twice((8, "ann"), (9, "bob"), (9, "ann"), (11, "ann"), (12, "ann"), (13, "cleo"))
    bench.watermark(9)
    assert bench.said() == []
    bench.watermark(10)
    assert bench.said() == [{(0, "ann"): 4, (0, "bob"): 2}]
    bench.twice((21, "bob"), (14, "ann"), (15, "dave"), (22, "bob"))
    bench.watermark(20)
    assert bench.said() == [{(10, "ann"): 6, (10, "cleo"): 2, (10, "dave"): 2}]
    bench.watermark(WATERMARK_MAX)
    assert bench.said() == [{(20, "bob"): 4}]
    assert bench.out.watermarks == [9, 10, 20, WATERMARK_MAX]


def test_a_window_stays_though_one_that_began_to_be_put_together_after_it_closes() -> None:
    bench = Bench()
    bench.twice((25, "ann"), (25, "bob"))
    bench.twice((3, "ann"), (14, "bob"), (26, "cleo"), (3, "dave"), (4, "dave"), (14, "bob"))
    bench.watermark(10)
    assert bench.said() == [{(0, "ann"): 2, (0, "dave"): 4}]
    bench.twice((15, "ann"), (27, "ann"))
    bench.watermark(20)
    assert bench.said() == [{(10, "bob"): 4, (10, "ann"): 2}]
    bench.twice((31, "dave"), (28, "cleo"))
    bench.flush()
    assert bench.said() == [{(20, "ann"): 4, (20, "bob"): 2, (20, "cleo"): 4}, {(30, "dave"): 2}]


def test_a_slice_goes_on_before_the_first_window_over_it_closes() -> None:
    bench = Bench(every="10i", period="20i")
    bench.rows((3, "ann"), (4, "ann"), (13, "ann"), (14, "ann"), (23, "bob"), (24, "bob"))
    bench.watermark(10)
    assert bench.said() == [{(0, "ann"): 2}]
    bench.watermark(20)
    assert bench.said() == [{(10, "ann"): 2}]


def test_what_stays_counts_as_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window_pre_aggregation, "_BATCHES_MAX", 2)
    bench = Bench()
    bench.twice((8, "ann"), (11, "ann"))
    bench.watermark(10)
    assert bench.said() == [{(0, "ann"): 2}]
    bench.twice((12, "ann"), (13, "bob"))
    assert bench.said() == [{(10, "ann"): 4, (10, "bob"): 2}]


def test_a_barrier_right_before_a_window_closes_says_nothing_about_what_is_gained() -> None:
    bench = Bench()
    for _ in range(window_pre_aggregation._BATCHES_JUDGED - 1):
        bench.rows(*[(8, "ann"), (8, "bob"), (8, "cleo")] * 4)
    bench.flush()
    bench.rows((9, "ann"), (9, "bob"), (9, "cleo"))
    bench.watermark(10)
    gained = 4 * (window_pre_aggregation._BATCHES_JUDGED - 1)
    assert bench.said() == [{(0, user): count for user in ("ann", "bob", "cleo")} for count in (gained, 1)]
    assert bench.is_put_together


def test_where_nothing_was_gained_for_some_batches_the_next_ones_go_on_as_they_are() -> None:
    bench = Bench()
    for window in range(window_pre_aggregation._BATCHES_JUDGED):
        at = 10 * window
        bench.rows((at, "ann"), (at, "bob"), (at, "cleo"))
        assert bench.said() == []
        bench.watermark(at + 10)
        assert bench.said() == [{(at, "ann"): 1, (at, "bob"): 1, (at, "cleo"): 1}]
    for _ in range(window_pre_aggregation._BATCHES_SENT_ON):
        assert not bench.is_put_together
    assert bench.is_put_together


def test_where_there_is_no_room_for_many_groups_of_few_rows_the_next_batches_go_on_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(window_pre_aggregation, "_GROUPS_MAX", 2 * 1_024)
    bench = Bench()
    for number in range(window_pre_aggregation._BATCHES_JUDGED + 1):
        at = 20 * number
        bench.rows((at, "ann"), (at + 10, "bob"))
        assert bench.said() == ([{(at - 20, "ann"): 1, (at - 10, "bob"): 1}] if number else [])
    assert not bench.is_put_together


def test_more_keys_than_there_was_room_for_say_nothing_about_what_is_gained() -> None:
    bench = Bench()
    bench.rows((1, "ann"), (1, "bob"))
    bench.rows(*((2, f"user {number}") for number in range(2_000)))
    assert bench.said() == [{(0, "ann"): 1, (0, "bob"): 1}]
    bench.rows((3, "ann"), (3, "user 1999"))
    bench.watermark(10)
    (found,) = bench.said()
    assert found == {(0, "ann"): 1, **{(0, f"user {n}"): 1 for n in range(1_999)}, (0, "user 1999"): 2}


class Parts:
    """An entrance that keeps what is put into it."""

    closed = False

    def __init__(self) -> None:
        self.frames: list[pl.DataFrame] = []

    def put(self, channel: int, message: Any) -> None:
        self.frames.append(message.frame)


def test_rows_put_together_lie_in_the_order_of_those_that_they_are_for() -> None:
    bench = Bench()
    bench.rows(*((at, f"user {user}") for user in range(200) for at in (1, 2, 3, 11)))
    bench.watermark(10)
    bench.rows((12, "user 3"), (12, "a new one"))
    bench.watermark(20)
    partitioner = Partitioner(pl.Schema({"user": pl.String()}), TARGETS)
    for batch, height in zip(bench.out.batches, (200, 201), strict=True):
        assert batch.shares is not None
        assert (len(batch.shares), sum(batch.shares), batch.frame.height) == (TARGETS, height, height)
        parts = [Parts() for _ in range(TARGETS)]
        ChannelOutput([(each, 0) for each in parts], partitioner).send(batch)
        for part, expected in zip(parts, partitioner.split(batch.frame), strict=True):
            assert expected.height > 40
            assert pl.concat(part.frames).equals(expected)


class Together(Operator):
    """Windows and what stands before them as one operator: it says what the windows alone say."""

    SAVED = ("_before", "_windows")

    def __init__(self, windows: WindowSetup) -> None:
        self._before = before(windows)
        self._windows = WindowOperator(windows, POLICY)

    def open(self, context: OperatorContext) -> None:
        self._before.open(context)
        self._windows.open(context)

    def on_batch(self, port: int, batch: Batch, out: Collector) -> None:
        self._pass_on(partial(self._before.on_batch, port, batch), out)

    def on_watermark(self, time: int, out: Collector) -> None:
        self._pass_on(partial(self._before.on_watermark, time), out)

    def on_timer(self, time_us: int, out: Collector) -> None:
        self._windows.on_timer(time_us, out)

    def on_end(self, port: int, out: Collector) -> None:
        self._pass_on(partial(self._before.on_end, port), out)
        self._windows.on_end(port, out)

    def flush(self, out: Collector) -> None:
        self._pass_on(self._before.flush, out)
        self._windows.flush(out)

    def _pass_on(self, do: Any, out: Any) -> None:
        between = Recorder()
        do(between)
        for batch in between.batches:
            assert batch.shares is None or sum(batch.shares) == batch.frame.height > 0
            self._windows.on_batch(0, batch, out)
        for letters in between.letters:
            out.reject(letters)
        for time in between.watermarks:
            assert time is not None
            self._windows.on_watermark(time, out)


def sorted_rows(said: Said) -> Said:
    """What was said, whatever the order of its rows."""
    return replace(said, rows=sorted(said.rows))


LIMITS = {
    "_GROUPS_MAX": (1_024, 2_048, 1_048_576),
    "_KEYS_MAX": (2, 10, 262_144),
    "_SLICES_MAX": (1, 2, 64),
    "_BATCHES_MAX": (1, 3, 64),
    "_BATCHES_SENT_ON": (0, 2, 15),
    "BATCH_ROWS_MAX": (2, 65_536),
}


@pytest.mark.parametrize("kind", WINDOWS)
@settings(max_examples=examples(6))
@given(seed=hs.integers(0, 2**32), lateness=hs.sampled_from([0, 12]))
def test_windows_say_what_they_would_have_said(kind: str, seed: int, lateness: int) -> None:
    random = Random(seed)
    steps = stream(random, behind=random.random() < 0.3)
    with pytest.MonkeyPatch.context() as patched:
        for name, values in LIMITS.items():
            patched.setattr(window_pre_aggregation, name, random.choice(values))
        windows = setup(lateness=lateness, **WINDOWS[kind])
        alone = undisturbed(partial(WindowOperator, windows, POLICY), steps)
        together = undisturbed(partial(Together, windows), steps)
        for step, (found, expected) in enumerate(zip(together, alone, strict=True)):
            assert sorted_rows(found) == sorted_rows(expected), f"step {step}, {steps[step]}"
        check_resumed(partial(Together, windows), steps, Random(seed), in_order=False)
