"""The nodes of verbs that put rows of a key together by how they follow each other in time."""

from dataclasses import dataclass

import polars as pl

from streame.core.aggregates import Aggregation
from streame.core.emission import emission_text
from streame.core.expressions import NamedExpr
from streame.core.rolling import RollingRule
from streame.core.sessions import END, START, SessionRule, ticks_text
from streame.core.time import EventTime
from streame.plan.nodes import Node, Stateful


@dataclass(frozen=True, slots=True, eq=False)
class KeyedAggregate(Stateful):
    """Results that are computed from some of the rows of a key.

    Args:
        name: the name under which its state is found.
        input: where the rows come from.
        keys: pairs of a key column and the name under which it comes out.
        computed_keys: the key columns that were made for it, and are in no row of the user's.
        aggs: the expressions of the results.
        aggregation: how they are computed.
    """

    input: Node
    keys: tuple[tuple[str, str], ...]
    computed_keys: tuple[str, ...]
    aggs: tuple[NamedExpr, ...]
    aggregation: Aggregation

    @property
    def key_schema(self) -> pl.Schema:
        """The keys, as they come out."""
        return pl.Schema({name: self.input.schema[column] for column, name in self.keys})

    @property
    def reads(self) -> tuple[frozenset[str], ...]:
        """The keys, the time, and what the results are computed from."""
        time = self.input.event_time
        timed = {time.column} if time is not None else set[str]()
        return (self.aggregation.columns | {column for column, _ in self.keys} | timed,)

    @property
    def late_schema(self) -> pl.Schema | None:
        """The columns that the user gave."""
        if self.input.event_time is None:
            return None
        given = self.input.schema.items()
        return pl.Schema({name: dtype for name, dtype in given if name not in self.computed_keys})

    @property
    def results_text(self) -> list[str]:
        """The results, line by line for `explain()`."""
        return [f"{each.name} = {each.text}" for each in self.aggs]

    @property
    def by(self) -> str:
        """The keys in words."""
        return f" by {', '.join(name for _, name in self.keys)}" if self.keys else ""

    @property
    def kept(self) -> str:
        """What is kept of a group of rows."""
        kept = self.aggregation.kept
        return f"all rows, for {', '.join(kept)}," if kept else "one row of values"


@dataclass(frozen=True, slots=True, eq=False)
class SessionAggregate(KeyedAggregate):
    """One row for each session of a key: rows that follow each other closely.

    Args:
        rule: what sessions are, and when they are said.
    """

    rule: SessionRule

    @property
    def schema(self) -> pl.Schema:
        """The keys, the first and the last time, then the results."""
        times = {START: self.rule.time.dtype, END: self.rule.time.dtype}
        return pl.Schema({**self.key_schema, **times, **self.aggregation.outputs})

    @property
    def title(self) -> str:
        """The time and the keys."""
        return f"sessions over {self.rule.time.column}{self.by}"

    @property
    def details(self) -> list[str]:
        """The gap, the results, and when they are said."""
        rule, lines = self.rule, [f"gap {ticks_text(self.rule.gap, self.rule.time)}", *self.results_text]
        if rule.emission == "on_close":
            lines.append("said when the session closes")
        else:
            final = "" if rule.emission == "changes" else ", and when the session closes"
            lines.append(emission_text(rule.emission) + final)
        if rule.lateness:
            lines.append(f"late rows change a session for {ticks_text(rule.lateness, rule.time)} more")
        return lines

    @property
    def bound(self) -> str:
        """The sessions that are open."""
        until = "closes"
        if self.rule.lateness:
            until = f"has been closed for {ticks_text(self.rule.lateness, self.rule.time)}"
        return f"{self.kept} per session until it {until}"

    def _event_time(self) -> EventTime:
        """The time of a session's last row."""
        return EventTime(END, self.rule.time.dtype)

    def _is_changes(self) -> bool:
        """Where results are said before they are final."""
        return self.rule.is_changes


@dataclass(frozen=True, slots=True, eq=False)
class CountAggregate(KeyedAggregate):
    """One row for every so many rows of a key.

    Args:
        count: how many rows.
    """

    count: int

    @property
    def schema(self) -> pl.Schema:
        """The keys, the first and the last time where there is one, then the results."""
        time = self.input.event_time
        times = {} if time is None else {START: time.dtype, END: time.dtype}
        return pl.Schema({**self.key_schema, **times, **self.aggregation.outputs})

    @property
    def title(self) -> str:
        """The number and the keys."""
        return f"every {self.count} rows{self.by}"

    @property
    def details(self) -> list[str]:
        """The order of the rows, and the results."""
        time = self.input.event_time
        order = "as they come" if time is None else f"by {time.column}"
        return [f"{order}; at the end of the input those that are left", *self.results_text]

    @property
    def bound(self) -> str:
        """The windows that are not complete."""
        waiting = "" if self.input.event_time is None else ", and the rows whose time has not come"
        many = ", bounded by the number of keys" if self.keys else ""
        return f"{self.kept} per window that is not complete, one for each key{many}{waiting}"


@dataclass(frozen=True, slots=True, eq=False)
class RollingAggregate(KeyedAggregate):
    """For each row what the rows of its key in a stretch of time around it come to.

    Args:
        rule: which rows the window of a row holds.
    """

    rule: RollingRule

    @property
    def schema(self) -> pl.Schema:
        """The keys, the time of the row, then the results."""
        time = {self.rule.time.column: self.rule.time.dtype}
        return pl.Schema({**self.key_schema, **time, **self.aggregation.outputs})

    @property
    def title(self) -> str:
        """The time and the keys."""
        return f"rolling over {self.rule.time.column}{self.by}"

    @property
    def details(self) -> list[str]:
        """The windows, and the results."""
        return [
            self.rule.text(),
            *self.results_text,
            "a row is answered when no other row of its window can come",
        ]

    @property
    def bound(self) -> str:
        """The rows that windows may still hold."""
        back, ahead = self.rule.reach
        return f"the rows of the last {ticks_text(back + ahead, self.rule.time)}, and those whose time has not come"

    def _event_time(self) -> EventTime:
        """That of the rows."""
        return self.rule.time
