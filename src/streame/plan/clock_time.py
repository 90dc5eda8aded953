"""The node of processing time: the moment in which a row comes stands for the moment in which it happened."""

from dataclasses import dataclass

import polars as pl

from streame.core.time import EventTime
from streame.core.windows import WindowRule
from streame.plan.nodes import Node


@dataclass(frozen=True, slots=True, eq=False)
class ClockTime(Node):
    """Write into a new column when each row came, by the wall clock, and let that be event time.

    Args:
        input: where the rows come from.
        rule: the windows that are made of that time; its ends are told also while no rows come.
    """

    input: Node
    rule: WindowRule

    @property
    def schema(self) -> pl.Schema:
        """With the column at the end."""
        return pl.Schema({**self.input.schema, self.rule.time.column: self.rule.time.dtype})

    def _event_time(self) -> EventTime:
        """The new column."""
        return self.rule.time
