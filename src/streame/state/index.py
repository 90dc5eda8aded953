"""Keys to dense slots: the base of all keyed state."""

from collections.abc import Callable
from itertools import starmap

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.state.rows import RowNumbers, Rows, rows_at
from streame.state.snapshot import Mine, Savable

Hashes = npt.NDArray[np.uint64]
Slots = npt.NDArray[np.int32]
HashKeys = Callable[[pl.DataFrame], Hashes]

_CAPACITY_MIN = 1024
_ODD = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)


class KeyIndex(Savable):
    """Gives every distinct key a number: 0 for the first key seen, 1 for the second, and so on.

    Open addressing over a hash of the key that is valid in this process only. What the hash finds is compared
    with the key itself, so the answer is exact whatever the hash. As in Polars' `unique`, null equals null,
    NaN equals NaN and -0.0 equals 0.0.

    Args:
        key_schema: the key columns. Frames of keys are matched with it by position, not by name, and must
            have its dtypes.
        hash_keys: the hash of each row; equal keys must have equal hashes. For tests of collisions.
    """

    SAVED = ("_keys",)
    HERE = ("_table", "_hashes")
    DERIVED = ("_count", "_table", "_hashes", "_shift", "_compare", "_null_known")

    def __init__(self, key_schema: pl.Schema, hash_keys: HashKeys | None = None) -> None:
        self._schema = key_schema
        dtypes = key_schema.dtypes()
        self._one_word = hash_keys is None and len(dtypes) == 1 and _fits_one_word(dtypes[0])
        self._hash_keys = hash_keys or (_hash_words if self._one_word else _hash_rows)
        self._compare = True
        self._null_known = False
        self._keys = Rows(key_schema)
        self._count = 0
        self._table: Slots
        self._hashes: Hashes = np.empty(0, np.uint64)
        self._resize(_CAPACITY_MIN)

    def restored(self) -> None:
        """Hash all keys again: in another process, or with another version of Polars, hashes are different."""
        self._count, keys = len(self._keys), self._keys.whole()
        self._hashes = self._hash(keys) if self._count else np.empty(0, np.uint64)
        self._null_known = self._one_word and keys.to_series().null_count() > 0
        capacity = _CAPACITY_MIN
        while capacity // 2 < self._count:
            capacity *= 2
        self._resize(capacity)

    def restored_here(self) -> None:
        """See `Savable`."""
        self._count = len(self._keys)
        self._null_known = self._one_word and self._keys.whole().to_series().null_count() > 0
        self._shift = np.uint64(65 - len(self._table).bit_length())

    def absorb(self, other: "KeyIndex", mine: Mine) -> Slots:
        """Take the keys of another index that are owned here.

        Returns:
            By slot there the slot here, -1 for a key that is not owned.
        """
        keys = other.keys(np.arange(len(other)))
        owned = mine(keys)
        slots: Slots = np.full(len(other), -1, np.int32)
        slots[owned] = self.slots_of_others(keys.filter(pl.Series(owned)))
        return slots

    def slots_of_others(self, keys: pl.DataFrame) -> Slots:
        """The same as `slots` for keys of which no two are equal; much faster when there are none here yet."""
        if self._count or not keys.height:
            return self.slots(keys)
        self._keys.append(_renamed(keys, self._schema))
        self.restored()
        return np.arange(self._count, dtype=np.int32)

    def __len__(self) -> int:
        return self._count

    @property
    def memory_bytes(self) -> int:
        """The size of the table and the keys."""
        return self._table.nbytes + self._hashes.nbytes + self._keys.memory_bytes

    def find(self, keys: pl.DataFrame) -> Slots:
        """The slot of each key, -1 for a key that has none."""
        if not keys.height or not self._count:
            return np.full(keys.height, -1, np.int32)
        slots, _ = self._probe(keys, self._hash(keys))
        return slots

    def slots(self, keys: pl.DataFrame) -> Slots:
        """The slot of each key; new keys get the next slots in the order of their first row."""
        if not keys.height:
            return np.empty(0, np.int32)
        hashes = self._hash(keys)
        slots, places = self._probe(keys, hashes)
        if slots.min() >= 0:
            return slots
        absent = np.flatnonzero(slots < 0)
        if len(absent) > self._room() and self._reserve(rows_at(keys, absent).n_unique()):
            return self.slots(keys)
        new = self._claim(absent, keys, hashes, slots, places)
        self._hashes[self._count : self._count + len(new)] = hashes[new]
        self._remember(rows_at(keys, new))
        return slots

    def keys(self, slots: Slots | RowNumbers) -> pl.DataFrame:
        """The keys that have these slots."""
        return self._keys.gather(slots.astype(np.int64))

    def _hash(self, keys: pl.DataFrame) -> Hashes:
        """The hash of each key; decides whether this call must compare keys, or equal hashes say enough."""
        assert keys.dtypes == self._schema.dtypes(), (keys.schema, self._schema)
        # Null has the hash of 0, all other words have hashes of their own.
        self._compare = not self._one_word or self._null_known or keys.to_series().null_count() > 0
        return self._hash_keys(keys)

    def _remember(self, new: pl.DataFrame) -> None:
        """Keep the new keys, whose slots follow those there are."""
        self._keys.append(_renamed(new, self._schema))
        self._count += new.height
        self._null_known = self._null_known or (self._one_word and new.to_series().null_count() > 0)

    def _places(self, hashes: Hashes) -> RowNumbers:
        """Where in the table the search for a hash begins: its upper bits."""
        return (hashes >> self._shift).view(np.int64)

    def _probe(self, keys: pl.DataFrame, hashes: Hashes) -> tuple[Slots, RowNumbers]:
        """The slot of each key, or -1; and the place in the table where its search ended."""
        places = self._places(hashes)
        slots = self._table.take(places)
        differs = self._hashes.take(slots) != hashes
        other = np.flatnonzero(differs if slots.min() >= 0 else differs & (slots >= 0))
        self._follow(other, hashes, slots, places)
        wrong = self._other_key(keys, slots, None)
        while len(wrong):
            self._follow(wrong, hashes, slots, places)
            wrong = self._other_key(keys, slots, wrong)
        return slots, places

    def _follow(self, rows: RowNumbers, hashes: Hashes, slots: Slots, places: RowNumbers) -> None:
        """Go to the next place, and on, until each of `rows` stands at its own hash or at a free place."""
        last = len(self._table) - 1
        while len(rows):
            place = (places[rows] + 1) & last
            slot = self._table.take(place)
            places[rows] = place
            slots[rows] = slot
            rows = rows[(slot >= 0) & (self._hashes.take(slot) != hashes[rows])]

    def _other_key(self, keys: pl.DataFrame, slots: Slots, rows: RowNumbers | None) -> RowNumbers:
        """Those of `rows` (`None`: all) whose slot has the right hash but another key."""
        nothing: RowNumbers = np.empty(0, np.int64)
        if not self._compare or not self._count:
            return nothing
        found = slots if rows is None else slots[rows]
        occupied = found >= 0
        if not occupied.all():
            rows = np.flatnonzero(occupied) if rows is None else rows[occupied]
            found = found[occupied]
        if not len(found):
            return nothing
        asked = keys if rows is None else rows_at(keys, rows)
        same = equal_rows(asked, self.keys(found))
        if same.all():
            return nothing
        wrong = np.flatnonzero(~same.to_numpy())
        return wrong if rows is None else rows[wrong]

    def _claim(
        self, rows: RowNumbers, keys: pl.DataFrame, hashes: Hashes, slots: Slots, places: RowNumbers
    ) -> RowNumbers:
        """Give slots to `rows`, whose keys have none and whose search ended at free places.

        Every row writes itself into its place and the first one there stays. Who finds an equal key there
        shares its slot, who finds another key goes on. Until the order of the new keys is known, the table
        holds row numbers, counted from the first free slot.

        Returns:
            The first row of each new key, in order.
        """
        last = len(self._table) - 1
        absent = rows
        claimed = []
        while len(rows):
            place = places[rows]
            free = np.flatnonzero(self._table[place] < 0)[::-1]
            self._table[place[free]] = self._count + rows[free]
            owner = self._table[place] - self._count
            claimed.append(rows[owner == rows])
            same = (owner >= 0) & (hashes.take(owner, mode="clip") == hashes[rows])
            if self._compare:
                candidates = np.flatnonzero(same & (owner != rows))
                asked, known = (rows_at(keys, each[candidates]) for each in (rows, owner))
                same[candidates] = equal_rows(asked, known).to_numpy()
            slots[rows[same]] = owner[same]
            rows = rows[~same]
            places[rows] = (places[rows] + 1) & last
        new = np.sort(np.concatenate(claimed))
        number = np.empty(keys.height, np.int32)
        number[new] = np.arange(self._count, self._count + len(new))
        slots[absent] = number[slots[absent]]
        self._table[places[new]] = number[new]
        return new

    def _room(self) -> int:
        """How many more keys fit before the table is half full."""
        return len(self._hashes) - self._count

    def _reserve(self, keys: int) -> bool:
        """Make room for so many more keys. Returns whether the table had to grow."""
        if keys <= self._room():
            return False
        capacity = 2 * len(self._table)
        while capacity // 2 < self._count + keys:
            capacity *= 2
        self._resize(capacity)
        return True

    def _resize(self, capacity: int) -> None:
        """Make the table anew with `capacity` places, a power of two."""
        assert capacity <= 2**31, capacity
        self._shift = np.uint64(65 - capacity.bit_length())
        self._table = np.full(capacity, -1, np.int32)
        self._hashes = np.concatenate(
            [self._hashes[: self._count], np.empty(capacity // 2 - self._count, np.uint64)]
        )
        slots = np.arange(self._count, dtype=np.int32)
        places = self._places(self._hashes[: self._count])
        while len(slots):
            free = self._table[places] < 0
            self._table[places[free]] = slots[free]
            lost = self._table[places] != slots
            slots, places = slots[lost], (places[lost] + 1) & (capacity - 1)


def _renamed(keys: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    names = schema.names()
    return keys if keys.columns == names else keys.rename(dict(zip(keys.columns, names, strict=True)))


def _fits_one_word(dtype: pl.DataType) -> bool:
    """Whether equal values of the dtype have equal 64-bit words, so that the word stands for the key."""
    return dtype.is_temporal() or (dtype.is_integer() and dtype not in {pl.Int128, pl.UInt128})


def _hash_words(keys: pl.DataFrame) -> Hashes:
    """A hash of one column of words in which different words never meet; null counts as 0."""
    column = keys.to_series()
    if column.dtype != pl.UInt64:
        column = column.cast(pl.Int64)  # what `to_physical` does, at a tenth of its cost
    words = (column.fill_null(0) if column.null_count() else column).to_numpy()
    # The shift brings the upper half into play, the product brings all of it into the upper bits.
    mixed = words.view(np.uint64)
    return (mixed ^ (mixed >> _HALF)) * _ODD


def _hash_rows(keys: pl.DataFrame) -> Hashes:
    """Polars' hash, which is fast and differs between versions of Polars."""
    return keys.hash_rows().to_numpy()


def equal_rows(left: pl.DataFrame, right: pl.DataFrame) -> pl.Series:
    """Whether each row of `left` equals that of `right` in all columns; null equals null."""
    pairs = zip(left.get_columns(), right.get_columns(), strict=True)
    same, *others = starmap(_equal, pairs)
    for other in others:
        same &= other
    return same


def _equal(left: pl.Series, right: pl.Series) -> pl.Series:
    """Whether values are equal; the plain comparison has less overhead."""
    return left.eq_missing(right) if left.null_count() or right.null_count() else left == right
