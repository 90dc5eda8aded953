"""The calendar agrees with `dt.truncate` and `dt.offset_by`, also on days on which the clock is changed."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hst

from streame.core.calendar import Calendar, Span, parse_span
from streame.core.time import EventTime, Ticks
from streame.errors import PlanError
from tests.examples import examples

ZONES = (
    None,
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "Pacific/Apia",
)
SPANS = ("10s", "15m", "30m", "1h", "2h", "3h", "6h", "7h", "12h", "1d", "2d", "3d", "1w", "2w", "5w", "1mo", "2mo",
         "7mo", "1q", "1y", "7y")  # fmt: skip
INTEGER = EventTime("at", pl.Int64())


def timed(unit: Any, zone: str | None) -> EventTime:
    return EventTime("at", pl.Datetime(unit, zone))


def truncated(instants: pl.Series, every: str) -> Ticks | None:
    """What Polars says; `None` where it finds no instant for a multiple that the clock leaps over."""
    try:
        return instants.dt.truncate(every).to_physical().to_numpy()
    except pl.exceptions.ComputeError:
        return None


@given(hst.data())
@settings(max_examples=examples(120))
def test_the_last_multiple_up_to_a_time_is_where_truncate_puts_it(data: hst.DataObject) -> None:
    time = timed(data.draw(hst.sampled_from(["ns", "us", "ms"])), data.draw(hst.sampled_from(ZONES)))
    calendar = Calendar.of(time)
    text = data.draw(hst.sampled_from(SPANS))
    begin = int(datetime(data.draw(hst.integers(1950, 2037)), 1, 1, tzinfo=UTC).timestamp())
    seconds = data.draw(
        hst.lists(hst.integers(0, 366 * 86_400).map(lambda s: s // 300 * 300), min_size=1, max_size=50)
    )
    ticks = (begin + np.array(seconds)) * (1_000_000_000 // calendar.ns_per_tick)
    instants = pl.Series(ticks).cast(time.dtype)
    expected = truncated(instants, text)
    if expected is None:
        return
    span = parse_span(text, time, where="every")
    found = calendar.multiples(span, int(ticks.min()) - calendar.reach(span) - 1, int(ticks.max()) + 1)
    assert (np.diff(found) > 0).all()
    assert (found[found.searchsorted(ticks, side="right") - 1] == expected).all()


@given(hst.data())
@settings(max_examples=examples(40))
def test_adding_a_duration_is_offset_by(data: hst.DataObject) -> None:
    time = timed(data.draw(hst.sampled_from(["ns", "us", "ms"])), data.draw(hst.sampled_from(ZONES)))
    calendar = Calendar.of(time)
    text = data.draw(hst.sampled_from([*SPANS, "-1d", "-2h", "1mo3d", "-1y2mo3w4d5h", "36h"]))
    seconds = data.draw(hst.lists(hst.integers(-(10**9), 2 * 10**9), min_size=1, max_size=20))
    ticks = np.array(seconds) * (1_000_000_000 // calendar.ns_per_tick)
    expected = pl.Series(ticks).cast(time.dtype).dt.offset_by(text).to_physical().to_numpy()
    found = calendar.add(ticks, parse_span(text, time, where="offset"))
    assert (found == expected).all()
    assert (abs(found - ticks) <= calendar.reach(parse_span(text, time, where="offset"))).all()


@pytest.mark.parametrize(
    ("begin", "every", "expected"),
    [
        # The clock leaps from 2 to 3 o'clock: over the multiple at 2, which it reaches at 3.
        ("2024-03-31", "2h", ["00:00+01:00", "03:00+02:00", "04:00+02:00", "06:00+02:00"]),
        ("2024-03-31", "40m", ["00:00+01:00", "00:40+01:00", "01:20+01:00", "03:00+02:00", "03:20+02:00"]),
        # It is put back from 3 to 2 o'clock: it reaches the multiple at 2 twice.
        ("2024-10-27", "2h", ["00:00+02:00", "02:00+02:00", "02:00+01:00", "04:00+01:00", "06:00+01:00"]),
        ("2024-10-27", "3h", ["00:00+02:00", "03:00+01:00", "06:00+01:00"]),
        ("2024-10-27", "1d", ["00:00+02:00"]),
    ],
)
def test_multiples_on_a_day_on_which_the_clock_is_changed(
    begin: str, every: str, expected: list[str]
) -> None:
    time = timed("us", "Europe/Berlin")
    midnight = pl.Series([datetime.fromisoformat(begin)]).dt.replace_time_zone("Europe/Berlin")
    low = int(midnight.to_physical()[0])
    found = Calendar.of(time).multiples(parse_span(every, time, where="every"), low, low + 8 * 3_600_000_000)
    instants = [str(each.timetz())[:5] + str(each)[-6:] for each in pl.Series(found).cast(time.dtype)]
    assert instants[: len(expected)] == expected


def test_a_day_whose_midnight_the_clock_leaps_over_begins_where_it_lands() -> None:
    time = timed("us", "Asia/Kathmandu")  # on 1 January 1986 from 0:00 to 0:15
    low = int(datetime(1985, 12, 31, 12, tzinfo=UTC).timestamp()) * 1_000_000
    found = Calendar.of(time).multiples(Span(days=1), low, low + 86_400_000_000)
    assert str(pl.Series(found).cast(time.dtype)[0]) == "1986-01-01 00:15:00+05:45"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1h30m", Span(fine=5_400_000_000_000)),
        ("-1y2q3mo", Span(months=-21)),
        ("2w3d", Span(weeks=2, days=3)),
        (timedelta(days=1), Span(days=1)),
        (timedelta(days=-1, hours=12), Span(fine=-43_200_000_000_000)),
        (timedelta(hours=36), Span(days=1, fine=43_200_000_000_000)),
        ("0s", Span()),
    ],
)
def test_durations_are_read_as_polars_reads_them(value: Any, expected: Span) -> None:
    time = timed("us", None)
    assert parse_span(value, time, where="every") == expected
    start = pl.Series([datetime(2024, 1, 31, tzinfo=UTC)]).dt.replace_time_zone(None)
    by_text = start.dt.offset_by(expected.text())
    assert by_text.equals(start.dt.offset_by(value) if isinstance(value, str) else start + value)
    assert parse_span(expected.text(), time, where="every") == expected


def test_durations_over_integers_are_ticks() -> None:
    assert parse_span("10i", INTEGER, where="every") == Span(fine=10)
    assert parse_span("-3i", INTEGER, where="every") == Span(fine=-3)
    assert Calendar.of(INTEGER).add(np.array([5]), Span(fine=-3)).tolist() == [2]


@pytest.mark.parametrize(
    ("value", "time", "message"),
    [
        ("ten", timed("us", None), "every: cannot read the duration 'ten'"),
        ("10", INTEGER, "as in '10i'"),
        (10, INTEGER, "cannot read the duration 10"),
        ("10s", INTEGER, "does not fit at, a column of Int64; write a number of its ticks"),
        ("10i", timed("us", None), "does not fit at, a column of Datetime"),
        ("10i1s", timed("us", None), "does not fit"),
        ("1500us", timed("ms", None), "no whole number of the ticks"),
        ("1ns", EventTime("at", pl.Date()), "no whole number of the ticks"),
    ],
)
def test_wrong_durations_are_refused(value: Any, time: EventTime, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        parse_span(value, time, where="every")


def test_a_short_duration_reaches_no_farther_in_a_zone_than_its_next_multiple() -> None:
    """A day of slack for changes of the clock would be 86,400 windows of a second around every row."""
    assert Calendar("us", "Pacific/Apia").reach(Span(fine=1_000_000_000)) == 2_000_000
