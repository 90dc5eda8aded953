"""What a time column means, which rows are behind, and how far a stream of several splits has come."""

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hst

from streame.core.time import (
    JUMP_MAX,
    NOT_BEHIND,
    TIME_MAX,
    TIME_MIN,
    WATERMARK_MAX,
    WATERMARK_MIN,
    EventTime,
    SplitWatermarks,
    behind,
    far_away,
    is_event_time,
)
from tests.examples import examples

DAY_NS = 86_400_000_000_000
NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)
NOON_NS = 1_709_208_000_000_000_000

UNITS: list[tuple[Any, int]] = [
    (pl.Datetime("ns"), 1),
    (pl.Datetime("us"), 1_000),
    (pl.Datetime("ms"), 1_000_000),
    (pl.Datetime("us", "UTC"), 1_000),
    (pl.Datetime("ns", "Europe/Berlin"), 1),
    (pl.Date(), DAY_NS),
    (pl.Int64(), 1),
    (pl.Int32(), 1),
    (pl.UInt16(), 1),
]


@pytest.mark.parametrize(("dtype", "unit"), UNITS)
def test_ticks_are_the_integers_underneath(dtype: Any, unit: int) -> None:
    column = pl.Series("at", [3, 0, 5], dtype=pl.Int64).cast(dtype)
    time = EventTime("at", dtype)
    assert time.ns_per_tick == unit
    assert time.ticks(column.to_frame()).tolist() == [3, 0, 5]
    with_null = pl.concat([column, pl.Series("at", [None], dtype=dtype)]).to_frame()
    assert time.ticks(with_null).tolist() == [3, 0, 5, 0]
    assert time.ticks(with_null[:0]).dtype == np.int64
    two_chunks = pl.concat([column, column], rechunk=False).to_frame()
    assert time.ticks(two_chunks[1:]).tolist() == [0, 5, 3, 0, 5]


