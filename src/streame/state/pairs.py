"""Pairs of a place and a key slot to dense numbers: the groups of keyed state that is kept per window."""

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.state.index import KeyIndex, Slots
from streame.state.rows import with_room
from streame.state.snapshot import Savable

Places = npt.NDArray[np.intp]

TABLE_MAX = 2**22
"""How many entries a table of pairs may have: 16 MB."""

_WIDTH_MIN = 1024
_PAIR_SCHEMA = pl.Schema({"pair": pl.Int64()})


class Pairs(Savable):
    """Gives every distinct pair a number: 0 for the first pair seen, 1 for the second, and so on.

    Args:
        places: how many places there are; they are numbered from 0.
        table_max: how many entries a table of all possible pairs may have; where it would have more, the pairs that
            there are stand in an index.
    """

    SAVED = ("_places", "_slots", "_count", "_whole", "_is_whole")
    DERIVED = ("_table", "_index", "_width")

    def __init__(self, places: int, table_max: int = TABLE_MAX) -> None:
        self._table_max = table_max
        self._height = places
        self._count = 0
        self._whole = 0
        self._is_whole = False
        self._places: Slots = np.zeros(0, np.int32)
        self._slots: Slots = np.zeros(0, np.int32)
        self._width = 0
        self._table: Slots | None = None
        self._index: KeyIndex | None = None

    def saved(self) -> dict[str, Any]:
        """See `Savable`."""
        return super().saved() | {"_places": self.places, "_slots": self.slots}

    def restored(self) -> None:
        """See `Savable`."""
        self.rest()

    def __len__(self) -> int:
        return self._count

    @property
    def places(self) -> Slots:
        """The place of each pair, by its number."""
        return self._places[: self._count]

    @property
    def slots(self) -> Slots:
        """The slot of each pair, by its number."""
        return self._slots[: self._count]

    @property
    def table_bytes(self) -> int:
        """The size of what `rest` frees."""
        table = self._table.nbytes if self._table is not None else 0
        return table + (self._index.memory_bytes if self._index is not None else 0)

    @property
    def memory_bytes(self) -> int:
        """The size of all of it."""
        return self.table_bytes + self._places.nbytes + self._slots.nbytes

    def take_all(self, slots: int) -> None:
        """Number all slots below `slots` of the only place at once: each has its own number, and costs no search.

        For a place that will have most of them; the others are pairs as well, of which there are no rows.
        """
        assert self._height == 1, self._height
        assert not self._count, self._count
        self._whole = self._count = slots
        self._is_whole = True
        self._slots = np.arange(slots, dtype=np.int32)
        self._places = np.zeros(slots, np.int32)

    @property
    def may_be_empty(self) -> bool:
        """Whether there may be pairs without rows."""
        return self._whole > 0

    def numbers(self, places: Places | int, slots: Slots) -> Slots:
        """The number of each pair; new pairs get the next numbers in the order of their first row.

        Args:
            places: the place of each row; or the one place of all.
            slots: the slot of each row.
        """
        if self._is_whole and slots.max(initial=-1) < self._whole:
            return slots
        self._reach(slots)
        before = self._count
        if self._index is not None:
            numbers = self._index.slots(self._keys(places, slots))
            self._count = len(self._index)
        else:
            numbers = self._claimed(self._codes(places, slots))
        if self._count > before:
            new = np.flatnonzero(numbers >= before)
            self._places = with_room(self._places, self._count, 0)
            self._slots = with_room(self._slots, self._count, 0)
            self._places[numbers[new]] = places if isinstance(places, int) else places[new]
            self._slots[numbers[new]] = slots[new]
        return numbers

    def find(self, places: Places | int, slots: Slots) -> Slots:
        """The number of each pair, -1 for a pair that has none."""
        self._reach(slots)
        if self._index is not None:
            return self._index.find(self._keys(places, slots))
        assert self._table is not None
        return self._table.take(self._codes(places, slots))

    def rest(self) -> None:
        """Free what can be made again, until the pairs are asked for."""
        self._table = self._index = None
        self._width = 0

    def renumber(self, slots: Slots) -> None:
        """The keys have other slots now.

        Args:
            slots: the new slot of each key, by its old one.
        """
        self._slots = slots[self.slots]
        self._places = self.places.copy()
        self._is_whole = False
        self.rest()

    def _claimed(self, codes: Places | Slots) -> Slots:
        """The numbers in the table; those that have none get one."""
        table = self._table
        assert table is not None
        numbers = table.take(codes)
        if not len(numbers) or numbers.min() >= 0:
            return numbers
        absent = np.flatnonzero(numbers < 0)
        asked = codes[absent]
        # Of several rows that write to one entry the last one stays: backwards, that is the first.
        table[asked[::-1]] = np.arange(len(asked) - 1, -1, -1, dtype=np.int32)
        first = asked[table[asked] == np.arange(len(asked), dtype=np.int32)]
        table[first] = np.arange(self._count, self._count + len(first), dtype=np.int32)
        self._count += len(first)
        numbers[absent] = table[asked]
        return numbers

    def _codes(self, places: Places | int, slots: Slots) -> Places | Slots:
        if isinstance(places, int):
            return slots + places * self._width if places else slots
        return slots + places * self._width

    def _keys(self, places: Places | int, slots: Slots) -> pl.DataFrame:
        """The pairs as keys of one word."""
        return pl.Series("pair", np.asarray(places, np.int64) * 2**32 + slots).to_frame()

    def _reach(self, slots: Slots) -> None:
        """Have a table that these slots fit into, or an index."""
        if self._index is not None:
            return
        most = int(slots.max(initial=0)) + 1
        if self._table is not None and most <= self._width:
            return
        most = max(most, int(self.slots.max(initial=0)) + 1)
        self._width = max(_WIDTH_MIN, 1 << (most - 1).bit_length())
        if self._height * self._width <= self._table_max:
            self._table = np.full(self._height * self._width, -1, np.int32)
            self._table[self.places.astype(np.intp) * self._width + self.slots] = np.arange(
                self._count, dtype=np.int32
            )
        else:
            self._table = None
            self._index = KeyIndex(_PAIR_SCHEMA)
            self._index.slots(self._keys(self.places.astype(np.intp), self.slots))
