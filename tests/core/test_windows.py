"""Windows and slices, against the windows worked out one by one."""

from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hst

from streame.core.time import TIME_MIN, WATERMARK_MAX, WATERMARK_MIN, EventTime, Ticks
from streame.core.windows import TICKS_MAX, WindowRule, Windows, window_rule
from streame.errors import PlanError
from tests.examples import examples

HOUR_US = 3_600_000_000
INTEGER = EventTime("at", pl.Int64())
BERLIN = EventTime("at", pl.Datetime("us", "Europe/Berlin"))
NAIVE = EventTime("at", pl.Datetime("us"))

RULES: list[dict[str, Any]] = [
    {"every": "10m"},
    {"every": "1h"},
    {"every": "1h", "period": "3h"},
    {"every": "1h", "period": "150m", "offset": "10m"},
    {"every": "1h", "period": "20m", "offset": "-7m"},
    {"every": "2h", "offset": "1h"},
    {"every": "1d"},
    {"every": "1d", "offset": "6h"},
    {"every": "1d", "period": "3d", "offset": "-1d"},
    {"every": "1w", "period": "1mo", "offset": "1d2h"},
    {"every": "1mo", "offset": "3d"},
    {"every": "1mo", "period": "2mo"},
    {"every": "1q"},
    {"every": "1h", "cumulate": "1d"},
    {"every": "7h", "cumulate": "1d", "offset": "30m"},
    {"every": "1d", "cumulate": "1mo"},
]


def rule_of(time: EventTime = INTEGER, **settings_of: Any) -> WindowRule:
    return window_rule(time, where="windows", **settings_of)


def memberships(windows: Windows, ticks: Ticks) -> set[tuple[int, int, int]]:
    """Which row is in which window, by way of the slices."""
    cut = windows.cut(ticks)
    outside = np.zeros(len(ticks), np.bool_) if cut.outside is None else cut.outside
    if not len(cut.slices):
        assert outside.all()
        return set()
    codes = np.zeros(len(ticks), np.intp) if cut.codes is None else cut.codes
    assert set(codes[~outside].tolist()) == set(range(len(cut.slices)))
    spans = windows.around(cut.slices)
    first, behind = spans.over(cut.slices)
    return {
        (tick, int(spans.start[window]), int(spans.end[window]))
        for tick, code in zip(ticks[~outside].tolist(), codes[~outside].tolist(), strict=True)
        for window in range(first[code], behind[code])
    }


def by_definition(windows: Windows, ticks: Ticks) -> set[tuple[int, int, int]]:
    """Which row is in which window, one by one, from windows worked out by Polars."""
    rule, time = windows.rule, windows.rule.time
    edges = pl.Series(np.unique(ticks)).cast(time.dtype)
    closed = {"left": (0, 0), "right": (1, 1), "both": (0, 1), "none": (1, 0)}[rule.closed]
    spans = windows.around(edges.to_physical().to_numpy())
    return {
        (tick, start, end)
        for start, end in zip(spans.start.tolist(), spans.end.tolist(), strict=True)
        for tick in ticks.tolist()
        if start + closed[0] <= tick < end + closed[1]
    }


