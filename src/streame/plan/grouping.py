"""The nodes of the grouping verbs."""

from dataclasses import dataclass

import polars as pl

from streame.core.aggregates import Aggregation
from streame.core.emission import Emission, emission_text, says_changes
from streame.core.expressions import NamedExpr
from streame.core.time import EventTime
from streame.plan.nodes import Node, Stateful


@dataclass(frozen=True, slots=True, eq=False)
class GroupBy(Stateful):
    """One row for each key, computed from all rows of that key.

    Args:
        name: the name under which its state is found.
        input: where the rows come from.
        keys: pairs of a key column and the name under which it comes out.
        aggs: the expressions of the results.
        aggregation: how they are computed.
        emission: when results are said.
    """

    input: Node
    keys: tuple[tuple[str, str], ...]
    aggs: tuple[NamedExpr, ...]
    aggregation: Aggregation
    emission: Emission

    @property
    def schema(self) -> pl.Schema:
        """The keys, then the results."""
        keys = {name: self.input.schema[column] for column, name in self.keys}
        return pl.Schema({**keys, **self.aggregation.outputs})

    @property
    def reads(self) -> tuple[frozenset[str], ...]:
        """The keys, what the results are computed from, and the time that orders it."""
        time = self.input.event_time
        ordered = {time.column} if time is not None and self.aggregation.needs_order else set[str]()
        return (self.aggregation.columns | {column for column, _ in self.keys} | ordered,)

    @property
    def title(self) -> str:
        """The keys."""
        return f"group by {', '.join(name for _, name in self.keys)}"

    @property
    def details(self) -> list[str]:
        """The results, and when they are said."""
        results = [f"{each.name} = {each.text}" for each in self.aggs]
        return [*results, emission_text(self.emission)]

    @property
    def bound(self) -> str:
        """One row of values for each key, or all rows."""
        if self.aggregation.kept:
            return f"all rows of every key, for {', '.join(self.aggregation.kept)}: unbounded"
        return "one row of values per key, bounded by the number of keys"

    def _event_time(self) -> EventTime | None:
        """It stays where it is a key: then a group changes only by rows of its own time."""
        time = self.input.event_time
        if time is None or self.emission != "changes":
            return None
        names = [name for column, name in self.keys if column == time.column]
        return EventTime(names[0], time.dtype) if names else None

    def _is_changes(self) -> bool:
        """Unless every result is said once, at the end."""
        return says_changes(self.emission)
