"""The driver: steps a pipeline by hand, in one thread and with a clock that a test moves."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from types import TracebackType
from typing import Any, TypeVar

import polars as pl

from streame.api.dataframe import StreamDataFrame
from streame.api.job import Job, write_job
from streame.core.clock import ManualClock
from streame.core.config import Config
from streame.core.deadletters import DEAD_LETTER_SCHEMA
from streame.core.durations import duration_us
from streame.errors import PlanError
from streame.io.formats.rows import RowDecoder
from streame.io.rows import FramesSource
from streame.io.sink import Sink
from streame.io.source import Chunk, Offset, Source
from streame.plan.lower import lower
from streame.plan.nodes import Node, Scan, Write
from streame.plan.optimizer import optimize
from streame.plan.rewrite import rewrite
from streame.runtime.build import build_tasks
from streame.runtime.operators.sink import SinkOperator

T = TypeVar("T")

SPLIT = "pushed"
"""The name of the one split of every source that a test feeds."""


class Driver(AbstractContextManager["Driver"]):
    r"""Runs a pipeline on what a test pushes: the real tasks, stepped until nothing moves, without threads.

    The pipeline's sources and sinks are left alone: rows come from `push` and go to `take`. What the plan says of
    a source still holds: its schema, `required`, `on_error`, and whether it ends. Nothing depends on time but the
    clock, which stands still until `advance`.

    Args:
        pipeline: a frame, or a job with its sinks.
        clock: the wall clock; a new one that stands at 1970 by default.
        parallelism: instances of every keyed operator.
        splits: the names of the splits of sources that are to have several, by the source's name.

    Raises:
        PlanError: as running the job would.

    Example:
        >>> import polars as pl, streame as st
        >>> from streame.testing import Driver, batch
        >>> orders = st.scan_rows([], {"user": pl.String, "amount": pl.Int64})
        >>> with Driver(orders.filter(pl.col("amount") > 3)) as pipeline:
        ...     pipeline.push(batch("user:s amount:i\n ann 5\n bob 2"))
        ...     pipeline.take()[0].rows()
        [('ann', 5)]
    """

    def __init__(
        self,
        pipeline: StreamDataFrame | Job,
        clock: ManualClock | None = None,
        *,
        parallelism: int = 1,
        splits: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.clock = clock or ManualClock()
        self._splits = splits or {}
        job = pipeline if isinstance(pipeline, Job) else write_job(pipeline.node, _Kept, "output")
        self._sources: dict[str, _Pushed] = {}
        self._sinks: dict[str, _Kept] = {}
        self._letters = _Kept()
        plan = rewrite(job.writes, self._by_hand)
        writes = [node for node in optimize(plan) if isinstance(node, Write)]
        graph = lower(writes, Config(parallelism=parallelism), lambda: self._letters)
        self._tasks = build_tasks(graph, self.clock, None)
        self._open = list(self._tasks)
        for task in reversed(self._tasks):
            task.open()

    @property
    def sinks(self) -> list[str]:
        """The names of the sinks, in order, as `take` wants them."""
        return list(self._sinks)

    def push(
        self, rows: pl.DataFrame | Sequence[Any], to: str | None = None, *, split: str | None = None
    ) -> None:
        """Give rows to a source, and run until nothing moves.

        Args:
            rows: a frame with the source's columns; or a list of dicts, dataclasses or tuples, which are validated
                as `scan_rows` does, so that bad ones can be pushed too.
            to: the source's name; may be left out if there is one.
            split: the split that they come from; may be left out if the source has one.

        Raises:
            StreameError: what would end the job; the driver is closed then. Also when there is no such source, or it
                has ended.

        Example:
            >>> import polars as pl, streame as st
            >>> from streame.testing import Driver
            >>> orders = st.scan_rows([], {"qty": pl.Int64}, on_error="dead_letter")
            >>> with Driver(orders) as pipeline:
            ...     pipeline.push([{"qty": 2}, {"qty": "two"}])
            ...     pipeline.rejected().select("offset", "kind").rows()
            [(1, 'type')]
        """
        _chosen(self._sources, to, "source").add(rows, split)
        self._run()

    def end(self, source: str | None = None, *, split: str | None = None) -> None:
        """Say that nothing more comes from a source, and run until nothing moves.

        Args:
            source: its name; may be left out if there is one.
            split: the split that has ended; all of them by default.

        Raises:
            StreameError: what would end the job; the driver is closed then. Also when there is no such source.
        """
        _chosen(self._sources, source, "source").end(split)
        self._run()

    def advance(self, duration: str | timedelta) -> None:
        r"""Move the clock on; timers fire in the order in which they are due.

        Args:
            duration: such as `"10s"`.

        Raises:
            StreameError: what would end the job; the driver is closed then. Also when the duration cannot be read.

        Example:
            >>> import queue, polars as pl, streame as st
            >>> from streame.testing import Driver, batch
            >>> orders = st.scan_rows([], {"item": pl.String}, name="orders")
            >>> prices = st.scan_queue(queue.Queue(), {"item": pl.String, "price": pl.Int64})
            >>> joined = orders.join(prices.as_table("item"), how="left", wait="10s")
            >>> with Driver(joined) as pipeline:
            ...     pipeline.push(batch("item:s\n tea"), to="orders")
            ...     pipeline.advance("10s")
            ...     pipeline.take()[0].rows()
            [('tea', None)]
        """
        end_us = self.clock.now_us() + duration_us(duration, where="advance")
        while (due_us := self._next_timer_us()) is not None and due_us <= end_us:
            self._move_to(due_us)
        self._move_to(end_us)

    def take(self, sink: str | None = None) -> list[pl.DataFrame]:
        """The frames that came out since the last call, in order.

        Args:
            sink: its name, such as `"sink orders"`; may be left out if there is one.

        Returns:
            Frames of at least one row, cut as the engine cut them; `pl.concat` makes one of them.

        Raises:
            PlanError: when there is no such sink.
        """
        kept = _chosen(self._sinks, sink, "sink")
        frames, kept.frames = kept.frames, []
        return frames

    def rejected(self) -> pl.DataFrame:
        """All dead letters so far.

        Returns:
            A frame of `st.DEAD_LETTER_SCHEMA`, in the order in which they came; unlike `take` it forgets nothing.
        """
        return pl.concat([pl.DataFrame(schema=DEAD_LETTER_SCHEMA), *self._letters.frames])

    def close(self) -> None:
        """End all sources, run until nothing moves, and close everything. `take` still works.

        Raises:
            StreameError: what would end the job.
        """
        for source in self._sources.values():
            source.end(None)
        if self._open:
            self._run()
        self._give_up()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._give_up()

    def _by_hand(self, node: Node, original: Node) -> Node:
        match node:
            case Scan():
                source = _Pushed(node, self._splits.get(node.name, (SPLIT,)))
                self._sources[node.name] = source
                return replace(node, source=source)
            case Write():
                sink = self._sinks[node.name] = _Kept()
                return replace(node, make_sink=lambda: sink)
            case _:
                return node

    def _run(self) -> None:
        """Step all tasks in turn until none has anything to do."""
        assert self._open, "the driver is closed"
        try:
            while self._step_each():
                for task in [task for task in self._open if task.done]:
                    self._open.remove(task)
                    for error in task.close(failed=False):
                        raise error
        except BaseException:
            self._give_up()
            raise

    def _step_each(self) -> bool:
        """Give every task a turn; return whether any had something to do."""
        moved = [task.step(0) for task in self._open]
        return any(moved)

    def _give_up(self) -> None:
        while self._open:
            self._open.pop().close(failed=True)

    def _move_to(self, time_us: int) -> None:
        self.clock.advance(timedelta(microseconds=time_us - self.clock.now_us()))
        if self._open:
            self._run()

    def _next_timer_us(self) -> int | None:
        """The earliest timer; those that only flush a sink need no stop of their own."""
        stages = [stage for task in self._open for stage in task.stages() if not stage.finished]
        times = [stage.timer_us for stage in stages if not isinstance(stage.operator, SinkOperator)]
        return min((time for time in times if time is not None), default=None)


class _Pushed(Source):
    """A source that gives what was pushed to it, in the place of another one."""

    together = True

    def __init__(self, scan: Scan, splits: Sequence[str]) -> None:
        self.bounded = scan.source.bounded
        self.one_split = len(splits) == 1
        self._schema = scan.source_schema
        self._required = scan.required
        self._chunks: dict[str, deque[Chunk]] = {split: deque() for split in splits}
        self._rows = dict.fromkeys(splits, 0)
        self._ended: set[str] = set()

    def schema(self) -> pl.Schema:
        return self._schema

    def splits(self) -> Sequence[str]:
        return list(self._chunks)

    def read(self, split: str, offset: Offset) -> Iterator[Chunk | None]:
        chunks = self._chunks[split]
        while chunks or split not in self._ended:
            yield chunks.popleft() if chunks else None

    def end(self, split: str | None) -> None:
        self._ended.update(self._chunks if split is None else [_chosen_split(self._chunks, split)])

    def add(self, rows: pl.DataFrame | Sequence[Any], split: str | None) -> None:
        name = _chosen_split(self._chunks, split)
        if name in self._ended:
            raise PlanError("push: the source has ended")
        start = self._rows[name]
        self._rows[name] += len(rows)
        if isinstance(rows, pl.DataFrame):
            frames = FramesSource([rows], self._schema, self._required)
            given = frames.read("frames", (0, start))
            self._chunks[name] += [chunk for chunk in given if chunk is not None]
            return
        decoded = RowDecoder(self._schema, self._required).decode(rows, start)
        self._chunks[name].append(Chunk(decoded.frame, self._rows[name], decoded.offsets, decoded.rejected))


class _Kept(Sink):
    """A sink that keeps frames for a test to take."""

    separate = False

    def __init__(self) -> None:
        self.frames: list[pl.DataFrame] = []

    def write(self, frame: pl.DataFrame) -> None:
        self.frames.append(frame)


def _chosen_split(chunks: Mapping[str, object], split: str | None) -> str:
    if split is None and len(chunks) == 1:
        return next(iter(chunks))
    if split is None or split not in chunks:
        raise PlanError(f"driver: say which split is meant; there are {', '.join(map(repr, chunks))}")
    return split


def _chosen(named: dict[str, T], name: str | None, what: str) -> T:
    if name is None and len(named) == 1:
        return next(iter(named.values()))
    if name is None or name not in named:
        raise PlanError(f"driver: say which {what} is meant; there are {', '.join(map(repr, named))}")
    return named[name]
