"""The operator that watches event time: what it marks, what it says, what it refuses, whatever the cuts."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hst

import streame as st
from streame.core.deadletters import OnError
from streame.core.hidden import BEHIND, POSITION, user_frame
from streame.core.messages import Batch, Positions, SplitStatus
from streame.core.time import WATERMARK_MAX, WATERMARK_MIN, EventTime
from streame.runtime.letters import RefusalPolicy
from streame.runtime.operators.event_time import EventTimeOperator
from tests.examples import examples
from tests.runtime.recorder import OperatorBench

INTEGERS = EventTime("at", pl.Int64())
TIMEOUT_US = 30_000_000


class Bench(OperatorBench):
    """An event-time operator behind the source `s`."""

    def __init__(
        self,
        time: EventTime = INTEGERS,
        delay: int = 0,
        *,
        on_error: OnError = "fail",
        sources: Sequence[str] = ("s",),
    ) -> None:
        policy = RefusalPolicy(on_error, ["s"])
        super().__init__(EventTimeOperator(time, delay, policy, TIMEOUT_US, sources))

    def split(self, split: str, state: Any, after_us: int | None = TIMEOUT_US) -> None:
        """What the source says of a split."""
        after_us = after_us if state == "idle" else None
        self.operator.on_split(0, SplitStatus(("s", split), state, after_us), self.out)

    def rows(self, split: str | None, ticks: Sequence[int | None], dtype: Any = None) -> list[int | None]:
        """Rows of a split; what they are marked with."""
        column = pl.Series("at", ticks, dtype=pl.Int64).cast(dtype or pl.Int64)
        frame = pl.DataFrame([column, pl.Series("n", range(len(ticks)))])
        before = len(self.out.batches)
        origin = None if split is None else ("s", split)
        self.operator.on_batch(0, Batch(frame, None, origin), self.out)
        marks: list[int | None] = []
        for batch in self.out.batches[before:]:
            assert batch.split == origin
            assert user_frame(batch.frame).equals(frame)
            marked = BEHIND in batch.frame.columns
            marks += batch.frame[BEHIND].to_list() if marked else [None] * batch.frame.height
            assert not marked or batch.frame[BEHIND].null_count() < batch.frame.height
        return marks


def test_a_watermark_follows_each_batch() -> None:
    bench = Bench(delay=2)
    bench.split("a", "open")
    assert bench.rows("a", [1, 5, 3]) == [None, None, None]
    assert bench.out.watermarks[-1] == 3
    assert bench.rows("a", [2, 4, 9, 7, 6]) == [3, None, None, None, 7]
    assert bench.out.watermarks[-1] == 7


def test_marks_are_in_the_engines_unit() -> None:
    bench = Bench(EventTime("at", pl.Datetime("ms", "UTC")), delay=10)
    bench.split("a", "open")
    assert bench.rows("a", [100, 50], pl.Datetime("ms", "UTC")) == [None, 90_000_000]
    assert bench.out.watermarks[-1] == 90_000_000


def test_a_row_without_a_time_passes_unmarked() -> None:
    bench = Bench()
    bench.split("a", "open")
    assert bench.rows("a", [None, 5, None, 3, None]) == [None, None, None, 5, None]
    assert bench.out.watermarks[-1] == 5
    assert bench.rows("a", [None, None]) == [None, None]
    assert bench.rows("a", []) == []
    assert bench.out.watermarks[-1] == 5


def test_a_mark_from_an_earlier_event_time_is_replaced() -> None:
    bench = Bench()
    frame = pl.DataFrame({"at": [5, 3], BEHIND: [7, None]}, schema={"at": pl.Int64, BEHIND: pl.Int64})
    bench.operator.on_batch(0, Batch(frame, None, ("s", "a")), bench.out)
    assert bench.out.batches[0].frame[BEHIND].to_list() == [None, 5]
    bench.operator.on_batch(0, Batch(frame[:1].with_columns(pl.col("at") + 9), None, ("s", "a")), bench.out)
    assert BEHIND not in bench.out.batches[1].frame.columns


def test_earlier_watermarks_end_here_but_the_end_does_not() -> None:
    bench = Bench()
    bench.watermark(100)
    assert bench.out.watermarks == []
    bench.watermark(WATERMARK_MAX)
    assert bench.out.watermarks == [WATERMARK_MAX]


def test_idleness_goes_by_its_own_timeout() -> None:
    bench = Bench()
    bench.split("a", "open")
    bench.rows("a", [1])
    bench.split("a", "idle", after_us=1)
    assert None not in bench.out.watermarks
    bench.split("a", "idle")
    assert bench.out.watermarks[-1] is None
    assert bench.rows("a", [0]) == [1]
    assert bench.out.watermarks[-1] == 1


def test_a_split_that_was_idle_is_measured_by_the_stream() -> None:
    bench = Bench()
    for split in "ab":
        bench.split(split, "open")
        bench.rows(split, [10])
    bench.split("b", "idle")
    bench.rows("a", [50])
    assert bench.out.watermarks[-1] == 50
    assert bench.rows("b", [20, 60, 55]) == [50, None, 60]


def test_when_the_last_split_is_idle_a_new_one_is_waited_for() -> None:
    bench = Bench()
    bench.split("a", "open")
    bench.split("a", "idle")
    assert bench.out.watermarks[-1] is None
    bench.split("b", "open")
    assert bench.out.watermarks[-1] == WATERMARK_MIN


def test_rows_of_no_split_count_as_one() -> None:
    bench = Bench(sources=())
    assert bench.rows(None, [None]) == [None]
    assert None not in bench.out.watermarks
    assert bench.rows(None, [5, 3]) == [None, 5]
    assert bench.out.watermarks[-1] == 5


TODAY = datetime(2024, 5, 1, tzinfo=UTC)
PAST, FUTURE = TODAY.replace(year=1066), TODAY.replace(year=2999)
DATES = EventTime("at", pl.Datetime("us", "UTC"))


def dated(times: list[datetime | None], first: int = 0) -> Batch:
    frame = pl.DataFrame({"at": times, "n": range(len(times))}, schema={"at": DATES.dtype, "n": pl.Int64})
    return Batch(frame, Positions("s", "a", lambda: np.arange(first, first + len(times))), ("s", "a"))


def test_times_centuries_away_are_set_aside_and_nothing_else() -> None:
    bench = Bench(DATES, on_error="dead_letter")
    bench.split("a", "open")
    bench.operator.on_batch(
        0, dated([TODAY, FUTURE, None, PAST, TODAY.replace(day=2), TODAY], 100), bench.out
    )
    (batch,) = bench.out.batches
    assert batch.frame["n"].to_list() == [0, 2, 4, 5]
    assert batch.split == ("s", "a")
    assert batch.frame[POSITION].struct.field("offset").to_list() == [100, 102, 104, 105]
    day_2 = int(TODAY.replace(day=2).timestamp()) * 10**9
    assert batch.frame[BEHIND].to_list() == [None, None, None, day_2]
    assert bench.out.watermarks[-1] == day_2
    (letters,) = bench.out.letters
    found = letters.select("source", "split", "offset", "operator", "kind").rows()
    assert found == [("s", "a", 101, "operator", "time"), ("s", "a", 103, "operator", "time")]
    assert "2999-05-01 00:00:00+00:00 is before 1700, after 2200" in letters["message"][0]
    assert json.loads(letters["raw"][1])["n"] == 3


def test_they_are_counted_if_rows_are_to_be_dropped() -> None:
    bench = Bench(DATES, on_error="drop")
    bench.operator.on_batch(0, dated([FUTURE, PAST]), bench.out)
    assert (bench.out.batches, bench.out.letters, bench.out.rejected) == ([], [], 2)


def test_they_end_the_job_otherwise() -> None:
    bench = Bench(DATES)
    with pytest.raises(
        st.DataError, match=r"the event time 2999-05-01 .* at source 's', split 'a', offset 8"
    ):
        bench.operator.on_batch(0, dated([TODAY, FUTURE], 7), bench.out)


def test_a_wrong_clock_does_not_move_the_watermark() -> None:
    bench = Bench(DATES, on_error="dead_letter")
    for times in ([TODAY], [TODAY.replace(year=2190)], [TODAY]):
        bench.operator.on_batch(0, dated(list(times)), bench.out)
    assert len(bench.out.letters) == 1
    assert all(BEHIND not in batch.frame.columns for batch in bench.out.batches)


SPLITS = hst.lists(
    hst.tuples(hst.sampled_from("abc"), hst.lists(hst.one_of(hst.none(), hst.integers(-9, 30)), max_size=12)),
    max_size=12,
)


@given(SPLITS, hst.sampled_from([0, 1, 4, 50]), hst.builds(Random, hst.integers(0, 2**32)))
@settings(max_examples=examples(60))
def test_marks_depend_on_the_splits_order_alone(
    given_rows: list[tuple[str, list[int | None]]], delay: int, random: Random
) -> None:
    """Against a model that goes row by row; the rows come in other batches and another interleaving."""
    marks: dict[str, list[int | None]] = {split: [] for split in "abc"}
    rows: dict[str, list[int | None]] = {split: [] for split in "abc"}
    reached: dict[str, int] = {}
    for split, ticks in given_rows:
        for tick in ticks:
            watermark = reached[split] - delay if split in reached else None
            is_behind = tick is not None and watermark is not None and tick < watermark
            marks[split].append(watermark if is_behind else None)
            rows[split].append(tick)
            if tick is not None:
                reached[split] = max(reached.get(split, tick), tick)
    bench = Bench(delay=delay)
    for split in "abc":
        bench.split(split, "open")
    found: dict[str, list[int | None]] = {split: [] for split in "abc"}
    at = dict.fromkeys("abc", 0)
    while left := [split for split in "abc" if at[split] < len(rows[split])]:
        split, size = random.choice(left), random.randint(0, 7)
        found[split] += bench.rows(split, rows[split][at[split] : at[split] + size])
        at[split] += size
    assert found == marks
    said = [time for time in bench.out.watermarks if time is not None and time > WATERMARK_MIN]
    assert said == sorted(said)
    if len(reached) == 3:
        assert said[-1] == min(reached.values()) - delay
    else:
        assert said == []
