"""The first row of each slot in a batch: the slots once each, without sorting them."""

import numpy as np
import numpy.typing as npt

from streame.state.index import Slots
from streame.state.rows import with_room
from streame.state.snapshot import Savable


class FirstRows(Savable):
    """Finds the first row of each slot; keeps the room it needs from batch to batch."""

    DERIVED = ("_first",)

    def __init__(self) -> None:
        self._first: Slots = np.empty(0, np.int32)

    @property
    def nbytes(self) -> int:
        """The size in memory."""
        return self._first.nbytes

    def find(self, slots: Slots, count: int) -> npt.NDArray[np.intp]:
        """The number of the first row of each slot, rising.

        Args:
            slots: the slot of each row.
            count: how many slots there are.
        """
        self._first = with_room(self._first, count, 0)
        # What is written last stays.
        numbers = np.arange(len(slots), dtype=np.int32)
        self._first[slots[::-1]] = numbers[::-1]
        return np.flatnonzero(self._first.take(slots) == numbers)
