"""Positions of rows as a hidden column, so that they survive verbs that reorder or drop rows."""

import polars as pl

from streame.core.hidden import POSITION, WEIGHT, user_frame
from streame.core.messages import Batch

POSITION_DTYPE = pl.Struct({"source": pl.String(), "split": pl.String(), "offset": pl.Int64()})

NO_SOURCE = ""
"""Stands for the source and the split of rows that a verb has made."""


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


def with_made_positions(batch: Batch) -> Batch:
    """The batch; rows that a verb has made, which are in no order, get positions that their values tell.

    So what goes by the order of rows does not depend on which task was the first. Floats are left out where they can
    be: the last bit of a sum may do so. Rows of changes go by their values in any case.
    """
    frame = batch.frame
    if batch.split is not None or batch.positions is not None or {POSITION, WEIGHT} & set(frame.columns):
        return batch
    rows = user_frame(frame)
    exact = [name for name, dtype in rows.schema.items() if not (dtype.is_float() or dtype.is_nested())]
    offsets = rows.select(exact or rows.columns).hash_rows().reinterpret(signed=True)
    none = pl.lit(NO_SOURCE)
    made = frame.with_columns(pl.struct(source=none, split=none, offset=offsets).alias(POSITION))
    return Batch(made)


def describe_position(frame: pl.DataFrame, row: int) -> str:
    """Where a row came from, for an error message; empty where that is not known."""
    if POSITION not in frame.columns:
        return ""
    position = frame[POSITION][row]
    if position is None or position["source"] in {None, NO_SOURCE}:
        return ""
    return f"source {position['source']!r}, split {position['split']!r}, offset {position['offset']}"
