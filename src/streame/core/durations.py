"""Durations as users write them: `"10s"`, `"5m"`, a `timedelta`."""

import re
from datetime import timedelta

from streame.core.time import EventTime
from streame.errors import PlanError

_UNIT_US = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
    "w": 604_800_000_000,
}
_PART = re.compile(r"(\d+)(us|ms|s|m|h|d|w)")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")


_TICKS_MAX = 2**61
_TICKS = re.compile(r"(\d+)i")


def duration_ticks(value: str | timedelta | int, time: EventTime, *, where: str) -> int:
    """A fixed duration in ticks of a time column.

    Args:
        value: as for `duration_us`; for an integer column a number of ticks, `10` or `"10i"`.
        time: the column.
        where: what it is for, named in the error.

    Raises:
        PlanError: when it is negative, cannot be read, or is not a whole number of ticks.
    """
    if time.is_ticks:
        ticks = _TICKS.fullmatch(value) if isinstance(value, str) else None
        if ticks is not None:
            return countable(int(ticks.group(1)), where=where)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return countable(value, where=where)
        if value in {"0s", timedelta(0)}:
            return 0
        raise PlanError(
            f"{where}: {time.column} is an integer column, whose ticks have no unit; write a number of ticks, "
            f"such as '10i', in the place of {value!r}"
        )
    if isinstance(value, int):
        raise PlanError(f"{where}: found the number {value}; write a duration such as '10s' or a timedelta")
    # A duration finer than the column is rounded up: rows may be later than asked for, never less.
    return countable(-(-duration_us(value, where=where) * 1_000 // time.ns_per_tick), where=where)


def countable(ticks: int, *, where: str) -> int:
    """A duration in ticks, if times that are so far apart can be told in 64 bits.

    Raises:
        PlanError: when they cannot.
    """
    if abs(ticks) > _TICKS_MAX:
        raise PlanError(
            f"{where}: so long a time cannot be told; at most it is 73 years where times count nanoseconds, 73,000 "
            "years where they count microseconds, and 2**61 ticks of an integer column. Make it shorter, or cast the "
            "time to Datetime('us')"
        )
    return ticks


def duration_us(value: str | timedelta, *, where: str) -> int:
    """A fixed duration in microseconds.

    Args:
        value: Polars' duration string without calendar units (`"1h30m"`), or a `timedelta`; not negative.
        where: what it is for, named in the error.

    Raises:
        PlanError: when it is negative or cannot be read.
    """
    if isinstance(value, timedelta):
        if value < timedelta(0):
            raise PlanError(f"{where}: the duration {value} is negative; give one of zero or more")
        return countable(value // timedelta(microseconds=1), where=where)
    if not _WHOLE.fullmatch(str(value)):  # a settings file may hold any value
        raise PlanError(
            f"{where}: cannot read the duration {value!r}; write a number and a unit "
            "(us, ms, s, m, h, d, w), for example '10s' or '1h30m', or give a timedelta"
        )
    return countable(sum(int(count) * _UNIT_US[unit] for count, unit in _PART.findall(value)), where=where)


def difference(value: str | timedelta | int, time: EventTime, *, where: str) -> int:
    """How far two times may be apart, in the engine's units: nanoseconds, or the ticks of an integer column.

    Args:
        value: as for `duration_ticks`; a minus in front makes it negative.
        time: the column.
        where: what it is for, named in the error.

    Raises:
        PlanError: when it cannot be read.
    """
    if isinstance(value, str) and value.startswith("-"):
        return -difference(value[1:], time, where=where)
    if isinstance(value, timedelta) and value < timedelta(0):
        return -difference(-value, time, where=where)
    if isinstance(value, int) and value < 0:
        return -difference(-value, time, where=where)
    return duration_ticks(value, time, where=where) if time.is_ticks else _nanoseconds(value, where)


def _nanoseconds(value: str | timedelta | int, where: str) -> int:
    if isinstance(value, int):
        raise PlanError(f"{where}: found the number {value}; write a duration such as '10s' or a timedelta")
    return duration_us(value, where=where) * 1_000
