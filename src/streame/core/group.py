"""A group: what a function of `map_with_state` may know of its key, and what it may ask for."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

import polars as pl

from streame.core.clock import EPOCH, to_datetime
from streame.core.durations import duration_us
from streame.core.time import WATERMARK_MAX, WATERMARK_MIN, EventTime

NO_TIMER = 2**63 - 1
"""Stands for a timer that is not set."""

Fired = Literal["time", "clock"]

StateFunction = Callable[[pl.DataFrame, Any, "Group"], tuple[pl.DataFrame | None, Any]]
"""Takes the new rows of a group, its state and the `Group`; returns rows (or `None`) and the new state."""


@dataclass(frozen=True, slots=True)
class Moment:
    """When a function is called.

    Args:
        time: what event time is, where there is one.
        watermark: how far it has come, in ticks.
        now_us: the wall clock.
    """

    time: EventTime | None
    watermark: int
    now_us: int


@dataclass(slots=True)
class Group:
    """One key of `map_with_state`: what the function may know of it, and what it may ask for.

    Every key has at most one timer in event time and one by the wall clock. When the time has come, the function is
    called with no rows; the timer is not set any more then.

    Attributes:
        key: the values of the key columns.
        fired: `"time"` or `"clock"` when a timer is why the function is called, `None` when there are new rows.
        moment: when it is called.
        due_tick: what the timer that fired was set for, in ticks or microseconds.
        asked: the timers that were set in this call, or taken back.
    """

    key: tuple[Any, ...]
    moment: Moment = field(repr=False)
    fired: Fired | None = None
    due_tick: int = field(default=0, repr=False)
    asked: dict[Fired, int] = field(default_factory=dict, repr=False)

    @property
    def due(self) -> Any:
        """The time that the timer was set for which has fired; `None` when there are new rows.

        Returns:
            A value as in the time column for `call_at`, a datetime in UTC for `call_after`.
        """
        match self.fired:
            case "time":
                return _value(self.due_tick, self._timed("due"))
            case "clock":
                return to_datetime(self.due_tick)
            case None:
                return None

    @property
    def watermark(self) -> Any:
        """How far event time has come: a value as in the time column; `None` before anything is known, and at the end.

        Returns:
            A datetime, a date or an integer. Rows that the function returns should not be older, or a window behind
            it may have closed.

        Raises:
            ValueError: when the stream has no event time.
        """
        time, ticks = self._timed("watermark"), self.moment.watermark
        if ticks in {WATERMARK_MIN, WATERMARK_MAX}:
            return None
        return _value(ticks, time)

    @property
    def now(self) -> datetime:
        """The wall clock, in UTC. A result that depends on it is not the same when the rows are read again."""
        return to_datetime(self.moment.now_us)

    def call_at(self, time: datetime | date | int | None) -> None:
        """Ask for a call when event time has come so far, whether there are new rows or not.

        It takes the place of an earlier `call_at` of the same key. A time that has passed already is as good as
        the next moment. When the stream ends, every timer that is set fires once more.

        Args:
            time: a value as in the time column; `None` takes the timer back.

        Raises:
            TypeError: when it is no such value.
            ValueError: when the stream has no event time; when a timer of that time has just fired, because the
                function would be called for ever.
        """
        column = self._timed("call_at")
        if time is None:
            self.asked["time"] = NO_TIMER
            return
        ticks = _ticks(time, column)
        if self.fired == "time" and ticks <= self.due_tick:
            raise ValueError(f"call_at: {time} is not later than the timer that has just fired")
        self.asked["time"] = ticks

    def call_after(self, duration: str | timedelta | None) -> None:
        """Ask for a call after some time of the wall clock, whether there are new rows or not.

        It takes the place of an earlier `call_after` of the same key. When the stream ends, every timer that is set
        fires once more.

        Args:
            duration: such as `"10s"`; `None` takes the timer back.

        Raises:
            ValueError: when it is not above zero.
            PlanError: when it cannot be read.
        """
        if duration is None:
            self.asked["clock"] = NO_TIMER
            return
        us = duration_us(duration, where="call_after")
        if us == 0:
            raise ValueError("call_after: give a duration above zero")
        self.asked["clock"] = self.moment.now_us + us

    def _timed(self, what: str) -> EventTime:
        if self.moment.time is None:
            raise ValueError(
                f"{what}: the stream has no event time; say which column it is with with_event_time"
            )
        return self.moment.time


def _ticks(value: datetime | date | int, time: EventTime) -> int:
    """A value of the time column in its ticks."""
    wanted: type = int if time.is_ticks else date if time.dtype == pl.Date else datetime
    if type(value) is not wanted:
        raise TypeError(
            f"call_at: {value!r} is a {type(value).__name__}; {time.column!r} is of dtype {time.dtype}"
        )
    if isinstance(value, int):
        return value
    zone = getattr(time.dtype, "time_zone", None)
    if isinstance(value, datetime) and (value.tzinfo is None) != (zone is None):
        has = "no zone" if value.tzinfo is None else "a zone"
        raise TypeError(f"call_at: {value!r} has {has}; {time.column!r} is of dtype {time.dtype}")
    if not isinstance(value, datetime):
        return value.toordinal() - EPOCH.toordinal()
    since = (value if value.tzinfo else value.replace(tzinfo=UTC)) - EPOCH
    # What is finer than the column is rounded up: a timer is never early.
    return -(-(since // timedelta(microseconds=1)) * 1_000 // time.ns_per_tick)


def _value(ticks: int, time: EventTime) -> datetime | date | int:
    """What the time column has for so many ticks; nanoseconds are cut."""
    if time.is_ticks:
        return ticks
    if time.dtype == pl.Date:
        return date.fromordinal(EPOCH.toordinal() + ticks)
    value = to_datetime(ticks * time.ns_per_tick // 1_000)
    zone = getattr(time.dtype, "time_zone", None)
    return value.astimezone(ZoneInfo(zone)) if zone else value.replace(tzinfo=None)
