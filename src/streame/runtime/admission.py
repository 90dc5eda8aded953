"""Admission: which rows of a batch a verb over time takes, and what becomes of the others."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from streame.core.hidden import BEHIND
from streame.core.messages import Batch
from streame.core.positions import with_position_column
from streame.core.time import WATERMARK_MIN, EventTime, Mask, Ticks
from streame.runtime.letters import RefusalPolicy, refuse_rows
from streame.runtime.operator import Collector, OperatorContext


@dataclass(frozen=True, slots=True)
class Admission:
    """Refuses rows without a time, and sets rows aside that are late.

    What comes in the order of time is out already when a row comes that is older, so a row is late that is older than
    the watermark that its own split had reached just before it.

    Args:
        time: the event time of the rows.
        policy: what becomes of rows without a time.
        late_columns: the columns of a late row.
        lateness: by how many ticks a row may be older.
    """

    time: EventTime
    policy: RefusalPolicy
    late_columns: Sequence[str]
    lateness: int = 0

    def run(self, batch: Batch, watermark: int, context: OperatorContext, out: Collector) -> Batch:
        """The rows that are taken.

        Args:
            batch: rows.
            watermark: how far event time has come, in ticks.
            context: the surroundings of the operator.
            out: where the others go.
        """
        column = batch.frame.get_column(self.time.column)
        if column.null_count():
            batch = self._without_null(batch, column.is_null(), context, out)
        late = self._late(batch.frame, watermark)
        if late is None:
            return batch
        mask = pl.Series(late)
        frame = with_position_column(batch)
        out.late(frame.filter(mask).select(self.late_columns))
        return Batch(frame.filter(~mask))

    def _without_null(self, batch: Batch, null: pl.Series, context: OperatorContext, out: Collector) -> Batch:
        """The rows that have a time; the others are refused."""
        frame = with_position_column(batch)
        refuse_rows(
            frame.filter(null),
            lambda _: f"the event time {self.time.column} is null",
            operator=context.name,
            policy=self.policy,
            clock=context.clock,
            out=out,
            kind="time",
            remedy="Mend or filter the row",
        )
        return Batch(frame.filter(~null))

    def _late(self, frame: pl.DataFrame, watermark: int) -> Mask | None:
        """Which rows are late; `None` where none is."""
        floors = floors_of(frame, self.time, watermark, self.lateness)
        if floors is None:
            return None
        late = self.time.ticks(frame) < floors
        return late if late.any() else None


def floors_of(frame: pl.DataFrame, time: EventTime, watermark: int, lateness: int) -> Ticks | None:
    """What event time had come to before each row, for its own split or for all, in ticks; `None` if no row is older.

    Args:
        frame: rows that have a time.
        time: their event time.
        watermark: what it has come to for all.
        lateness: how many ticks it is set back.
    """
    floor = max(watermark, WATERMARK_MIN + lateness) - lateness
    if BEHIND not in frame.columns:
        is_older = frame.height and int(time.ticks(frame).min()) < floor
        return np.full(frame.height, floor) if is_older else None
    marks = frame[BEHIND]
    known = marks.is_not_null().to_numpy()
    reached = marks.fill_null(0).to_numpy() // time.ns_per_tick
    return np.where(known, np.maximum(np.maximum(reached, WATERMARK_MIN + lateness) - lateness, floor), floor)
