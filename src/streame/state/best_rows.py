"""The best rows of each group, of rows that only arrive."""

from typing import Self

import numpy as np
import polars as pl

from streame.core.frames import frame_of
from streame.core.ranking import Ranking
from streame.state.first_rows import FirstRows
from streame.state.index import Slots
from streame.state.rows import RowNumbers, Rows, rows_at
from streame.state.snapshot import Savable

_SLACK_ROWS = 1024
_PLACES = 4


class BestRows(Savable):
    """Keeps the best k rows of each group and forgets all others.

    Args:
        schema: the columns of the rows, hidden ones included.
        ranking: which row is better.
        k: how many rows of a group are kept.
    """

    SAVED = ("_rows", "_places", "_live")
    DERIVED = ("_first_rows",)

    def __init__(self, schema: pl.Schema, ranking: Ranking, k: int) -> None:
        self._ranking = ranking
        self._k = k
        self._comparable = not schema[ranking.by[0]].is_nested()
        self._rows = Rows(schema)
        # The number of the row in each place of each group, the best first; -1 for an empty place. There are as many
        # places as the largest group has needed, up to k.
        self._places: RowNumbers = np.full((0, min(k, _PLACES)), -1, np.int64)
        self._first_rows = FirstRows()
        self._live = 0

    def __len__(self) -> int:
        return self._live

    @property
    def memory_bytes(self) -> int:
        """The size of the rows and of what tells where they are."""
        return self._rows.memory_bytes + self._places.nbytes + self._first_rows.nbytes

    def absorb(self, other: Self, groups: Slots) -> None:
        """Take rows of another one: by group there which group it is here, which has no rows yet; -1 to leave them out."""
        theirs = np.flatnonzero(groups >= 0)
        places = other._places[theirs]
        there = places >= 0
        self._make_room(int(groups.max(initial=-1)) + 1)
        self._widen(places.shape[1])
        numbers = np.full(places.shape, -1, np.int64)
        numbers[there] = len(self._rows) + np.arange(np.count_nonzero(there))
        self._places[groups[theirs], : places.shape[1]] = numbers
        self._rows.append(other._rows.gather(places[there]))
        self._live += int(np.count_nonzero(there))

    def update(self, slots: Slots, frame: pl.DataFrame, groups: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Take rows.

        Args:
            slots: the group of each row.
            frame: the rows.
            groups: how many groups there are by now.

        Returns:
            The rows that are no longer among the best of their group, and those that have become so.
        """
        self._make_room(groups)
        slots, frame = self._hopeful(slots, frame)
        if not frame.height:
            return frame, frame
        touched = slots[self._first_rows.find(slots, groups)]
        numbers = self._places[touched]
        there = numbers >= 0
        old = numbers[there]
        owners = np.repeat(touched, there.sum(axis=1))
        rows = pl.concat([self._rows.gather(old), frame]) if len(old) else frame
        owner = np.concatenate([owners, slots])
        order = self._ranking.order(rows, pl.Series(owner)).to_numpy()
        places = _places(owner[order])
        self._widen(int(places.max()) + 1)
        kept, lost = order[places < self._k], order[places >= self._k]
        new = kept[kept >= len(old)]
        # The kept rows that are new get the numbers that follow, in the order of their places.
        known = np.concatenate([old, np.full(frame.height, -1, np.int64)])
        known[new] = len(self._rows) + np.arange(len(new))
        self._places[touched] = -1
        self._places[owner[kept], places[places < self._k]] = known[kept]
        gone, entered = rows_at(rows, lost[lost < len(old)]), rows_at(rows, new)
        self._live += entered.height - gone.height
        self._rows.append(entered)
        if len(self._rows) > 2 * self._live + _SLACK_ROWS:
            self._compact()
        return gone, entered

    def _hopeful(self, slots: Slots, frame: pl.DataFrame) -> tuple[Slots, pl.DataFrame]:
        """The rows that may be better than the worst that is kept of their group."""
        if not self._comparable or self._places.shape[1] < self._k:
            return slots, frame
        worst = self._places[:, -1][slots]
        full = np.flatnonzero(worst >= 0)
        if not len(full):
            return slots, frame
        hopeful = np.ones(frame.height, np.bool_)
        mine = frame if len(full) == frame.height else rows_at(frame, full)
        by = self._ranking.by[0]
        other = self._rows.gather(worst[full])
        enters = self._ranking.may_enter(frame_of([mine[by]]), frame_of([other[by]]))
        hopeful[full] = enters.to_numpy()
        if hopeful.all():
            return slots, frame
        return slots[hopeful], frame.filter(pl.Series(hopeful))

    def _make_room(self, groups: int) -> None:
        height, width = self._places.shape
        if groups > height:
            more = np.full((max(groups, 2 * height) - height, width), -1, np.int64)
            self._places = np.concatenate([self._places, more])

    def _widen(self, places: int) -> None:
        """Have room for so many rows of a group, or for k."""
        height, width = self._places.shape
        if width < min(places, self._k):
            more = np.full((height, min(max(places, 2 * width), self._k) - width), -1, np.int64)
            self._places = np.concatenate([self._places, more], axis=1)

    def _compact(self) -> None:
        """Forget the rows that are no longer kept."""
        filled = self._places >= 0
        numbers = np.unique(self._places[filled])
        self._rows.keep(numbers)
        self._places[filled] = np.searchsorted(numbers, self._places[filled])


def _places(groups: Slots) -> RowNumbers:
    """For rows whose groups stand together the place of each in its group, from 0."""
    begins = np.flatnonzero(np.concatenate([[True], groups[1:] != groups[:-1]]))
    lengths = np.diff(np.append(begins, len(groups)))
    places: RowNumbers = np.arange(len(groups)) - np.repeat(begins, lengths)
    return places
