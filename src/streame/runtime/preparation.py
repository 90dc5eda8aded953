"""Preparation: what an aggregation must know of rows, and which rows it cannot be computed for."""

import polars as pl

from streame.core.aggregates import Aggregation
from streame.core.messages import Batch
from streame.core.positions import with_position_column
from streame.core.time import WATERMARK_MIN, EventTime
from streame.runtime.letters import RefusalPolicy, refuse_rows
from streame.runtime.operator import Collector, OperatorContext
from streame.runtime.salvage import FAILURES, all_but, halved


class Preparation:
    """Prepares rows for an aggregation, batch by batch.

    Args:
        aggregation: what is computed of them.
        time: the column that orders them, if there is one.
        policy: what becomes of rows for which an expression in an aggregate fails.
    """

    def __init__(self, aggregation: Aggregation, time: EventTime | None, policy: RefusalPolicy) -> None:
        self._aggregation = aggregation
        self._time = time if aggregation.needs_order else None
        self._policy = policy

    def run(
        self, batch: Batch, context: OperatorContext, out: Collector
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The rows that are not refused, and what `Aggregation.prepare` gives for them."""
        frame = batch.frame
        try:
            return frame, self._prepared(frame)
        except FAILURES:
            frame = with_position_column(batch)
            bad = halved(self._prepared, frame).bad

            def reason(number: int) -> BaseException | str:
                row = frame[bad[number] : bad[number] + 1]
                try:
                    self._prepared(row)
                except FAILURES as error:
                    return error
                return "it failed among other rows, but not alone"

            refuse_rows(
                frame[bad], reason, operator=context.name, policy=self._policy, clock=context.clock, out=out
            )
            kept = frame.filter(all_but(bad, frame.height))
            return kept, self._prepared(kept)

    def _prepared(self, frame: pl.DataFrame) -> pl.DataFrame:
        return self._aggregation.prepare(frame, self._ticks(frame))

    def _ticks(self, frame: pl.DataFrame) -> pl.Series | None:
        """The time of each row, for its place among the rows of its group; null comes first, as in Polars' sort."""
        if self._time is None:
            return None
        return frame[self._time.column].cast(pl.Int64).fill_null(WATERMARK_MIN)
