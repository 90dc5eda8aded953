"""Blocks: keyed state for several places at once, such as slices of time or windows, that begins and ends together."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, Self, TypeVar

import numpy as np
import numpy.typing as npt

from streame.state.index import Slots
from streame.state.pairs import Pairs, Places
from streame.state.rows import RowNumbers
from streame.state.snapshot import Savable

Numbers = Places | Slots | npt.NDArray[np.uint8]

Name = tuple[int, int]
"""What a place stands for: a slice or a window, as two times."""

_TABLES_BYTES_MAX = 64 * 1024 * 1024
_SEARCHED_MAX = 4


class Block(Savable, ABC):
    """Keyed state for some places.

    Attributes:
        pairs: its groups: keys in places.
        until: when it is not needed any more.
    """

    pairs: Pairs
    until: int

    def filled(self) -> npt.NDArray[np.bool_] | None:
        """Of which groups something is known; `None` where there is something of all."""
        return None

    @abstractmethod
    def absorb(self, other: Any, groups: RowNumbers, numbers: Slots) -> None:
        """Take the groups `groups` of another one, of which nothing is known here, as the groups `numbers`."""


B = TypeVar("B", bound=Block)


class Blocks(Savable, Generic[B]):
    """Blocks by the names of their places.

    Args:
        make: makes an empty block of the places of some names, and of when it is not needed any more.
    """

    SAVED = ("_blocks", "_next")
    DERIVED = ("_found",)

    def __init__(self, make: Callable[[Sequence[Name], int], B]) -> None:
        self._make = make
        self._found: dict[Name, tuple[B, int]] = {}
        # By numbers that are never given again, under which they are saved.
        self._next = 0
        self._blocks: dict[int, tuple[B, Sequence[Name]]] = {}

    def saved(self) -> dict[str, Any]:
        """See `Savable`."""
        blocks = {
            str(number): {"names": np.array(names, np.int64), "until": block.until, "block": block}
            for number, (block, names) in self._blocks.items()
        }
        return {"blocks": blocks, "next": self._next}

    def restore(self, parts: dict[str, Any]) -> None:
        """See `Savable`."""
        self._found, self._blocks = {}, {}
        for number, part in sorted(parts["blocks"].items(), key=lambda item: int(item[0])):
            names = [(low, high) for low, high in part["names"].tolist()]
            block = self._make(names, part["until"])
            block.restore(part["block"])
            self._next = int(number)
            self.add(block, names)
        self._next = parts["next"]

    def absorb(self, other: Self, slots: Slots) -> None:
        """Take the groups of other blocks; `slots` says by slot there which slot it is here, -1 to leave it out."""
        for block, names in other._blocks.values():
            absent = [names[each] for each in self.absent(names).tolist()]
            if absent:
                self.add(self._make(absent, block.until), absent)
            filled = block.filled()
            groups = np.arange(len(block.pairs)) if filled is None else np.flatnonzero(filled)
            here = slots[block.pairs.slots[groups]]
            groups, here = groups[here >= 0], here[here >= 0]
            for ours, places, rows in self.share(names, block.pairs.places[groups]):
                ours.absorb(block, groups[rows], ours.pairs.numbers(places, here[rows]))

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
        self._blocks[self._next] = (block, names)
        self._next += 1
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
