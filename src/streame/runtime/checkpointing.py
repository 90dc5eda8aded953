"""The checkpoints of a run: a thread that asks for them, writes them, and lets their output out."""

import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from queue import Empty, SimpleQueue
from typing import Protocol, TypeAlias, TypeVar

from streame.core.clock import Clock
from streame.core.failpoints import failpoint
from streame.core.full_disk import is_full_disk
from streame.core.metrics import CheckpointMetrics
from streame.core.staging import Decided, Json
from streame.runtime.coordinator import Complete, Coordinator
from streame.runtime.isolation import Isolation
from streame.runtime.operators.sink import SinkOperator
from streame.runtime.part import Gathered, TaskPart
from streame.runtime.source_task import SourceTask
from streame.runtime.task import Task
from streame.state.checkpoint.manifest import StoredState
from streame.state.checkpoint.store import CheckpointStore, Draft
from streame.state.snapshot import Snapshot
from streame.storage.room import RoomAlarm, RoomWait

T = TypeVar("T")

_REST_S = 0.01
"""How long to wait at least when no checkpoint could begin."""

_CAREFUL_S = 1.0
"""How long there is at most between two checkpoints of a careful start."""

_PAUSE = 0.1
"""The part of an interval that lies at least between a checkpoint and the next."""


class Peers(Protocol):
    """The other processes that run tasks of the same graph, and write the parts of those themselves."""

    tasks: frozenset[str]
    """The keys of the tasks that run there."""

    @property
    def is_held(self) -> bool:
        """Whether one of them leaves input unread for now, so that no barrier can come through, or may do so."""

    def inject(self, checkpoint: int, *, last: bool) -> None:
        """Ask all of them for their parts of a checkpoint, which come as `Checkpointing.gathered`.

        Args:
            checkpoint: its number.
            last: whether sources are to be read no further behind it.
        """


class _Nobody:
    """All tasks run in this process."""

    tasks: frozenset[str] = frozenset()
    is_held = False

    def inject(self, checkpoint: int, *, last: bool) -> None:
        """There is nobody to ask."""


@dataclass(frozen=True, slots=True)
class Durable:
    """Where the checkpoints of a run are kept, and what they say of the job.

    Args:
        store: where.
        plan: what the job is, as a JSON value.
        settings: what else a checkpoint says of the run.
        allow_dropped: names of operators whose state may be given up, because the plan cannot go on with it.
        peers: the processes with the tasks that do not run here; `None` if there are none.
    """

    store: CheckpointStore
    plan: Json
    settings: Json
    allow_dropped: Sequence[str] = ()
    peers: Peers | None = None


@dataclass(frozen=True, slots=True)
class _Reached:
    checkpoint: int
    part: TaskPart


@dataclass(frozen=True, slots=True)
class _Gathered:
    gathered: Gathered


@dataclass(frozen=True, slots=True)
class _Ended:
    part: TaskPart


@dataclass(frozen=True, slots=True)
class _Stop:
    pass


@dataclass(frozen=True, slots=True)
class _GiveUp:
    pass


@dataclass(frozen=True, slots=True)
class _UsedUp:
    pass


_Event: TypeAlias = _Reached | _Gathered | _Ended | _Stop | _GiveUp | _UsedUp


