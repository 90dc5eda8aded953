"""What was told of windows, for as long as it may have to be taken back."""

import numpy as np
import polars as pl

from streame.state.blocks import Block
from streame.state.index import Slots
from streame.state.pairs import Pairs
from streame.state.rows import RowNumbers
from streame.state.said import Said


class Told(Block):
    """What was said last of the groups of some windows.

    Args:
        windows: how many windows there are.
        until: when nothing of them is taken back any more.
        schema: the columns of what is said.
    """

    SAVED = ("pairs", "said")

    def __init__(self, windows: int, until: int, schema: pl.Schema) -> None:
        self.pairs = Pairs(windows)
        self.until = until
        self.said = Said(schema)

    def absorb(self, other: "Told", groups: RowNumbers, numbers: Slots) -> None:
        """See `Block`."""
        said = np.full(len(other.pairs), -1, np.int32)
        said[groups] = numbers
        self.said.absorb(other.said, said)

    @property
    def memory_bytes(self) -> int:
        """The size of it."""
        return self.pairs.memory_bytes + self.said.memory_bytes
