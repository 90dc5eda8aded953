"""The node of rows without repetition."""

from dataclasses import dataclass
from typing import Literal

import polars as pl

from streame.core.sessions import ticks_text
from streame.core.time import EventTime
from streame.plan.nodes import Node, Stateful

Keep = Literal["first", "last", "none"]
"""Which of several equal rows holds."""


@dataclass(frozen=True, slots=True, eq=False)
class Unique(Stateful):
    """Of the rows that are equal in some columns one or none.

    Args:
        name: the name under which its state is found.
        input: where the rows come from.
        subset: the columns by which rows are equal.
        computed: those among them that were made for it, and do not come out.
        keep: which of several equal rows holds.
        within: for how many ticks after a row others are repeats of it; `None` for ever.
        in_order: whether rows come out in the order of time or of arrival.
    """

    input: Node
    subset: tuple[str, ...]
    computed: tuple[str, ...]
    keep: Keep
    within: int | None
    in_order: bool

    @property
    def schema(self) -> pl.Schema:
        """The columns that the user gave."""
        given = self.input.schema.items()
        return pl.Schema({name: dtype for name, dtype in given if name not in self.computed})

    @property
    def late_schema(self) -> pl.Schema | None:
        """The same, where rows wait for their time."""
        return self.schema if self.waits else None

    @property
    def waits(self) -> bool:
        """Whether rows wait until no older one can come."""
        return self.keep == "first" and self.input.event_time is not None

    @property
    def title(self) -> str:
        """Which rows."""
        return f"{self.keep} rows" if self.keep != "none" else "rows without another one"

    @property
    def details(self) -> list[str]:
        """What equal rows are, and which of them holds."""
        lines = [f"equal in {', '.join(self.subset)}"]
        time = self.input.event_time
        match self.keep:
            case "first" if time is not None:
                lines.append(f"by {time.column}: a row goes on when no older one can come")
            case "first":
                lines.append("as they come")
            case "last":
                lines.append(f"by {time.column}" if time is not None else "in the order of the sources")
        if self.within is not None:
            assert time is not None
            lines.append(f"for {ticks_text(self.within, time)} after a row others are repeats of it")
        return lines

    @property
    def bound(self) -> str:
        """The keys."""
        match self.keep:
            case "first" if self.within is not None:
                return "the keys of that time, and the rows whose time has not come"
            case "first":
                return "every key that there was: unbounded"
            case "last":
                return "one row per key: unbounded"
            case "none":
                return "every key that there was, and the rows that hold: unbounded"

    def _event_time(self) -> EventTime | None:
        """The same, unless rows are taken back, which may be of any time."""
        return self.input.event_time if self.keep == "first" else None

    def _is_changes(self) -> bool:
        """Where a row holds until another one comes."""
        return self.keep != "first"
