"""A bench on which a table join is stepped by hand, and a join of two keys to put on it."""

from datetime import timedelta
from typing import Any, Literal

import polars as pl

from streame.core.clock import ManualClock
from streame.core.messages import Batch, Positions
from streame.runtime.operator import OperatorContext
from streame.runtime.operators.table_join import STREAM, TABLE, TableJoinOperator

How = Literal["inner", "left"]
SECOND_US = 1_000_000


class Recorder:
    """A collector that keeps what it gets."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    def emit(self, batch: Batch) -> None:
        self.batches.append(batch)

    def reject(self, letters: pl.DataFrame) -> None:
        raise AssertionError(letters)

    def count_rejected(self, rows: int) -> None:
        raise AssertionError(rows)

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        return [row for batch in self.batches for row in batch.frame.rows()]


class Bench:
    """Steps an operator by hand, as its task would."""

    def __init__(self, operator: TableJoinOperator) -> None:
        self.operator = operator
        self.clock = ManualClock()
        self.out = Recorder()
        self.timer_us: int | None = None
        self.held: set[int] = set()
        context = OperatorContext("join", self.clock, self.held.add, self.held.remove, self._set_timer)
        operator.open(context)

    def _set_timer(self, time_us: int | None) -> None:
        self.timer_us = time_us

    def stream(self, frame: pl.DataFrame, positions: Positions | None = None) -> None:
        assert STREAM not in self.held
        self.operator.on_batch(STREAM, Batch(frame, positions), self.out)

    def table(self, frame: pl.DataFrame) -> None:
        self.operator.on_batch(TABLE, Batch(frame), self.out)

    def end(self, port: int) -> None:
        self.operator.on_end(port, self.out)

    def advance(self, seconds: float) -> None:
        self.clock.advance(timedelta(seconds=seconds))

    def fire(self) -> None:
        if self.timer_us is not None and self.timer_us <= self.clock.now_us():
            self.timer_us = None
            self.operator.on_timer(self.clock.now_us(), self.out)


SCHEMA = pl.Schema({"a": pl.String(), "b": pl.Int64(), "n": pl.Int64()})


def two_key_operator(how: How, wait_us: int | None, *, nulls_equal: bool = False) -> TableJoinOperator:
    return TableJoinOperator(
        left_on=("a", "b"),
        right_on=("a", "b"),
        how=how,
        right_outputs=(("n", "value"),),
        table_schema=SCHEMA,
        nulls_equal=nulls_equal,
        wait_us=wait_us,
    )


def numbered(*keys: str | None) -> pl.DataFrame:
    return pl.DataFrame({"a": keys, "b": 0, "n": range(len(keys))}, schema=SCHEMA)
