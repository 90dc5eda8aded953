"""A job in this process: a thread for every task, one error for all, and an end that is bounded."""

import logging
import threading
import time
from collections.abc import Mapping
from typing import Literal

from streame.core.clock import Clock, SystemClock
from streame.core.config import Config
from streame.core.metrics import CheckpointMetrics, OperatorMetrics
from streame.errors import StopOverdue
from streame.io.logged import LoggedSource
from streame.runtime.allocator import keep_freed_memory
from streame.runtime.build import Wiring, build_tasks
from streame.runtime.channel import ChannelLimits
from streame.runtime.checkpointing import Checkpointing, Durable
from streame.runtime.gathering import Following, PartCheckpoints
from streame.runtime.graph import Graph, SourceVertex
from streame.runtime.held_back import HeldBack
from streame.runtime.isolation import Isolation
from streame.runtime.operators.sink import SinkOperator
from streame.runtime.restoring import restore
from streame.runtime.source_task import SourceTask
from streame.runtime.task import Task
from streame.state.checkpoint.plan_difference import check_plan, unknown

FAILED_TIMEOUT_S = 10.0
"""How long the tasks of a failed job are waited for: nothing is left for them to work on."""

WAIT_S = 0.1
"""How often a waiting caller looks whether a stop takes too long."""

State = Literal["running", "degraded", "stopping", "finished", "failed"]


log = logging.getLogger("streame")