class Checkpointing:
    """Makes checkpoints until the tasks have ended, or a stop, or a failure of the job.

    Args:
        durable: where they are kept.
        tasks: the tasks of the run.
        decided: the checkpoint that the run began from, as far as it is known.
        interval_us: how long there is between the beginnings of two checkpoints.
        clock: the wall clock.
        halt: called after the last checkpoint, when no task has to take another step.
        isolation: who lets rows out a few at a time after crashes, if attempts are remembered.
        held_back: the sources whose rows nobody works on for now.
        peers: the processes with the other tasks; `None` if there are none.

    Attributes:
        last: what is known of the last checkpoint that was decided.
        room: who waits while the disk is full, so that nothing is read for now.
    """

    def __init__(
        self,
        durable: Durable,
        tasks: Sequence[Task],
        decided: CheckpointMetrics,
        interval_us: int,
        clock: Clock,
        halt: Callable[[], None],
        isolation: Isolation | None = None,
        held_back: Callable[[], Collection[str]] = tuple,
        peers: Peers | None = None,
    ) -> None:
        self.last = decided
        self._began = time.monotonic()
        self._clock = clock
        self.room = RoomWait()
        self._alarm = RoomAlarm()
        self._durable = durable
        self._tasks = tasks
        self._sources = [task for task in tasks if isinstance(task, SourceTask)]
        stages = [stage for task in tasks for stage in task.stages()]
        self._sinks = {
            stage.name: stage.operator for stage in stages if isinstance(stage.operator, SinkOperator)
        }
        self._interval_s = interval_us / 1e6
        self._halt = halt
        self._events: SimpleQueue[_Event] = SimpleQueue()
        self._given_up = threading.Event()
        self._peers: Peers = peers or _Nobody()
        self._coordinator = Coordinator(
            [*(task.key for task in tasks), *self._peers.tasks], decided.number or 0
        )
        self._working = len(tasks)
        self._hints = False
        self._mark: object = None
        self._isolation = isolation
        self._rows_wait = False
        self._calm_since = time.monotonic()
        if isolation is not None:
            isolation.begin(lambda: self._events.put(_UsedUp()), held_back)
        self._stop_asked = self._over = False
        self._all_idle = False
        """Whether all tasks here have ended, and no checkpoint was begun since: it is likely to be the last one."""

    def reached(self, checkpoint: int, part: TaskPart) -> None:
        """A barrier has come through a task; called by it."""
        self._events.put(_Reached(checkpoint, part))

    def ended(self, part: TaskPart) -> None:
        """A task has ended; called by it."""
        self._events.put(_Ended(part))

    def gathered(self, gathered: Gathered) -> None:
        """Another process has written the parts of its tasks. May be called from any thread."""
        self._events.put(_Gathered(gathered))

    def stop(self) -> None:
        """Make one last checkpoint, behind which nothing is read. May be called from any thread."""
        self._events.put(_Stop())

    def give_up(self) -> None:
        """The job has failed: make no further checkpoint. May be called from any thread."""
        self._given_up.set()
        self._events.put(_GiveUp())

    @property
    def waits_for(self) -> str | None:
        """What there is no room for on a full disk; `None` while nothing waits."""
        return self.room.waits_for

    def run(self) -> None:
        """Make checkpoints until the last one, or until it is given up."""
        self._alarm.look_at(self._durable.store.space())
        due = time.monotonic() + self._next_interval_s
        while not self._over and not self._given_up.is_set():
            complete = None
            if not self._coordinator.is_under_way:
                is_due = time.monotonic() >= due or self._rows_wait or self._all_idle
                due = time.monotonic() + self._next_interval_s if is_due else due
                complete = self._begin(is_due=is_due)
                if is_due and not self._coordinator.is_under_way:  # not now, or there was nothing new
                    due = max(due if not self._rows_wait else 0.0, time.monotonic() + _REST_S)
            if complete is None and not self._over:
                event = self._next(None if self._coordinator.is_under_way else due)
                complete = None if event is None else self._take(event)
            if complete is not None:
                self._make(complete)
                due = max(due, time.monotonic() + _PAUSE * self._interval_s)

    def metrics(self, log_bytes: int) -> CheckpointMetrics:
        """The checkpoints at this moment. May be asked from any thread.

        Args:
            log_bytes: the size of the logs of its sources.
        """
        last = self.last
        at_us = last.decided_at_us
        age_s = None if at_us is None else max(0, self._clock.now_us() - at_us) / 1e6
        return replace(last, age_s=age_s, full_disk_failures=self.room.failures, log_bytes=log_bytes)

    def _next(self, due: float | None) -> _Event | None:
        """The next event, or nothing when it is time for a checkpoint."""
        try:
            return self._events.get(timeout=None if due is None else max(0.0, due - time.monotonic()))
        except Empty:
            return None

    def _take(self, event: _Event) -> Complete | None:
        match event:
            case _Reached(checkpoint=checkpoint, part=part):
                return self._coordinator.reached(checkpoint, part)
            case _Gathered(gathered=gathered):
                return self._coordinator.gathered(gathered)
            case _Ended(part=part):
                self._working -= 1
                self._all_idle = not self._working
                return self._coordinator.ended(part)
            case _Stop():
                self._stop_asked = True
            case _UsedUp():
                self._rows_wait = True
            case _GiveUp():
                pass
        return None

    def _begin(self, *, is_due: bool) -> Complete | None:
        """Begin a checkpoint, if it is time for one, or for the last one."""
        last = self._stop_asked or self._coordinator.all_ended
        if not (is_due or last) or self._given_up.is_set():
            return None
        if self._peers.is_held or any(task.is_held for task in self._tasks):
            # No barrier comes through before a table has been read whole, so nothing was decided yet either.
            if self._isolation is not None and self._rows_wait:
                self._isolation.extend()
                self._wake()
            if self._stop_asked:
                self._over = True
                self._halt()
            return None
        self._rows_wait = self._all_idle = False
        mark = self._progress()
        if mark == self._mark and not last and not self._peers.tasks:
            return None
        self._mark = mark
        self._began = time.monotonic()
        if self._isolation is not None:
            self._isolation.close()
        checkpoint = self._coordinator.begin(last=last)
        for source in self._sources:
            source.inject(checkpoint, last=self._stop_asked)
        self._peers.inject(checkpoint, last=self._stop_asked)
        return self._coordinator.complete()

    def _progress(self) -> object:
        """Something that differs when there is anything new to save."""
        seen = [source.metrics for source in self._sources]
        seen += [stage.metrics for task in self._tasks for stage in task.stages()]
        counts = [(each.rows_in, each.rows_out, each.batches, each.rejected, each.watermark) for each in seen]
        return counts, [task.done for task in self._tasks]

    def _make(self, complete: Complete) -> None:
        """Write a checkpoint, and once it is decided, let its output out."""
        store = self._durable.store
        what = f"checkpoint {complete.checkpoint}"
        failpoint("S0.after")
        draft = self._draft(complete)  # once: what is tried again has the same names, and must be the same
        written = self._insist(what, lambda: store.write(draft))
        if written is None:
            return
        now_us, took_s = self._clock.now_us(), time.monotonic() - self._began
        done = CheckpointMetrics(
            written.number, now_us, None, took_s, written.written_bytes, written.state_bytes
        )
        self._hints = True
        failpoint("S7.before")
        for name, staged in complete.staged.items():
            if staged.pieces:
                publish = partial(self._sinks[name].publish, Decided(written.number, staged))
                self._insist(f"the output of {name}", publish)
        if self._given_up.is_set():
            return
        failpoint("S7.after")
        for source in self._sources:  # a source with readers elsewhere keeps nothing
            source.decided(complete.sources[source.name])
        failpoint("S8.after")
        self.last = done
        if self._isolation is not None:
            calm = time.monotonic() - self._calm_since >= self._interval_s
            if self._isolation.decided(written.number, calm=calm or complete.last):
                self._calm_since = time.monotonic()
            self._wake()
        store.published(written.number)
        self._insist(what, store.collect_garbage)
        self._alarm.look_at(store.space())
        failpoint("S9.after")
        if complete.last:
            self._over = True
            self._halt()

    def _draft(self, complete: Complete) -> Draft:
        operators: dict[str, list[Snapshot | StoredState]] = {}
        for part in sorted(complete.operators, key=lambda part: (part.operator, part.instance)):
            operators.setdefault(part.operator, []).append(part.snapshot)
        acknowledges = any(source.acknowledges for source in self._sources)
        return Draft(
            plan=self._durable.plan,
            operators=operators,
            sources=complete.sources,
            staged=complete.staged,
            hints=self._hints,
            acknowledges=acknowledges,
            settings=self._durable.settings,
            at_us=self._clock.now_us(),
        )

    def _insist(self, what: str, act: Callable[[], T]) -> T | None:
        """Write something, again and again as long as the disk is full; nothing is read meanwhile."""
        while not self._given_up.is_set():
            try:
                result = act()
            except Exception as error:
                if not is_full_disk(error):
                    raise
                self._alarm.look_at(self._durable.store.space())
                self._pause(paused=True)
                self._given_up.wait(self.room.failed(what, error))
                continue
            if self.room.waits_for is not None:
                self.room.passed()
                self._pause(paused=self._stop_asked)
            return result
        return None

    @property
    def _next_interval_s(self) -> float:
        careful = self._isolation is not None and self._isolation.is_careful
        return _CAREFUL_S if careful else self._interval_s

    def _wake(self) -> None:
        """Rows may go on that waited."""
        for source in self._sources:
            source.leave()

    def _pause(self, *, paused: bool) -> None:
        for source in self._sources:
            source.pause(paused=paused)
