"""A stage: one operator instance, wired to what follows it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import polars as pl

from streame.core.clock import Clock
from streame.core.messages import END_OF_STREAM, Batch, EndOfStream, SplitStatus, Watermark
from streame.core.metrics import OperatorMetrics
from streame.core.positions import with_made_positions
from streame.core.time import WATERMARK_MAX, WATERMARK_MIN
from streame.runtime.channel import Inbox
from streame.runtime.operator import Operator, OperatorContext
from streame.runtime.progress import Idle, Progress
from streame.state.rows import owned

MEASURE_INTERVAL_US = 1_000_000
"""How often an operator is asked how much it keeps."""

_FEW = 4
"""Rows that go on are few if there were so many times as many."""


class Splitter(Protocol):
    """Shares the rows of a frame out among the instances of the next operator."""

    def split(self, frame: pl.DataFrame) -> Sequence[pl.DataFrame]:
        """One frame per instance; some may be empty."""


@dataclass(frozen=True, slots=True)
class ChannelOutput:
    """Rows go to other tasks.

    Args:
        targets: the inbox and channel of each instance that follows.
        splitter: how rows are shared out; `None` where there is one instance.
    """

    targets: Sequence[tuple[Inbox, int]]
    splitter: Splitter | None = None

    @property
    def wanted(self) -> bool:
        """Whether anyone still reads."""
        return any(not inbox.closed for inbox, _ in self.targets)

    def send(self, batch: Batch) -> None:
        """Pass rows on; blocks while a channel is full.

        Each receiver gets a frame object of its own, which costs a microsecond. Polars locks the object while it
        writes it to a Python file; another thread that asks the same object for its height meanwhile waits for that
        lock and holds the interpreter's, and neither goes on.
        """
        if self.splitter is None:
            ((inbox, channel),) = self.targets
            inbox.put(channel, replace(batch, frame=batch.frame.clone()))
            return
        for (inbox, channel), part in zip(self.targets, self.splitter.split(batch.frame), strict=True):
            if part.height:
                inbox.put(channel, Batch(part.clone() if part is batch.frame else part))

    def tell(self, message: Watermark | SplitStatus | EndOfStream) -> None:
        """Say something to every instance that follows."""
        for inbox, channel in self.targets:
            inbox.put(channel, message)


class Outputs:
    """What follows a source or an operator: stages in the same task and channels to others.

    Attributes:
        taken: of how many rows those that go on may be a part.
    """

    def __init__(self, metrics: OperatorMetrics) -> None:
        self.metrics = metrics
        self.taken = 0
        self.inline: list[Stage] = []
        self.rows: list[ChannelOutput] = []
        self.rejected: list[ChannelOutput] = []
        self.lates: list[ChannelOutput] = []
        self.makes_positions = False
        self._watermark = WATERMARK_MIN
        self._idle = False

    @property
    def wanted(self) -> bool:
        """Whether anyone still takes the rows; a sink has no outputs and is always wanted."""
        if not self.inline and not self.rows:
            return True
        return any(not stage.finished for stage in self.inline) or any(
            output.wanted for output in (*self.rows, *self.lates)
        )

    def of(self, output: Literal["rows", "rejected", "late"]) -> "list[ChannelOutput]":
        """The channels that take one kind of rows."""
        return {"rows": self.rows, "rejected": self.rejected, "late": self.lates}[output]

    def emit(self, batch: Batch) -> None:
        """Send rows to all that follow."""
        self.metrics.rows_out += batch.frame.height
        if self.makes_positions:
            batch = with_made_positions(batch)
        going = replace(batch, frame=owned(batch.frame)) if self._weighs(batch.frame) else batch
        for stage in self.inline:
            stage.take(0, going)
        for output in self.rows:
            output.send(going)

    def watermark(self, time: int | None) -> None:
        """Tell all that follow how far event time has come, if that is news."""
        if time is None:
            if self._idle:
                return
            self._idle = True
        elif time <= self._watermark:
            if not self._idle:
                return
            self._idle, time = False, self._watermark
        else:
            self._idle, self._watermark = False, time
            if time < WATERMARK_MAX:
                self.metrics.watermark = time
        message = Watermark(time)
        for stage in self.inline:
            stage.heed(0, message)
        for output in self.rows:
            output.tell(message)

    def split_status(self, status: SplitStatus) -> None:
        """Pass on what a source says of a split."""
        for stage in self.inline:
            stage.split(0, status)
        for output in self.rows:
            output.tell(status)

    def late(self, rows: pl.DataFrame) -> None:
        """Send late rows to all that take them."""
        if not rows.height:
            return
        self.metrics.late += rows.height
        going = owned(rows) if self.lates and self._weighs(rows) else rows
        for output in self.lates:
            output.send(Batch(going))

    def count_gap(self, rows: int) -> None:
        """Count rows that belong to no window."""
        self.metrics.gaps += rows

    def reject(self, letters: pl.DataFrame) -> None:
        """Send dead letters to all that take them."""
        self.metrics.rejected += letters.height
        for output in self.rejected:
            output.send(Batch(letters))

    def count_rejected(self, rows: int) -> None:
        """Count rows that are dropped without a letter."""
        self.metrics.rejected += rows

    def _weighs(self, frame: pl.DataFrame) -> bool:
        """Whether rows keep much more in memory than they are: the texts of all rows that they were picked from.

        One batch would be no matter, but thousands may wait in a channel.
        """
        return _FEW * frame.height < self.taken and not all(
            dtype.is_numeric() or dtype.is_temporal() for dtype in frame.schema.dtypes()
        )

    def end(self) -> None:
        """Say that nothing follows."""
        for stage in self.inline:
            stage.end(0, 0)
        for output in (*self.rows, *self.rejected, *self.lates):
            output.tell(END_OF_STREAM)


class Stage:
    """One instance of an operator.

    Args:
        name: the operator's name.
        operator: what does the work.
        ports: one entry per input channel, or a single port for a stage that is called directly.
    """

    def __init__(self, name: str, operator: Operator, ports: Sequence[int]) -> None:
        self.name = name
        self.operator = operator
        self.metrics = OperatorMetrics()
        self.outputs = Outputs(self.metrics)
        self.timer_us: int | None = None
        self.finished = False
        self._opened = False
        self._open_channels = {port: list(ports).count(port) for port in ports}
        timed = operator.timed_ports
        self._progress = Progress(
            [channel for channel, port in enumerate(ports) if timed is None or port in timed]
        )
        self._measured_us: int | None = None
        self._measure_at_us: int | None = None

    def open(self, clock: Clock, inbox: Inbox | None) -> None:
        """Open the operator, and the stages that run within it."""
        self._opened = True
        self._clock = clock
        context = OperatorContext(
            name=self.name,
            clock=clock,
            hold=inbox.hold if inbox else _no_ports,
            release=inbox.release if inbox else _no_ports,
            set_timer=self._set_timer,
        )
        with noted(self.name):
            self.operator.open(context)
        for stage in self.outputs.inline:
            stage.open(clock, None)

    def take(self, port: int, batch: Batch) -> None:
        """Rows for an input."""
        if self.finished:
            return
        self.metrics.rows_in += batch.frame.height
        self.metrics.batches += 1
        self.outputs.taken = batch.frame.height
        with noted(self.name):
            self.operator.on_batch(port, batch, self.outputs)
        self.outputs.taken = 0
        self._settle()

    def fire_timers(self, now_us: int) -> None:
        """Call `on_timer` where the time has come, here and in the stages that run within this one."""
        if self.timer_us is not None and self.timer_us <= now_us and not self.finished:
            self.timer_us = None
            with noted(self.name):
                self.operator.on_timer(now_us, self.outputs)
            self._settle()
        if self._measure_at_us is not None and self._measure_at_us <= now_us:
            self._measure(now_us)
        for stage in self.outputs.inline:
            stage.fire_timers(now_us)

    def next_timer_us(self) -> int | None:
        """The earliest time that any stage of this task waits for."""
        times = [stage.next_timer_us() for stage in self.outputs.inline]
        times += [] if self.finished else [self.timer_us, self._measure_at_us]
        return min((time for time in times if time is not None), default=None)

    def heed(self, channel: int, watermark: Watermark) -> None:
        """Event time has come so far on an input channel."""
        if self.finished:
            return
        self._advance(self._progress.heard(channel, watermark.time))
        self._settle()

    def split(self, port: int, status: SplitStatus) -> None:
        """What a source says of a split."""
        if not self.finished:
            with noted(self.name):
                self.operator.on_split(port, status, self.outputs)
            self._settle()

    def _advance(self, change: "int | Idle | None") -> None:
        """Tell the operator how far event time has come."""
        if change is None:
            return
        with noted(self.name):
            if isinstance(change, Idle):
                self.outputs.watermark(None)
            else:
                self.operator.on_watermark(change, self.outputs)

    def end(self, channel: int, port: int) -> None:
        """An input channel of a port has ended."""
        if self.finished:
            return
        self._advance(self._progress.ended(channel))
        self._open_channels[port] -= 1
        if self._open_channels[port] == 0:
            with noted(self.name):
                self.operator.on_end(port, self.outputs)
        self._settle()

    def close(self, *, failed: bool) -> list[BaseException]:
        """Close the operator and the stages within; return what went wrong while closing."""
        errors: list[BaseException] = []
        if self._opened:
            self._opened = False
            try:
                with noted(self.name):
                    self.operator.close(failed=failed)
            except Exception as error:
                errors.append(error)
        for stage in self.outputs.inline:
            errors += stage.close(failed=failed or bool(errors))
        return errors

    def stages(self) -> "list[Stage]":
        """This stage and those that run within it."""
        return [self, *(inner for stage in self.outputs.inline for inner in stage.stages())]

    def _settle(self) -> None:
        """Pass the end on, once nothing more can come: all inputs ended, or the operator or its readers are done."""
        if self.finished:
            return
        now_us = self._clock.now_us()
        if self._measured_us is None or now_us - self._measured_us >= MEASURE_INTERVAL_US:
            self._measure(now_us)
        elif self._measure_at_us is None:
            self._measure_at_us = self._measured_us + MEASURE_INTERVAL_US
        ended = not any(self._open_channels.values())
        if ended or self.operator.finished or not self.outputs.wanted:
            self.finished = True
            self._measure(now_us)
            self.outputs.end()

    def _measure(self, now_us: int) -> None:
        """Write down how much the operator keeps."""
        self._measured_us, self._measure_at_us = now_us, None
        size = self.operator.state_size()
        self.metrics.state_rows, self.metrics.state_bytes = size.rows, size.bytes

    def _set_timer(self, time_us: int | None) -> None:
        self.timer_us = time_us


class noted:  # noqa: N801 - a context manager that reads as a word
    """Add the operator's name to what is raised within, once."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Add the note, unless an operator within this one has done so."""
        if error is not None and not any(
            note.startswith("in operator ") for note in getattr(error, "__notes__", ())
        ):
            error.add_note(f"in operator {self._name}")


def _no_ports(port: int) -> None:
    raise AssertionError(f"an operator with one input cannot hold port {port}")
