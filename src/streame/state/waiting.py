"""Rows that wait for their key to appear elsewhere."""

from collections import deque

import numpy as np
import polars as pl

from streame.state.index import KeyIndex, Slots
from streame.state.rows import RowNumbers, Rows, with_room

_SLACK_ROWS = 1024


class WaitingRows:
    """Rows in order of arrival, taken out by key or when their time is over.

    Args:
        key_schema: the key columns; frames of keys are matched with it by position.
        schema: the columns of the rows.
    """

    def __init__(self, key_schema: pl.Schema, schema: pl.Schema) -> None:
        self._key_schema = key_schema
        self._schema = schema
        self._clear()

    def _clear(self) -> None:
        self._index = KeyIndex(self._key_schema)
        self._rows = Rows(self._schema)
        self._live = 0
        self._front = 0
        # The slot of each row's key, -1 for a row that has been taken; and how many rows wait in each slot.
        # The last element of the latter is that of no slot, and stays 0.
        self._slots: Slots = np.empty(0, np.int32)
        self._counts: RowNumbers = np.zeros(1, np.int64)
        self._deadlines: deque[tuple[int, int]] = deque()

    def __len__(self) -> int:
        return self._live

    @property
    def next_deadline_us(self) -> int | None:
        """When the first rows' time is over; `None` where nothing waits or all wait for ever."""
        return self._deadlines[0][0] if self._deadlines else None

    @property
    def memory_bytes(self) -> int:
        """The size of keys and rows."""
        arrays = self._slots.nbytes + self._counts.nbytes
        return self._index.memory_bytes + self._rows.memory_bytes + arrays

    def add(self, keys: pl.DataFrame, rows: pl.DataFrame, deadline_us: int | None) -> None:
        """Let rows wait.

        Args:
            keys: the key of each row.
            rows: the rows.
            deadline_us: when their time is over, not before that of the rows that wait already; `None` for never.
        """
        if not rows.height:
            return
        start, end = len(self._rows), len(self._rows) + rows.height
        slots = self._index.slots(keys)
        self._slots = with_room(self._slots, end, -1)
        self._slots[start:end] = slots
        self._counts = with_room(self._counts, len(self._index) + 1, 0)
        np.add.at(self._counts, slots, 1)
        self._rows.append(rows)
        self._live += rows.height
        if deadline_us is None:
            return
        assert not self._deadlines or self._deadlines[-1][0] <= deadline_us, (
            self._deadlines[-1],
            deadline_us,
        )
        if self._deadlines and self._deadlines[-1][0] == deadline_us:
            self._deadlines.pop()
        self._deadlines.append((deadline_us, end))

    def take(self, keys: pl.DataFrame) -> tuple[pl.DataFrame, RowNumbers]:
        """Take out the rows that wait for these keys.

        Returns:
            The rows in order of arrival, and for each the number of the first of `keys` that is its own.
        """
        asked = self._index.find(keys)
        hits = np.flatnonzero(self._counts[asked])
        if not len(hits):
            return self._take(hits), hits
        # Absent keys and taken rows have the slot -1, which is the last element: nothing there.
        first: RowNumbers = np.full(len(self._counts), -1, np.int64)
        first[asked[hits][::-1]] = hits[::-1]
        met = first[self._slots[self._front : len(self._rows)]]
        rows = np.flatnonzero(met >= 0)
        return self._take(rows + self._front), met[rows]

    def expire(self, now_us: int) -> pl.DataFrame:
        """Take out the rows whose time is over, in order of arrival."""
        end = self._front
        while self._deadlines and self._deadlines[0][0] <= now_us:
            end = self._deadlines.popleft()[1]
        rows = self._front + np.flatnonzero(self._slots[self._front : end] >= 0)
        self._front = end
        return self._take(rows)

    def drain(self) -> pl.DataFrame:
        """Take out all rows, in order of arrival."""
        return self._take(np.flatnonzero(self._slots[: len(self._rows)] >= 0))

    def _take(self, rows: RowNumbers) -> pl.DataFrame:
        """Take out the rows of these numbers."""
        taken = self._rows.gather(rows)
        np.subtract.at(self._counts, self._slots[rows], 1)
        self._slots[rows] = -1
        self._live -= len(rows)
        if not self._live:
            self._clear()
        elif len(self._rows) > 2 * self._live + _SLACK_ROWS:
            self._compact()
        return taken

    def _compact(self) -> None:
        """Free the rows that have been taken, and the keys for which nothing waits any more."""
        live = np.flatnonzero(self._slots[: len(self._rows)] >= 0)
        self._rows.keep(live)
        old, slots = np.unique(self._slots[live], return_inverse=True)
        keys = self._index.keys(old)
        self._index = KeyIndex(self._key_schema)
        assert np.array_equal(self._index.slots(keys), np.arange(len(old)))
        self._slots = slots.astype(np.int32)
        self._counts = np.append(np.bincount(slots), 0)
        self._front = 0
        ends = np.searchsorted(live, [end for _, end in self._deadlines])
        renumbered = zip((deadline for deadline, _ in self._deadlines), ends.tolist(), strict=True)
        self._deadlines = deque(renumbered)
