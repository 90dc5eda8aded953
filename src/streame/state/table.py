"""A table: the latest row of each key."""

from typing import Self

import numpy as np
import polars as pl

from streame.core.metrics import StateSize
from streame.state.index import equal_rows
from streame.state.latest import LatestRows
from streame.state.rows import RowNumbers, rows_at
from streame.state.shared_keys import SharedKeys
from streame.state.snapshot import Mine, Savable


class Table(Savable):
    """The latest row of each key, found by key without a join.

    Args:
        key_schema: the key columns; frames of keys are matched with it by position.
        schema: the columns of the rows, which need not hold the key.
    """

    SAVED = ("_latest", "_keys")

    def __init__(self, key_schema: pl.Schema, schema: pl.Schema) -> None:
        self._latest = LatestRows(schema)
        self._keys = SharedKeys(key_schema, [self._latest])

    def __len__(self) -> int:
        return len(self._latest)

    @property
    def size(self) -> StateSize:
        """Rows and memory of the table and its keys."""
        return self._keys.size

    def absorb(self, other: Self, mine: Mine) -> None:
        """Take the rows of another table, of the keys that are owned here."""
        self._keys.absorb(other._keys, mine)

    def upsert(self, keys: pl.DataFrame, rows: pl.DataFrame) -> None:
        """Take new rows; the last one of a key replaces what was there.

        Args:
            keys: the key of each row.
            rows: the rows.
        """
        self._latest.put(self._keys.slots(keys), rows)
        self._keys.settle()

    def change(self, keys: pl.DataFrame, rows: pl.DataFrame, weights: RowNumbers) -> None:
        """Take the rows of a changes stream: one that comes replaces what was there, one that is taken back leaves.

        A row that is taken back but is not the latest of its key changes nothing.

        Args:
            keys: the key of each row.
            rows: the rows.
            weights: 1 for a row that comes, -1 for one that is taken back.
        """
        slots = self._keys.slots(keys)
        comes = np.flatnonzero(weights > 0)
        self._latest.put(slots[comes], rows_at(rows, comes))
        replaced_at = np.full(int(slots.max(initial=-1)) + 1, -1)
        replaced_at[slots[comes]] = comes
        leaves = np.flatnonzero(weights < 0)
        leaves = leaves[leaves > replaced_at[slots[leaves]]]
        numbers, _ = self._latest.lookup(slots[leaves])
        leaves, numbers = leaves[numbers >= 0], numbers[numbers >= 0]
        same = equal_rows(rows_at(rows, leaves), self._latest.gather(numbers)).to_numpy()
        self._latest.remove(np.unique(slots[leaves[same]]))
        self._keys.settle()

    def lookup(self, keys: pl.DataFrame) -> RowNumbers:
        """The number of each key's row, -1 where there is none; valid until the next `upsert` or `change`."""
        return self._latest.lookup(self._keys.find(keys))[0]

    def gather(self, rows: RowNumbers) -> pl.DataFrame:
        """The rows of these numbers; -1 gives a row of nulls."""
        return self._latest.gather(rows)
