"""The operator at the end: hands rows to a sink."""

from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl
from polars.exceptions import PanicException

from streame.core.changes import DIFF
from streame.core.hidden import WEIGHT, user_frame
from streame.core.messages import Batch
from streame.errors import ConnectorError, StreameError
from streame.io.sink import Sink
from streame.runtime.operator import Collector, Operator, OperatorContext

FLUSH_INTERVAL_US = 1_000_000


class SinkOperator(Operator):
    """Writes every batch, and flushes every second from the first one on.

    Args:
        sink: where the rows go.
        schema: what they look like.
        changes: whether they carry a weight, which becomes the column `_diff`.
    """

    def __init__(self, sink: Sink, schema: pl.Schema, *, changes: bool = False) -> None:
        self._sink = sink
        self._schema = schema
        self._columns = list(schema)
        self._changes = changes
        self._flushing = False
        self._opened = False

    def open(self, context: OperatorContext) -> None:
        """Open the sink."""
        self._context = context
        with self._explained("opened"):
            self._sink.open(self._schema)
        self._opened = True

    def on_batch(self, port: int, batch: Batch, out: Collector) -> None:
        """Write the rows."""
        frame = user_frame(batch.frame)
        if self._changes:
            frame = frame.hstack([batch.frame[WEIGHT].alias(DIFF)])
        if frame.columns != self._columns:
            frame = frame.select(self._columns)
        with self._explained("written"):
            self._sink.write(frame)
        if not self._flushing:
            self._flushing = True
            self._context.set_timer(self._context.clock.now_us() + FLUSH_INTERVAL_US)

    def on_timer(self, time_us: int, out: Collector) -> None:
        """Make what was written visible."""
        with self._explained("flushed"):
            self._sink.flush()
        self._context.set_timer(time_us + FLUSH_INTERVAL_US)

    def interrupt(self) -> None:
        """Let the sink wait no longer."""
        self._sink.interrupt()

    def close(self, *, failed: bool) -> None:
        """Finish the output, or give it up if the job failed."""
        if not self._opened:
            return
        with self._explained("closed"):
            if failed:
                self._sink.abort()
            else:
                self._sink.close()

    @contextmanager
    def _explained(self, action: str) -> Iterator[None]:
        """Let our own errors through, and say of any other what it means for the job."""
        try:
            yield
        except StreameError:
            raise
        except (Exception, PanicException) as error:
            name = type(self._sink).__name__
            raise ConnectorError(
                f"the sink {name} could not be {action}: {type(error).__name__}: {error}"
            ) from error
