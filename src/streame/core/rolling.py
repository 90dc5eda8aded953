"""Rolling windows: for every row the rows of its key in a stretch of time around it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, get_args

import numpy as np
import polars as pl

from streame.core.aggregates import (
    ROWS,
    Accumulator,
    Aggregation,
    Deviation,
    Edge,
    Extreme,
    Nulls,
    Total,
)
from streame.core.calendar import Calendar, Span, parse_span
from streame.core.time import WATERMARK_MAX, WATERMARK_MIN, EventTime, Ticks
from streame.errors import PlanError

Closed = Literal["left", "right", "both", "none"]

_DAY_NS = 86_400_000_000_000
_REACH_MAX_NS = 30 * 366 * _DAY_NS
"""How far a window may reach: 30 years, so that its ends can be told in nanoseconds."""


@dataclass(frozen=True, slots=True)
class RollingRule:
    """Which rows the window of a row holds.

    Args:
        time: the event time of the rows.
        period: how long a window is.
        offset: where it begins, seen from its row; `None`: so that it ends at the row.
        closed: which of its two ends belongs to it.
    """

    time: EventTime
    period: Span
    offset: Span | None
    closed: Closed

    @property
    def reach(self) -> tuple[int, int]:
        """How many ticks a window reaches back from its row, and how many ahead, at most."""
        _, most = self._lengths(self.period)
        if self.offset is None:
            return most, 0
        near, far = self._lengths(self.offset)
        return (far, max(0, most - near)) if self.offset.sign < 0 else (0, most + far)

    def bounds(self, ticks: Ticks) -> tuple[Ticks, Ticks]:
        """The first and the last time that the windows of rows at these times hold."""
        calendar, scale = self._calendar, self._scale
        at = ticks * scale
        start = _moved(at, self.offset or _negative(self.period), calendar)
        end = at if self.offset is None else _moved(start, self.period, calendar)
        first = start + (self.closed in {"right", "none"})
        last = end - (self.closed in {"left", "none"})
        return -(-first // scale), last // scale

    def rolled(self, frame: pl.DataFrame, group: str, index: str, exprs: list[pl.Expr]) -> pl.DataFrame:
        """What Polars computes of the window of each row.

        Args:
            frame: the rows, sorted by group and time.
            group: the column of the group.
            index: the column of the time.
            exprs: what is computed.
        """
        if self.time.is_ticks:
            frame = frame.with_columns(pl.col(index).cast(pl.Int64))
        rolling = frame.rolling(
            index,
            period=self._text(self.period),
            offset=None if self.offset is None else self._text(self.offset),
            closed=self.closed,
            group_by=group,
        )
        return rolling.agg(exprs).drop(group, index)

    def text(self) -> str:
        """The rule in the words of `rolling`, for `explain()`."""
        offset = "" if self.offset is None else f", offset {self._text(self.offset)}"
        return f"period {self._text(self.period)}{offset}, closed {self.closed}"

    @property
    def _calendar(self) -> Calendar:
        return Calendar.of(self.time)

    @property
    def _scale(self) -> int:
        return self.time.ns_per_tick // self._calendar.ns_per_tick

    def _lengths(self, span: Span) -> tuple[int, int]:
        """The least and the greatest number of ticks that a duration lasts, forward or back."""
        fixed = self._calendar.fixed(span)
        if fixed is not None:
            ticks = -(-abs(fixed) // self._scale)
            return ticks, ticks
        # The clock of a zone is put forward or back by up to a day.
        slack = 0 if self._calendar.zone is None else _DAY_NS // self._calendar.ns_per_tick
        least, most = sorted(map(abs, self._calendar.lengths(span)))
        return max(0, (least - slack) // self._scale), -(-(most + slack) // self._scale)

    def _text(self, span: Span) -> str:
        return f"{span.fine}i" if self.time.is_ticks else span.text()


def rolling_rule(
    time: EventTime,
    *,
    period: str | timedelta,
    offset: str | timedelta | None = None,
    closed: str = "right",
    where: str,
) -> RollingRule:
    """Read and check the arguments of `rolling`.

    Raises:
        PlanError: when one cannot be read, or does not fit the column.
    """
    if closed not in get_args(Closed):
        allowed = ", ".join(map(repr, get_args(Closed)))
        raise PlanError(f"{where}: closed={closed!r} does not exist; use {allowed}")
    length = parse_span(period, time, where=f"{where}: period")
    if length.sign <= 0:
        raise PlanError(f"{where}: period={period!r} holds nothing; give a duration above zero")
    begin = None if offset is None else parse_span(offset, time, where=f"{where}: offset")
    if begin is not None and _negative(begin) == length:
        begin = None
    rule = RollingRule(time, length, begin, closed)  # type: ignore[arg-type]
    if not time.is_ticks and max(rule.reach) * time.ns_per_tick > _REACH_MAX_NS:
        raise PlanError(f"{where}: windows may reach 30 years at most; give a shorter period or offset")
    return rule


def rolling_values(aggregation: Aggregation) -> list[pl.Expr] | None:
    """What Polars computes of the prepared rows of a window, so that `Aggregation.finish` can go on with it.

    Returns:
        The number of rows and the value of each accumulator; `None` where Polars has no quick way to roll one.
    """
    values = [pl.len().cast(pl.Int64).alias(ROWS)]
    for each in aggregation.accumulators:
        value = _value(each)
        if value is None:
            return None
        values.append(value.alias(each.name))
    return values


def _value(accumulator: Accumulator) -> pl.Expr | None:
    match accumulator:
        case Nulls(column):
            return pl.col(column).null_count().cast(pl.Int64)
        case Total(column, dtype) if dtype.is_float():
            return pl.col(column).cast(pl.Float64).sum()
        case Total(column, dtype) if dtype == pl.Boolean:
            return pl.col(column).sum().cast(pl.Int64)
        case Total(column, dtype) if dtype not in {pl.Int128, pl.UInt128}:
            return pl.col(column).to_physical().cast(pl.Int128).sum()
        case Deviation(column):
            values = pl.col(column).cast(pl.Float64)
            return (values.var(ddof=0) * values.count()).fill_null(0.0)
        case Extreme(column, _, largest, nan_wins):
            name = ("nan_" if nan_wins else "") + ("max" if largest else "min")
            found: pl.Expr = getattr(pl.col(column), name)()
            return found
        case Edge(column, _, last, None):
            return pl.col(column).last() if last else pl.col(column).first()
        case _:
            return None


def _negative(span: Span) -> Span:
    return Span(-span.months, -span.weeks, -span.days, -span.fine)


def _moved(ticks: Ticks, span: Span, calendar: Calendar) -> Ticks:
    """Times moved by a duration; beyond 64 bits they stay at the end."""
    fixed = calendar.fixed(span)
    if fixed is None:
        return calendar.add(ticks, span)
    if fixed >= 0:
        return np.minimum(ticks, WATERMARK_MAX - 1 - fixed) + fixed
    return np.maximum(ticks, WATERMARK_MIN + 1 - fixed) + fixed
