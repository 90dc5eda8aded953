"""How large a chunk of rows may be."""

import polars as pl

from streame.core.messages import BATCH_BYTES_MAX, BATCH_ROWS_MAX


def rows_per_chunk(frame: pl.DataFrame) -> int:
    """How many of the frame's rows fit into one chunk; at least one."""
    size = int(frame.estimated_size())
    if size <= BATCH_BYTES_MAX:
        return BATCH_ROWS_MAX
    return max(1, min(BATCH_ROWS_MAX, frame.height * BATCH_BYTES_MAX // size))
