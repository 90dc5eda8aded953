"""A task: the loop that one thread runs, or that a test steps by hand."""

from typing import Protocol

from streame.core.clock import Clock
from streame.core.messages import Batch, EndOfStream, SplitStatus, Watermark
from streame.runtime.channel import Inbox
from streame.runtime.stage import Stage

TIMER_WAIT_MAX_S = 60.0


class Task(Protocol):
    """Something that is stepped until it is done."""

    name: str

    @property
    def done(self) -> bool:
        """Whether there is nothing left to do."""

    def open(self) -> None:
        """Called once, before the first step."""

    def step(self, wait_s: float | None) -> bool:
        """Do one piece of work; return whether there was any.

        Args:
            wait_s: how long to wait for work; `None` as long as it takes, 0 not at all.
        """

    def stop_reading(self) -> None:
        """Read no further; what was read is still worked on. Nothing to do for a task that has no source."""

    def interrupt(self) -> None:
        """The job has failed: wake up from any wait. Called from another thread."""

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
        self._stage = stage
        self._inbox = inbox
        self._clock = clock

    @property
    def done(self) -> bool:
        """Whether the operator has finished."""
        return self._stage.finished

    def open(self) -> None:
        """Open the operators."""
        self._stage.open(self._clock, self._inbox)

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
            case EndOfStream():
                self._stage.end(channel, self._inbox.ports[channel])
        return True

    def stop_reading(self) -> None:
        """Nothing to do: this task reads no source."""

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
