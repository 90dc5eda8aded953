"""The nodes of verbs that run a user's Python function over the rows of a group."""

from dataclasses import dataclass

import polars as pl

from streame.core.encoding import ValueCodec
from streame.core.group import StateFunction
from streame.core.time import EventTime
from streame.plan.nodes import Node, Stateful


@dataclass(frozen=True, slots=True, eq=False)
class MapWithState(Stateful):
    """Call a function with the new rows of each group and its state.

    Args:
        name: the name under which its state is found.
        input: where the rows come from.
        keys: pairs of a key column and the name that it has for the user.
        columns: the columns of the rows that the function gets.
        function: what is called.
        output: the columns that it returns; checked at every call.
        codec: how its state is kept.
        initial: the state of a new key, encoded.
        ttl: how long after its last row the state of a key is freed, in ticks of the event time or, where there is
            none, in microseconds; `None` for never.
        in_order: whether rows wait for the watermark, and come in the order of the event time.
    """

    input: Node
    keys: tuple[tuple[str, str], ...]
    columns: tuple[str, ...]
    function: StateFunction
    output: pl.Schema
    codec: ValueCodec
    initial: bytes
    ttl: int | None
    in_order: bool

    @property
    def schema(self) -> pl.Schema:
        """As the user says."""
        return self.output

    @property
    def title(self) -> str:
        """The keys."""
        return f"map with state by {', '.join(name for _, name in self.keys)}"

    @property
    def details(self) -> list[str]:
        """The function, and what it costs."""
        function = getattr(self.function, "__qualname__", type(self.function).__name__)
        runs = f"{function}: Python runs once per group and batch"
        time = self.input.event_time
        if time is not None and self.in_order:
            return [runs, f"rows wait for the watermark, and come in the order of {time.column}"]
        return [runs, "not repeatable: rows come as they arrive"]

    @property
    def late_schema(self) -> pl.Schema | None:
        """Rows are late where they come in order."""
        if self.input.event_time is None or not self.in_order:
            return None
        return pl.Schema({name: self.input.schema[name] for name in self.columns})

    @property
    def bound(self) -> str:
        """The ttl, and what it counts."""
        if self.ttl is None:
            return "one per key, unbounded (ttl=None)"
        time = self.input.event_time
        if time is None:
            return f"one per key, freed {self.ttl / 1e6:g} s of the wall clock after its last row"
        long = f"{self.ttl} ticks" if time.is_ticks else f"{self.ttl * time.ns_per_tick / 1e9:g} s"
        return f"one per key, freed when the watermark is {long} past its last row"

    def _event_time(self) -> EventTime | None:
        """It goes on where the function returns a column of that name and dtype."""
        time = self.input.event_time
        return time if time is not None and self.output.get(time.column) == time.dtype else None

    def _is_changes(self) -> bool:
        """What a function returns is not taken back."""
        return False
