"""Pre-aggregation of windows: rows of one key and slice of time become one, before they go to another node."""

from dataclasses import replace
from typing import Self

import numpy as np
import polars as pl

from streame.core.hidden import BEHIND, WEIGHT
from streame.core.messages import Batch
from streame.core.metrics import StateSize
from streame.core.time import WATERMARK_MAX, WATERMARK_MIN
from streame.core.windows import Windows
from streame.runtime.operator import Collector, Operator, OperatorContext
from streame.runtime.operators.pre_aggregation import partial_values
from streame.runtime.preparation import Preparation
from streame.runtime.window_results import WindowSetup
from streame.state.first_rows import FirstRows
from streame.state.index import KeyIndex, Slots
from streame.state.rows import as_index
from streame.state.snapshot import Mine

_KEYS_MAX = 262_144
"""Keys that are remembered, only to number the groups of a batch."""

_SLICES_MAX = 8
"""A batch with rows of more slices is sent on as it is."""

_GAIN_MIN = 2
"""So is one with fewer rows than this for each group."""

_BATCHES_SENT_ON = 15
"""So are the batches after it, before another one is tried."""


class WindowPreAggregationOperator(Operator):
    """Sends on one row for each key and slice of a batch, with the values of its rows; or the rows, where that gains nothing.

    Rows that may be late, or are in no window, are sent on as they are: the operator that it works for knows what becomes
    of each.

    Args:
        name: that operator, which refuses the rows that cannot be prepared.
        setup: what that one does.
        preparation: prepares rows for its aggregation.
    """

    SAVED = ("_sent_on", "_reached")
    DERIVED = ("_index",)  # it numbers the groups of one batch

    def __init__(self, name: str, setup: WindowSetup, preparation: Preparation) -> None:
        self._name = name
        self._setup = setup
        self._preparation = preparation
        self._windows = Windows(setup.rule)
        self._columns = [*setup.key_columns, setup.rule.time.column]
        self._key = pl.Schema(dict(zip(setup.key_columns, setup.key.values(), strict=True)))
        self._index = KeyIndex(self._key)
        self._first_rows = FirstRows()
        self._sent_on = 0
        self._reached = WATERMARK_MIN

    def open(self, context: OperatorContext) -> None:
        """Remember the clock, for dead letters."""
        self._context = replace(context, name=self._name)

    def absorb(self, other: Self, mine: Mine) -> None:
        """There is nothing to take: what is sent on comes to the same."""

    def on_batch(self, port: int, batch: Batch, out: Collector) -> None:
        """Send on the rows or what they come to."""
        if self._sent_on:
            self._sent_on -= 1
            out.emit(batch)
            return
        if not batch.frame.height or not self._is_plain(batch.frame):
            out.emit(batch)
            return
        frame, rows = self._preparation.run(batch, self._context, out)
        if not frame.height:
            return
        numbers = self._numbers(frame)
        firsts = None if numbers is None else self._first_rows.find(numbers, int(numbers.max()) + 1)
        if numbers is None or firsts is None or len(firsts) * _GAIN_MIN > frame.height:
            self._sent_on = 0 if numbers is None else _BATCHES_SENT_ON
            out.emit(Batch(frame))
            return
        values = partial_values(self._setup.aggregation, numbers, firsts, rows)
        out.emit(Batch(frame.select(self._columns)[as_index(firsts)].hstack(values)))
        if len(self._index) > _KEYS_MAX:
            self._index = KeyIndex(self._key)

    def on_watermark(self, time: int, out: Collector) -> None:
        """Rows older than this may be late."""
        extremes = {WATERMARK_MIN, WATERMARK_MAX}
        self._reached = time if time in extremes else time // self._windows.ns_per_tick
        out.watermark(time)

    def state_size(self) -> StateSize:
        """Nothing but the numbers of keys."""
        return StateSize(0, self._index.memory_bytes + self._first_rows.nbytes)

    def _is_plain(self, frame: pl.DataFrame) -> bool:
        """Whether each row is in a window for sure, or will be refused."""
        if BEHIND in frame.columns or WEIGHT in frame.columns or self._windows.unknown(frame) is not None:
            return False
        return int(self._windows.ticks(frame).min()) >= self._reached

    def _numbers(self, frame: pl.DataFrame) -> Slots | None:
        """The number of the group of each row; `None` where slices are many, or some rows in none."""
        cut = self._windows.cut(self._windows.ticks(frame))
        if cut.outside is not None or len(cut.slices) > _SLICES_MAX:
            return None
        slots = self._index.slots(frame.select(self._key.names()))
        return slots if cut.codes is None else slots + cut.codes.astype(np.int32) * np.int32(len(self._index))
