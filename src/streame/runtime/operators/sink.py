"""The operator at the end: hands rows to a sink."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import polars as pl
from polars.exceptions import PanicException

from streame.core.changes import DIFF
from streame.core.full_disk import is_full_disk
from streame.core.hidden import WEIGHT, user_frame
from streame.core.messages import Batch
from streame.core.staging import Decided, Outbox, Staged
from streame.errors import ConnectorError, StreameError
from streame.io.sink import Sink, TransactionalSink
from streame.runtime.operator import Collector, Operator, OperatorContext
from streame.storage.room import RoomWait

FLUSH_INTERVAL_US = 1_000_000

T = TypeVar("T")


class SinkOperator(Operator):
    """Writes every batch, and flushes every second from the first one on.

    It keeps nothing that is saved: what was written is staged at each barrier.

    Args:
        sink: where the rows go.
        schema: what they look like.
        changes: whether they carry a weight, which becomes the column `_diff`.
    """

    DERIVED = ("_flushing", "_joined")

    def __init__(self, sink: Sink, schema: pl.Schema, *, changes: bool = False) -> None:
        self._sink = sink
        self._schema = schema
        self._columns = list(schema)
        self._changes = changes
        self._joined: TransactionalSink | None = None
        self._flushing = False
        self._opened = False
        self._given_up = threading.Event()
        self._room = RoomWait()

    @property
    def waits_for(self) -> str | None:
        """See `Operator`."""
        return self._room.waits_for

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
        self._insist("written", lambda: self._sink.write(frame))
        if not self._flushing:
            self._flushing = True
            self._context.set_timer(self._context.clock.now_us() + FLUSH_INTERVAL_US)

    def on_timer(self, time_us: int, out: Collector) -> None:
        """Make what was written visible."""
        with self._explained("flushed"):
            self._sink.flush()
        self._context.set_timer(time_us + FLUSH_INTERVAL_US)

    def check_checkpoints(self) -> None:
        """Let the sink refuse a job with checkpoints."""
        self._sink.check_checkpoints()

    def check_cluster(self) -> None:
        """Let the sink refuse a job in a cluster; called before `open`."""
        self._sink.check_cluster()

    @property
    def name(self) -> str:
        """Its name in the job, once it is open."""
        return self._context.name

    @property
    def joins_checkpoints(self) -> bool:
        """Whether its output can be a part of checkpoints."""
        return isinstance(self._sink, TransactionalSink) and self._sink.delivery == "exactly_once"

    def join_checkpoints(self, decided: Sequence[Decided], outbox: Outbox) -> None:
        """Go on where the last checkpoint was; called right after `open`."""
        assert isinstance(self._sink, TransactionalSink)
        with self._explained("resumed"):
            self._sink.join_checkpoints(decided, outbox)
        self._joined = self._sink

    def stage(self) -> Staged | None:
        """Stage what was written since the last time; of a sink that cannot, make it visible."""
        if self._joined is not None:
            return self._insist("staged", self._joined.stage)
        with self._explained("flushed"):
            self._sink.flush()
        return None

    def publish(self, decided: Decided) -> None:
        """Make the output of a checkpoint visible. Called from another thread."""
        assert self._joined is not None
        with self._explained("published"):
            self._joined.publish(decided)

    def interrupt(self) -> None:
        """Let the sink wait no longer."""
        self._given_up.set()
        self._sink.interrupt()

    def _insist(self, action: str, act: Callable[[], T]) -> T:
        """Do something, again and again as long as the disk is full: nothing is read meanwhile, and nothing lost."""
        while True:
            try:
                with self._explained(action):
                    result = act()
            except (OSError, StreameError) as error:
                if self._joined is None or not is_full_disk(error) or self._given_up.is_set():
                    raise
                self._given_up.wait(self._room.failed(f"the output of {self.name}", error))
                continue
            self._room.passed()
            return result

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
