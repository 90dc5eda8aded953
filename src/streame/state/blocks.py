"""Blocks: keyed state for several places at once, such as slices of time or windows, that begins and ends together."""

from collections.abc import Iterator, Sequence
from typing import Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from streame.state.pairs import Pairs, Places
from streame.state.rows import RowNumbers

Numbers = Places | npt.NDArray[np.uint8]

Name = tuple[int, int]
"""What a place stands for: a slice or a window, as two times."""

_TABLES_BYTES_MAX = 64 * 1024 * 1024
_SEARCHED_MAX = 4


class Block(Protocol):
    """Keyed state for some places.

    Attributes:
        pairs: its groups: keys in places.
        until: when it is not needed any more.
    """

    pairs: Pairs
    until: int


B = TypeVar("B", bound=Block)


class Blocks(Generic[B]):
    """Blocks by the names of their places."""

    def __init__(self) -> None:
        self._found: dict[Name, tuple[B, int]] = {}
        self._blocks: dict[int, tuple[B, Sequence[Name]]] = {}

    def __iter__(self) -> Iterator[B]:
        return (block for block, _ in self._blocks.values())

    def __len__(self) -> int:
        return len(self._blocks)

    @property
    def groups(self) -> int:
        """How many groups there are."""
        return sum(len(block.pairs) for block in self)

    def absent(self, names: Sequence[Name]) -> npt.NDArray[np.intp]:
        """The numbers of the names that have no place."""
        found = self._found
        return np.array([number for number, name in enumerate(names) if name not in found], np.intp)

    def add(self, block: B, names: Sequence[Name]) -> None:
        """Give names the places of a new block, in their order."""
        self._blocks[id(block)] = (block, names)
        self._found.update((name, (block, place)) for place, name in enumerate(names))

    def share(
        self, names: Sequence[Name], codes: Numbers | None
    ) -> Iterator[tuple[B, Places | int, RowNumbers | slice]]:
        """Share rows out to the blocks where they belong.

        Args:
            names: names that have a place.
            codes: for each row the number of its name; `None` where there is one name.

        Returns:
            Blocks; with each the place of each of its rows, or of all, and the rows.
        """
        found = [self._found[name] for name in names]
        if codes is None:
            ((block, place),) = found
            yield block, place, slice(None)
            return
        places = np.array([place for _, place in found], np.intp)
        if (codes[1:] >= codes[:-1]).all():
            yield from _in_order(found, places, codes)
            return
        blocks = {id(block): block for block, _ in found}
        if len(blocks) == 1:
            yield found[0][0], places[codes], slice(None)
            return
        numbers = {each: number for number, each in enumerate(blocks)}
        block_of = np.array([numbers[id(block)] for block, _ in found], np.uint16)[codes]
        for block, rows in zip(blocks.values(), _rows_of_each(block_of, len(blocks)), strict=True):
            if len(rows):
                yield block, places[codes[rows]], rows

    def expire(self, time: int) -> None:
        """Drop the blocks that are not needed any more at a time."""
        for each, (block, names) in list(self._blocks.items()):
            if block.until <= time:
                del self._blocks[each]
                for name in names:
                    del self._found[name]

    def rest(self, busy: Sequence[B]) -> None:
        """Free what the blocks that are not busy can make again, if they take much."""
        if sum(block.pairs.table_bytes for block in self) > _TABLES_BYTES_MAX:
            kept = set(map(id, busy))
            for block in self:
                if id(block) not in kept:
                    block.pairs.rest()


def _in_order(
    found: Sequence[tuple[B, int]], places: Places, codes: Numbers
) -> Iterator[tuple[B, Places | int, slice]]:
    """The rows of each block where rows come in the order of their names: runs of rows, which are read without a copy."""
    begins = [*codes.searchsorted(np.arange(len(found), dtype=codes.dtype)).tolist(), len(codes)]
    number = 0
    while number < len(found):
        first, (block, place) = number, found[number]
        while number < len(found) and found[number][0] is block:
            number += 1
        rows = slice(begins[first], begins[number])
        if rows.start < rows.stop:
            yield block, place if number == first + 1 else places[codes[rows]], rows


def _rows_of_each(block_of: npt.NDArray[np.uint16], count: int) -> list[RowNumbers]:
    """The rows of each block, in order."""
    if count <= _SEARCHED_MAX:
        return [np.flatnonzero(block_of == number) for number in range(count)]
    order = np.argsort(block_of, kind="stable")
    return np.split(order, np.searchsorted(block_of[order], np.arange(1, count)))
