"""Clock time: writes down when each row came, and says by the wall clock how far the stream has come."""

import numpy as np
import polars as pl

from streame.core.hidden import BEHIND
from streame.core.messages import Batch
from streame.core.time import WATERMARK_MAX
from streame.core.windows import WindowRule, Windows
from streame.runtime.operator import Collector, Operator, OperatorContext

REST_MIN_US = 1_000
"""How long there is at least between two watermarks that no row brings."""


class ClockTimeOperator(Operator):
    """Puts the time of the wall clock beside each row, and sends a watermark when a window ends, rows or none.

    Args:
        rule: the windows that are made of that time, a column of microseconds.
    """

    SAVED = ("_reached_us",)

    def __init__(self, rule: WindowRule) -> None:
        self._time = rule.time
        self._windows = Windows(rule)
        self._reached_us = 0

    def open(self, context: OperatorContext) -> None:
        """Wait for the end of the first window."""
        self._context = context
        self._wait(context.clock.now_us())

    def on_batch(self, port: int, batch: Batch, out: Collector) -> None:
        """Write the time beside the rows."""
        now_us = self._now(self._context.clock.now_us())
        frame = batch.frame.drop(BEHIND, strict=False)
        stamp = pl.Series(self._time.column, [now_us], dtype=pl.Int64).cast(self._time.dtype)
        out.watermark(self._time.from_ticks(now_us))
        out.emit(
            Batch(frame.with_columns(stamp.new_from_index(0, frame.height)), batch.positions, batch.split)
        )

    def on_watermark(self, time: int, out: Collector) -> None:
        """An earlier event time ends here; the end of the stream does not."""
        if time == WATERMARK_MAX:
            out.watermark(time)

    def on_timer(self, time_us: int, out: Collector) -> None:
        """A window has ended."""
        now_us = self._now(time_us)
        out.watermark(self._time.from_ticks(now_us))
        self._wait(now_us)

    def _now(self, now_us: int) -> int:
        """The time of the clock, which does not go back, not even from one process to the next."""
        self._reached_us = max(self._reached_us, now_us)
        return self._reached_us

    def _wait(self, now_us: int) -> None:
        """Set the timer to the next end of a window."""
        ends = self._windows.around(np.array([now_us])).high
        following = int(ends[ends > now_us].min())
        self._context.set_timer(max(following, now_us + REST_MIN_US))
