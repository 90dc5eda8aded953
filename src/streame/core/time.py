"""Event time: what a time column means, and how far a stream with several splits has come.

Within the engine a time is an integer: nanoseconds since 1970 for dates and datetimes of any unit, the ticks
themselves for an integer column. Microseconds would not tell the rows of a nanosecond column apart.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl

Ticks = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Split = tuple[str, str]
"""A source and the name of one of its splits."""

WATERMARK_MAX = 2**63 - 1
"""The watermark of a stream that has ended."""

WATERMARK_MIN = -(2**63)
"""The watermark of a stream of which nothing is known."""

_DAY_NS = 86_400_000_000_000
_TICK_NS = {"ns": 1, "us": 1_000, "ms": 1_000_000}


@dataclass(frozen=True, slots=True)
class EventTime:
    """The column that says when a row happened.

    Args:
        column: its name.
        dtype: its dtype: a Datetime, a Date or an integer.
    """

    column: str
    dtype: pl.DataType

    @property
    def is_ticks(self) -> bool:
        """Whether it is an integer column, whose ticks have no unit."""
        return self.dtype.is_integer()

    @property
    def ns_per_tick(self) -> int:
        """How many of the engine's units one step of the column is."""
        if isinstance(self.dtype, pl.Datetime):
            return _TICK_NS[self.dtype.time_unit]
        return _DAY_NS if self.dtype == pl.Date else 1

    def ticks(self, frame: pl.DataFrame) -> Ticks:
        """The times of the rows in the column's own unit; a null counts as 0."""
        column = frame.get_column(self.column)
        if column.null_count():
            column = column.to_physical().fill_null(0)
        ticks = column.to_numpy()  # times of numpy, of which an integer view costs nothing
        return ticks.view(np.int64) if ticks.dtype.kind == "M" else ticks.astype(np.int64, copy=False)

    def series(self, name: str, ticks: Ticks) -> pl.Series:
        """A column of times in the column's own unit."""
        values = pl.Series(name, ticks)
        return (values.cast(pl.Int32) if self.dtype == pl.Date else values).cast(self.dtype)

    def to_ticks(self, time: int) -> int:
        """A watermark in the column's own unit, rounded down."""
        return time // self.ns_per_tick if abs(time) < WATERMARK_MAX else time

    def from_ticks(self, ticks: int) -> int:
        """A time in the column's own unit as the engine's; cut off at what 64 bits hold, and before the end."""
        return max(WATERMARK_MIN, min(WATERMARK_MAX - 1, ticks * self.ns_per_tick))


def is_event_time(dtype: pl.DataType) -> bool:
    """Whether a column of the dtype can be event time."""
    return isinstance(dtype, pl.Datetime) or dtype == pl.Date or (dtype.is_integer() and dtype not in _WIDE)


_WIDE = (pl.Int128, pl.UInt128, pl.UInt64)


_YEAR_NS = 31_556_952_000_000_000

TIME_MIN = -270 * _YEAR_NS
"""The beginning of the year 1700: windows around an earlier time could not be told in nanoseconds."""

TIME_MAX = 230 * _YEAR_NS
"""The beginning of the year 2200."""

JUMP_MAX = 150 * _YEAR_NS
"""How far a row may be ahead of all rows before it in its split, and of 1970: one wrong clock must not make all others late.

An old first row, which many systems write where they know no time, does not make today's rows wrong.
"""


def far_away(time: EventTime, ticks: Ticks, reached: int | None) -> Mask | None:
    """Which times are centuries away; `None` where none is.

    Args:
        time: what the ticks mean; an integer event time may have any value.
        ticks: times of rows, in their order.
        reached: the largest time that the split had before them, in ticks.
    """
    if time.is_ticks or not len(ticks):
        return None
    low, high, jump = (time.to_ticks(bound) for bound in (TIME_MIN, TIME_MAX, JUMP_MAX))
    before = max(0, int(ticks[0]) if reached is None else reached)
    if ticks.min() >= low and ticks.max() <= min(high, before + jump):
        return None
    wrong = (ticks < low) | (ticks > high)
    if wrong.all():
        return wrong
    first = max(0, int(ticks[~wrong][0]) if reached is None else reached)
    # Only a row beyond this may be too far ahead; whether it is, the rows before it tell.
    ahead = ~wrong & (ticks > min(high, first + jump))
    steady = np.maximum.accumulate(np.where(wrong | ahead, first, ticks))
    for row in np.flatnonzero(ahead).tolist():
        first = max(first, int(steady[row]))
        wrong[row] = ticks[row] > first + jump
        first = first if wrong[row] else max(first, int(ticks[row]))
    return wrong if wrong.any() else None


_BLOCK = 64
"""How many rows are looked at together, to see quickly that none of them is behind."""


