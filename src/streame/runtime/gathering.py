"""The parts of a checkpoint in a process that only runs some of the tasks: gathered, written, and told to the one that decides."""

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Protocol, TypeAlias

from streame.core.metrics import CheckpointMetrics
from streame.runtime.part import Gathered, TaskPart
from streame.runtime.source_task import SourceTask
from streame.runtime.task import Task
from streame.state.checkpoint.store import Recovered


class Gathering:
    """Collects the parts of one checkpoint after the other. It decides; `PartCheckpoints` acts.

    A checkpoint begins here when it is asked for, or when its barrier comes, whichever is first.

    Args:
        tasks: the keys of the tasks of this process.
        decided: the number of the last checkpoint that was decided.
    """

    def __init__(self, tasks: Collection[str], decided: int) -> None:
        self._tasks = frozenset(tasks)
        self._number = decided
        self._under_way = False
        self._parts: dict[str, TaskPart] = {}
        self._final: dict[str, TaskPart] = {}
        self._told: set[str] = set()

    def asked(self, checkpoint: int) -> Gathered | None:
        """Whoever decides has asked for a checkpoint. Returns the parts if all are there, and any of them is new."""
        if checkpoint <= self._number:
            return None  # its barrier was faster
        self._begin(checkpoint)
        return self._complete()

    def reached(self, checkpoint: int, part: TaskPart) -> Gathered | None:
        """The barrier has come through a task. Returns the parts if all are there."""
        if checkpoint != self._number:
            self._begin(checkpoint)
        assert part.task not in self._parts, part.task
        self._parts[part.task] = part
        return self._complete()

    def ended(self, part: TaskPart) -> Gathered | None:
        """A task has ended. Returns the parts if all are there."""
        assert part.task not in self._final, part.task
        self._final[part.task] = part
        return self._complete()

    def _begin(self, checkpoint: int) -> None:
        assert not self._under_way, (checkpoint, self._number)
        assert checkpoint == self._number + 1, (checkpoint, self._number)
        self._number, self._under_way = checkpoint, True

    def _complete(self) -> Gathered | None:
        if not self._under_way or self._parts.keys() | self._final.keys() != self._tasks:
            return None
        self._under_way = False
        reached, self._parts = self._parts, {}
        # The last part of a task that has ended since its part of this checkpoint is told with the next one.
        ended = [key for key in sorted(self._final) if key not in reached and key not in self._told]
        self._told.update(ended)
        if not reached and not ended:
            return None  # whoever decides waits for nothing from here, and may have decided already
        return Gathered(
            self._number, [reached[key] for key in sorted(reached)], [self._final[key] for key in ended]
        )


class PartWriter(Protocol):
    """Makes parts durable, and tells them to the process that decides."""

    @property
    def waits_for(self) -> str | None:
        """What there is no room for; `None` while nothing waits. May be asked from any thread."""

    def opened(self, *, held: bool) -> None:
        """All tasks here are ready; `held`: one of them leaves input unread for now. Told again when none does."""

    def send(self, gathered: Gathered) -> None:
        """Write parts, and once they last, tell where they are."""


@dataclass(frozen=True, slots=True)
class Following:
    """What a run needs that only has some of the tasks, and does not decide.

    Args:
        recovered: the checkpoint to go on from, if there is one.
        kept: the names of the sources and operators that can go on with its state.
        writer: where the parts go.
    """

    recovered: Recovered | None
    kept: Collection[str]
    writer: PartWriter


@dataclass(frozen=True, slots=True)
class _Asked:
    checkpoint: int


@dataclass(frozen=True, slots=True)
class _Reached:
    checkpoint: int
    part: TaskPart


@dataclass(frozen=True, slots=True)
class _Ended:
    part: TaskPart


_Event: TypeAlias = _Asked | _Reached | _Ended | None


class PartCheckpoints:
    """The checkpoints of a run that does not decide: a thread that writes the parts of its tasks.

    Args:
        following: where they go.
        tasks: the tasks of the run.
    """

    def __init__(self, following: Following, tasks: Sequence[Task]) -> None:
        recovered = following.recovered
        self._writer = following.writer
        self._tasks = tasks
        self._gathering = Gathering(
            [task.key for task in tasks], 0 if recovered is None else recovered.number
        )
        self._events: SimpleQueue[_Event] = SimpleQueue()
        self._over = threading.Event()
        self._held = True

    def asked(self, checkpoint: int, *, last: bool) -> None:
        """Whoever decides has asked for a checkpoint. May be called from any thread.

        Args:
            checkpoint: its number.
            last: whether the sources here are to be read no further behind it.
        """
        for task in self._tasks:
            if isinstance(task, SourceTask):
                task.inject(checkpoint, last=last)
        self._events.put(_Asked(checkpoint))

    def reached(self, checkpoint: int, part: TaskPart) -> None:
        """A barrier has come through a task; called by it."""
        self._events.put(_Reached(checkpoint, part))

    def ended(self, part: TaskPart) -> None:
        """A task has ended; called by it."""
        self._events.put(_Ended(part))

    def stop(self) -> None:
        """Nothing to do: whoever decides makes the last checkpoint."""

    def give_up(self) -> None:
        """Write nothing more. May be called from any thread."""
        self._over.set()
        self._events.put(None)

    def metrics(self, log_bytes: int) -> CheckpointMetrics | None:
        """Nothing is known of them here."""
        return None

    @property
    def waits_for(self) -> str | None:
        """See `PartWriter`."""
        return self._writer.waits_for

    def run(self) -> None:
        """Write parts until it is given up."""
        self._tell_held()
        while not self._over.is_set():
            event = self._next()
            gathered = None if event is None else self._take(event)
            if gathered is not None and not self._over.is_set():
                self._writer.send(gathered)

    def _take(self, event: "_Asked | _Reached | _Ended") -> Gathered | None:
        match event:
            case _Asked(checkpoint=checkpoint):
                return self._gathering.asked(checkpoint)
            case _Reached(checkpoint=checkpoint, part=part):
                return self._gathering.reached(checkpoint, part)
            case _Ended(part=part):
                return self._gathering.ended(part)

    def _next(self) -> _Event:
        """The next event; while input is left unread, tell as soon as it is not."""
        while self._held and self._events.empty() and not self._over.is_set():
            self._over.wait(_LOOK_S)
            self._tell_held(again=False)
        return self._events.get()

    def _tell_held(self, *, again: bool = True) -> None:
        held = any(task.is_held for task in self._tasks)
        if again or held != self._held:
            self._writer.opened(held=held)
        self._held = held


_LOOK_S = 0.02
"""How often to look whether input is read again."""
