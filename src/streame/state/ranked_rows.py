"""The best rows of each group, of rows that arrive and are taken back."""

from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.core.ranking import Ranking
from streame.state.index import KeyIndex, Slots
from streame.state.rows import RowNumbers, with_room
from streame.state.snapshot import Savable

_SLACK_ROWS = 65_536
_SORTED_ROWS = 4096
"""How many rows of a group are sorted without a look at which of them may be among the best."""


class RankedRows(Savable):
    """Keeps all rows, each once with the number of times it is there, and tells the best k of each group.

    Args:
        schema: the columns of the rows.
        ranking: which row is better; it settles every tie, since rows come and go in no fixed order.
        k: how many rows of a group are told.
    """

    SAVED = ("_index", "_group", "_count", "_told", "_score")

    def __init__(self, schema: pl.Schema, ranking: Ranking, k: int) -> None:
        self._schema = schema
        self._ranking = ranking
        self._k = k
        self._index = KeyIndex(schema)
        self._group: Slots = np.empty(0, np.int32)
        self._count: RowNumbers = np.empty(0, np.int64)
        self._told: RowNumbers = np.empty(0, np.int64)
        self._is_scored = schema[ranking.by[0]].is_numeric() or schema[ranking.by[0]].is_temporal()
        self._score: npt.NDArray[np.float64] = np.empty(0, np.float64)

    def __len__(self) -> int:
        return int(np.count_nonzero(self._count))

    @property
    def memory_bytes(self) -> int:
        """The size of the rows and of what is known of each."""
        arrays = (self._group, self._count, self._told, self._score)
        return self._index.memory_bytes + sum(array.nbytes for array in arrays)

    def absorb(self, other: Self, groups: Slots) -> None:
        """Take rows of another one: by group there which group it is here, which has no rows yet; -1 to leave them out."""
        group, count, told = other._group, other._count, other._told
        theirs = np.arange(len(other._index))
        theirs = theirs[(groups[group[theirs]] >= 0) & ((count[theirs] != 0) | (told[theirs] != 0))]
        numbers = self._index.slots(other._index.keys(theirs))
        self._grow()
        self._group[numbers], self._count[numbers] = groups[group[theirs]], count[theirs]
        self._told[numbers] = told[theirs]
        if self._is_scored:
            self._score[numbers] = other._score[theirs]

    def update(
        self, slots: Slots, frame: pl.DataFrame, weights: RowNumbers, groups: int
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Take rows, or take them back.

        Args:
            slots: the group of each row.
            frame: the rows.
            weights: +1 for a row that arrives, -1 for one that is taken back.
            groups: how many groups there are by now.

        Returns:
            The rows that are no longer among the best of their group, and those that have become so; a row that is
            there several times stands there as often.
        """
        touched = np.zeros(groups, np.bool_)
        touched[slots] = True
        self._count_in(slots, frame, weights)
        mine = touched[self._group[: len(self._index)]]
        present = self._hopeful(np.flatnonzero(mine & (self._count[: len(mine)] > 0)), int(touched.sum()))
        rows = self._index.keys(present)
        order = self._ranking.order(rows, pl.Series(self._group[present])).to_numpy()
        best = present[order]
        now = np.zeros(len(self._index), np.int64)
        now[best] = np.clip(self._k - self._before(best), 0, self._count[best])
        change = np.where(mine, now - self._told[: len(now)], 0)
        self._told[: len(now)] += change
        gone, entered = self._repeated(change, -1), self._repeated(change, 1)
        self._forget()
        return gone, entered

    def _count_in(self, slots: Slots, frame: pl.DataFrame, weights: RowNumbers) -> None:
        numbers = self._index.slots(frame)
        self._grow()
        self._group[numbers] = slots
        np.add.at(self._count, numbers, weights)
        if self._is_scored:
            self._score[numbers] = self._ranking.scores(frame)

    def _grow(self) -> None:
        """Have room for all rows that have a number."""
        size = len(self._index)
        self._group = with_room(self._group, size, 0)
        self._count = with_room(self._count, size, 0)
        self._told = with_room(self._told, size, 0)
        if self._is_scored:
            self._score = with_room(self._score, size, 0)

    def _hopeful(self, present: RowNumbers, groups: int) -> RowNumbers:
        """Of the rows of one group those that may be among the best, by their first column alone."""
        if not self._is_scored or groups > 1 or len(present) <= _SORTED_ROWS + self._k:
            return present
        scores = self._score[present]
        worst = np.partition(scores, len(scores) - self._k)[len(scores) - self._k]
        hopeful: RowNumbers = present[scores >= worst]
        return hopeful

    def _before(self, best: RowNumbers) -> RowNumbers:
        """For rows whose groups stand together, best first: how many rows of the group stand before each."""
        counts = self._count[best]
        total = np.cumsum(counts) - counts
        groups = self._group[best]
        begins = np.concatenate([[True], groups[1:] != groups[:-1]])[: len(best)]
        return total - np.maximum.accumulate(np.where(begins, total, 0))

    def _repeated(self, change: RowNumbers, sign: int) -> pl.DataFrame:
        changed = np.flatnonzero(change * sign > 0)
        return self._index.keys(np.repeat(changed, np.abs(change[changed])))

    def _forget(self) -> None:
        """Drop the rows that are no longer there, once they are most of them."""
        size = len(self._index)
        live: npt.NDArray[np.intp] = np.flatnonzero((self._count[:size] != 0) | (self._told[:size] != 0))
        if size <= 2 * len(live) + _SLACK_ROWS:
            return
        index = KeyIndex(self._schema)
        index.slots(self._index.keys(live))
        self._index = index
        self._group, self._count = self._group[live], self._count[live]
        self._told = self._told[live]
        if self._is_scored:
            self._score = self._score[live]
