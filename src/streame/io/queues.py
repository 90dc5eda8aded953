"""Queues of the program itself as source and sink: our own `Queue`, and those of `queue` and `asyncio`."""

import asyncio
import queue
import threading
from collections.abc import Collection, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Protocol, TypeVar

import polars as pl

from streame.core.deadletters import BadRow
from streame.core.messages import BATCH_ROWS_MAX
from streame.errors import ConnectorError, PlanError, StreameError
from streame.io.durable_queue import END, Queue
from streame.io.formats.rows import RowDecoder
from streame.io.sink import Sink
from streame.io.source import Chunk, Offset, Source

T = TypeVar("T")

_WAIT_S = 0.05
"""How long a step may wait; a job can only be stopped in between."""
_ROWS_PER_SLICE = 256
"""Rows that are made into dicts in one go: more would hold up every other thread of the process."""


AnyQueue = Any
"""A `Queue` of ours, a `queue.Queue`, a `queue.SimpleQueue`, an `asyncio.Queue`, or what is like the middle two."""


class _Ended(Exception):  # noqa: N818 (no error: a signal)
    """The queue was shut down by its owner."""


_SHUT_DOWN: tuple[type[BaseException], ...] = tuple(
    error
    for error in (getattr(queue, "ShutDown", None), getattr(asyncio, "QueueShutDown", None))
    if error is not None
)


class _Taking(Protocol):
    """A queue that is read by the engine's thread."""

    def take(self, wait_s: float) -> list[Any]:
        """The items that are there, after a short wait if there are none. Raises `_Ended` on a closed queue."""


class _Access(_Taking, Protocol):
    """The two kinds of queue made alike, for the engine's thread."""

    def put(self, items: Sequence[Any], stopped: threading.Event) -> None:
        """Put all items, waiting for room until `stopped` is set."""


class _ThreadQueue:
    def __init__(self, items: AnyQueue) -> None:
        self._queue = items

    def take(self, wait_s: float) -> list[Any]:
        try:
            taken = [self._queue.get(timeout=wait_s)]
        except queue.Empty:
            return []
        except _SHUT_DOWN:
            raise _Ended from None
        get = self._queue.get_nowait
        with suppress(queue.Empty, *_SHUT_DOWN):
            while taken[-1] is not END and len(taken) < BATCH_ROWS_MAX:
                taken.append(get())
        return taken

    def put(self, items: Sequence[Any], stopped: threading.Event) -> None:
        for item in items:
            while not stopped.is_set():
                try:
                    self._queue.put(item, timeout=_WAIT_S)
                    break
                except queue.Full:
                    continue
                except _SHUT_DOWN as error:
                    raise ConnectorError("the queue of the sink was shut down by its owner") from error