@pytest.mark.parametrize(
    ("dtype", "value", "nanoseconds"),
    [
        (pl.Datetime("ns"), NOON.replace(tzinfo=None), NOON_NS),
        (pl.Datetime("us"), NOON.replace(tzinfo=None), NOON_NS),
        (pl.Datetime("ms"), NOON.replace(tzinfo=None), NOON_NS),
        (pl.Datetime("us", "UTC"), NOON, NOON_NS),
        (pl.Date(), date(2024, 2, 29), NOON_NS - DAY_NS // 2),
        (pl.Date(), date(1969, 12, 31), -DAY_NS),
        (pl.Int64(), -7, -7),
    ],
)
def test_a_time_is_the_same_in_the_engine_whatever_its_unit(dtype: Any, value: Any, nanoseconds: int) -> None:
    time = EventTime("at", dtype)
    (tick,) = time.ticks(pl.DataFrame({"at": [value]}, schema={"at": dtype})).tolist()
    assert time.from_ticks(tick) == nanoseconds
    assert time.to_ticks(nanoseconds) == tick
    assert time.to_ticks(nanoseconds - 1) == tick - 1


def test_a_zone_does_not_move_a_time() -> None:
    berlin = pl.Series("at", [NOON]).dt.replace_time_zone(None).dt.replace_time_zone("Europe/Berlin")
    time = EventTime("at", berlin.dtype)
    assert time.ticks(berlin.to_frame()).tolist() == [(NOON_NS - 3_600 * 10**9) // 1_000]


def test_no_time_of_a_row_is_the_end_of_the_stream() -> None:
    assert EventTime("at", pl.Int64()).from_ticks(2**63 - 1) < WATERMARK_MAX
    assert EventTime("at", pl.Date()).from_ticks(2**31 - 1) < WATERMARK_MAX
    assert EventTime("at", pl.Date()).from_ticks(-(2**31)) == WATERMARK_MIN
    for dtype, _ in UNITS:
        assert EventTime("at", dtype).to_ticks(WATERMARK_MAX) == WATERMARK_MAX


@pytest.mark.parametrize(("dtype", "can"), [
    *((dtype, True) for dtype, _ in UNITS), (pl.UInt32(), True), (pl.UInt64(), False), (pl.Int128(), False),
    (pl.Float64(), False), (pl.String(), False), (pl.Time(), False), (pl.Duration("us"), False),
    (pl.Decimal(10, 0), False), (pl.Boolean(), False),
])  # fmt: skip
def test_which_columns_can_be_event_time(dtype: Any, can: bool) -> None:
    assert is_event_time(dtype) == can


TICKS = hst.lists(hst.integers(-30, 30), min_size=1, max_size=40)
CUTS = hst.lists(hst.integers(1, 8), min_size=40, max_size=40)


@given(TICKS, CUTS, hst.sampled_from([0, 1, 5, 100]), hst.sampled_from([WATERMARK_MIN, -20, 0, 25]))
@settings(max_examples=examples(120))
def test_behind_is_what_each_row_finds(times: list[int], cuts: list[int], delay: int, floor: int) -> None:
    expected, reached = [], None
    for time in times:
        watermark = floor if reached is None else max(floor, reached - delay)
        expected.append(watermark if time < watermark else NOT_BEHIND)
        reached = time if reached is None else max(reached, time)
    found: list[int] = []
    reached, at = None, 0
    for size in cuts:
        part = np.array(times[at : at + size], np.int64)
        at += size
        if len(part):
            marks = behind(part, floor, reached, delay)
            found += [NOT_BEHIND] * len(part) if marks is None else marks.tolist()
            reached = max(part.tolist() + ([] if reached is None else [reached]))
    assert found == expected


@pytest.mark.parametrize("rows", [63, 64, 65, 1_000])
def test_one_row_behind_among_many_is_found(rows: int) -> None:
    ticks = np.arange(rows, dtype=np.int64) * 10
    for row in (1, rows // 2, rows - 1):
        late = ticks.copy()
        late[row] = ticks[row - 1] - 4
        assert behind(late, WATERMARK_MIN, None, 4) is None
        marks = behind(late, WATERMARK_MIN, None, 3)
        assert marks is not None
        assert np.flatnonzero(marks != NOT_BEHIND).tolist() == [row]
        assert marks[row] == ticks[row - 1] - 3


def test_ticks_at_the_edge_of_64_bits_do_not_wrap() -> None:
    ticks = np.array([-(2**63), 2**63 - 1, -(2**63), 0], np.int64)
    marks = behind(ticks, WATERMARK_MIN, None, 10)
    assert marks is not None
    assert marks.tolist() == [NOT_BEHIND, NOT_BEHIND, 2**63 - 11, 2**63 - 11]
    assert behind(np.array([5, -(2**63)], np.int64), WATERMARK_MIN, -(2**63), 10) is not None
    assert behind(np.array([-(2**63), -(2**63) + 3], np.int64), WATERMARK_MIN, -(2**63) + 3, 10) is None


YEARS = hst.lists(hst.integers(-400, 400), min_size=1, max_size=12)


@given(YEARS, CUTS, hst.sampled_from([pl.Date(), pl.Datetime("us"), pl.Datetime("ms", "UTC")]))
@settings(max_examples=examples(120))
def test_far_away_is_what_each_row_finds(years: list[int], cuts: list[int], dtype: Any) -> None:
    time = EventTime("at", dtype)
    low, high, jump = (time.to_ticks(bound) for bound in (TIME_MIN, TIME_MAX, JUMP_MAX))
    ticks = [year * (time.to_ticks(JUMP_MAX) // 150) + year % 3 for year in years]
    expected, reached = [], None
    for tick in ticks:
        wrong = not low <= tick <= high or (reached is not None and tick > max(0, reached) + jump)
        expected.append(wrong)
        if not wrong:
            reached = tick if reached is None else max(reached, tick)
    found: list[bool] = []
    reached, at = None, 0
    for size in cuts:
        part = np.array(ticks[at : at + size], np.int64)
        at += size
        mask = far_away(time, part, reached)
        mask = np.zeros(len(part), np.bool_) if mask is None else mask
        found += mask.tolist()
        reached = max([*part[~mask].tolist(), *([] if reached is None else [reached])], default=None)
    assert found == expected


def test_integer_ticks_are_never_far_away() -> None:
    assert far_away(EventTime("at", pl.Int64()), np.array([0, 2**63 - 1, -(2**63)]), 0) is None


@pytest.mark.parametrize(
    ("time", "wrong"),
    [
        ("1699-12-30", True),
        ("1700-01-02", False),
        ("2024-02-29", False),
        ("2199-12-30", True),  # more than 150 years ahead
        ("2170-01-01", False),
        ("1066-10-14", True),
        ("2200-01-02", True),
    ],
)
def test_the_bounds_are_centuries(time: str, wrong: bool) -> None:
    nanoseconds = [] if time.startswith("1066") else [pl.Datetime("ns")]  # which begin in 1677
    for dtype in (*nanoseconds, pl.Datetime("us"), pl.Datetime("ms", "UTC"), pl.Date()):
        frame = pl.Series("at", ["2024-02-29", time]).str.to_date().cast(dtype).to_frame()
        at = EventTime("at", dtype)
        found = far_away(at, at.ticks(frame), None)
        assert (found is not None and found.tolist() == [False, True]) == wrong


@pytest.mark.parametrize("first", ["1900-01-01", "1858-11-17", "1753-01-01"])
def test_an_old_first_row_does_not_make_today_far_away(first: str) -> None:
    frame = pl.Series("at", [first, "2024-02-29", "2024-03-01"]).str.to_date().to_frame()
    time = EventTime("at", pl.Date())
    assert far_away(time, time.ticks(frame), None) is None


A, B, C = ("s", "a"), ("s", "b"), ("s", "c")


def test_the_slowest_split_counts() -> None:
    splits = SplitWatermarks(5, {"s"})
    for split in (A, B):
        splits.opened(split)
    splits.observed(A, 100)
    assert splits.watermark == WATERMARK_MIN, "b may give any time"
    splits.observed(B, 30)
    assert splits.watermark == 25
    splits.observed(B, 20)
    assert splits.watermark == 25
    splits.observed(B, 90)
    assert (splits.watermark, splits.latest(B)) == (85, 90)
    splits.observed(B, 200)
    assert splits.watermark == 95


def test_an_idle_split_is_left_out_and_taken_back() -> None:
    splits = SplitWatermarks(0, {"s"})
    for split in (A, B):
        splits.opened(split)
    splits.observed(A, 10)
    splits.went_idle(B)
    assert (splits.watermark, splits.idle) == (10, False)
    splits.observed(A, 20)
    splits.observed(B, 5)
    assert splits.watermark == 20, "it never goes back"
    splits.observed(A, 30)
    assert splits.watermark == 20, "b is asked again"
    splits.observed(B, 25)
    assert splits.watermark == 25


def test_while_all_splits_are_idle_it_stands_still() -> None:
    splits = SplitWatermarks(0, {"s"})
    splits.opened(A)
    splits.observed(A, 10)
    splits.opened(B)
    splits.observed(B, 50)
    splits.went_idle(B)
    splits.went_idle(A)
    assert (splits.watermark, splits.idle) == (10, True)
    splits.observed(B, 60)
    assert (splits.watermark, splits.idle) == (60, False)


def test_a_split_that_has_ended_is_not_asked() -> None:
    splits = SplitWatermarks(0, {"s"})
    for split in (A, B, C):
        splits.opened(split)
    splits.observed(A, 10)
    splits.observed(B, 20)
    splits.ended(C)
    assert splits.watermark == 10
    splits.ended(A)
    assert splits.watermark == 20
    splits.ended(B)
    assert (splits.watermark, splits.idle) == (20, False), "its end follows"
    splits.went_idle(("s", ""))
    assert (splits.watermark, splits.idle) == (20, True), "or it does not follow for long"
    splits.opened(C)
    assert not splits.idle, "a new split is waited for"
    splits.observed(C, 30)
    assert splits.watermark == 30


def test_a_source_that_has_not_spoken_is_waited_for() -> None:
    splits = SplitWatermarks(0, {"s", "t"})
    splits.opened(A)
    splits.observed(A, 10)
    assert (splits.watermark, splits.idle) == (WATERMARK_MIN, False)
    splits.ended(("t", ""))
    assert splits.watermark == 10


EVENTS = hst.lists(
    hst.one_of(
        hst.tuples(hst.just("observed"), hst.sampled_from("abc"), hst.integers(0, 50)),
        hst.tuples(hst.sampled_from(["opened", "went_idle", "ended"]), hst.sampled_from("abc"), hst.none()),
    ),
    max_size=30,
)


@given(EVENTS, hst.integers(0, 5))
@settings(max_examples=examples(80))
def test_any_order_of_events(events: list[tuple[str, str, int | None]], delay: int) -> None:
    splits = SplitWatermarks(delay, {"s"})
    watermark, latest = WATERMARK_MIN, dict[str, int | None]()
    idle: set[str] = set()
    for event, name, time in events:
        getattr(splits, event)(("s", name), *([] if time is None else [time]))
        idle.discard(name)
        match event:
            case "observed" if time is not None:
                before = latest.get(name)
                latest[name] = time if before is None else max(before, time)
            case "ended":
                latest.pop(name, None)
            case _:
                latest.setdefault(name, None)
        if event == "went_idle":
            idle.add(name)
        asked = [value for split, value in latest.items() if split not in idle]
        if event != "opened" and asked and None not in asked:
            watermark = max(watermark, min(value - delay for value in asked if value is not None))
        assert splits.watermark == watermark
        assert splits.idle == (bool(latest) and not asked)
