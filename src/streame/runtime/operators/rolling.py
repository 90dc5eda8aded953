"""Rolling aggregation: for every row what the rows of its key in a stretch of time around it come to."""

from collections.abc import Sequence
from typing import Self

import numpy as np
import polars as pl

from streame.core.aggregates import TIME, Aggregation
from streame.core.frames import frame_of
from streame.core.hidden import POSITION
from streame.core.messages import BATCH_ROWS_MAX, Batch
from streame.core.metrics import StateSize
from streame.core.ordering import Slots
from streame.core.rolling import RollingRule
from streame.core.time import WATERMARK_MAX, WATERMARK_MIN
from streame.runtime.admission import Admission
from streame.runtime.in_time import InTime
from streame.runtime.operator import Collector, Operator, OperatorContext
from streame.runtime.preparation import Preparation
from streame.state.recent import RecentRows
from streame.state.rolling import RollingResults
from streame.state.rows import RowNumbers
from streame.state.shared_keys import SharedKeys
from streame.state.snapshot import Mine


class RollingOperator(Operator):
    """Keeps the rows that windows may still hold, and answers a row when no other row of its window can come.

    Args:
        rule: which rows a window holds.
        keys: the key columns.
        key_schema: the names and dtypes under which they come out.
        aggregation: what is computed of a window.
        admission: which rows are taken.
        preparation: prepares them for the aggregation.
    """

    SAVED = ("_waiting", "_recent", "_index", "_watermark", "_answered")

    def __init__(
        self,
        rule: RollingRule,
        *,
        keys: Sequence[str],
        key_schema: pl.Schema,
        aggregation: Aggregation,
        admission: Admission,
        preparation: Preparation,
    ) -> None:
        self._rule = rule
        self._back, self._ahead = rule.reach
        self._keys = keys
        self._admission = admission
        self._preparation = preparation
        self._waiting = InTime(rule.time)
        self._recent = RecentRows()
        self._is_ordered = aggregation.needs_order
        self._results = RollingResults(rule, aggregation, self._recent)
        self._index = SharedKeys(key_schema, [self._recent]) if keys else None
        self._watermark = self._answered = WATERMARK_MIN

    def open(self, context: OperatorContext) -> None:
        """Remember the name and the clock, for dead letters."""
        self._context = context

    def on_batch(self, port: int, batch: Batch, out: Collector) -> None:
        """Let the rows wait for their time."""
        frame = self._admission.run(batch, self._watermark, self._context, out).frame
        if frame.height:
            self._waiting.add(frame)

    def on_watermark(self, time: int, out: Collector) -> None:
        """Answer the rows whose windows are complete, and let those go that are in no window any more."""
        self._watermark = max(self._watermark, self._rule.time.to_ticks(time))
        _, rows = self._waiting.take(self._watermark)
        if rows.height:
            self._take(rows, out)
        complete = (
            WATERMARK_MAX if time == WATERMARK_MAX else max(self._watermark - self._ahead, self._answered)
        )
        asked = self._recent.between(self._answered, complete)
        for start in range(0, len(asked), BATCH_ROWS_MAX):
            self._answer(asked[start : start + BATCH_ROWS_MAX], out)
        self._answered = complete
        self._recent.forget(max(complete - self._back, WATERMARK_MIN))
        (self._recent if self._index is None else self._index).settle()
        out.watermark(time if time == WATERMARK_MAX else self._rule.time.from_ticks(complete))

    def absorb(self, other: Self, mine: Mine) -> None:
        """See `Operator`."""
        if self._index is None or other._index is None:
            raise AssertionError("there is one instance where there are no keys")
        self._waiting.absorb(other._waiting, self._keys, mine)
        self._index.absorb(other._index, mine)
        self._watermark, self._answered = other._watermark, other._answered

    def state_size(self) -> StateSize:
        """The rows, their keys, and the rows that wait."""
        size, waiting = (self._recent if self._index is None else self._index).size, self._waiting.size
        return StateSize(size.rows + waiting.rows, size.bytes + waiting.bytes)

    def _take(self, rows: pl.DataFrame, out: Collector) -> None:
        """Keep rows whose time has come."""
        frame, prepared = self._preparation.run(Batch(rows), self._context, out)
        slots: Slots = np.zeros(frame.height, np.int32)
        if self._index is not None:
            slots = self._index.slots(frame.select(self._keys))
        times = np.minimum(self._rule.time.ticks(frame), WATERMARK_MAX - 1)
        if self._is_ordered:  # the order of the rows says it all
            prepared = prepared.drop(TIME, POSITION, strict=False)
        self._recent.add(slots, times, prepared)

    def _answer(self, asked: RowNumbers, out: Collector) -> None:
        """Say what the windows of some rows come to."""
        slots, times = self._recent.slots(asked), self._recent.times(asked)
        columns = [] if self._index is None else self._index.keys(slots).get_columns()
        time = self._rule.time.series(self._rule.time.column, times)
        out.emit(Batch(frame_of([*columns, time, *self._results.of(asked).get_columns()])))
