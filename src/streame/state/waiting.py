"""Rows that wait for their key to appear elsewhere."""

from typing import Self

import numpy as np
import polars as pl

from streame.core.metrics import StateSize
from streame.core.time import WATERMARK_MAX, WATERMARK_MIN, Ticks
from streame.state.keyed_rows import KeyedRows
from streame.state.rows import RowNumbers
from streame.state.shared_keys import SharedKeys
from streame.state.snapshot import Mine, Savable


class WaitingRows(Savable):
    """Rows in order of arrival, taken out by key or when their time is over.

    Args:
        key_schema: the key columns; frames of keys are matched with it by position.
        schema: the columns of the rows.
    """

    SAVED = ("_rows", "_keys")

    def __init__(self, key_schema: pl.Schema, schema: pl.Schema) -> None:
        self.schema = schema
        self._rows = KeyedRows(schema, by_time=True)
        self._keys = SharedKeys(key_schema, [self._rows])

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def size(self) -> StateSize:
        """How many rows wait, and about how much memory they take."""
        return self._keys.size

    @property
    def least_time(self) -> int | None:
        """The earliest time of a row that waits."""
        return self._rows.least_time

    @property
    def least_deadline(self) -> int | None:
        """The first deadline; `None` where nothing waits or all wait for ever."""
        return self._rows.least_deadline

    def absorb(self, other: Self, mine: Mine) -> None:
        """Take the rows that wait elsewhere, of the keys that are owned here."""
        self._keys.absorb(other._keys, mine)

    def add(
        self, keys: pl.DataFrame, rows: pl.DataFrame, deadlines: Ticks | None, times: Ticks | None = None
    ) -> None:
        """Let rows wait.

        Args:
            keys: the key of each row.
            rows: the rows.
            deadlines: the last moment at which each row waits; `None` for ever.
            times: the time of each row, where that counts.
        """
        at = np.zeros(rows.height, np.int64) if times is None else times
        self._rows.add(self._keys.slots(keys), at, rows, deadlines)

    def take(self, keys: pl.DataFrame) -> tuple[pl.DataFrame, RowNumbers]:
        """Take out the rows that wait for these keys.

        Returns:
            The rows in order of arrival, and for each the number of the first of `keys` that is its own.
        """
        slots, first = np.unique(self._keys.find(keys), return_index=True)
        everything = np.full(len(slots), WATERMARK_MIN), np.full(len(slots), WATERMARK_MAX)
        pairs = list(self._rows.find(slots, *everything))
        nothing = np.empty(0, np.int64)
        probes = np.concatenate([nothing, *(each for each, _ in pairs)])
        numbers = np.concatenate([nothing, *(each for _, each in pairs)])
        order = np.argsort(numbers)
        return self._take(numbers[order]), first[probes[order]]

    def expire(self, now: int) -> pl.DataFrame:
        """Take out the rows whose deadline is before `now`, in order of arrival."""
        over = self._rows.gather(np.sort(self._rows.expire(now)))
        self._keys.settle()
        return over

    def drain(self) -> pl.DataFrame:
        """Take out all rows, in order of arrival."""
        return self._take(self._rows.numbers())

    def _take(self, numbers: RowNumbers) -> pl.DataFrame:
        """Take out the rows of these numbers."""
        taken = self._rows.gather(numbers)
        self._rows.remove(numbers)
        self._keys.settle()
        return taken
