"""The node of windows over event time."""

from dataclasses import dataclass

import polars as pl

from streame.core.aggregates import Aggregation
from streame.core.emission import Emission, emission_text, says_changes
from streame.core.expressions import NamedExpr
from streame.core.time import EventTime
from streame.core.windows import WINDOW_ENDS, WindowRule
from streame.plan.nodes import Node, Stateful


@dataclass(frozen=True, slots=True, eq=False)
class WindowAggregate(Stateful):
    """One row for each key and window, computed from the rows of that key in the window.

    Args:
        name: the name under which its state is found.
        input: where the rows come from.
        keys: pairs of a key column and the name under which it comes out.
        computed_keys: the key columns that were made for it, and are in no row of the user's.
        rule: which windows there are.
        aggs: the expressions of the results.
        aggregation: how they are computed. Where the label is a data point, that is its first output.
        include_boundaries: whether the ends of a window come out.
        emission: when results are said.
        lateness: for how many ticks a window counts rows after it has closed.
    """

    input: Node
    keys: tuple[tuple[str, str], ...]
    computed_keys: tuple[str, ...]
    rule: WindowRule
    aggs: tuple[NamedExpr, ...]
    aggregation: Aggregation
    include_boundaries: bool
    emission: Emission
    lateness: int

    @property
    def schema(self) -> pl.Schema:
        """The keys, the ends of the window, its label, then the results."""
        columns = {name: self.input.schema[column] for column, name in self.keys}
        if self.include_boundaries:
            columns |= dict.fromkeys(WINDOW_ENDS, self.rule.boundary_dtype)
        columns[self.rule.time.column] = self.rule.time.dtype
        return pl.Schema({**columns, **self.aggregation.outputs})

    @property
    def reads(self) -> tuple[frozenset[str], ...]:
        """The keys, the time, and what the results are computed from."""
        return (self.aggregation.columns | {column for column, _ in self.keys} | {self.rule.time.column},)

    @property
    def late_schema(self) -> pl.Schema:
        """The columns that the user gave."""
        return pl.Schema(
            {name: dtype for name, dtype in self.input.schema.items() if name not in self.computed_keys}
        )

    @property
    def title(self) -> str:
        """The windows and the keys."""
        by = f" by {', '.join(name for _, name in self.keys)}" if self.keys else ""
        return f"windows over {self.rule.time.column}{by}"

    @property
    def details(self) -> list[str]:
        """The windows, the results, and when they are said."""
        results = [f"{each.name} = {each.text}" for each in self.aggs]
        late = (
            [f"late rows change a window for {self.rule.ticks_text(self.lateness)} more"]
            if self.lateness
            else []
        )
        return [f"{self.rule.text()}, closed {self.rule.closed}", *results, self._said(), *late]

    @property
    def bound(self) -> str:
        """The windows that are open."""
        what = "one row of values per key and slice of time"
        if self.aggregation.kept:
            what = f"all rows, for {', '.join(self.aggregation.kept)},"
        until = (
            "close" if not self.lateness else f"have been closed for {self.rule.ticks_text(self.lateness)}"
        )
        return f"{what} until the windows over it {until}"

    def _said(self) -> str:
        if self.emission == "on_close":
            return "said when the window closes"
        return f"{emission_text(self.emission)}, and when the window closes"

    def _event_time(self) -> EventTime:
        """The label."""
        return self.rule.time

    def _is_changes(self) -> bool:
        """Where results are said before they are final; what is said at the close alone is not taken back."""
        return says_changes(self.emission) or self.lateness > 0
