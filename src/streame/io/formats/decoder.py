"""The interface of a decoder: blocks of bytes to frames, with the bad rows set apart."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import polars as pl

from streame.core.deadletters import BadRow
from streame.core.messages import Offsets


@dataclass(frozen=True, slots=True)
class Decoded:
    """The rows of one block.

    Args:
        frame: the good rows, in order, with exactly the decoder's schema.
        offsets: gives the position of each row of `frame` in the split; worked out only when asked for.
        rejected: the bad rows, in order, each with its position in the split.
    """

    frame: pl.DataFrame
    offsets: Callable[[], Offsets]
    rejected: Sequence[BadRow] = ()


class Decoder(Protocol):
    """Turns the bytes of one split into rows. A record gets the same verdict whatever its neighbours are."""

    def complete(self, data: bytes) -> int:
        """How many bytes from the start of `data` make whole records; 0 when not even the first one is whole.

        `data` begins at the beginning of a record.
        """

    def decode(self, block: bytes, start: int) -> Decoded:
        """The rows of a block of whole records (the last may lack its line end) that begins at byte `start`."""
