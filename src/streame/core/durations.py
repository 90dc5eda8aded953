"""Durations as users write them: `"10s"`, `"5m"`, a `timedelta`."""

import re
from datetime import timedelta

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
        return value // timedelta(microseconds=1)
    if not _WHOLE.fullmatch(str(value)):  # a settings file may hold any value
        raise PlanError(
            f"{where}: cannot read the duration {value!r}; write a number and a unit "
            "(us, ms, s, m, h, d, w), for example '10s' or '1h30m', or give a timedelta"
        )
    return sum(int(count) * _UNIT_US[unit] for count, unit in _PART.findall(value))
