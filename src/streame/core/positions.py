"""Positions of rows as a hidden column, so that they survive verbs that reorder or drop rows."""

import polars as pl

from streame.core.hidden import POSITION
from streame.core.messages import Batch

POSITION_DTYPE = pl.Struct({"source": pl.String(), "split": pl.String(), "offset": pl.Int64()})


def with_position_column(batch: Batch) -> pl.DataFrame:
    """The batch's rows with the hidden column; as they are where nothing is known of their positions."""
    frame, positions = batch.frame, batch.positions
    if positions is None or POSITION in frame.columns:
        return frame
    offsets = positions.offsets()
    assert len(offsets) == frame.height, (len(offsets), frame.height)
    position = pl.select(
        pl.struct(
            source=pl.lit(positions.source),
            split=pl.lit(positions.split),
            offset=pl.lit(pl.Series(offsets, dtype=pl.Int64)),
        ).alias(POSITION)
    )
    return frame.hstack(position)


def describe_position(frame: pl.DataFrame, row: int) -> str:
    """Where a row came from, for an error message; empty where that is not known."""
    if POSITION not in frame.columns:
        return ""
    position = frame[POSITION][row]
    if position is None or position["source"] is None:
        return ""
    return f"source {position['source']!r}, split {position['split']!r}, offset {position['offset']}"
