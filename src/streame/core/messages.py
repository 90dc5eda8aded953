"""What flows on an edge of the running graph."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

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
        frame: the rows, with hidden columns (`core/hidden.py`) where there are any.
        positions: where they came from, as long as rows and positions still correspond one to one.
        split: the source and split that all of them came from, where that is known.
        shares: how many rows are for each instance of the operator that follows, where they lie in its order.
    """

    frame: pl.DataFrame
    positions: Positions | None = None
    split: tuple[str, str] | None = None
    shares: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Watermark:
    """No row older than this is expected on this edge; what comes all the same is late or nearly so.

    Args:
        time: nanoseconds since 1970, or the ticks of an integer event time; `None` while the sender is idle and
            should not be waited for.
    """

    time: int | None


@dataclass(frozen=True, slots=True)
class SplitStatus:
    """What a source says of one of its splits, for whoever makes watermarks of its rows.

    Args:
        split: the source and the split; `""` is a split without rows, for a source that has no other at the moment.
        state: `open` from when it is known, before its first row; `idle` when it was polled for long and gave
            nothing; `ended` after its last row. A row of an idle split makes it `open` again.
        after_us: how long an idle split has given nothing: one of the timeouts that the source was told.
    """

    split: tuple[str, str]
    state: Literal["open", "idle", "ended"]
    after_us: int | None = None


@dataclass(frozen=True, slots=True)
class Barrier:
    """What came before it on this edge belongs to a checkpoint, what comes behind it to the next.

    Args:
        checkpoint: the number of the attempt to make one.
    """

    checkpoint: int


@dataclass(frozen=True, slots=True)
class EndOfStream:
    """Nothing follows on this edge."""


END_OF_STREAM = EndOfStream()

Message = Batch | Watermark | SplitStatus | Barrier | EndOfStream
