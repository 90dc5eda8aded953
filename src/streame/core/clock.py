"""Clocks: the only place where the time of day is read."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """A source of wall-clock time that tests can replace."""

    def now_us(self) -> int:
        """Microseconds since 1970 in UTC; never goes back."""


class SystemClock:
    """The machine's clock, made monotonic: a step back of the system time is not seen."""

    def __init__(self) -> None:
        self._base_us = time.time_ns() // 1000 - time.monotonic_ns() // 1000

    def now_us(self) -> int:
        """Microseconds since 1970 in UTC; never goes back."""
        return self._base_us + time.monotonic_ns() // 1000


class ManualClock:
    """A clock that stands still until it is told to move.

    Args:
        start_us: its first time, microseconds since 1970 in UTC.
    """

    def __init__(self, start_us: int = 0) -> None:
        self._now_us = start_us

    def now_us(self) -> int:
        """Microseconds since 1970 in UTC."""
        return self._now_us

    def advance(self, duration: timedelta) -> None:
        """Move forward by `duration`."""
        assert duration >= timedelta(0), duration
        self._now_us += duration // timedelta(microseconds=1)


def to_datetime(time_us: int) -> datetime:
    """Microseconds since 1970 as a datetime in UTC."""
    return EPOCH + timedelta(microseconds=time_us)
