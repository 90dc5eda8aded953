"""The nodes of the joins of two streams."""

from dataclasses import dataclass, replace
from typing import Literal, Self

import polars as pl

from streame.core.joining import JoinColumns, JoinHow, JoinKeys, late_columns
from streame.core.time import EventTime
from streame.plan.nodes import Node, Stateful

AsofStrategy = Literal["backward", "forward", "nearest"]


@dataclass(frozen=True, slots=True, eq=False)
class StreamsJoin(Stateful):
    """A join of two streams.

    Args:
        name: the name under which its state is found.
        input: the left side.
        other: the right side.
        keys: the columns that must be equal.
        columns: what it puts out.
        how: which rows come out.
    """

    input: Node
    other: Node
    keys: JoinKeys
    columns: JoinColumns
    how: JoinHow

    @property
    def schema(self) -> pl.Schema:
        """The columns."""
        return self.columns.schema

    @property
    def late_schema(self) -> pl.Schema | None:
        """The columns of both sides; those of the side that a row is not from are null."""
        return late_columns(self.input.schema, self.other.schema).schema if self.times is not None else None

    @property
    def times(self) -> tuple[EventTime, EventTime] | None:
        """The event times of both sides, if the join goes by them."""
        return _event_times(self)

    @property
    def unit(self) -> int:
        """How many of the engine's units of time one unit of the join's is: the finer one of both sides."""
        return min((each.ns_per_tick for each in self.times or ()), default=1)

    @property
    def handed_through(self) -> tuple[dict[str, str], dict[str, str]]:
        """The left and the right columns that come out as they are, by the names under which they do.

        Of a side that can be missing in what comes out there are none: to drop its rows before the join would let
        their partners out alone.
        """
        left, right = _never_missing(self.how)
        return (
            {each.name: each.left for each in self.columns.columns if left and each.left is not None},
            {each.name: each.right for each in self.columns.columns if right and each.right is not None},
        )

    def needs(self, outputs: set[str]) -> list[set[str]]:
        """What it must get, input by input, for these of its columns to come out."""
        read = self.columns.only(outputs).read()
        times = [each.column for each in self.times or ()]
        return [
            {*read[0], *self.keys.left, *times[:1]},
            {*read[1], *self.keys.right, *times[1:]},
        ]

    def narrowed(self, outputs: set[str]) -> Self:
        """The same with these columns only."""
        return replace(self, columns=self.columns.only(outputs))


@dataclass(frozen=True, slots=True, eq=False)
class IntervalJoin(StreamsJoin):
    """Rows of two streams whose event times lie within a bound of each other.

    Args:
        lower: the least difference of the right row's time from the left row's, in the join's unit.
        upper: the largest difference.
        verb: `join_interval`, or `join` where event time is one of the keys.
    """

    lower: int
    upper: int
    verb: str

    @property
    def title(self) -> str:
        """What it is."""
        return f"{self.how} {'join of equal event times' if self.verb == 'join' else 'interval join'}"

    @property
    def details(self) -> list[str]:
        """The keys and the bounds."""
        assert self.times is not None
        left, right = (each.column for each in self.times)
        if self.verb == "join":
            return [f"on {self.keys.text}, {left} = {right}" if self.keys.left else f"on {left} = {right}"]
        low, high = (duration_text(bound, self) for bound in (self.lower, self.upper))
        on = [f"on {self.keys.text}"] if self.keys.left else []
        return [*on, f"the right {right} is from {low} to {high} after the left {left}"]

    @property
    def bound(self) -> str:
        """Event time."""
        return "rows that may still find a match, bounded by event time"

    def _event_time(self) -> EventTime | None:
        """The left side's, of a right join the right side's; of a full join only where both are one column."""
        return _joined_time(self)


