"""The interface of an operator, and what it is given."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import polars as pl

from streame.core.clock import Clock
from streame.core.messages import Batch, SplitStatus
from streame.core.metrics import NO_STATE, StateSize
from streame.core.staging import Staged
from streame.state.snapshot import Mine, Savable


class Collector(Protocol):
    """Where an operator puts its results."""

    def emit(self, batch: Batch) -> None:
        """Send rows on. Blocks while what follows is full."""

    def watermark(self, time: int | None) -> None:
        """Say that no row older than `time` will be emitted, except rows that are late already.

        What is not newer than the last one is not sent again. `None`: do not wait for this operator.
        """

    def split_status(self, status: SplitStatus) -> None:
        """Pass on what a source says of a split, for an operator that makes watermarks."""

    def late(self, rows: pl.DataFrame) -> None:
        """Send rows on that came too late to count. They are counted, also where nobody takes them."""

    def count_gap(self, rows: int) -> None:
        """Count rows that belong to no window."""

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


class Operator(Savable):
    """One step of the running graph. Calls are synchronous and come from one thread.

    What it keeps between calls is its state (`Savable`): it is saved between two calls, and restored into a new
    operator after `open`. The ends of inputs and the last watermark are then told again, which must change nothing.
    """

    DERIVED: ClassVar[tuple[str, ...]] = ("finished",)

    finished: bool = False
    """Set by the operator when nothing more will come of it, although some inputs go on."""

    timed_ports: Collection[int] | None = None
    """The inputs whose watermarks count; all by default."""

    @property
    def waits_for(self) -> str | None:
        """What it waits for because a disk is full; `None` while it does not. May be asked from any thread."""
        return None

    def open(self, context: OperatorContext) -> None:
        """Called once, before anything else."""

    def on_batch(self, port: int, batch: Batch, out: Collector) -> None:
        """Take rows from input `port`."""
        raise NotImplementedError

    def on_watermark(self, time: int, out: Collector) -> None:
        """The smallest watermark of the timed inputs has risen to `time`; `WATERMARK_MAX` once all of them ended.

        Idle inputs are left out. An operator that holds rows back sends on the least time it may still emit.
        """
        out.watermark(time)

    def on_split(self, port: int, status: SplitStatus, out: Collector) -> None:
        """What a source says of a split; ends here unless the operator hands rows on one by one."""

    def on_timer(self, time_us: int, out: Collector) -> None:
        """The time that was set has come."""

    def on_end(self, port: int, out: Collector) -> None:
        """Input `port` has ended."""

    def flush(self, out: Collector) -> None:
        """Work on what was put off to be worked on together with more.

        Called before a barrier goes by and before those behind are told not to wait: what came before is answered.
        """

    def absorb(self, other: Any, mine: Mine) -> None:
        """Take the state of another instance as far as its keys are owned by this one.

        Called after `open`, before anything else, for every instance of a checkpoint that was made with another
        parallelism. Instances own different keys; what is not kept by key (such as how far event time has come) is
        the same in all of them, or the least counts.

        Args:
            other: an operator that was made as this one was, opened and restored; it is not used any more.
            mine: says which keys are owned.
        """
        assert not self.SAVED, f"{type(self).__name__} has state, but cannot be shared out anew"

    def stage(self) -> Staged | None:
        """Called at a barrier, and at the end: output since the last call that is durable, but not visible yet."""
        return None

    def state_size(self) -> StateSize:
        """How much it keeps. Asked about once a second, so it must be cheap."""
        return NO_STATE

    def interrupt(self) -> None:
        """The job has failed: wait no longer. Called from another thread."""

    def close(self, *, failed: bool) -> None:
        """Called once, last, also when the job fails."""
