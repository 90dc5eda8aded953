"""Rows are shared out to the blocks where their names belong."""

from collections.abc import Iterable, Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as hst

from streame.state.blocks import Block, Blocks, Name
from streame.state.index import Slots
from streame.state.pairs import Pairs
from streame.state.rows import RowNumbers


class Some(Block):
    """Some places."""

    SAVED = ("pairs",)

    def __init__(self, names: Sequence[Name], until: int | None = None) -> None:
        self.names = names
        self.until = max(end for _, end in names) if until is None else until
        self.pairs = Pairs(len(names))

    def absorb(self, other: Block, groups: RowNumbers, numbers: Slots) -> None:
        """There is nothing beside the pairs."""


def shared(
    blocks: Blocks[Some], names: Sequence[Name], codes: Iterable[int] | None, height: int
) -> list[Name | None]:
    """The name that each row is shared out under."""
    found: list[Name | None] = [None] * height
    array = None if codes is None else np.array(list(codes), np.uint8)
    for block, places, rows in blocks.share(names, array):
        numbers = np.arange(height)[rows]
        at = np.full(len(numbers), places) if isinstance(places, int) else places
        for row, place in zip(numbers.tolist(), at.tolist(), strict=True):
            assert found[row] is None
            found[row] = block.names[place]
    return found


@given(hst.data())
def test_every_row_comes_to_the_place_of_its_name(data: hst.DataObject) -> None:
    names = data.draw(hst.lists(hst.tuples(hst.integers(0, 9), hst.integers(0, 9)), min_size=1, unique=True))
    blocks: Blocks[Some] = Blocks(Some)
    known: list[Name] = []
    while len(known) < len(names):
        asked = names[: data.draw(hst.integers(len(known) + 1, len(names)))]
        absent = blocks.absent(asked)
        assert [asked[number] for number in absent] == asked[len(known) :]
        blocks.add(Some(asked[len(known) :]), asked[len(known) :])
        known = list(asked)
    codes = data.draw(hst.lists(hst.integers(0, len(names) - 1), min_size=1))
    codes = sorted(codes) if data.draw(hst.booleans(), label="in order") else codes
    assert shared(blocks, names, codes, len(codes)) == [names[code] for code in codes]
    assert shared(blocks, names[:1], None, 3) == [names[0]] * 3
    time = data.draw(hst.integers(0, 9))
    left = [block for block in blocks if block.until > time]
    blocks.expire(time)
    assert list(blocks) == left
    gone = [number for number, name in enumerate(names) if not any(name in block.names for block in left)]
    assert blocks.absent(names).tolist() == gone


def test_blocks_rest_only_where_they_take_much() -> None:
    blocks: Blocks[Some] = Blocks(Some)
    first, second = Some([(0, 1)]), Some([(1, 2)])
    for block in (first, second):
        blocks.add(block, block.names)
        block.pairs.numbers(0, np.arange(2**20, dtype=np.int32))
    size = first.pairs.memory_bytes
    blocks.rest([second])
    assert first.pairs.memory_bytes == size
    for number in range(20):
        blocks.add(large := Some([(2, number)]), large.names)
        large.pairs.numbers(0, np.arange(2**20, dtype=np.int32))
    blocks.rest([second])
    assert first.pairs.memory_bytes < size
    assert second.pairs.memory_bytes == size
    assert blocks.groups == 22 * 2**20
