"""What flows on an edge of the running graph."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

BATCH_ROWS_MAX = 65_536
"""The most rows of a batch."""

BATCH_BYTES_MAX = 16 * 1024 * 1024
"""About the most bytes of a batch in memory."""

Offsets = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Positions:
    """Where the rows of a batch came from.

    Args:
        source: the name of the source in the job.
        split: the unit of reading within the source: a file, a partition.
        offsets: gives one position per row of the batch. It is a function because positions are needed only
            when a row is refused, and working them out costs more than decoding some batches.
    """

    source: str
    split: str
    offsets: Callable[[], Offsets]


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows, in source order.

    Args:
        frame: the rows.
        positions: where they came from, as long as rows and positions still correspond one to one.
    """

    frame: pl.DataFrame
    positions: Positions | None = None


@dataclass(frozen=True, slots=True)
class EndOfStream:
    """Nothing follows on this edge."""


END_OF_STREAM = EndOfStream()

Message = Batch | EndOfStream
