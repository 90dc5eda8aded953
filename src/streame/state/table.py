"""A table: the latest row of each key."""

import numpy as np
import polars as pl

from streame.state.index import KeyIndex
from streame.state.rows import RowNumbers, Rows, as_index, with_room

_SLACK_ROWS = 1024


class Table:
    """The latest row of each key, found by key without a join.

    Args:
        key_schema: the key columns; frames of keys are matched with it by position.
        schema: the columns of the rows, which need not hold the key.
    """

    def __init__(self, key_schema: pl.Schema, schema: pl.Schema) -> None:
        self._index = KeyIndex(key_schema)
        self._rows = Rows(schema)
        # The number of the latest row of each slot. The last element stays free: the slot -1, of a key that
        # is absent, finds the row -1 there.
        self._latest: RowNumbers = np.full(1, -1, np.int64)

    def __len__(self) -> int:
        return len(self._index)

    @property
    def memory_bytes(self) -> int:
        """The size of keys and rows."""
        return self._index.memory_bytes + self._rows.memory_bytes + self._latest.nbytes

    def upsert(self, keys: pl.DataFrame, rows: pl.DataFrame) -> None:
        """Take new rows; the last one of a key replaces what was there.

        Args:
            keys: the key of each row.
            rows: the rows.
        """
        slots = self._index.slots(keys)
        self._latest = with_room(self._latest, len(self._index) + 1, -1)
        numbers = np.arange(len(slots))
        self._latest[slots] = numbers
        last = np.flatnonzero(self._latest[slots] == numbers)
        self._latest[slots[last]] = len(self._rows) + np.arange(len(last))
        self._rows.append(rows if len(last) == len(slots) else rows[as_index(last)])
        if len(self._rows) > 2 * len(self) + _SLACK_ROWS:
            self._drop_replaced()

    def lookup(self, keys: pl.DataFrame) -> RowNumbers:
        """The number of each key's row, -1 where there is none; valid until the next `upsert`."""
        return self._latest[self._index.find(keys)]

    def gather(self, rows: RowNumbers) -> pl.DataFrame:
        """The rows of these numbers; -1 gives a row of nulls."""
        return self._rows.gather(rows)

    def _drop_replaced(self) -> None:
        """Free the rows that newer ones have replaced."""
        live = len(self)
        self._rows.keep(self._latest[:live])
        self._latest[:live] = np.arange(live)