def behind(ticks: Ticks, floor: int, reached: int | None, delay: int) -> Ticks | None:
    """For each row the watermark that its split had reached just before it; `None` where no row is older than that.

    Args:
        ticks: times of rows of one split, in their order; at least one.
        floor: a watermark that holds for all of them, whatever their split has reached.
        reached: the largest time that the split had before them.
        delay: how late a row may be.

    Returns:
        Watermarks in ticks, for the rows that are older than theirs; for others `NOT_BEHIND`.
    """
    if reached is not None:
        floor = max(floor, reached - delay)
    if ticks[0] >= floor and (ticks[1:] >= ticks[:-1]).all():
        return None
    starts = np.arange(0, len(ticks), _BLOCK)
    highest = np.maximum.accumulate(np.maximum.reduceat(ticks, starts))
    if (np.minimum.reduceat(ticks, starts) >= np.maximum(_minus(highest, delay), floor)).all():
        return None
    watermarks = np.full_like(ticks, floor)
    np.maximum(_minus(np.maximum.accumulate(ticks)[:-1], delay), floor, out=watermarks[1:])
    on_time = ticks >= watermarks
    if on_time.all():
        return None
    watermarks[on_time] = NOT_BEHIND
    return watermarks


def _minus(ticks: Ticks, delay: int) -> Ticks:
    """So much earlier, but no earlier than 64 bits hold."""
    return np.maximum(ticks, WATERMARK_MIN + delay) - delay


NOT_BEHIND = WATERMARK_MIN
"""Stands for a row that is not older than its split's watermark."""


class SplitWatermarks:
    """How far each split has come, and with them the stream.

    A split's watermark is its largest time minus the delay. The stream's is the smallest of its splits', those
    left out that are idle or have ended; it never goes back, and it stands still while there is no split to ask.
    A stream all of whose splits have ended is not idle: its own end may still set rows free that are waited for.

    Args:
        delay: how late a row may be.
        sources: the sources of which something must be known first.
    """

    def __init__(self, delay: int, sources: Collection[str] = ()) -> None:
        self._delay = delay
        self._unknown = set(sources)
        self._latest: dict[Split, int | None] = {}
        self._idle: set[Split] = set()
        self.watermark = WATERMARK_MIN

    def saved(self) -> dict[str, Any]:
        """All that is known, as plain values."""
        return {
            "watermark": self.watermark,
            "latest": [[*split, latest] for split, latest in sorted(self._latest.items())],
            "idle": [[*split] for split in sorted(self._idle)],
            "unknown": sorted(self._unknown),
        }

    def restore(self, parts: dict[str, Any]) -> None:
        """Know what `saved` gave; a split that is opened again keeps the largest time that it had."""
        self.watermark = parts["watermark"]
        self._latest = {(source, split): latest for source, split, latest in parts["latest"]}
        self._idle = {(source, split) for source, split in parts["idle"]}
        self._unknown = set(parts["unknown"])

    def absorb(self, other: Self, mine: Collection[Split]) -> None:
        """Know what another one knows of some splits, before anything is said of any.

        How far the stream has come is found out anew, once the sources have said which splits there are.
        """
        self._latest |= {split: latest for split, latest in other._latest.items() if split in mine}
        self._idle |= other._idle.intersection(mine)

    @property
    def splits(self) -> list[Split]:
        """The splits that have not ended."""
        return list(self._latest)

    @property
    def idle(self) -> bool:
        """Whether nobody should wait for the stream: there are splits, and every one is idle."""
        return not self._unknown and 0 < len(self._latest) == len(self._idle)

    def latest(self, split: Split) -> int | None:
        """The largest time of a split so far."""
        return self._latest.get(split)

    def opened(self, split: Split) -> None:
        """A split is there, and may give any time."""
        self._unknown.discard(split[0])
        self._latest.setdefault(split, None)
        self._idle.discard(split)

    def observed(self, split: Split, latest: int) -> None:
        """A split has given rows, the newest of that time."""
        self.opened(split)
        before = self._latest[split]
        self._latest[split] = latest if before is None else max(before, latest)
        self._advance()

    def went_idle(self, split: Split) -> None:
        """A split gives nothing, and is not to be waited for."""
        self.opened(split)
        self._idle.add(split)
        self._advance()

    def ended(self, split: Split) -> None:
        """A split gives nothing any more."""
        self._unknown.discard(split[0])
        self._latest.pop(split, None)
        self._idle.discard(split)
        self._advance()

    def _advance(self) -> None:
        asked = [latest for split, latest in self._latest.items() if split not in self._idle]
        known = [latest - self._delay for latest in asked if latest is not None]
        if known and len(known) == len(asked) and not self._unknown:
            self.watermark = max(self.watermark, min(known))
