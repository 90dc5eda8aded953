"""Single rows: of the rows with equal keys none holds as soon as there are two."""

from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.core.messages import Batch
from streame.core.metrics import StateSize
from streame.runtime.emit import changes
from streame.runtime.operator import Collector, Operator
from streame.state.index import KeyIndex
from streame.state.rows import with_room
from streame.state.said import Said
from streame.state.snapshot import Mine


class SingleRowsOperator(Operator):
    """Says the first row of each key, and takes it back when there is a second one.

    Args:
        keys: the columns by which rows are equal, and their dtypes.
        schema: the columns of the rows.
    """

    SAVED = ("_index", "_said", "_rows")

    def __init__(self, *, keys: pl.Schema, schema: pl.Schema) -> None:
        self._keys: Sequence[str] = keys.names()
        self._columns: Sequence[str] = schema.names()
        self._index = KeyIndex(keys)
        self._said = Said(schema)
        # How many rows each key has had; two stands for more.
        self._rows: npt.NDArray[np.int64] = np.empty(0, np.int64)

    def on_batch(self, port: int, batch: Batch, out: Collector) -> None:
        """Say the rows that stand alone, and take back those that do no longer."""
        slots = self._index.slots(batch.frame.select(self._keys))
        self._rows = with_room(self._rows, len(self._index), 0)
        before = self._rows[slots]
        np.add.at(self._rows, slots, 1)
        after = np.minimum(self._rows[slots], 2)
        self._rows[slots] = after
        # A key that had one row loses it once, by whichever of its rows here.
        touched, first = np.unique(slots[before == 1], return_index=True)
        changed = np.concatenate(
            [np.flatnonzero((before == 0) & (after == 1)), np.flatnonzero(before == 1)[first]]
        )
        slots, rows = slots[changed], batch.frame.select(self._columns)[changed]
        old, was = self._said.last(slots)
        self._said.forget(touched)
        self._said.say(slots[~was], rows.filter(pl.Series(~was)))
        said = changes(pl.DataFrame(), old, rows, was, ~was)
        if said.height:
            out.emit(Batch(said))

    def absorb(self, other: Self, mine: Mine) -> None:
        """See `Operator`."""
        slots = self._index.absorb(other._index, mine)
        self._said.absorb(other._said, slots)
        self._rows = with_room(self._rows, len(self._index), 0)
        theirs = np.flatnonzero(slots >= 0)
        self._rows[slots[theirs]] = other._rows[theirs]

    def state_size(self) -> StateSize:
        """The keys, and the rows that stand alone."""
        size = self._index.memory_bytes + self._said.memory_bytes + self._rows.nbytes
        return StateSize(len(self._index), size)
