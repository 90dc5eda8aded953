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

    def __init__(self, rule: WindowRule) -> None:
        self._time = rule.time
        self._windows = Windows(rule)

    def open(self, context: OperatorContext) -> None:
        """Wait for the end of the first window."""
        self._context = context
        self._wait(context.clock.now_us())

    def on_batch(self, port: int, batch: Batch, out: Collector) -> None:
        """Write the time beside the rows."""
        now_us = self._context.clock.now_us()
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
        out.watermark(self._time.from_ticks(time_us))
        self._wait(time_us)

    def _wait(self, now_us: int) -> None:
        """Set the timer to the next end of a window."""
        ends = self._windows.around(np.array([now_us])).high
        following = int(ends[ends > now_us].min())
        self._context.set_timer(max(following, now_us + REST_MIN_US))
