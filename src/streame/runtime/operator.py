"""The interface of an operator, and what it is given."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import polars as pl

from streame.core.clock import Clock
from streame.core.messages import Batch


class Collector(Protocol):
    """Where an operator puts its results."""

    def emit(self, batch: Batch) -> None:
        """Send rows on. Blocks while what follows is full."""

    def reject(self, letters: pl.DataFrame) -> None:
        """Send dead letters (of `DEAD_LETTER_SCHEMA`) on."""

    def count_rejected(self, rows: int) -> None:
        """Count rows that are refused without a letter."""


@dataclass(frozen=True, slots=True)
class OperatorContext:
    """What an operator may know of its surroundings.

    Args:
        name: its name in the job.
        clock: the wall clock.
        hold: stop reading an input port, until `release`.
        release: read an input port again.
        set_timer: ask for `on_timer` at a wall-clock time (microseconds since 1970); a second call replaces
            the first, `None` takes it back.
    """

    name: str
    clock: Clock
    hold: Callable[[int], None]
    release: Callable[[int], None]
    set_timer: Callable[[int | None], None]


class Operator:
    """One step of the running graph. Calls are synchronous and come from one thread."""

    finished: bool = False
    """Set by the operator when nothing more will come of it, although some inputs go on."""

    def open(self, context: OperatorContext) -> None:
        """Called once, before anything else."""

    def on_batch(self, port: int, batch: Batch, out: Collector) -> None:
        """Take rows from input `port`."""
        raise NotImplementedError

    def on_timer(self, time_us: int, out: Collector) -> None:
        """The time that was set has come."""

    def on_end(self, port: int, out: Collector) -> None:
        """Input `port` has ended."""

    def interrupt(self) -> None:
        """The job has failed: wait no longer. Called from another thread."""

    def close(self, *, failed: bool) -> None:
        """Called once, last, also when the job fails."""
