"""Windows over event time: which of them a row belongs to, and when they are complete.

A window holds the rows of a half-open interval of ticks. All ends of windows cut the time line into slices, so that
a row is in exactly one slice, and a window is a run of slices: whatever is kept per slice is shared by all windows
over it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.core.calendar import Calendar, Span, parse_span
from streame.core.time import TIME_MAX, TIME_MIN, WATERMARK_MAX, EventTime, Ticks
from streame.errors import PlanError

Closed = Literal["left", "right", "both", "none"]
Label = Literal["left", "right", "datapoint"]
Codes = npt.NDArray[np.intp]
Numbers = Codes | npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

WINDOW_ENDS = ("_lower_boundary", "_upper_boundary")
"""The columns of a window's ends, named as in Polars."""

WINDOWS_PER_ROW_MAX = 10_000
"""In how many windows a row may be: each of them has a result of its own to keep."""

TICKS_MAX = 2**62
"""How far from 0 an event time of 64 bits may be, so that the ends of its windows can be told."""

_YEAR_NS = 366 * 86_400_000_000_000
_REACH_MAX = {"ns": 7 * _YEAR_NS, "us": _YEAR_NS, "ms": _YEAR_NS // 1_000, None: 2**60}
"""How long a window may be, in ticks: 7 years in nanoseconds (of which 64 bits hold 292 years), 1000 in coarser units."""

_AHEAD = 256
"""How many windows before and behind the rows of a batch are worked out with them, for the batches that follow."""

_COMPARED_MAX = 8
"""Up to how many slices rows are compared with each; a search is faster where there are more."""

_NONE: Ticks = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class WindowRule:
    """Which windows there are, as the user asked for them.

    Args:
        time: the event time that they are made of.
        every: how far their starts are apart.
        period: how long they are; `None`: until the next one starts.
        offset: how far all starts are moved.
        closed: which of its two ends belongs to a window.
        label: which time stands for a window.
        cumulate: windows all start at a multiple of this, and one ends at every multiple of `every` behind it.
    """

    time: EventTime
    every: Span
    period: Span | None
    offset: Span | None
    closed: Closed
    label: Label
    cumulate: Span | None = None

    @property
    def calendar(self) -> Calendar:
        """The calendar that cuts them."""
        return Calendar.of(self.time)

    @property
    def windows_per_row(self) -> int:
        """In about how many windows a row is at most."""
        least, _ = self.calendar.lengths(self.every)
        _, most = self.calendar.lengths(self.cumulate or self.period or self.every)
        until_next = self.period is None and self.cumulate is None
        return (1 if until_next else -(-most // least)) + (self.closed == "both")

    @property
    def reach(self) -> int:
        """How far from a row an end of its windows lies at most, in ticks."""
        spans = (self.every, self.period, self.offset, self.cumulate)
        return sum(self.calendar.reach(span) for span in spans if span is not None)

    @property
    def bounds(self) -> tuple[int, int]:
        """Between which ticks the ends of windows can be told around a row."""
        if not self.time.is_ticks:
            return TIME_MIN // self.calendar.ns_per_tick, TIME_MAX // self.calendar.ns_per_tick
        most = 2**31 - 1 - self.reach if self.time.dtype == pl.Int32 else TICKS_MAX
        return -most, most

    @property
    def boundary_dtype(self) -> pl.DataType:
        """The dtype of the ends of windows, as in Polars."""
        return pl.Datetime("us") if self.time.dtype == pl.Date else self.time.dtype

    def text(self) -> str:
        """The rule in the words of `group_by_dynamic`, for `explain()`."""
        parts = [
            ("every", self.every),
            ("period", self.period),
            ("offset", self.offset),
            ("cumulate", self.cumulate),
        ]
        given = [(name, span) for name, span in parts if span is not None]
        if self.time.is_ticks:
            return ", ".join(f"{name} {span.fine}i" for name, span in given)
        return ", ".join(f"{name} {span.text()}" for name, span in given)

    def ticks_text(self, ticks: int) -> str:
        """A number of ticks for people."""
        return Span(fine=ticks * self.calendar.ns_per_tick).text() if self.calendar.unit else f"{ticks} ticks"


def window_rule(
    time: EventTime,
    *,
    every: str | timedelta,
    period: str | timedelta | None = None,
    offset: str | timedelta | None = None,
    closed: str = "left",
    label: str = "left",
    cumulate: str | timedelta | None = None,
    where: str,
) -> WindowRule:
    """Read and check the arguments of `group_by_dynamic`.

    Raises:
        PlanError: when one cannot be read, or they do not fit each other or the column.
    """
    for name, value, allowed in (("closed", closed, get_args(Closed)), ("label", label, get_args(Label))):
        if value not in allowed:
            raise PlanError(f"{where}: {name}={value!r} does not exist; use {', '.join(map(repr, allowed))}")
    spans: dict[str, Span | None] = {"every": _positive(every, time, f"{where}: every")}
    spans["period"] = None if period is None else _positive(period, time, f"{where}: period")
    spans["offset"] = None if offset is None else parse_span(offset, time, where=f"{where}: offset")
    spans["cumulate"] = None if cumulate is None else _positive(cumulate, time, f"{where}: cumulate")
    if period is not None and cumulate is not None:
        raise PlanError(f"{where}: with cumulate={cumulate!r} windows last up to that; leave period out")
    if spans["period"] == spans["every"]:
        spans["period"] = None
    rule = WindowRule(time, closed=closed, label=label, **spans)  # type: ignore[arg-type]
    for name in ("every", "cumulate"):
        span = spans[name]
        if span is not None and span.is_mixed and (rule.calendar.zone or span.months or span.weeks):
            raise PlanError(
                f"{where}: {name} mixes months, weeks, days or parts of a day, which have no common multiples; "
                "use one of them"
            )
    if rule.windows_per_row > WINDOWS_PER_ROW_MAX:
        raise PlanError(
            f"{where}: a row would be in {rule.windows_per_row:,} windows, and at most {WINDOWS_PER_ROW_MAX:,} are "
            "possible; make every longer or the windows shorter"
        )
    if rule.reach > (2**29 if time.dtype == pl.Int32 else _REACH_MAX[rule.calendar.unit]):
        raise PlanError(
            f"{where}: windows over {time.column}, a column of {time.dtype}, may last 7 years if it counts "
            "nanoseconds, else 1000 years, or a quarter of what an integer holds; make them shorter or cast it to "
            "Datetime('us') or Int64"
        )
    return rule


def _positive(value: str | timedelta, time: EventTime, where: str) -> Span:
    span = parse_span(value, time, where=where)
    if span.sign <= 0:
        raise PlanError(f"{where}: {value!r} is not positive; give a duration above zero")
    return span


@dataclass(frozen=True, slots=True)
class WindowList:
    """Windows in the order of time: the later one begins and ends no earlier.

    Args:
        start: where they start, as the user sees it.
        end: where they end.
        low: the first tick that belongs to them.
        high: the first tick behind it that does not.
    """

    start: Ticks
    end: Ticks
    low: Ticks
    high: Ticks

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, chosen: "slice | Codes") -> "WindowList":
        return WindowList(self.start[chosen], self.end[chosen], self.low[chosen], self.high[chosen])

    def over(self, slices: Ticks) -> tuple[Codes, Codes]:
        """For each slice, by its first tick, the first of these windows that holds it and the first behind that does not."""
        first = np.searchsorted(self.high, slices, side="right")
        behind = np.searchsorted(self.low, slices, side="right")
        return first, np.maximum(first, behind)


@dataclass(frozen=True, slots=True)
class Cut:
    """The slices that some rows belong to.

    Args:
        slices: the first tick of each, rising; every one has a row.
        codes: for each row the number of its slice; `None` where all are in the only slice.
        outside: which rows are in no window, and have no code; `None` where all are in one.
    """

    slices: Ticks
    codes: Numbers | None
    outside: Mask | None = None


class Windows:
    """The windows of a rule.

    Args:
        rule: which windows there are.

    Attributes:
        step: how far the starts of two windows are apart at most, in ticks.
        ns_per_tick: how many of the engine's units a tick is.
    """

    def __init__(self, rule: WindowRule) -> None:
        self.rule = rule
        calendar = rule.calendar
        self._calendar = calendar
        self.ns_per_tick = calendar.ns_per_tick
        self.step = calendar.reach(rule.every)
        self._reach = calendar.reach(rule.cumulate or rule.period or rule.every) + 2 * self.step
        self._range = rule.bounds
        self._known = _Table.of(0, 0, [WindowList(_NONE, _NONE, _NONE, _NONE)])

    def ticks(self, frame: pl.DataFrame) -> Ticks:
        """The times of rows in ticks of the calendar; a null counts as 0."""
        time = self.rule.time
        scale = time.ns_per_tick // self.ns_per_tick
        return time.ticks(frame) if scale == 1 else time.ticks(frame) * scale

    def unknown(self, frame: pl.DataFrame) -> Mask | None:
        """Which rows have no time that a window could be told for; `None` where all have one."""
        time, missing = self.rule.time, frame.get_column(self.rule.time.column).null_count()
        if not missing and not time.is_ticks:
            return None
        ticks, (low, high) = time.ticks(frame), self._range
        far = (ticks <= low) | (ticks >= high) if time.is_ticks else np.zeros(len(ticks), np.bool_)
        unknown = far | frame.get_column(time.column).is_null().to_numpy()
        return unknown if unknown.any() else None

    def cut(self, ticks: Ticks) -> Cut:
        """The slices of rows with these times; there must be at least one row."""
        least, most = int(ticks.min()), int(ticks.max())
        table = self._table(ticks, least, most)
        first = int(table.cuts.searchsorted(least, side="right")) - 1
        last = int(table.cuts.searchsorted(most, side="right")) - 1
        slices, in_window = table.cuts[first : last + 1], table.in_window[first : last + 1]
        if first == last:
            return Cut(slices, None) if in_window.any() else Cut(_NONE, None, np.ones(len(ticks), np.bool_))
        counted = _compared if last - first < _COMPARED_MAX else _searched
        codes, used = counted(ticks, slices)
        used &= in_window
        if used.all():
            return Cut(slices, codes)
        outside = None if in_window.all() else ~in_window[codes]
        slices, codes = slices[used], (np.cumsum(used) - 1)[codes]
        return Cut(slices, codes if len(slices) > 1 else None, outside)

    def around(self, slices: Ticks) -> WindowList:
        """All windows that hold one of these slices, by their first ticks, rising; maybe others near them as well."""
        return self._table(slices, int(slices[0]), int(slices[-1])).spans

    def least_label(self, watermark: int) -> int:
        """The least label that a window may have that is still open at a watermark, in ticks."""
        if watermark == WATERMARK_MAX:
            return watermark
        low, high = self._range
        point = min(max(watermark, low), high)
        spans = self._table(np.array([point]), point, point).spans
        if not len(spans.high):  # windows that hold no tick at all
            return watermark
        place = int(spans.high.searchsorted(point, side="right"))
        labels = {"left": spans.start, "right": spans.end, "datapoint": spans.low}[self.rule.label]
        return int(labels[place])

    def _table(self, points: Ticks, least: int, most: int) -> "_Table":
        """The windows around points of time, of which the least and the greatest are given."""
        if self._known.begin <= least and most < self._known.end:
            return self._known
        if (most - least) // self.step > 4 * len(points) + _AHEAD:
            return _Table.of(least, most + 1, [self._spans(*run) for run in self._runs(points)])
        low, high = self._range
        begin = max(least - _AHEAD * self.step, min(low, least))
        end = min(most + _AHEAD * self.step, max(high, most)) + 1
        self._known = _Table.of(begin, end, [self._spans(begin, end)])
        return self._known

    def _runs(self, points: Ticks) -> list[tuple[int, int]]:
        """Pieces of the time line that hold all points, which are few and far apart."""
        blocks = np.unique(points // self.step)
        begins = np.flatnonzero(np.diff(blocks, prepend=blocks[0] - 2 * _APART) > _APART)
        ends = np.append(begins[1:], len(blocks)) - 1
        return [
            (int(blocks[begin]) * self.step, (int(blocks[end]) + 1) * self.step)
            for begin, end in zip(begins, ends, strict=True)
        ]

    def _spans(self, begin: int, end: int) -> "WindowList":
        """All windows that hold a tick in [begin, end), and those next to them."""
        rule = self.rule
        # Windows that grow start far before the last of them ends.
        low, high = begin - self._reach, end + (self._reach if rule.cumulate else 2 * self.step)
        start = self._starts(rule.every, low, high)
        if rule.cumulate is not None:
            whole = self._starts(rule.cumulate, low - self._reach, high)
            ends = np.union1d(start, whole[whole >= low])
            start, stop = whole[whole.searchsorted(ends[:-1], side="right") - 1], ends[1:]
        elif rule.period is None:
            start, stop = start[:-1], start[1:]
        else:
            stop = np.maximum.accumulate(self._calendar.add(start, rule.period))
        first = start + (rule.closed in {"right", "none"})
        behind = stop + (rule.closed in {"right", "both"})
        return WindowList(start, stop, first, behind)[np.flatnonzero(first < behind)]

    def _starts(self, every: Span, low: int, high: int) -> Ticks:
        """The multiples of a duration, moved by the offset, in [low, high) and some around."""
        offset = self.rule.offset
        if offset is None:
            return self._calendar.multiples(every, low, high)
        least, most = self._calendar.moves(offset)
        return np.unique(
            self._calendar.add(self._calendar.multiples(every, low - most, high - least), offset)
        )


def _compared(ticks: Ticks, slices: Ticks) -> tuple[Numbers, Mask]:
    """The number of the slice of each row, and which slices have rows; for few slices."""
    codes = np.zeros(len(ticks), np.uint8)
    behind = [len(ticks)]
    for begin in slices[1:]:
        later = ticks >= begin
        behind.append(int(np.count_nonzero(later)))
        codes += later.view(np.uint8)
    return codes, np.diff(behind, append=0) < 0


def _searched(ticks: Ticks, slices: Ticks) -> tuple[Numbers, Mask]:
    """The number of the slice of each row, and which slices have rows."""
    codes = slices.searchsorted(ticks, side="right") - 1
    used = np.zeros(len(slices), np.bool_)
    used[codes] = True
    return codes, used


_APART = 64
"""How many windows apart two rows are worked out apart."""


@dataclass(frozen=True, slots=True)
class _Table:
    """The windows and slices that are known for [begin, end).

    Args:
        begin: the first tick.
        end: the first tick behind.
        spans: the windows.
        cuts: the first tick of each slice, rising.
        in_window: whether a slice is in any window.
    """

    begin: int
    end: int
    spans: WindowList
    cuts: Ticks
    in_window: Mask

    @classmethod
    def of(cls, begin: int, end: int, pieces: Sequence[WindowList]) -> "_Table":
        """The table of some windows, which may be in several of the pieces."""
        spans = pieces[0] if len(pieces) == 1 else _merged(pieces)
        cuts = np.union1d(spans.low, spans.high)
        first, behind = spans.over(cuts)
        return cls(begin, end, spans, cuts, first < behind)


def _merged(pieces: Sequence[WindowList]) -> WindowList:
    """The windows of all pieces, each once."""
    columns = zip(*((piece.start, piece.end, piece.low, piece.high) for piece in pieces), strict=True)
    spans = WindowList(*(np.concatenate(column) for column in columns))
    spans = spans[np.lexsort((spans.high, spans.low))]
    again = (spans.low[1:] == spans.low[:-1]) & (spans.high[1:] == spans.high[:-1])
    return spans[np.flatnonzero(~np.append(False, again))]
