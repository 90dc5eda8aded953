"""Outputs: what follows a source or an operator, in the same task or in others."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Generic, Literal, Protocol, TypeVar

import polars as pl

from streame.core.messages import END_OF_STREAM, Barrier, Batch, EndOfStream, SplitStatus, Watermark
from streame.core.metrics import OperatorMetrics
from streame.core.positions import with_made_positions
from streame.core.time import WATERMARK_MAX, WATERMARK_MIN
from streame.runtime.channel import Entrance
from streame.state.rows import owned
from streame.state.snapshot import Savable

_FEW = 4
"""Rows that go on are few if there were so many times as many."""


class Splitter(Protocol):
    """Shares the rows of a frame out among the instances of the next operator."""

    def split(self, frame: pl.DataFrame) -> Sequence[pl.DataFrame]:
        """One frame object of its own per instance; some may be empty."""


@dataclass(frozen=True, slots=True)
class ChannelOutput:
    """Rows go to other tasks.

    Args:
        targets: the entrance and channel of each instance that follows.
        splitter: how rows are shared out; `None` where there is one instance.
    """

    targets: Sequence[tuple[Entrance, int]]
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
        parts = _shared_out(batch, batch.shares) if batch.shares else self.splitter.split(batch.frame)
        for (inbox, channel), part in zip(self.targets, parts, strict=True):
            if part.height:
                inbox.put(channel, Batch(part))

    def tell(self, message: Watermark | SplitStatus | Barrier | EndOfStream) -> None:
        """Say something to every instance that follows."""
        for inbox, channel in self.targets:
            inbox.put(channel, message)


def _shared_out(batch: Batch, shares: Sequence[int]) -> list[pl.DataFrame]:
    """The rows of each instance, which lie in that order."""
    assert sum(shares) == batch.frame.height, (shares, batch.frame.height)
    starts = accumulate(shares, initial=0)
    return [batch.frame.slice(start, rows) for start, rows in zip(starts, shares, strict=False)]


class Within(Protocol):
    """An operator that runs in the same task, and is called directly."""

    finished: bool

    def barrier(self, checkpoint: int) -> None:
        """Send a barrier behind all that was sent so far."""

    def take(self, port: int, batch: Batch) -> None:
        """Rows for an input."""

    def heed(self, channel: int, watermark: Watermark) -> None:
        """Event time has come so far."""

    def split(self, port: int, status: SplitStatus) -> None:
        """What a source says of a split."""

    def end(self, channel: int, port: int) -> None:
        """An input has ended."""


Inner = TypeVar("Inner", bound=Within)


class Outputs(Savable, Generic[Inner]):
    """What follows a source or an operator: stages in the same task and channels to others.

    Attributes:
        taken: of how many rows those that go on may be a part.
    """

    SAVED = ("_watermark", "_idle")
    DERIVED = ("metrics",)

    def __init__(self, metrics: OperatorMetrics) -> None:
        self.metrics = metrics
        self.taken = 0
        self.inline: list[Inner] = []
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
        self._tell(Watermark(time))

    def _tell(self, message: Watermark) -> None:
        for stage in self.inline:
            stage.heed(0, message)
        for output in self.rows:
            output.tell(message)

    def repeat(self) -> None:
        """After a restart: say again how far event time has come."""
        if self._watermark > WATERMARK_MIN:
            self._tell(Watermark(self._watermark))
        if self._idle:
            self._tell(Watermark(None))

    def barrier(self, checkpoint: int) -> None:
        """Send a barrier behind all that was sent so far."""
        for stage in self.inline:
            stage.barrier(checkpoint)
        for output in (*self.rows, *self.rejected, *self.lates):
            output.tell(Barrier(checkpoint))

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
