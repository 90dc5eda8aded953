"""The order of rows within a group: by time, ties by position, ties by arrival."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from streame.core.aggregates import TIME
from streame.core.hidden import POSITION
from streame.core.positions import POSITION_DTYPE

ORDER = {TIME: pl.Int64(), POSITION: POSITION_DTYPE}
"""The columns that order rows which are kept."""


def order_columns(rows: pl.DataFrame, height: int) -> list[pl.Series]:
    """The columns that order prepared rows; a column that a batch does not have is the same for all its rows."""
    names = rows.columns
    times = rows.get_column(TIME) if TIME in names else pl.Series(TIME, np.zeros(height, np.int64))
    if POSITION in names:
        return [times, rows.get_column(POSITION)]
    return [times, pl.Series(POSITION, [None], dtype=POSITION_DTYPE).new_from_index(0, height)]


def in_order(rows: pl.DataFrame, then: Sequence[str] = ()) -> pl.DataFrame:
    """Rows that were kept, in order.

    Args:
        rows: the rows, with the columns of `ORDER`.
        then: columns that settle what is still a tie, in the place of arrival.
    """
    has_positions = rows[POSITION].null_count() < rows.height
    if not has_positions and not then and rows[TIME].is_sorted():
        return rows
    fields = [pl.col(POSITION).struct.field(name) for name in ("source", "split", "offset")]
    keys = [pl.col(TIME), *(fields if has_positions else []), *(pl.col(name) for name in then)]
    return rows.sort(keys, maintain_order=True)
