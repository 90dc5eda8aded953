"""First rows: of the rows with equal keys only the first goes on."""

from collections.abc import Sequence
from typing import Self

import polars as pl

from streame.core.hidden import hidden_of
from streame.core.messages import BATCH_ROWS_MAX, Batch
from streame.core.metrics import StateSize
from streame.core.time import WATERMARK_MAX, WATERMARK_MIN, Ticks
from streame.runtime.admission import Admission
from streame.runtime.in_time import InTime
from streame.runtime.operator import Collector, Operator, OperatorContext
from streame.state.seen import SeenKeys
from streame.state.shared_keys import SharedKeys
from streame.state.snapshot import Mine


class FirstRowsOperator(Operator):
    """Sends on the first row of each key: by event time, and so when no older row can come; else as they come.

    Args:
        keys: the columns by which rows are equal, and their dtypes.
        columns: the columns that come out.
        within: for how many ticks after a row others are repeats of it; `None` for ever.
        admission: which rows are taken; `None` where there is no event time.
    """

    SAVED = ("_waiting", "_seen", "_index", "_watermark")

    def __init__(
        self, *, keys: pl.Schema, columns: Sequence[str], within: int | None, admission: Admission | None
    ) -> None:
        self._keys: Sequence[str] = keys.names()
        self._columns = columns
        self._admission = admission
        self._waiting = None if admission is None else InTime(admission.time)
        self._seen = SeenKeys(within)
        self._index = SharedKeys(keys, [self._seen])
        self._watermark = WATERMARK_MIN

    def open(self, context: OperatorContext) -> None:
        """Remember the name and the clock, for dead letters."""
        self._context = context

    def on_batch(self, port: int, batch: Batch, out: Collector) -> None:
        """Let the rows wait for their time, or send on those that are the first."""
        if self._admission is None or self._waiting is None:
            self._send(batch.frame, None, out)
            return
        frame = self._admission.run(batch, self._watermark, self._context, out).frame
        if frame.height:
            self._waiting.add(frame)

    def on_watermark(self, time: int, out: Collector) -> None:
        """Send on the rows whose time has come."""
        if self._admission is None or self._waiting is None:
            out.watermark(time)
            return
        event_time = self._admission.time
        self._watermark = max(self._watermark, event_time.to_ticks(time))
        times, rows = self._waiting.take(self._watermark)
        self._send(rows, times, out)
        self._seen.forget(self._watermark)
        self._index.settle()
        out.watermark(time if time == WATERMARK_MAX else event_time.from_ticks(self._watermark))

    def absorb(self, other: Self, mine: Mine) -> None:
        """See `Operator`."""
        self._index.absorb(other._index, mine)
        if self._waiting is not None and other._waiting is not None:
            self._waiting.absorb(other._waiting, self._keys, mine)
        self._watermark = other._watermark

    def state_size(self) -> StateSize:
        """The keys, and the rows that wait."""
        keys, waiting = self._index.size, self._waiting.size if self._waiting else StateSize(0, 0)
        return StateSize(keys.rows + waiting.rows, keys.bytes + waiting.bytes)

    def _send(self, rows: pl.DataFrame, times: Ticks | None, out: Collector) -> None:
        """Send on the rows that are the first of their key."""
        if not rows.height:
            return
        kept = self._seen.take(self._index.slots(rows.select(self._keys)), times)
        first = (rows if kept.all() else rows.filter(pl.Series(kept))).select(
            *self._columns, *hidden_of(rows)
        )
        for part in first.iter_slices(BATCH_ROWS_MAX):
            if part.height:
                out.emit(Batch(part))
