"""Which groups may have changed since the last snapshot, known for chunks of them."""

from typing import Any, TypeVar

import numpy as np

from streame.state.aggregates.batch import Array, Groups
from streame.state.snapshot import CHUNK_ROWS, Changed, Savable

_FEW_ROWS = 1024
"""So many rows are looked at one by one; of more, all chunks between the first and the last group are taken to change."""

T = TypeVar("T", Array, list[Any])

_BITS = CHUNK_ROWS.bit_length() - 1


class Touched:
    """How many groups there are, and for each chunk of them whether any may have changed."""

    def __init__(self) -> None:
        self.count = 0
        self.chunks: Changed = np.zeros(0, np.bool_)
        self._is_all = False

    def reach(self, count: int) -> None:
        """There are so many groups, if there were not as many before. Arrays get longer, which changes their last chunk."""
        if count > self.count:
            chunks = np.ones(-(-count // CHUNK_ROWS), np.bool_)
            last = self.count >> _BITS
            chunks[:last] = self.chunks[:last]
            self.count, self.chunks = count, chunks

    def touch(self, groups: Groups, last: int) -> None:
        """Some groups change.

        Args:
            groups: at least one.
            last: the largest of them.
        """
        if self._is_all:
            return
        if len(groups) <= _FEW_ROWS:
            self.chunks[groups >> _BITS] = True
        else:
            self.chunks[int(groups.min()) >> _BITS : (last >> _BITS) + 1] = True
        self._is_all = bool(self.chunks.all())

    def everything(self) -> None:
        """All groups change."""
        self.chunks[:] = True
        self._is_all = True

    def nothing(self) -> None:
        """From now on it is about the next snapshot; what was given for the last one stays as it is."""
        self.chunks = np.zeros(len(self.chunks), np.bool_)
        self._is_all = False


class ByGroup(Savable):
    """Part of the state of an aggregation: among others, arrays that have an element for each group."""

    BY_GROUP: tuple[str, ...] = ()
    """Those of its saved arrays that change only where groups are touched. Behind the groups there is nothing in them."""

    DERIVED = ("_touched",)

    _touched: Touched | None = None

    def share(self, touched: Touched) -> None:
        """Rely on what the state knows of its groups, here and in all parts."""
        self._touched = touched
        for name in self.SAVED:
            part = getattr(self, name)
            for each in part if isinstance(part, list) else [part]:
                if isinstance(each, ByGroup):
                    each.share(touched)

    def saved(self) -> dict[str, Any]:
        """See `Savable`."""
        parts = super().saved()
        return parts | {
            name: self._of_groups(parts[name]) for name in self.BY_GROUP if parts[name] is not None
        }

    def changed(self, name: str) -> Changed | None:
        """See `Savable`."""
        return self._touched.chunks if self._touched is not None and name in self.BY_GROUP else None

    def _of_groups(self, array: T) -> T:
        """The part of an array or a list that is about groups."""
        return array if self._touched is None else array[: self._touched.count]