@given(hst.data())
@settings(max_examples=examples(160))
def test_a_row_is_in_the_windows_that_contain_it(data: hst.DataObject) -> None:
    time = data.draw(hst.sampled_from([NAIVE, BERLIN]))
    closed = data.draw(hst.sampled_from(["left", "right", "both", "none"]))
    windows = Windows(rule_of(time, **data.draw(hst.sampled_from(RULES)), closed=closed))
    begin = data.draw(hst.sampled_from([1_711_756_800_000_000, 1_729_987_200_000_000, -86_400_000_000]))
    spread = data.draw(hst.sampled_from([5, 48, 24 * 40, 24 * 3000])) * HOUR_US
    for _ in range(data.draw(hst.integers(1, 3))):
        offsets = data.draw(hst.lists(hst.integers(0, spread // 600_000_000), min_size=1, max_size=30))
        around = data.draw(hst.lists(hst.integers(-1, 1), min_size=len(offsets), max_size=len(offsets)))
        ticks = begin + np.array(offsets) * 600_000_000 + np.array(around)
        assert memberships(windows, ticks) == by_definition(windows, ticks)


@pytest.mark.parametrize("time", [NAIVE, BERLIN, EventTime("at", pl.Datetime("ns", "America/New_York"))])
@pytest.mark.parametrize("every", ["1h", "2h", "1d", "1w", "1mo"])
def test_windows_that_last_until_the_next_are_where_truncate_puts_their_rows(
    time: EventTime, every: str
) -> None:
    windows = Windows(rule_of(time, every=every))
    ticks = np.arange(0, 400 * 24, 7) * HOUR_US * (1_000 // time.ns_per_tick) + 1_704_067_200 * (
        10**9 // time.ns_per_tick
    )
    expected = pl.Series(ticks).cast(time.dtype).dt.truncate(every).to_physical().to_list()
    found = {tick: start for tick, start, _ in memberships(windows, ticks)}
    assert [found[tick] for tick in ticks.tolist()] == expected


def test_the_longest_day_of_the_year_has_a_window_of_25_hours() -> None:
    windows = Windows(rule_of(BERLIN, every="1d"))
    noon = np.array([1_730_030_400_000_000])  # 27 October 2024
    ((_, start, end),) = memberships(windows, noon)
    assert end - start == 25 * HOUR_US
    assert len(windows.around(noon)) > 1


def test_cumulating_windows_start_together_and_end_one_after_the_other() -> None:
    windows = Windows(rule_of(every="3i", cumulate="10i"))
    expected = {(4, 0, 6), (4, 0, 9), (4, 0, 10), (10, 10, 12), (10, 10, 15), (10, 10, 18), (10, 10, 20)}
    assert memberships(windows, np.array([4, 10])) == expected


def test_rows_in_gaps_are_in_no_slice() -> None:
    windows = Windows(rule_of(every="10i", period="4i"))
    assert memberships(windows, np.array([3, 4, 9, 10])) == {(3, 0, 4), (10, 10, 14)}
    assert memberships(windows, np.array([5, 6])) == set()
    assert memberships(windows, np.array([5, 25, 17])) == set()


def test_rows_far_apart_cost_no_window_between_them() -> None:
    windows = Windows(rule_of(every="1i"))
    ticks = np.array([-(2**61), 5, 2**61])
    assert memberships(windows, ticks) == {(tick, tick, tick + 1) for tick in ticks.tolist()}
    daily = Windows(rule_of(BERLIN, every="1d", period="2d"))
    centuries = np.array([-8_000_000_000_000_000, 0, 3_600_000_000, 7_000_000_000_000_000])
    assert memberships(daily, centuries) == by_definition(daily, centuries)
    assert len(memberships(daily, centuries)) == 8


def test_what_is_known_of_windows_is_kept_and_still_right_later() -> None:
    windows = Windows(rule_of(every="10i", period="25i"))
    for begin in (0, 100, 90, 5000, -5000, 2_000_000):
        ticks = np.arange(begin, begin + 40)
        assert memberships(windows, ticks) == by_definition(windows, ticks)


@pytest.mark.parametrize(
    ("label", "watermark", "expected"),
    [
        ("left", 99, 80),  # [80, 100) ends at 100
        ("left", 100, 90),
        ("right", 100, 110),
        ("datapoint", 100, 90),
        ("left", WATERMARK_MAX, WATERMARK_MAX),
        ("left", WATERMARK_MIN, -TICKS_MAX - 20),
    ],
)
def test_the_least_label_of_a_window_that_is_still_open(label: str, watermark: int, expected: int) -> None:
    windows = Windows(rule_of(every="10i", period="20i", label=label))
    found = windows.least_label(watermark)
    assert found == expected if watermark > WATERMARK_MIN else expected <= found + 20 <= expected + 40


@pytest.mark.parametrize(("closed", "first_open"), [("left", 10), ("none", 10), ("right", 0), ("both", 0)])
def test_a_window_closes_when_nothing_can_be_in_it_any_more(closed: str, first_open: int) -> None:
    windows = Windows(rule_of(every="10i", closed=closed))
    assert windows.least_label(10) == first_open
    assert windows.least_label(11) == 10


def test_watermarks_before_all_times_are_no_trouble() -> None:
    windows = Windows(rule_of(EventTime("at", pl.Datetime("ns", "Europe/Berlin")), every="1y"))
    assert windows.least_label(WATERMARK_MIN) <= TIME_MIN


def test_dates_are_cut_in_microseconds() -> None:
    windows = Windows(rule_of(EventTime("at", pl.Date()), every="36h"))
    frame = pl.DataFrame({"at": pl.Series([0, 1, 2], dtype=pl.Int32).cast(pl.Date)})
    assert windows.ticks(frame).tolist() == [0, 24 * HOUR_US, 48 * HOUR_US]
    assert {start for _, start, _ in memberships(windows, windows.ticks(frame))} == {0, 36 * HOUR_US}
    assert windows.rule.boundary_dtype == pl.Datetime("us")


def test_rows_without_a_time_are_unknown() -> None:
    windows = Windows(rule_of(every="1i"))
    times = pl.DataFrame({"at": pl.Series([None, 0, TICKS_MAX, -TICKS_MAX, TICKS_MAX - 1], dtype=pl.Int64)})
    unknown = windows.unknown(times)
    assert unknown is not None
    assert unknown.tolist() == [True, False, True, True, False]
    assert windows.unknown(times[1:2]) is None
    dates = Windows(rule_of(EventTime("at", pl.Date()), every="1d"))
    assert dates.unknown(pl.DataFrame({"at": pl.Series([1], dtype=pl.Int32).cast(pl.Date)})) is None


@pytest.mark.parametrize(
    ("time", "settings_of", "message"),
    [
        (NAIVE, {"every": "0s"}, "windows: every: '0s' is not positive"),
        (NAIVE, {"every": "-1h"}, "not positive"),
        (NAIVE, {"every": timedelta(0)}, "not positive"),
        (NAIVE, {"every": "1h", "period": "0s"}, "period: '0s' is not positive"),
        (
            NAIVE,
            {"every": "1h", "closed": "up"},
            "closed='up' does not exist; use 'left', 'right', 'both', 'none'",
        ),
        (NAIVE, {"every": "1h", "label": "middle"}, "label='middle' does not exist"),
        (NAIVE, {"every": "1h", "period": "2h", "cumulate": "1d"}, "leave period out"),
        (NAIVE, {"every": "1mo2d"}, "every mixes months, weeks, days or parts of a day"),
        (BERLIN, {"every": "1d12h"}, "every mixes"),
        (NAIVE, {"every": "1h", "cumulate": "1w1d"}, "cumulate mixes"),
        (NAIVE, {"every": "1s", "period": "1d"}, "a row would be in 86,400 windows, and at most 10,000"),
        (BERLIN, {"every": "1m", "cumulate": "1mo"}, "a row would be in 44,640 windows"),
        (EventTime("at", pl.Datetime("ns")), {"every": "8y"}, "may last 7 years"),
        (NAIVE, {"every": "1001y"}, "may last 7 years if it counts nanoseconds, else 1000 years"),
        (INTEGER, {"every": f"{2**61}i"}, "may last"),
    ],
)
def test_wrong_windows_are_refused(time: EventTime, settings_of: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        rule_of(time, **settings_of)


def test_rules_for_people() -> None:
    assert (
        rule_of(NAIVE, every="90m", period="1d", offset="-15m").text() == "every 90m, period 1d, offset -15m"
    )
    assert rule_of(NAIVE, every="1d", period="1d").text() == "every 1d"
    assert rule_of(every="10i", cumulate="100i").text() == "every 10i, cumulate 100i"
    assert rule_of(every="10i").ticks_text(5) == "5 ticks"
    assert rule_of(NAIVE, every="1d").ticks_text(90_000_000) == "90s"
    assert rule_of(NAIVE, every="1h", period="3h", closed="both").windows_per_row == 4