class LocalRun:
    """A running graph.

    Args:
        graph: what runs.
        config: bounds and settings.
        clock: the wall clock.
        durable: where its checkpoints are kept, claimed for this run, which gives it back; without it nothing survives
            the run.
        wiring: which of the tasks run here, and the channels to the others; `None` for all.
        following: in place of `durable` where another process decides checkpoints.
    """

    def __init__(
        self,
        graph: Graph,
        config: Config,
        clock: Clock | None = None,
        durable: Durable | None = None,
        wiring: Wiring | None = None,
        following: Following | None = None,
    ) -> None:
        limits = ChannelLimits(config.channel_rows, config.channel_bytes)
        self._graph = graph
        self._clock = clock or SystemClock()
        sources = [each.source for each in graph.vertices.values() if isinstance(each, SourceVertex)]
        self._logs = [source for source in sources if isinstance(source, LoggedSource)]
        self._tasks = build_tasks(graph, self._clock, limits, wiring)
        self._config = config
        self._durable = durable
        self._wiring = wiring
        self._following = following
        self._checkpointing: Checkpointing | PartCheckpoints | None = None
        self._isolation: Isolation | None = None
        self._resumed = False
        self._halted = threading.Event()
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        self._failed = threading.Event()
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._began = time.monotonic()
        self._ended_at: float | None = None
        self._shutdown_began: float | None = None
        self._threads = [
            threading.Thread(target=self._run, args=(task,), name=f"streame {task.name}", daemon=True)
            for task in self._tasks
        ]
        if durable is not None or following is not None:
            self._threads.append(
                threading.Thread(target=self._run_checkpoints, name="streame checkpoints", daemon=True)
            )
        self._left = len(self._threads)

    def start(self) -> None:
        """Open all operators, restore them where there is a checkpoint, then start all threads.

        Raises what an operator raises while it is opened, and what is wrong with the checkpoints.
        """
        keep_freed_memory(self._config.memory_limit)
        opened: list[Task] = []
        try:
            for sink in self._sinks():
                if self._durable is not None:
                    sink.check_checkpoints()
                if self._wiring is not None:
                    sink.check_cluster()
            for task in reversed(self._tasks):
                opened.append(task)
                task.open()
            if self._durable is not None:
                self._resume(self._durable)
            elif self._following is not None:
                self._follow(self._following)
            self._catch_up()
        except BaseException:
            for task in opened:
                task.close(failed=True)
            if self._durable is not None:
                self._give_back(self._durable)
            raise
        if not self._threads:  # in a cluster all tasks may be elsewhere
            self._ended.set()
        for thread in self._threads:
            thread.start()

    def _resume(self, durable: Durable) -> None:
        """Put everything where the last checkpoint was, if there is one, and let out what it has decided."""
        store = durable.store
        recovered = store.recover()
        number = 0 if recovered is None else recovered.number
        attempts = store.attempts()
        if attempts is not None:
            sources = [task for task in self._tasks if isinstance(task, SourceTask)]
            self._isolation = Isolation(attempts, number, {task.name: task.refusal for task in sources})
            for source in sources:
                source.isolation = self._isolation
        if recovered is not None:
            differences = check_plan(recovered.plan, durable.plan, durable.allow_dropped)
            for line in unknown(differences, durable.allow_dropped):
                log.warning("%s", line)
            kept = {each.name for each in differences if each.fate == "kept"}
            restore(self._tasks, self._graph, recovered, kept, self._clock)
            self._resumed = True
        for sink in self._sinks():
            if sink.joins_checkpoints:
                decided = recovered.decided.get(sink.name, ()) if recovered is not None else ()
                sink.join_checkpoints(decided, store.outbox(sink.name))
        if recovered is not None:
            store.published(recovered.number)
        begun = CheckpointMetrics()
        if recovered is not None:
            begun = CheckpointMetrics(recovered.number, recovered.at_us or None)
        held_back = HeldBack(self._graph, self._tasks)
        self._checkpointing = Checkpointing(
            durable, self._tasks, begun, self._config.checkpoint_interval_us, self._clock, self._halt,
            self._isolation, held_back.sources, durable.peers,
        )  # fmt: skip
        for task in self._tasks:
            task.checkpointer = self._checkpointing

    def _follow(self, following: Following) -> None:
        """Put the tasks that run here where the last checkpoint was, if there is one."""
        if following.recovered is not None:
            restore(self._tasks, self._graph, following.recovered, following.kept, self._clock)
            self._resumed = True
        self._checkpointing = PartCheckpoints(following, self._tasks)
        for task in self._tasks:
            task.checkpointer = self._checkpointing

    def _catch_up(self) -> None:
        """In a cluster it may have been told to end before it has started."""
        if self._checkpointing is not None and self._failed.is_set():
            self._checkpointing.give_up()
        elif self._checkpointing is not None and self._stopping.is_set():
            self._checkpointing.stop()

    def _give_back(self, durable: Durable) -> None:
        """This run ends in order, whether with an error or without: another one may claim the checkpoints."""
        try:
            if self._isolation is not None:
                self._isolation.ended()
        finally:
            durable.store.release()

    def stop(self) -> None:
        """Read no further; what was read is worked on to its end, or becomes the last checkpoint. Returns at once."""
        self._stopping.set()
        self._shutdown_began = self._shutdown_began or time.monotonic()
        if self._checkpointing is not None:
            self._checkpointing.stop()
        elif self._durable is None and self._following is None:
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
        if self.waits_for is not None:
            return "degraded"
        return "stopping" if self._stopping.is_set() else "running"

    @property
    def waits_for(self) -> str | None:
        """What there is no room for on a full disk, and what the system said; `None` while nothing waits."""
        waiting = [stage.operator.waits_for for task in self._tasks for stage in task.stages()]
        if self._checkpointing is not None:
            waiting.append(self._checkpointing.waits_for)
        waiting += [log.waits_for for log in self._logs]
        return next((each for each in waiting if each is not None), None)

    def checkpoints(self) -> CheckpointMetrics | None:
        """The checkpoints at this moment; `None` without."""
        if self._checkpointing is None:
            return None
        return self._checkpointing.metrics(sum(log.log_bytes for log in self._logs))

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

    def by_instance(self) -> Mapping[tuple[str, int], OperatorMetrics]:
        """The counters of each instance of every operator, by the operator's name and its number."""
        return {
            (stage.name, stage.instance): stage.metrics for task in self._tasks for stage in task.stages()
        }

    def _run(self, task: Task) -> None:
        try:
            if self._resumed:
                task.go_on()
            while not (task.done or self._failed.is_set() or self._halted.is_set()):
                task.step(None)
            if self._checkpointing is not None and not self._failed.is_set():
                if task.done:
                    self._checkpointing.ended(task.part())
                    task.leave()
                self._halted.wait()  # a sink is closed when its last output is out
        except BaseException as error:
            self._fail(error)
        try:
            for closing_error in task.close(failed=self._failed.is_set()):
                self._fail(closing_error)
        except BaseException as error:
            self._fail(error)
        self._one_left()

    def _run_checkpoints(self) -> None:
        assert self._checkpointing is not None
        try:
            self._checkpointing.run()
        except BaseException as error:
            self._fail(error)
        for thread in self._threads:  # they may still use what belongs to the store
            if thread is not threading.current_thread():
                thread.join(self._timeout_s())
        if self._durable is not None:
            try:
                self._give_back(self._durable)
            except Exception as error:
                self._fail(error)
        self._one_left()

    def _halt(self) -> None:
        """No task takes another step."""
        self._halted.set()
        for task in self._tasks:
            task.leave()

    def _one_left(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self._ended_at = time.monotonic()
                self._ended.set()

    @property
    def checkpointing(self) -> Checkpointing | PartCheckpoints | None:
        """The checkpoints, once it has started with some."""
        return self._checkpointing

    def abandon(self, error: BaseException) -> None:
        """End at once, as after an error. May be called from any thread."""
        self._fail(error)

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            if self._error is None:
                self._error = error
        self._shutdown_began = self._shutdown_began or time.monotonic()
        self._failed.set()
        self._halted.set()
        if self._checkpointing is not None:
            self._checkpointing.give_up()
        for task in self._tasks:
            try:
                task.interrupt()
            except Exception as failure:
                error.add_note(f"and {task.name} could not be interrupted: {failure!r}")

    def _sinks(self) -> list[SinkOperator]:
        """The operators at the end."""
        operators = [stage.operator for task in self._tasks for stage in task.stages()]
        return [each for each in operators if isinstance(each, SinkOperator)]

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
            StopOverdue(
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
