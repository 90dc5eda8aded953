"""Event time: watches the times of the rows and says how far the stream has come."""

from collections.abc import Collection
from typing import Any, Self

import numpy as np
import polars as pl

from streame.core.hidden import BEHIND
from streame.core.messages import Batch, Positions, SplitStatus
from streame.core.positions import with_position_column
from streame.core.time import (
    NOT_BEHIND,
    WATERMARK_MAX,
    EventTime,
    Mask,
    SplitWatermarks,
    Ticks,
    behind,
    far_away,
)
from streame.runtime.letters import RefusalPolicy, refuse_rows
from streame.runtime.operator import Collector, Operator, OperatorContext
from streame.runtime.shared_splits import split_keys
from streame.state.rows import RowNumbers, rows_at
from streame.state.snapshot import Mine

UNKNOWN_SPLIT = ("", "")
"""Stands for the one split of rows of which nobody knows any more where they came from."""


class EventTimeOperator(Operator):
    """Passes rows on, marks those behind their split's watermark, and sends watermarks after them.

    Args:
        time: the column that says when a row happened.
        delay: how late a row may be, in ticks of the column.
        policy: what becomes of rows whose time is centuries away.
        idle_timeout_us: after how long a split that gives nothing is not waited for.
        sources: the sources that say what becomes of their splits; without any all rows are of one split.
    """

    SAVED = ("_splits",)

    def __init__(
        self,
        time: EventTime,
        delay: int,
        policy: RefusalPolicy,
        idle_timeout_us: int | None = None,
        sources: Collection[str] = (),
    ) -> None:
        self._time = time
        self._delay = delay
        self._policy = policy
        self._idle_timeout_us = idle_timeout_us
        self._splits = SplitWatermarks(delay, sources)
        if not sources:
            self._splits.opened(UNKNOWN_SPLIT)

    def open(self, context: OperatorContext) -> None:
        """Remember the name and the clock, for dead letters."""
        self._context = context

    def saved(self) -> dict[str, Any]:
        """See `Savable`."""
        return self._splits.saved()

    def restore(self, parts: dict[str, Any]) -> None:
        """See `Savable`."""
        self._splits.restore(parts)

    def absorb(self, other: Self, mine: Mine) -> None:
        """Take the splits that are read by the task before this one."""
        splits = other._splits.splits
        owned = mine(split_keys([split for _, split in splits])).tolist()
        self._splits.absorb(
            other._splits, {each for each, is_mine in zip(splits, owned, strict=True) if is_mine}
        )

    def on_batch(self, port: int, batch: Batch, out: Collector) -> None:
        """Mark the rows that are behind, pass all on, and say how far the stream has come."""
        split = batch.split or UNKNOWN_SPLIT
        if BEHIND in batch.frame.columns:  # behind by an event time that ends here
            batch = Batch(batch.frame.drop(BEHIND), batch.positions, batch.split)
        ticks, rows = self._known(batch.frame)
        wrong = far_away(self._time, ticks, self._splits.latest(split))
        if wrong is not None:
            numbers = np.flatnonzero(wrong) if rows is None else rows[wrong]
            batch = self._without(numbers, batch, out)
            ticks, rows = self._known(batch.frame)
        if len(ticks):
            batch = self._marked(batch, ticks, rows, split)
            self._splits.observed(split, int(ticks.max()))
        if (
            rows is not None
        ):  # rows without a time will be refused, perhaps behind the place where rows are shared out
            batch = Batch(with_position_column(batch), split=batch.split)
        if batch.frame.height:
            out.emit(batch)
        self._say(out)

    def on_watermark(self, time: int, out: Collector) -> None:
        """The watermarks of an earlier event time end here; the end of the stream does not."""
        if time == WATERMARK_MAX:
            out.watermark(time)

    def on_split(self, port: int, status: SplitStatus, out: Collector) -> None:
        """Wait for a split, or no longer; a later event time may ask too."""
        out.split_status(status)
        match status.state:
            case "open":
                self._splits.opened(status.split)
            case "idle" if status.after_us != self._idle_timeout_us:
                return
            case "idle":
                self._splits.went_idle(status.split)
            case "ended":
                self._splits.ended(status.split)
        self._say(out)

    def _say(self, out: Collector) -> None:
        """Send the watermark on, or that nobody should wait for it."""
        out.watermark(None if self._splits.idle else self._time.from_ticks(self._splits.watermark))

    def _known(self, frame: pl.DataFrame) -> tuple[Ticks, RowNumbers | None]:
        """The times that are not null, and the rows that have them (`None`: every one)."""
        column = frame.get_column(self._time.column)
        ticks = self._time.ticks(frame)
        if not column.null_count():
            return ticks, None
        rows = np.flatnonzero(column.is_not_null().to_numpy())
        return ticks[rows], rows

    def _marked(self, batch: Batch, ticks: Ticks, rows: RowNumbers | None, split: tuple[str, str]) -> Batch:
        """The batch, with the hidden column where a row is behind its split's watermark."""
        marks = behind(ticks, self._splits.watermark, self._splits.latest(split), self._delay)
        if marks is None:
            return batch
        spread = np.full(batch.frame.height, NOT_BEHIND)
        spread[slice(None) if rows is None else rows] = marks
        scale = self._time.ns_per_tick
        column = pl.Series(BEHIND, spread, dtype=pl.Int64)
        marked = pl.select(pl.when(column != NOT_BEHIND).then(column * scale).alias(BEHIND)).to_series()
        return Batch(batch.frame.with_columns(marked), batch.positions, batch.split)

    def _without(self, numbers: RowNumbers, batch: Batch, out: Collector) -> Batch:
        """The batch without rows whose time is centuries away, which are refused."""
        refused = rows_at(with_position_column(batch), numbers)
        times = refused.get_column(self._time.column)
        refuse_rows(
            refused,
            lambda row: (
                f"the event time {times[row]} is before 1700, after 2200 or more than 150 years ahead of 1970 and of all rows "
                "before it"
            ),
            operator=self._context.name,
            policy=self._policy,
            clock=self._context.clock,
            out=out,
            kind="time",
            remedy="Mend the row",
        )
        kept = np.ones(batch.frame.height, np.bool_)
        kept[numbers] = False
        return Batch(batch.frame.filter(pl.Series(kept)), _only(batch.positions, kept), batch.split)


def _only(positions: Positions | None, kept: Mask) -> Positions | None:
    if positions is None:
        return None
    offsets = positions.offsets
    return Positions(positions.source, positions.split, lambda: offsets()[kept])
