"""What was said last of each group, for results that are said again only from time to time."""

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.state.rows import RowNumbers, Rows, with_room
from streame.state.snapshot import Savable

_SLACK_ROWS = 1024

Groups = npt.NDArray[np.int32] | npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class Said(Savable):
    """The last row that was said of each group; groups have dense numbers, which the caller gives.

    Args:
        schema: the columns of what is said.
    """

    SAVED = ("_rows", "_place", "_count")

    def __init__(self, schema: pl.Schema) -> None:
        self._rows = Rows(schema)
        # Where the row of each group lies; -1 for a group of which nothing is said.
        self._place: RowNumbers = np.full(0, -1, np.int64)
        self._count = 0

    def __len__(self) -> int:
        """Of how many groups something is said."""
        return self._count

    @property
    def memory_bytes(self) -> int:
        """The size of the rows."""
        return self._rows.memory_bytes + self._place.nbytes

    def last(self, groups: Groups) -> tuple[pl.DataFrame, Mask]:
        """The last row said of each of these groups, nulls where there is none; and of which there is one."""
        self._grow(groups)
        places = self._place[groups]
        return self._rows.gather(places), places >= 0

    def say(self, groups: Groups, rows: pl.DataFrame) -> None:
        """Put down what is said of some groups, each of them once."""
        self._grow(groups)
        self._count += int(np.count_nonzero(self._place[groups] < 0))
        self._place[groups] = len(self._rows) + np.arange(len(groups))
        self._rows.append(rows)
        if len(self._rows) > 2 * self._count + _SLACK_ROWS:
            self._drop_replaced()

    def forget(self, groups: Groups) -> None:
        """Nothing is said of these groups any more; their numbers may be given anew."""
        self._grow(groups)
        self._count -= int(np.count_nonzero(self._place[groups] >= 0))
        self._place[groups] = -1

    def absorb(self, other: "Said", groups: Groups) -> None:
        """Take what another one has said; `groups` says by group there which group it is here, -1 to leave it out."""
        theirs = np.flatnonzero(groups >= 0)
        rows, was = other.last(theirs)
        if was.any():
            self.say(groups[theirs[was]], rows.filter(pl.Series(was)))

    def _grow(self, groups: Groups) -> None:
        self._place = with_room(self._place, int(groups.max(initial=-1)) + 1, -1)

    def _drop_replaced(self) -> None:
        """Free the rows that are no longer the last of their group."""
        live = np.flatnonzero(self._place >= 0)
        self._rows.keep(self._place[live])
        self._place[live] = np.arange(len(live))
