"""A bench on which an operator is stepped by hand: what it is given, and a record of what it puts out."""

from datetime import timedelta
from typing import Any

import polars as pl

from streame.core.clock import ManualClock
from streame.core.messages import Batch, Positions, SplitStatus
from streame.runtime.operator import Operator, OperatorContext


class Recorder:
    """A collector that keeps what it gets."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.watermarks: list[int | None] = []
        self.statuses: list[SplitStatus] = []
        self.lates: list[pl.DataFrame] = []
        self.letters: list[pl.DataFrame] = []
        self.gaps = 0
        self.rejected = 0

    def emit(self, batch: Batch) -> None:
        self.batches.append(batch)

    def watermark(self, time: int | None) -> None:
        self.watermarks.append(time)

    def split_status(self, status: SplitStatus) -> None:
        self.statuses.append(status)

    def late(self, rows: pl.DataFrame) -> None:
        self.lates.append(rows)

    def count_gap(self, rows: int) -> None:
        self.gaps += rows

    def reject(self, letters: pl.DataFrame) -> None:
        self.letters.append(letters)

    def count_rejected(self, rows: int) -> None:
        self.rejected += rows

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        """All rows that were emitted."""
        return [row for batch in self.batches for row in batch.frame.rows()]


class OperatorBench:
    """Steps an operator by hand, as its task would.

    Args:
        operator: what is stepped.
        clock: the wall clock; a new one by default.
    """

    def __init__(self, operator: Operator, clock: ManualClock | None = None) -> None:
        self.operator = operator
        self.clock = clock or ManualClock()
        self.out = Recorder()
        self.timer_us: int | None = None
        self.held: set[int] = set()
        operator.open(
            OperatorContext("operator", self.clock, self.held.add, self.held.remove, self._set_timer)
        )

    def _set_timer(self, time_us: int | None) -> None:
        self.timer_us = time_us

    def push(self, frame: pl.DataFrame, port: int = 0, positions: Positions | None = None) -> None:
        """Rows for an input."""
        assert port not in self.held
        self.operator.on_batch(port, Batch(frame, positions), self.out)

    def watermark(self, time: int) -> None:
        """Event time has come so far."""
        self.operator.on_watermark(time, self.out)

    def end(self, port: int = 0) -> None:
        """Nothing more comes on an input."""
        self.operator.on_end(port, self.out)

    def advance(self, seconds: float) -> None:
        """Move the clock; timers fire only by `fire`."""
        self.clock.advance(timedelta(seconds=seconds))

    def fire(self) -> None:
        """Call `on_timer` if its time has come."""
        if self.timer_us is not None and self.timer_us <= self.clock.now_us():
            self.timer_us = None
            self.operator.on_timer(self.clock.now_us(), self.out)
