"""Merge: the rows of all inputs, as they come."""

import numpy as np
import polars as pl

from streame.core.hidden import WEIGHT
from streame.core.messages import Batch, SplitStatus
from streame.runtime.operator import Collector, Operator


class MergeOperator(Operator):
    """Passes on whatever comes on any input; the order within an input is kept.

    Args:
        changes: whether rows without a weight get one: such a row arrives, and is never taken back.
    """

    def __init__(self, *, changes: bool = False) -> None:
        self._changes = changes

    def on_batch(self, port: int, batch: Batch, out: Collector) -> None:
        """Pass the rows on."""
        if self._changes and WEIGHT not in batch.frame.columns:
            weights = pl.Series(WEIGHT, np.ones(batch.frame.height, np.int64))
            batch = Batch(batch.frame.hstack([weights]), batch.positions, batch.split)
        out.emit(batch)

    def on_split(self, port: int, status: SplitStatus, out: Collector) -> None:
        """Pass it on: no part has a split of another, where anybody asks."""
        out.split_status(status)
