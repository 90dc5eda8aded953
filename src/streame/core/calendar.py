"""The calendar: durations with months and days, and the instants at which a local clock reaches a multiple of one."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.core.time import EventTime, Ticks
from streame.errors import PlanError

_DAY_NS = 86_400_000_000_000
_FINE_NS = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_COARSE_FIRST = tuple(reversed(_FINE_NS.items()))
_MONTHS = {"mo": 1, "q": 3, "y": 12}
_PART = re.compile(r"(\d+)(ns|us|ms|mo|s|m|h|d|w|q|y|i)")
_WHOLE = re.compile(rf"-?(?:{_PART.pattern})+")

_MONDAY = 4
"""The first Monday after the beginning of 1970, in days: where Polars counts weeks from."""


@dataclass(frozen=True, slots=True)
class Span:
    """A duration. What months and days are in a zone only the calendar knows.

    Args:
        months: months; a quarter has three, a year twelve.
        weeks: weeks.
        days: days.
        fine: nanoseconds; for an integer column its own ticks.
    """

    months: int = 0
    weeks: int = 0
    days: int = 0
    fine: int = 0

    @property
    def sign(self) -> int:
        """-1, 0 or 1: all parts have the same sign."""
        total = self.months + self.weeks + self.days + self.fine
        return (total > 0) - (total < 0)

    @property
    def is_mixed(self) -> bool:
        """Whether it has parts of several kinds, so that there are no multiples of it in a calendar."""
        return sum(part != 0 for part in (self.months, self.weeks, self.days, self.fine)) > 1

    def text(self) -> str:
        """As Polars reads it; the ticks of an integer column as nanoseconds."""
        unit, size = next(each for each in _COARSE_FIRST if self.fine % each[1] == 0)
        parts = ((self.months, "mo"), (self.weeks, "w"), (self.days, "d"), (self.fine // size, unit))
        text = "".join(f"{abs(count)}{unit}" for count, unit in parts if count)
        return ("-" if self.sign < 0 else "") + (text or "0ns")


def parse_span(value: str | timedelta, time: EventTime, *, where: str) -> Span:
    """A duration as Polars writes them: `"1mo"`, `"-2h30m"`, a `timedelta`; `"10i"` for an integer column.

    Args:
        value: the duration. As in Polars, the days of a `timedelta` are days of the calendar.
        time: the time column that it is used with.
        where: what it is for, named in the error.

    Raises:
        PlanError: when it cannot be read or does not fit the column.
    """
    if isinstance(value, timedelta):
        value = _timedelta_text(value)
    if not _WHOLE.fullmatch(str(value)):  # whatever a caller may have given
        example = "'10i'" if time.is_ticks else "'10s', '1h30m' or '1mo'"
        raise PlanError(
            f"{where}: cannot read the duration {value!r}; write a number and a unit, as in {example}"
        )
    counts: dict[str, int] = {}
    for count, unit in _PART.findall(value):
        counts[unit] = counts.get(unit, 0) + int(count) * (-1 if value.startswith("-") else 1)
    if set(counts) != {"i"} if time.is_ticks else "i" in counts:
        ask = "a number of its ticks, as in '10i'" if time.is_ticks else "a duration such as '10s'"
        raise PlanError(
            f"{where}: {value!r} does not fit {time.column}, a column of {time.dtype}; write {ask}"
        )
    fine = sum(counts.get(unit, 0) * size for unit, size in _FINE_NS.items()) + counts.get("i", 0)
    if fine % _ns_per_tick(time):
        raise PlanError(
            f"{where}: {value!r} is no whole number of the ticks of {time.column}, a column of {time.dtype}; "
            "cast the column to a finer unit"
        )
    months = sum(counts.get(unit, 0) * size for unit, size in _MONTHS.items())
    return Span(months, counts.get("w", 0), counts.get("d", 0), fine)


def _timedelta_text(value: timedelta) -> str:
    sign = "-" if value < timedelta(0) else ""
    value = abs(value)
    return f"{sign}{value.days}d{value.seconds}s{value.microseconds}us"


@dataclass(frozen=True, slots=True)
class Calendar:
    """Where the multiples of a duration lie on the time line of a column.

    Args:
        unit: the unit of a tick; `None` for an integer column.
        zone: the time zone whose clock counts; `None` where all days are equal.
    """

    unit: str | None
    zone: str | None = None

    @classmethod
    def of(cls, time: EventTime) -> "Calendar":
        """The calendar of a column. Windows over dates are cut in microseconds, as in Polars."""
        if isinstance(time.dtype, pl.Datetime):
            zone = time.dtype.time_zone
            return cls(time.dtype.time_unit, None if zone == "UTC" else zone)
        return cls("us" if time.dtype == pl.Date else None)

    @property
    def ns_per_tick(self) -> int:
        """How many of the engine's units a tick is."""
        return _FINE_NS[self.unit] if self.unit else 1

    def fixed(self, span: Span) -> int | None:
        """How many ticks a duration lasts; `None` if that depends on where it begins."""
        if span.months or (self.zone is not None and (span.weeks or span.days)):
            return None
        return ((span.weeks * 7 + span.days) * _DAY_NS + span.fine) // self.ns_per_tick

    def lengths(self, span: Span) -> tuple[int, int]:
        """The least and the greatest number of ticks that a duration lasts while the clock is not changed."""
        rest = (span.weeks * 7 + span.days) * _DAY_NS + span.fine
        ends = [rest + span.months * days * _DAY_NS for days in (28, 31)]
        return min(ends) // self.ns_per_tick, -(-max(ends) // self.ns_per_tick)

    def moves(self, span: Span) -> tuple[int, int]:
        """By how many ticks at least, and at most, an instant is moved by a duration, which may be negative."""
        fixed = self.fixed(span)
        if fixed is not None:
            return fixed, fixed
        # The clock of a zone is put forward or back by up to a day.
        slack = 0 if self.zone is None else _DAY_NS // self.ns_per_tick
        years, months = divmod(abs(span.months), 12)
        days = (365 * years + 28 * months, 366 * years + 31 * months)
        rest = (span.weeks * 7 + span.days) * _DAY_NS + span.fine
        ends = [rest + (each if span.months >= 0 else -each) * _DAY_NS for each in days]
        return min(ends) // self.ns_per_tick - slack, max(ends) // self.ns_per_tick + slack

    def reach(self, span: Span) -> int:
        """The greatest number of ticks that a duration, or the way to its next multiple, lasts, forward or back."""
        # Where the clock is put forward or back, the next multiple after the change is no farther than any other; and
        # a day or more gets longer by less than itself (by up to a day: Samoa, 2011).
        return max(map(abs, self.lengths(span))) * (1 if self.zone is None else 2)

    def multiples(self, span: Span, low: int, high: int) -> Ticks:
        """The instants in [low, high) at which the clock reaches a multiple of `span`, rising.

        As `dt.truncate` sees it: where the clock is put forward over a multiple, it reaches it then; where it is
        put back, it reaches some twice.
        """
        if self.zone is None:
            return self._local_multiples(span, low, high)
        found = []
        for begin, end, before, offset in self._clock_changes(low, high):
            local = (max(begin, low) + offset, min(end, high) + offset)
            found.append(self._local_multiples(span, *local) - offset)
            if begin >= low and len(self._local_multiples(span, begin + before, begin + offset)):
                found.append(np.array([begin], np.int64))
        instants: Ticks = np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)
        return instants

    def add(self, ticks: Ticks, span: Span) -> Ticks:
        """The instants that are `span` later, as `dt.offset_by` has them."""
        fixed = self.fixed(span)
        if fixed is not None:
            return ticks + fixed
        instants = pl.Series(ticks).cast(pl.Datetime(self.unit, self.zone))  # type: ignore[arg-type]
        return instants.dt.offset_by(span.text()).to_physical().to_numpy()

    def _local_multiples(self, span: Span, low: int, high: int) -> Ticks:
        """The multiples of `span` in [low, high) on a clock that is never changed."""
        if not span.months:
            step = Calendar(self.unit).fixed(span)
            assert step, span
            phase = _MONDAY * _DAY_NS // self.ns_per_tick if span.weeks else 0
            first = -((phase - low) // step) * step + phase
            # `np.arange` counts in floating point, which is not exact for nanoseconds.
            return first + step * np.arange(len(range(first, high, step)), dtype=np.int64)
        month = f"M8[{self.unit}]"
        begin, end = np.array([low, high]).astype(month).astype("M8[M]").astype(np.int64)
        numbers = np.arange(begin - begin % span.months, end + 1, span.months)
        ticks = numbers.astype("M8[M]").astype(month).astype(np.int64)
        return ticks[(ticks >= low) & (ticks < high)]

    def _clock_changes(self, low: int, high: int) -> Iterator[tuple[int, int, int, int]]:
        """The pieces of the time line over [low, high) between two changes of the zone's clock.

        For each its begin and end, how far the clock was ahead of UTC before it, and how far it is within.
        """
        assert self.zone is not None
        second = 1_000_000_000 // self.ns_per_tick
        times, offsets = _offsets(self.zone, low // second, high // second + 1)
        for place in range(1, len(times)):
            begin, end = (
                int(times[place]) * second,
                int(times[place + 1]) * second if place + 1 < len(times) else high,
            )
            if end > low and begin < high:
                yield begin, end, int(offsets[place - 1]) * second, int(offsets[place]) * second


_BLOCK_S = 2**29
"""How much of a zone's clock changes are looked up at once: about seventeen years."""


def _offsets(zone: str, low: int, high: int) -> tuple[Ticks, Ticks]:
    """When the clock of a zone is changed between two times, and how far it is ahead of UTC from then on, in seconds.

    The first two entries stand for the time before.
    """
    blocks = [_changes(zone, block) for block in range(low // _BLOCK_S, high // _BLOCK_S + 1)]
    times = np.concatenate([blocks[0][0][:1] - 1, *(times for times, _ in blocks)])
    offsets = np.concatenate([blocks[0][1][:1], *(offsets for _, offsets in blocks)])
    return times, offsets


@lru_cache(maxsize=256)
def _changes(zone: str, block: int) -> tuple[Ticks, Ticks]:
    """The changes of a zone's clock in a block of time; the first entry is the begin of the block."""
    days = np.arange(block * _BLOCK_S, (block + 1) * _BLOCK_S + 86_400, 86_400).clip(
        max=(block + 1) * _BLOCK_S
    )
    ahead = _ahead_of_utc(zone, days)
    changed = np.flatnonzero(ahead[1:] != ahead[:-1])
    before, after = days[changed], days[changed + 1]
    while (after - before > 1).any():
        middle = (before + after) // 2
        same = _ahead_of_utc(zone, middle) == ahead[changed]
        before, after = np.where(same, middle, before), np.where(same, after, middle)
    times = np.concatenate([days[:1], after])
    return times, _ahead_of_utc(zone, times)


def _ahead_of_utc(zone: str, seconds: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How many seconds the clock of a zone is ahead of UTC at these times."""
    instants = pl.Series(seconds * 1_000).cast(pl.Datetime("ms", "UTC"))
    local = instants.dt.convert_time_zone(zone).dt.replace_time_zone(None).to_physical().to_numpy()
    return local // 1_000 - seconds


def _ns_per_tick(time: EventTime) -> int:
    return Calendar.of(time).ns_per_tick
