"""Count windows: every so many rows of a key become one row of results."""

from collections.abc import Sequence
from typing import Self

import numpy as np
import polars as pl

from streame.core.aggregates import Aggregation
from streame.core.frames import frame_of
from streame.core.messages import BATCH_ROWS_MAX, Batch
from streame.core.metrics import StateSize
from streame.core.ordering import Slots
from streame.core.sessions import END, START
from streame.core.time import WATERMARK_MAX, WATERMARK_MIN
from streame.runtime.admission import Admission
from streame.runtime.in_time import InTime
from streame.runtime.operator import Collector, Operator, OperatorContext
from streame.runtime.preparation import Preparation
from streame.state.counted import CountedRows, CountedWindows
from streame.state.shared_keys import SharedKeys
from streame.state.snapshot import Mine


class CountWindowOperator(Operator):
    """Adds rows to the window of their key, in the order of event time where there is one, else as they come.

    Args:
        count: how many rows make a window.
        keys: the key columns.
        key_schema: the names and dtypes under which they come out.
        aggregation: what is computed of a window.
        admission: which rows are taken; `None` where there is no event time.
        preparation: prepares them for the aggregation.
    """

    SAVED = ("_waiting", "_counted", "_index", "_watermark")

    def __init__(
        self,
        count: int,
        *,
        keys: Sequence[str],
        key_schema: pl.Schema,
        aggregation: Aggregation,
        admission: Admission | None,
        preparation: Preparation,
    ) -> None:
        self._keys = keys
        self._admission = admission
        self._waiting = None if admission is None else InTime(admission.time)
        self._preparation = preparation
        self._counted = CountedRows(count, aggregation)
        self._index = SharedKeys(key_schema, [self._counted]) if keys else None
        self._watermark = WATERMARK_MIN

    def open(self, context: OperatorContext) -> None:
        """Remember the name and the clock, for dead letters."""
        self._context = context

    def absorb(self, other: Self, mine: Mine) -> None:
        """Take the windows and the waiting rows of the keys that are owned."""
        assert self._index is not None
        assert other._index is not None
        self._index.absorb(other._index, mine)
        if self._waiting is not None and other._waiting is not None:
            self._waiting.absorb(other._waiting, self._keys, mine)
        self._watermark = max(self._watermark, other._watermark)

    def on_batch(self, port: int, batch: Batch, out: Collector) -> None:
        """Let the rows wait for their time, or count them."""
        if self._admission is None or self._waiting is None:
            self._count(batch, out)
            return
        frame = self._admission.run(batch, self._watermark, self._context, out).frame
        if frame.height:
            self._waiting.add(frame)

    def on_watermark(self, time: int, out: Collector) -> None:
        """Count the rows whose time has come; at the end say what is left."""
        if self._admission is not None and self._waiting is not None:
            event_time = self._admission.time
            self._watermark = event_time.to_ticks(time)
            _, rows = self._waiting.take(self._watermark)
            if rows.height:
                self._count(Batch(rows), out)
        if time == WATERMARK_MAX:
            self._say(self._counted.rest(), out)
        out.watermark(time)

    def state_size(self) -> StateSize:
        """The windows that are not complete, their keys, and the rows that wait."""
        size = self._counted.size if self._index is None else self._index.size
        waiting = self._waiting.size if self._waiting is not None else StateSize(0, 0)
        return StateSize(size.rows + waiting.rows, size.bytes + waiting.bytes)

    def _count(self, batch: Batch, out: Collector) -> None:
        """Add rows to windows, and say those that are complete."""
        frame, rows = self._preparation.run(batch, self._context, out)
        if not frame.height:
            return
        slots: Slots = np.zeros(frame.height, np.int32)
        if self._index is not None:
            slots = self._index.slots(frame.select(self._keys))
        times = (
            np.zeros(frame.height, np.int64) if self._admission is None else self._admission.time.ticks(frame)
        )
        self._say(self._counted.add(slots, times, rows), out)
        (self._counted if self._index is None else self._index).settle()

    def _say(self, windows: CountedWindows, out: Collector) -> None:
        """Emit windows."""
        columns = [] if self._index is None else self._index.keys(windows.slots).get_columns()
        if self._admission is not None:
            time = self._admission.time
            columns += [time.series(START, windows.starts), time.series(END, windows.ends)]
        frame = frame_of([*columns, *windows.results.get_columns()])
        for part in frame.iter_slices(BATCH_ROWS_MAX):
            if part.height:
                out.emit(Batch(part))
