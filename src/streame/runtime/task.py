"""A task: the loop that one thread runs, or that a test steps by hand."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from streame.core.clock import Clock
from streame.core.messages import Barrier, Batch, EndOfStream, SplitStatus, Watermark
from streame.runtime.align import Alignment
from streame.runtime.channel import Inbox
from streame.runtime.part import Checkpointer, Json, OperatorPart, TaskPart
from streame.runtime.stage import Stage

TIMER_WAIT_MAX_S = 60.0


class Task(Protocol):
    """Something that is stepped until it is done."""

    name: str

    key: str
    """Unique among all tasks: the name, with the number of the instance where there may be several."""

    checkpointer: Checkpointer | None
    """Who takes its parts of checkpoints, if any are made."""

    @property
    def done(self) -> bool:
        """Whether there is nothing left to do."""

    @property
    def is_held(self) -> bool:
        """Whether it leaves some of its input unread for now, so that no barrier can come through."""

    def open(self) -> None:
        """Called once, before the first step."""

    def go_on(self) -> None:
        """After a restart, before the first step: tell those behind what they were told before."""

    def step(self, wait_s: float | None) -> bool:
        """Do one piece of work; return whether there was any.

        Args:
            wait_s: how long to wait for work; `None` as long as it takes, 0 not at all.
        """

    def part(self) -> TaskPart:
        """What it gives for a checkpoint at this moment, between two steps."""

    def stop_reading(self) -> None:
        """Read no further; what was read is still worked on. Nothing to do for a task that has no source."""

    def leave(self) -> None:
        """No step follows: wake up from any wait, and let nobody wait for this task. Called from any thread."""

    def interrupt(self) -> None:
        """The job has failed: wake up from any wait, those of operators too. Called from another thread."""

    def close(self, *, failed: bool) -> list[BaseException]:
        """Called once, last; returns what went wrong while closing."""

    def stages(self) -> list[Stage]:
        """The operators within."""


class OperatorTask:
    """Runs an operator, and those within its task, on what comes through its channels.

    Args:
        stage: the operator that takes the messages.
        inbox: where they come from.
        clock: the wall clock, for timers.
    """

    def __init__(self, stage: Stage, inbox: Inbox, clock: Clock) -> None:
        self.name = stage.name
        self.key = f"{stage.name}/{stage.instance}"
        self.checkpointer: Checkpointer | None = None
        self._stage = stage
        self._inbox = inbox
        self._clock = clock
        self._alignment = Alignment(range(len(inbox.ports)))

    @property
    def done(self) -> bool:
        """Whether the operator has finished."""
        return self._stage.finished

    @property
    def is_held(self) -> bool:
        """Whether the operator leaves an input unread for now; one that has finished does so for ever."""
        return self._inbox.is_held and not self.done

    @property
    def held_ports(self) -> frozenset[int]:
        """The inputs that the operator leaves unread for now."""
        return frozenset() if self.done else self._inbox.held_ports

    def open(self) -> None:
        """Open the operators."""
        self._stage.open(self._clock, self._inbox)

    def go_on(self) -> None:
        """Tell those behind what they were told before."""
        self._stage.go_on()

    def step(self, wait_s: float | None) -> bool:
        """Take one message, or fire the timers that are due."""
        due_us = self._stage.next_timer_us()
        if due_us is not None:
            left_s = max(0.0, (due_us - self._clock.now_us()) / 1e6)
            if left_s == 0.0:
                self._stage.fire_timers(self._clock.now_us())
                return True
            wait_s = min(left_s, TIMER_WAIT_MAX_S) if wait_s is None else min(left_s, wait_s)
        taken = self._inbox.take(wait_s)
        if taken is None:
            return False
        channel, message = taken
        match message:
            case Batch():
                self._stage.take(self._inbox.ports[channel], message)
            case Watermark():
                self._stage.heed(channel, message)
            case SplitStatus():
                self._stage.split(self._inbox.ports[channel], message)
            case Barrier(checkpoint=checkpoint):
                self._inbox.block(channel)
                self._pass_barrier(self._alignment.arrived(channel, checkpoint))
            case EndOfStream():
                self._stage.end(channel, self._inbox.ports[channel])
                self._pass_barrier(self._alignment.ended(channel))
        return True

    def part(self) -> TaskPart:
        """The states of its operators, and what its sinks have staged."""
        return part_of(self.key, self.stages())

    def stop_reading(self) -> None:
        """Nothing to do: this task reads no source."""

    def leave(self) -> None:
        """Wake up, and let nobody wait for this task."""
        self._inbox.close()

    def interrupt(self) -> None:
        """Wake up, and let nobody wait for this task."""
        self._inbox.close()
        for stage in self.stages():
            stage.operator.interrupt()

    def close(self, *, failed: bool) -> list[BaseException]:
        """Close the operators; whoever still sends here is let go."""
        self._inbox.close()
        return self._stage.close(failed=failed)

    def stages(self) -> list[Stage]:
        """The operators within."""
        return self._stage.stages()

    def _pass_barrier(self, checkpoint: int | None) -> None:
        """The barrier has come on all channels: give the part, pass it on, and read all channels again.

        A task that has finished meanwhile gives its part at its end instead.
        """
        if checkpoint is None:
            return
        self._stage.flush()
        if self.checkpointer is not None and not self._stage.finished:
            self.checkpointer.reached(checkpoint, self.part())
        self._stage.barrier(checkpoint)
        self._inbox.unblock()


def part_of(key: str, stages: Iterable[Stage], sources: Mapping[str, Json] | None = None) -> TaskPart:
    """The part of a task in a checkpoint.

    Args:
        key: the key of the task.
        stages: its operators.
        sources: the position of the source that it reads, by its name.
    """
    operators, staged = [], {}
    for stage in stages:
        output = stage.operator.stage()
        if output is not None:
            staged[stage.name] = output
        if stage.keeps:
            operators.append(OperatorPart(stage.name, stage.instance, stage.snapshot()))
    return TaskPart(key, operators, staged, sources or {})