@dataclass(frozen=True, slots=True, eq=False)
class AsofJoin(StreamsJoin):
    """Each left row with the right row that is nearest in time.

    Args:
        strategy: where to look.
        tolerance: how far away the right row may be, in the join's unit; `None` for any distance.
        exact: whether a right row of the same time counts.
    """

    strategy: AsofStrategy
    tolerance: int | None
    exact: bool

    @property
    def title(self) -> str:
        """What it is."""
        return f"as-of join, {self.strategy}"

    @property
    def details(self) -> list[str]:
        """Times, keys and the largest distance."""
        assert self.times is not None
        left, right = (each.column for each in self.times)
        near = {"backward": "last before", "forward": "first after"}.get(self.strategy, "nearest to")
        far = "at any distance"
        if self.tolerance is not None:
            far = f"at most {duration_text(self.tolerance, self)} away"
        by = [f"by {self.keys.text}"] if self.keys.left else []
        same = [] if self.exact else ["a row of the same time does not count"]
        return [", ".join([f"the right {right} {near} the left {left}", far, *by, *same])]

    @property
    def bound(self) -> str:
        """What waits for the watermark; what a strategy keeps besides."""
        parts = ["rows that the watermark has not passed"]
        within = "" if self.tolerance is None else " within the tolerance"
        if self.strategy != "forward":
            parts.append(f"the latest right row{' of each key' if self.keys.left else ''}{within}")
        if self.strategy != "backward":
            parts.append(f"left rows{within or ', without bound,'} for which no later row has come")
        return "; ".join(parts)

    def _event_time(self) -> EventTime | None:
        """The left side's."""
        return _joined_time(self)


@dataclass(frozen=True, slots=True, eq=False)
class StreamJoin(StreamsJoin):
    """All rows of equal keys of two streams.

    Args:
        ttl: how long a row is kept: in the join's unit if both sides have an event time, else in microseconds of
            the wall clock; `None` for ever.
    """

    ttl: int | None

    @property
    def times(self) -> tuple[EventTime, EventTime] | None:
        """The event times of both sides, if `ttl` goes by them."""
        return None if self.ttl is None else _event_times(self)

    @property
    def title(self) -> str:
        """What it is."""
        return f"{self.how} join of two streams"

    @property
    def details(self) -> list[str]:
        """The keys, and what ends the life of a row."""
        lines = [f"on {self.keys.text}"]
        if self.ttl is not None and self.times is None:
            lines.append("not repeatable: how long a row is kept goes by the wall clock")
        return lines

    @property
    def bound(self) -> str:
        """The time to live."""
        if self.ttl is None:
            return "all rows of both sides: unbounded (ttl=None)"
        if self.times is None:
            return f"rows of both sides for {self.ttl / 1e6:g} s of the wall clock"
        return f"rows of both sides for {duration_text(self.ttl, self)} of event time"

    def _event_time(self) -> EventTime | None:
        """As in an interval join, where a row is not kept longer than event time says."""
        return _joined_time(self)

    def _is_changes(self) -> bool:
        """Unless rows come only, and no row is said for the lack of another."""
        return self.how != "inner" or self.input.is_changes or self.other.is_changes


def _event_times(join: StreamsJoin) -> tuple[EventTime, EventTime] | None:
    """The event times of both sides, if both have one."""
    left, right = join.input.event_time, join.other.event_time
    return None if left is None or right is None else (left, right)


def _never_missing(how: JoinHow) -> tuple[bool, bool]:
    """For each side whether every row that comes out has a row of it."""
    return how in {"inner", "left", "semi", "anti"}, how in {"inner", "right"}


def _joined_time(join: StreamsJoin) -> EventTime | None:
    """The event time of what a join puts out."""
    if join.times is None:
        return None
    left, right = join.times
    for each in join.columns.columns:
        from_left, from_right = each.left == left.column, each.right == right.column
        counts = {"right": from_right, "full": from_left and from_right}.get(join.how, from_left)
        if counts:
            return EventTime(each.name, each.dtype)
    return None


def duration_text(duration: int, join: StreamsJoin) -> str:
    """A duration in a join's unit, for people."""
    assert join.times is not None
    return f"{duration} ticks" if join.times[0].is_ticks else f"{duration * join.unit / 1e9:g} s"
