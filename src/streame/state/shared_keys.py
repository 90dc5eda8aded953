"""Shared keys: the slots of keys that several stores have in common."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import polars as pl

from streame.core.metrics import StateSize
from streame.core.ordering import distinct
from streame.state.index import KeyIndex, Slots
from streame.state.rows import rows_at
from streame.state.snapshot import Mine, Savable

_SLACK_KEYS = 8192


class Store(Protocol):
    """Something that keeps rows by slot."""

    @property
    def size(self) -> StateSize:
        """How many rows are there, and about how much memory they take."""

    def settle(self) -> None:
        """Free the rows that are gone, if there are many."""

    def live_slots(self) -> Slots:
        """The slots that have a row, each once."""

    def move(self, slots: Slots) -> None:
        """Give the keys new slots: by old slot the new one, for the slots that have a row."""

    def absorb(self, other: Any, slots: Slots) -> None:
        """Take rows of another store: by slot there the slot here, which has no rows yet; -1 to leave them out."""


class SharedKeys(Savable):
    """The slots of keys that several stores share; keys that none of them holds are forgotten now and then.

    Args:
        schema: the key columns; frames of keys are matched with it by position.
        stores: the stores.
    """

    SAVED = ("_index", "_limit")

    def __init__(self, schema: pl.Schema, stores: Sequence[Store]) -> None:
        self._schema = schema
        self._stores = stores
        self._index = KeyIndex(schema)
        self._limit = _SLACK_KEYS

    @property
    def size(self) -> StateSize:
        """Rows and memory of the stores, and the memory of the keys."""
        sizes = [store.size for store in self._stores]
        return StateSize(
            sum(size.rows for size in sizes), self._index.memory_bytes + sum(size.bytes for size in sizes)
        )

    def slots(self, keys: pl.DataFrame) -> Slots:
        """The slot of each key, valid until the next `settle`; a new key gets one."""
        return self._index.slots(keys)

    def slots_of_others(self, keys: pl.DataFrame) -> Slots:
        """The same as `slots` for keys of which no two are equal; much faster when there are none here yet."""
        return self._index.slots_of_others(keys)

    def find(self, keys: pl.DataFrame) -> Slots:
        """The slot of each key, -1 for a key that has none."""
        return self._index.find(keys)

    def keys(self, slots: Slots) -> pl.DataFrame:
        """The keys that have these slots."""
        return self._index.keys(slots)

    def absorb(self, other: "SharedKeys", mine: Mine) -> None:
        """Take the rows of the stores of another one, of the keys that are owned here."""
        stores = list(zip(self._stores, other._stores, strict=True))  # noqa: SLF001 - the other one is of this class
        live = distinct(np.concatenate([theirs.live_slots() for _, theirs in stores]))
        keys = other.keys(live)
        owned = np.flatnonzero(mine(keys))
        slots: Slots = np.full(int(live.max(initial=-1)) + 1, -1, np.int32)
        slots[live[owned]] = self.slots_of_others(rows_at(keys, owned))
        for ours, theirs in stores:
            ours.absorb(theirs, slots)

    def settle(self) -> None:
        """Free what is gone, if there is much of it."""
        for store in self._stores:
            store.settle()
        if len(self._index) <= self._limit:
            return
        live = np.unique(np.concatenate([store.live_slots() for store in self._stores]))
        if 2 * len(live) < len(self._index):
            moved: Slots = np.full(len(self._index), -1, np.int32)
            moved[live] = np.arange(len(live))
            keys = self._index.keys(live)
            self._index = KeyIndex(self._schema)
            self._index.slots_of_others(keys)
            for store in self._stores:
                store.move(moved)
        self._limit = 2 * len(self._index) + _SLACK_KEYS


class OneKey(SharedKeys):
    """Stands for the keys where there are no key columns: all rows have the slot 0.

    Args:
        stores: the stores.
    """

    def __init__(self, stores: Sequence[Store]) -> None:
        super().__init__(pl.Schema(), stores)

    def slots(self, keys: pl.DataFrame) -> Slots:
        """The same for every row."""
        return np.zeros(keys.height, np.int32)

    def slots_of_others(self, keys: pl.DataFrame) -> Slots:
        """The same for every row."""
        return self.slots(keys)

    def find(self, keys: pl.DataFrame) -> Slots:
        """The same for every row."""
        return self.slots(keys)
