"""Last rows: of the rows with equal keys only the last holds."""

from collections.abc import Sequence
from typing import Self

import numpy as np
import polars as pl

from streame.core.hidden import POSITION
from streame.core.messages import BATCH_ROWS_MAX, Batch
from streame.core.metrics import StateSize
from streame.core.ordering import RowNumbers
from streame.core.positions import POSITION_DTYPE
from streame.core.time import WATERMARK_MIN, EventTime, Mask, Ticks
from streame.runtime.emit import changes
from streame.runtime.operator import Collector, Operator
from streame.state.index import KeyIndex, Slots
from streame.state.rows import as_index, rows_at, with_room
from streame.state.said import Said
from streame.state.snapshot import Mine


class LastRowsOperator(Operator):
    """Says the last row of each key by event time, then in the order of the sources; takes back the one before it.

    Args:
        keys: the columns by which rows are equal, and their dtypes.
        schema: the columns of the rows.
        time: the event time, if there is one; no time at all is the earliest.
        positions: whether rows carry their positions; else they come in order.
    """

    SAVED = ("_index", "_said")
    DERIVED = ("_last",)

    def __init__(
        self, *, keys: pl.Schema, schema: pl.Schema, time: EventTime | None, positions: bool
    ) -> None:
        self._keys: Sequence[str] = keys.names()
        self._columns: Sequence[str] = schema.names()
        self._time = time
        self._positions = positions
        self._index = KeyIndex(keys)
        self._order = [] if time is None else [time.column]
        stored = dict(schema)
        if positions:
            self._order.append(POSITION)
            stored[POSITION] = POSITION_DTYPE
        self._stored = list(stored)
        self._said = Said(pl.Schema(stored))
        self._last: RowNumbers = np.empty(0, np.int64)

    def on_batch(self, port: int, batch: Batch, out: Collector) -> None:
        """Say the rows that are the last of their key now."""
        frame = batch.frame
        if self._positions and POSITION not in frame.columns:
            frame = frame.with_columns(pl.lit(None, POSITION_DTYPE).alias(POSITION))
        if self._order:
            frame = frame.sort(self._order, maintain_order=True)
        rows, slots = self._last_of_each(frame, self._index.slots(frame.select(self._keys)))
        rows = rows.select(self._stored)
        old, was = self._said.last(slots)
        newer = ~was | self._is_newer(old, rows)
        if not newer.all():
            mask = pl.Series(newer)
            rows, old, was, slots = rows.filter(mask), old.filter(mask), was[newer], slots[newer]
        self._said.say(slots, rows)
        said = changes(
            pl.DataFrame(),
            old.select(self._columns),
            rows.select(self._columns),
            was,
            np.ones(rows.height, np.bool_),
        )
        for part in said.iter_slices(BATCH_ROWS_MAX):
            if part.height:
                out.emit(Batch(part))

    def absorb(self, other: Self, mine: Mine) -> None:
        """See `Operator`."""
        self._said.absorb(other._said, self._index.absorb(other._index, mine))

    def state_size(self) -> StateSize:
        """The keys and their rows."""
        size = self._index.memory_bytes + self._said.memory_bytes + self._last.nbytes
        return StateSize(len(self._said), size)

    def _last_of_each(self, rows: pl.DataFrame, slots: Slots) -> tuple[pl.DataFrame, Slots]:
        """The last row of each slot."""
        self._last = with_room(self._last, len(self._index), 0)
        numbers = np.arange(len(slots))
        self._last[slots] = numbers
        last = np.flatnonzero(self._last[slots] == numbers)
        return (rows, slots) if len(last) == len(slots) else (rows_at(rows, last), slots[last])

    def _is_newer(self, old: pl.DataFrame, new: pl.DataFrame) -> Mask:
        """Which new rows come behind the old ones."""
        if self._time is None:
            same = np.ones(new.height, np.bool_)
            newer = np.zeros(new.height, np.bool_)
        else:
            before, after = (_ticks(rows, self._time) for rows in (old, new))
            same, newer = before == after, after > before
        if not self._positions:
            return newer | same
        tied = np.flatnonzero(same)
        pairs = pl.DataFrame(
            [
                pl.Series("pair", np.tile(np.arange(len(tied)), 2)),
                pl.concat([old[POSITION][as_index(tied)], new[POSITION][as_index(tied)]]),
                pl.Series("new", np.repeat([False, True], len(tied))),
            ]
        )
        newer[tied] = pairs.sort("pair", POSITION, "new")["new"].to_numpy()[1::2]
        return newer


def _ticks(rows: pl.DataFrame, time: EventTime) -> Ticks:
    """The times of rows; no time is the earliest."""
    column = rows[time.column].to_physical().cast(pl.Int64).fill_null(WATERMARK_MIN)
    return column.to_numpy()
