"""A stage: one operator instance, wired to what follows it."""

from collections.abc import Sequence
from typing import Any

from streame.core.clock import Clock
from streame.core.messages import Batch, SplitStatus, Watermark
from streame.core.metrics import OperatorMetrics
from streame.core.time import WATERMARK_MIN
from streame.runtime.channel import Inbox
from streame.runtime.operator import Operator, OperatorContext
from streame.runtime.outputs import Outputs
from streame.runtime.progress import Idle, Progress
from streame.state.snapshot import Mine, Savable, Shadow, Snapshot, take_snapshot

MEASURE_INTERVAL_US = 1_000_000
"""How often an operator is asked how much it keeps."""


class Stage(Savable):
    """One instance of an operator.

    Args:
        name: the operator's name.
        operator: what does the work.
        ports: one entry per input channel, or a single port for a stage that is called directly.
        instance: its number among the instances of the operator.
    """

    SAVED = ("finished", "timer_us", "reached", "outputs", "operator")
    DERIVED = ("metrics", "_opened", "_open_channels", "_measured_us", "_measure_at_us")

    def __init__(self, name: str, operator: Operator, ports: Sequence[int], instance: int = 0) -> None:
        self.name = name
        self.operator = operator
        self.instance = instance
        self._shadow = Shadow()
        self.metrics = OperatorMetrics()
        self.outputs: Outputs[Stage] = Outputs(self.metrics)
        self.timer_us: int | None = None
        self.finished = False
        self.reached = WATERMARK_MIN
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

    def open_apart(self, clock: Clock) -> None:
        """Open the operator alone, only to be restored and taken apart."""
        nothing = lambda _: None  # noqa: E731 - it stands for three functions
        self.operator.open(OperatorContext(self.name, clock, nothing, nothing, nothing))

    @property
    def keeps(self) -> bool:
        """Whether the operator has state that is saved."""
        kind = type(self.operator)
        return bool(kind.SAVED) or kind.saved is not Savable.saved

    def saved(self) -> dict[str, Any]:
        """See `Savable`; of an operator that has finished only that."""
        return {**super().saved(), **({"operator": None} if self.finished else {})}

    def restore(self, parts: dict[str, Any]) -> None:
        """See `Savable`; called after `open`."""
        self.finished, self.timer_us = parts["finished"], parts["timer_us"]
        self._come_to(parts.get("reached", WATERMARK_MIN))
        self.outputs.restore(parts["outputs"])
        if not self.finished:
            self.operator.restore(parts["operator"])

    def snapshot(self) -> Snapshot:
        """The state, when no call of the operator is under way."""
        with noted(self.name):
            return take_snapshot(self, self._shadow)

    def absorb(self, others: "Sequence[Stage]", mine: Mine) -> None:
        """Take the state of stages of the same operator, in which other instances have been restored.

        Args:
            others: the stages, which are not used any more.
            mine: says which keys this one owns.
        """
        going = [other for other in others if not other.finished]
        self.finished = not going
        self.outputs.restore(min((other.outputs.saved() for other in going or others), key=_extent))
        self._come_to(min((other.reached for other in going), default=WATERMARK_MIN))
        timers = [other.timer_us for other in going if other.timer_us is not None]
        self.timer_us = min(timers, default=None)
        for other in going:
            self.operator.absorb(other.operator, mine)

    def flush(self) -> None:
        """Before a barrier: let operators work on what they have put off, here and in the stages within this one."""
        if not self.finished:
            with noted(self.name):
                self.operator.flush(self.outputs)
            self._settle()
        for stage in self.outputs.inline:
            stage.flush()

    def barrier(self, checkpoint: int) -> None:
        """Send a barrier behind all that was sent so far; nothing where the end was sent."""
        if not self.finished:
            self.outputs.barrier(checkpoint)

    def go_on(self) -> None:
        """After a restart: tell what follows what it was told before, here and in the stages that run within this one."""
        for stage in self.outputs.inline:  # first, so that one that ends only now does not do so twice
            stage.go_on()
        if self.finished:
            self.outputs.end()
        else:
            self.outputs.repeat()

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
                self.operator.flush(self.outputs)
                self.outputs.watermark(None)
            else:
                self.reached = change
                self.operator.on_watermark(change, self.outputs)

    def _come_to(self, watermark: int) -> None:
        """Event time had come so far before a restart, and does not go back."""
        self.reached = watermark
        self._progress.restore(watermark)

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
        self.metrics.state_disk_bytes = size.disk_bytes

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


def _extent(outputs: dict[str, Any]) -> int:
    """How far event time has come in saved outputs."""
    return int(outputs["_watermark"])


def _no_ports(port: int) -> None:
    raise AssertionError(f"an operator with one input cannot hold port {port}")