class _AsyncQueue:
    def __init__(self, items: "asyncio.Queue[Any]", loop: asyncio.AbstractEventLoop) -> None:
        self._queue = items
        self._loop = loop
        self._taking: Future[list[Any]] | None = None

    def take(self, wait_s: float) -> list[Any]:
        if self._taking is None:
            self._taking = self._submit(self._take(wait_s))
        try:
            taken = self._taking.result(2 * wait_s)
        except TimeoutError:  # the loop is busy; what it takes is picked up the next time
            return []
        except _SHUT_DOWN:
            raise _Ended from None
        self._taking = None
        return taken

    def put(self, items: Sequence[Any], stopped: threading.Event) -> None:
        putting = self._submit(self._put(items))
        while not stopped.is_set():
            try:
                return putting.result(_WAIT_S)
            except TimeoutError:
                self._check_loop()
            except _SHUT_DOWN as error:
                raise ConnectorError("the queue of the sink was shut down by its owner") from error
        putting.cancel()
        return None

    async def _take(self, wait_s: float) -> list[Any]:
        try:
            taken = [await asyncio.wait_for(self._queue.get(), wait_s)]
        except TimeoutError:
            return []
        with suppress(asyncio.QueueEmpty, *_SHUT_DOWN):
            while taken[-1] is not END and len(taken) < BATCH_ROWS_MAX:
                taken.append(self._queue.get_nowait())
        return taken

    async def _put(self, items: Sequence[Any]) -> None:
        for item in items:
            await self._queue.put(item)

    def _submit(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:
            work.close()
            self._check_loop()
            raise

    def _check_loop(self) -> None:
        if self._loop.is_closed():
            raise ConnectorError("the event loop of the asyncio.Queue is closed")


def _loop_of(items: AnyQueue) -> asyncio.AbstractEventLoop | None:
    """The loop that serves an `asyncio.Queue`; `None` for other queues."""
    if not isinstance(items, asyncio.Queue):
        if not callable(getattr(items, "get_nowait", None)) or not callable(getattr(items, "put", None)):
            raise PlanError(
                f"found {type(items).__name__} where a queue is needed; "
                "give a queue.Queue, a queue.SimpleQueue or an asyncio.Queue"
            )
        return None
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise PlanError(
            "an asyncio.Queue belongs to an event loop, and none is running here; build the pipeline inside a "
            "coroutine, or use a queue.Queue"
        ) from None


def _access(items: AnyQueue, loop: asyncio.AbstractEventLoop | None) -> _Access:
    return _ThreadQueue(items) if loop is None else _AsyncQueue(items, loop)


class QueueSource(Source):
    """Rows that the program itself puts into a queue: dicts, dataclasses, tuples or lists; `END` ends them.

    A row is handed over at once; many that wait are handed over together. An `asyncio.Queue` is read through
    the loop in which the source was made, so that loop must not be blocked by the job: use `start`, not `run`.
    A queue forgets what was taken from it; only a `Queue` of ours can wait until its rows are durable.

    Args:
        items: the queue. Shutting it down (Python 3.13) ends the rows too.
        schema: the columns.
        required: columns that may not be null.

    Raises:
        PlanError: when `items` is no queue, an `asyncio.Queue` comes without a running loop, or the schema
            cannot be read from Python values.
    """

    bounded = False
    one_split = True
    python_rows = True
    replayable = False

    def __init__(self, items: AnyQueue, schema: pl.Schema, required: Collection[str] = ()) -> None:
        self.loop = None if isinstance(items, Queue) else _loop_of(items)
        self._queue = items
        self._schema = schema
        self._decoder = RowDecoder(schema, required)

    def schema(self) -> pl.Schema:
        """The columns."""
        return self._schema

    def splits(self) -> Sequence[str]:
        """One."""
        return ("queue",)

    def start_answering(self) -> None:
        """See `AnsweringSource`.

        Raises:
            PlanError: when the queue cannot tell whoever puts a row that it is durable, or another job reads it.
        """
        if not isinstance(self._queue, Queue):
            kind = type(self._queue)
            raise PlanError(
                f"a {kind.__module__}.{kind.__name__} forgets a row when it is read, and a crash would lose it; in a job "
                "with checkpoints use st.Queue, whose put returns when the row is durable"
            )
        self._queue.start_answering()

    def answer(self, split: str, error: StreameError | None) -> None:
        """See `AnsweringSource`."""
        self._queue.answer(error)

    def stop_answering(self, why: str) -> None:
        """See `AnsweringSource`."""
        self._queue.stop_answering(why)

    def stand_by(self, leader: str | None) -> None:
        """See `StandbySource`. Only a `Queue` of ours can tell whoever puts a row; others keep it in memory."""
        if isinstance(self._queue, Queue):
            self._queue.stand_by(leader)

    def stop_standing_by(self, why: str = "") -> None:
        """See `StandbySource`."""
        if isinstance(self._queue, Queue):
            self._queue.stop_standing_by(why)

    def read(self, split: str, offset: Offset) -> Iterator[Chunk | None]:
        """The rows that come, numbered from `offset`. A queue forgets what was taken, so nothing is skipped."""
        row = int(offset or 0)
        access: _Taking
        if isinstance(self._queue, Queue):
            access = self._queue
            self._queue.begin()
        else:
            access = _access(self._queue, self.loop)
        while True:
            try:
                items = access.take(_WAIT_S)
            except _Ended:
                return
            ended = bool(items) and items[-1] is END
            if ended:
                items.pop()
            if items:
                decoded = self._decoder.decode(items, row)
                row += len(items)
                rejected: Sequence[BadRow] = decoded.rejected
                yield Chunk(decoded.frame, row, decoded.offsets, rejected)
            if ended:
                return
            if not items:
                yield None


class QueueSink(Sink):
    """Puts rows into a queue as dicts, or whole frames; a full queue holds the pipeline up.

    In a cluster they come where the job is led, each at least once: some again in the queue of the next leader.

    Args:
        items: the queue; an `asyncio.Queue` is filled through the loop in which the sink was made.
        as_frames: put Polars frames instead of one dict per row.
        end: put `END` when all rows have come.

    Raises:
        PlanError: when `items` is no queue, or an `asyncio.Queue` comes without a running loop.
    """

    separate = False

    def __init__(self, items: AnyQueue, *, as_frames: bool = False, end: bool = True) -> None:
        self.loop = _loop_of(items)
        self._access = _access(items, self.loop)
        self._as_frames = as_frames
        self._end = end
        self._stopped = threading.Event()

    def open(self, schema: pl.Schema) -> None:
        """Begin, also again after an `interrupt`."""
        self._stopped.clear()

    def write(self, frame: pl.DataFrame) -> None:
        """Put the rows, waiting for room; gives up when it is interrupted."""
        if self._as_frames:
            self._access.put([frame.clone()], self._stopped)
            return
        for start in range(0, frame.height, _ROWS_PER_SLICE):
            self._access.put(frame.slice(start, _ROWS_PER_SLICE).to_dicts(), self._stopped)

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """Put `END`, if wanted."""
        if self._end:
            self._access.put([END], self._stopped)

    def interrupt(self) -> None:
        """Wait for room no longer."""
        self._stopped.set()
