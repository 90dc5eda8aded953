"""Pre-aggregation: rows of the same key become one, so that a hot key costs a row per batch where rows are shared out."""

from dataclasses import replace
from typing import Self

import numpy as np
import polars as pl

from streame.core.aggregates import ROWS, Aggregation
from streame.core.frames import frame_of
from streame.core.hidden import VALUES
from streame.core.messages import Batch
from streame.core.metrics import StateSize
from streame.runtime.operator import Collector, Operator, OperatorContext
from streame.runtime.preparation import Preparation
from streame.state.aggregates import AggregateState
from streame.state.first_rows import FirstRows
from streame.state.index import KeyIndex, Slots
from streame.state.rows import RowNumbers, rows_at
from streame.state.snapshot import Mine

_KEYS_MAX = 262_144
"""Keys that are remembered, only to number the groups of a batch."""

_GAIN_MIN = 2
"""A batch with fewer rows than this for each key is sent on as it is."""

_BATCHES_SENT_ON = 15
"""So are the batches after it, before another one is tried."""


class PreAggregationOperator(Operator):
    """Sends on one row for each key of a batch, with the values of its rows; or the rows, where they are few for each.

    Args:
        name: the operator that it works for, which refuses the rows that it cannot prepare.
        key_schema: the key columns.
        aggregation: what is computed for each key.
        preparation: prepares rows for it.
    """

    SAVED = ("_sent_on",)
    DERIVED = ("_index",)  # it numbers the groups of one batch

    def __init__(
        self, name: str, key_schema: pl.Schema, aggregation: Aggregation, preparation: Preparation
    ) -> None:
        self._name = name
        self._key_schema = key_schema
        self._aggregation = aggregation
        self._preparation = preparation
        self._index = KeyIndex(key_schema)
        self._first_rows = FirstRows()
        self._sent_on = 0

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
        frame, rows = self._preparation.run(batch, self._context, out)
        if not frame.height:
            return
        keys = frame.select(self._key_schema.names())
        slots = self._index.slots(keys)
        firsts = self._first_rows.find(slots, len(self._index))
        if len(firsts) * _GAIN_MIN > len(slots):
            self._sent_on = _BATCHES_SENT_ON
            out.emit(Batch(frame))
        else:
            values = partial_values(self._aggregation, slots, firsts, rows)
            out.emit(Batch(rows_at(keys, firsts).hstack(values)))
        if len(self._index) > _KEYS_MAX:
            self._index = KeyIndex(self._key_schema)

    def state_size(self) -> StateSize:
        """Nothing but the numbers of keys."""
        return StateSize(0, self._index.memory_bytes + self._first_rows.nbytes)


def partial_values(
    aggregation: Aggregation, groups: Slots, firsts: RowNumbers, rows: pl.DataFrame
) -> pl.DataFrame:
    """The values of each group of a batch, in the order of their first rows, under names of their own.

    Args:
        aggregation: what is computed.
        groups: the number of the group of each row.
        firsts: the first row of each group.
        rows: what `Aggregation.prepare` gave for the rows.
    """
    numbers = np.arange(len(firsts), dtype=np.int32)
    number = np.empty(int(groups.max()) + 1, np.int32)
    number[groups[firsts]] = numbers
    state = AggregateState(aggregation)
    state.add(number.take(groups), rows)
    return named_values(state.partials(numbers))


def named_values(partials: pl.DataFrame) -> pl.DataFrame:
    """Values of groups under names that no column of a user has."""
    return frame_of([column.alias(VALUES + column.name) for column in partials.get_columns()])


def partial_schema(key_schema: pl.Schema, aggregation: Aggregation) -> pl.Schema:
    """The columns of a row that stands for several."""
    none = AggregateState(aggregation).partials(np.empty(0, np.int32))
    return pl.Schema({**key_schema, **none.select(pl.all().name.prefix(VALUES)).schema})


def values_of(frame: pl.DataFrame) -> pl.DataFrame | None:
    """The values that a row of a frame has for each key; `None` where these are rows as they came."""
    if VALUES + ROWS not in frame.columns:
        return None
    columns = [column for column in frame.get_columns() if column.name.startswith(VALUES)]
    return frame_of([column.alias(column.name.removeprefix(VALUES)) for column in columns])
