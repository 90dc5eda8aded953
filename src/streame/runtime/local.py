"""A job in this process: a thread for every task, one error for all, and an end that is bounded."""

import threading
import time
from collections.abc import Mapping
from typing import Literal

from streame.core.clock import Clock, SystemClock
from streame.core.config import Config
from streame.core.metrics import OperatorMetrics
from streame.errors import StreameError
from streame.runtime.allocator import keep_freed_memory
from streame.runtime.build import build_tasks
from streame.runtime.channel import ChannelLimits
from streame.runtime.graph import Graph
from streame.runtime.source_task import SourceTask
from streame.runtime.task import Task

FAILED_TIMEOUT_S = 10.0
"""How long the tasks of a failed job are waited for: nothing is left for them to work on."""

WAIT_S = 0.1
"""How often a waiting caller looks whether a stop takes too long."""

State = Literal["running", "stopping", "finished", "failed"]


class LocalRun:
    """A running graph.

    Args:
        graph: what runs.
        config: bounds and settings.
        clock: the wall clock.
    """

    def __init__(self, graph: Graph, config: Config, clock: Clock | None = None) -> None:
        limits = ChannelLimits(config.channel_rows, config.channel_bytes)
        self._tasks = build_tasks(graph, clock or SystemClock(), limits)
        self._config = config
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        self._failed = threading.Event()
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._began = time.monotonic()
        self._ended_at: float | None = None
        self._shutdown_began: float | None = None
        self._left = len(self._tasks)
        self._threads = [
            threading.Thread(target=self._run, args=(task,), name=f"streame {task.name}", daemon=True)
            for task in self._tasks
        ]

    def start(self) -> None:
        """Open all operators, then start all threads. Raises what an operator raises while it is opened."""
        keep_freed_memory()
        opened: list[Task] = []
        try:
            for task in reversed(self._tasks):
                opened.append(task)
                task.open()
        except BaseException:
            for task in opened:
                task.close(failed=True)
            raise
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Read no further; what was read is worked on to its end. Returns at once."""
        self._stopping.set()
        self._shutdown_began = self._shutdown_began or time.monotonic()
        for task in self._tasks:
            task.stop_reading()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; return whether it has come. Raises the error that ended the job.

        After `stop`, and after an error, waiting is bounded by the shutdown timeout.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._ended.wait(_until(deadline, WAIT_S)):
            if self._shutdown_overdue():
                return self._give_up()
            if deadline is not None and time.monotonic() >= deadline:
                return False
        return self._result()

    @property
    def state(self) -> State:
        """Where the job stands."""
        if self._error is not None:
            return "failed"
        if self._ended.is_set():
            return "finished"
        return "stopping" if self._stopping.is_set() else "running"

    @property
    def error(self) -> BaseException | None:
        """The error that ended the job."""
        return self._error

    @property
    def seconds(self) -> float:
        """How long the job has run, or did."""
        return (self._ended_at or time.monotonic()) - self._began

    def metrics(self) -> Mapping[str, OperatorMetrics]:
        """The counters of every source and operator, by name; sources first."""
        totals: dict[str, OperatorMetrics] = {}
        for task in self._tasks:
            if isinstance(task, SourceTask):
                totals.setdefault(task.name, OperatorMetrics()).add(task.metrics)
            for stage in task.stages():
                totals.setdefault(stage.name, OperatorMetrics()).add(stage.metrics)
        return totals

    def _run(self, task: Task) -> None:
        try:
            while not task.done and not self._failed.is_set():
                task.step(None)
        except BaseException as error:
            self._fail(error)
        try:
            for closing_error in task.close(failed=self._failed.is_set()):
                self._fail(closing_error)
        except BaseException as error:
            self._fail(error)
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self._ended_at = time.monotonic()
                self._ended.set()

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            if self._error is None:
                self._error = error
        self._shutdown_began = self._shutdown_began or time.monotonic()
        self._failed.set()
        for task in self._tasks:
            try:
                task.interrupt()
            except Exception as failure:
                error.add_note(f"and {task.name} could not be interrupted: {failure!r}")

    def _timeout_s(self) -> float:
        timeout_s = self._config.shutdown_timeout_us / 1e6
        return min(timeout_s, FAILED_TIMEOUT_S) if self._failed.is_set() else timeout_s

    def _shutdown_overdue(self) -> bool:
        began = self._shutdown_began
        return began is not None and time.monotonic() - began > self._timeout_s()

    def _give_up(self) -> bool:
        timeout_s = self._timeout_s()
        stuck = [thread.name.removeprefix("streame ") for thread in self._threads if thread.is_alive()]
        self._fail(
            StreameError(
                f"the job did not stop within {timeout_s:g} s; still busy: {', '.join(stuck)}. A source or a "
                "function that blocks for ever, or a sink whose queue nobody empties, holds a job up; raise "
                "shutdown_timeout if it only needs longer"
            )
        )
        self._ended.wait(1.0)
        return self._result()

    def _result(self) -> bool:
        if self._error is not None:
            raise self._error
        return True


def _until(deadline: float | None, at_most: float | None) -> float | None:
    left = None if deadline is None else max(0.0, deadline - time.monotonic())
    if at_most is None:
        return left
    return at_most if left is None else min(left, at_most)
