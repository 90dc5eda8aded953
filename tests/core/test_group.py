"""What a function may ask of its group, and how times are said."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as hst

from streame.core.group import NO_TIMER, Group, Moment
from streame.core.time import WATERMARK_MIN, EventTime
from streame.errors import PlanError
from streame.testing import strategies

NOON = datetime(2024, 1, 1, 12)  # noqa: DTZ001 - the column has no zone


def group(dtype: Any, watermark: int = 0) -> Group:
    """The group of a stream with event time."""
    return Group(("ann",), Moment(EventTime("at", dtype), watermark, 5))


@given(hst.sampled_from(strategies.TIMES), hst.integers(-(10**5), 10**5))
def test_times_are_those_of_the_column(dtype: pl.DataType, step: int) -> None:
    ticks = step * 1_000 if isinstance(dtype, pl.Datetime) else step  # Python's times have no nanoseconds
    value = pl.Series([ticks], dtype=pl.Int64).cast(dtype)[0]
    asked = group(dtype, ticks)
    assert asked.watermark == value
    asked.call_at(value)
    assert asked.asked == {"time": ticks}


@pytest.mark.parametrize(
    ("dtype", "value", "ticks"),
    [
        (pl.Datetime("ms"), NOON + timedelta(microseconds=1), 1704110400001),
        (pl.Datetime("us", "UTC"), NOON.replace(tzinfo=ZoneInfo("Europe/Berlin")), 1704106800000000),
        (
            pl.Datetime("ms", "Europe/Berlin"),
            NOON.replace(tzinfo=timezone(timedelta(hours=2))),
            1704103200000,
        ),
    ],
)
def test_a_timer_is_never_early(dtype: pl.DataType, value: datetime, ticks: int) -> None:
    asked = group(dtype)
    asked.call_at(value)
    assert asked.asked == {"time": ticks}


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        (pl.Datetime("us"), NOON.replace(tzinfo=UTC)),
        (pl.Datetime("us", "UTC"), NOON),
        (pl.Datetime("us"), date(2024, 1, 1)),
        (pl.Date(), NOON),
        (pl.Int64(), True),
        (pl.Int64(), 1.5),
        (pl.Datetime("us"), "2024-01-01"),
    ],
)
def test_what_is_no_time_of_the_column_is_refused(dtype: pl.DataType, value: Any) -> None:
    with pytest.raises(TypeError, match="'at' is of dtype"):
        group(dtype).call_at(value)


def test_the_last_word_counts() -> None:
    asked = group(pl.Int64())
    asked.call_at(10)
    asked.call_at(7)
    asked.call_after("10s")
    assert asked.asked == {"time": 7, "clock": 10_000_005}
    asked.call_at(None)
    asked.call_after(None)
    assert asked.asked == {"time": NO_TIMER, "clock": NO_TIMER}


def test_a_timer_that_has_fired_is_not_set_again() -> None:
    fired = Group(("ann",), Moment(EventTime("at", pl.Int64()), 20, 5), "time", 10)
    assert fired.due == 10
    with pytest.raises(ValueError, match="10 is not later than the timer that has just fired"):
        fired.call_at(10)
    fired.call_at(11)
    assert fired.asked == {"time": 11}


def test_without_event_time_there_is_only_the_clock() -> None:
    untimed = Group(("ann",), Moment(None, WATERMARK_MIN, 5))
    for ask in (lambda: untimed.watermark, lambda: untimed.call_at(1)):
        with pytest.raises(ValueError, match="has no event time"):
            ask()
    with pytest.raises(ValueError, match="call_after: give a duration above zero"):
        untimed.call_after("0s")
    with pytest.raises(PlanError, match="call_after: cannot read the duration 'soon'"):
        untimed.call_after("soon")
    assert untimed.now == datetime(1970, 1, 1, 0, 0, 0, 5, tzinfo=UTC)
    assert untimed.due is None
    assert Group(("ann",), Moment(None, WATERMARK_MIN, 9), "clock", 5).due == untimed.now


def test_before_the_first_row_there_is_no_watermark() -> None:
    assert group(pl.Date(), WATERMARK_MIN).watermark is None
