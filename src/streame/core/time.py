"""Event time: what a time column means, and how far a stream with several splits has come.

Within the engine a time is an integer: nanoseconds since 1970 for dates and datetimes of any unit, the ticks
themselves for an integer column. Microseconds would not tell the rows of a nanosecond column apart.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

Ticks = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

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
        column = frame.get_column(self.column).to_physical()
        ticks = (column.fill_null(0) if column.null_count() else column).to_numpy()
        return ticks.astype(np.int64, copy=False)

    def to_ticks(self, time: int) -> int:
        """A watermark in the column's own unit, rounded down."""
        return time // self.ns_per_tick if abs(time) < WATERMARK_MAX else time

    def from_ticks(self, ticks: int) -> int:
        """A time in the column's own unit as the engine's; beyond what 64 bits hold it is cut off there."""
        return max(WATERMARK_MIN, min(WATERMARK_MAX, ticks * self.ns_per_tick))


def is_event_time(dtype: pl.DataType) -> bool:
    """Whether a column of the dtype can be event time."""
    return isinstance(dtype, pl.Datetime) or dtype == pl.Date or (dtype.is_integer() and dtype not in _WIDE)


_WIDE = (pl.Int128, pl.UInt128, pl.UInt64)


_YEAR_NS = 31_556_952_000_000_000

TIME_MIN = -270 * _YEAR_NS
"""The beginning of the year 1700: windows around an earlier time could not be told in nanoseconds."""

TIME_MAX = 230 * _YEAR_NS
"""The beginning of the year 2200."""

JUMP_MAX = 100 * _YEAR_NS
"""How far a row may be ahead of all rows before it in its split: one wrong clock must not make all others late."""


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
    least, most = int(ticks.min()), int(ticks.max())
    before = int(ticks[0]) if reached is None else reached
    if least >= low and most <= min(high, before + jump):
        return None
    wrong = np.zeros(len(ticks), np.bool_)
    for row, tick in enumerate(ticks.tolist()):
        limit = high if reached is None else min(high, reached + jump)
        if low <= tick <= limit:
            reached = tick if reached is None else max(reached, tick)
        else:
            wrong[row] = True
    return wrong if wrong.any() else None


def behind(ticks: Ticks, reached: int | None, delay: int, least: int | None) -> Ticks | None:
    """For each row the watermark that its split had reached just before it; `None` where no row is older than that.

    Args:
        ticks: times of rows of one split, in their order.
        reached: the largest time that the split had before them.
        delay: how late a row may be.
        least: a watermark that holds for all of them, whatever their split has reached.

    Returns:
        Watermarks in ticks, for the rows that are older than theirs; for others `NOT_BEHIND`.
    """
    floors = [mark for mark in (None if reached is None else reached - delay, least) if mark is not None]
    if all(ticks[0] >= floor for floor in floors) and (ticks[1:] >= ticks[:-1]).all():
        return None
    highest = np.maximum.accumulate(ticks)
    watermarks = np.empty_like(ticks)
    watermarks[1:] = highest[:-1] - delay
    watermarks[0] = NOT_BEHIND
    for floor in floors:
        np.maximum(watermarks, floor, out=watermarks)
    older = ticks < watermarks
    if not older.any():
        return None
    watermarks[~older] = NOT_BEHIND
    return watermarks


NOT_BEHIND = WATERMARK_MIN
"""Stands for a row that is not older than its split's watermark."""


class SplitWatermarks:
    """How far each split has come, and with them the stream.

    A split's watermark is its largest time minus the delay. The stream's is the smallest of its splits', those
    left out that are idle or have ended; it never goes back, and it stands still while there is no split to ask.

    Args:
        delay: how late a row may be.
    """

    def __init__(self, delay: int) -> None:
        self._delay = delay
        self._latest: dict[tuple[str, str], int | None] = {}
        self._idle: set[tuple[str, str]] = set()
        self._known = False
        self.watermark: int | None = None

    @property
    def idle(self) -> bool:
        """Whether there were splits, and every one that is left is idle."""
        return self._known and len(self._idle) == len(self._latest)

    def latest(self, split: tuple[str, str]) -> int | None:
        """The largest time of a split so far."""
        return self._latest.get(split)

    def opened(self, split: tuple[str, str]) -> None:
        """A split is there, and may give any time."""
        self._known = True
        self._latest.setdefault(split, None)
        self._idle.discard(split)

    def observed(self, split: tuple[str, str], latest: int) -> None:
        """A split has given rows, the newest of that time."""
        self.opened(split)
        before = self._latest[split]
        self._latest[split] = latest if before is None else max(before, latest)
        self._advance()

    def went_idle(self, split: tuple[str, str]) -> None:
        """A split gives nothing, and is not to be waited for."""
        self.opened(split)
        self._idle.add(split)
        self._advance()

    def ended(self, split: tuple[str, str]) -> None:
        """A split gives nothing any more."""
        self._latest.pop(split, None)
        self._idle.discard(split)
        self._advance()

    def _advance(self) -> None:
        asked = [latest for split, latest in self._latest.items() if split not in self._idle]
        known = [latest - self._delay for latest in asked if latest is not None]
        if asked and len(known) == len(asked):
            self.watermark = min(known) if self.watermark is None else max(self.watermark, min(known))
