"""Merge: the rows of all inputs, as they come."""

from streame.core.messages import Batch
from streame.runtime.operator import Collector, Operator


class MergeOperator(Operator):
    """Passes on whatever comes on any input; the order within an input is kept."""

    def on_batch(self, port: int, batch: Batch, out: Collector) -> None:
        """Pass the rows on."""
        out.emit(batch)
