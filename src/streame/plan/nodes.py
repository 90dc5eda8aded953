"""The nodes of a plan: what the user asked for, as frozen data. The verbs check it before they make one."""

from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Literal

import polars as pl

from streame.core.changes import DIFF
from streame.core.deadletters import DEAD_LETTER_SCHEMA, OnError
from streame.core.expressions import NamedExpr
from streame.core.time import EventTime
from streame.io.file_sinks import FileOutput
from streame.io.sink import Delivery, Sink
from streame.io.source import Source


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One verb of a plan. Nodes are compared by identity: the same object is the same computation.

    Attributes:
        inputs: the nodes that it takes rows from, in the order of its ports.
        event_time: the column that says when a row happened, if there is one.
        is_changes: whether its rows carry a weight: an update takes the old row back and puts the new one out.
    """

    inputs: "tuple[Node, ...]" = field(init=False, repr=False)
    event_time: EventTime | None = field(init=False, repr=False)
    is_changes: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Work out once what would otherwise be asked along the whole plan again and again."""
        object.__setattr__(self, "inputs", self._inputs())
        object.__setattr__(self, "event_time", self._event_time())
        object.__setattr__(self, "is_changes", self._is_changes())

    def _event_time(self) -> EventTime | None:
        """What becomes of event time; a verb that says nothing ends it."""
        return None

    def _is_changes(self) -> bool:
        """Whether rows carry a weight; so they do where those of an input do."""
        return any(each.is_changes for each in self.inputs)

    @property
    def reads(self) -> tuple[frozenset[str] | None, ...]:
        """The columns that it needs of each input, whatever comes out of it; `None` for all."""
        return (None,) * len(self.inputs)

    @property
    def schema(self) -> pl.Schema:
        """Columns and dtypes of what it puts out."""
        raise NotImplementedError

    def _inputs(self) -> tuple["Node", ...]:
        values = (getattr(self, each.name) for each in fields(self) if each.init)
        return tuple(value for value in values if isinstance(value, Node))


@dataclass(frozen=True, slots=True, eq=False)
class Scan(Node):
    """Read a source.

    Args:
        source: what is read.
        name: its name in the job.
        on_error: what happens to rows that cannot be read.
        source_schema: what the source gives.
        required: the columns that may not be null; the source sees to it.
        columns: the columns that leave it, once the optimizer knows; `None` for all.
    """

    source: Source
    name: str
    on_error: OnError
    source_schema: pl.Schema
    required: tuple[str, ...] = ()
    columns: tuple[str, ...] | None = None

    @property
    def schema(self) -> pl.Schema:
        """What leaves the source."""
        if self.columns is None:
            return self.source_schema
        return pl.Schema({name: self.source_schema[name] for name in self.columns})


@dataclass(frozen=True, slots=True, eq=False)
class Filter(Node):
    """Keep the rows for which `predicate` is true; null is not true."""

    input: Node
    predicate: pl.Expr
    schema: pl.Schema = field(init=False)

    def __post_init__(self) -> None:
        """Keep the schema, so that a long chain of filters is not walked for it."""
        object.__setattr__(self, "schema", self.input.schema)
        Node.__post_init__(self)

    def _event_time(self) -> EventTime | None:
        """The same."""
        return self.input.event_time


@dataclass(frozen=True, slots=True, eq=False)
class Project(Node):
    """Put out exactly these columns, each computed from one row at a time.

    `select`, `with_columns`, `rename`, `drop`, `cast` and `fill_null` are all this; `verb` remembers which.
    """

    input: Node
    outputs: tuple[NamedExpr, ...]
    verb: str

    @property
    def schema(self) -> pl.Schema:
        """The outputs."""
        return pl.Schema({output.name: output.dtype for output in self.outputs})

    def _event_time(self) -> EventTime | None:
        """It follows its column through a renaming, and ends where that is left out or computed anew."""
        time = self.input.event_time
        if time is None:
            return None
        names = [output.name for output in self.outputs if output.column == time.column]
        kept = time.column if time.column in names else next(iter(names), None)
        return None if kept is None else EventTime(kept, time.dtype)


@dataclass(frozen=True, slots=True, eq=False)
class Reshape(Node):
    """A row-wise verb that makes several rows or columns of one, as Polars does it on a frame.

    Args:
        input: where the rows come from.
        verb: `explode`, `unnest`, `unpivot` or a `select` that changes the number of rows.
        text: its arguments, for `explain()`.
        function: the verb on a lazy frame; used on every batch, and once to work out the schema.
        output: what it puts out.
        carries: whether other columns stay beside their row, so that a row's position can travel with it.
    """

    input: Node
    verb: str
    text: str
    function: Callable[[pl.LazyFrame], pl.LazyFrame]
    output: pl.Schema
    carries: bool

    @property
    def schema(self) -> pl.Schema:
        """As Polars says."""
        return self.output

    def _event_time(self) -> EventTime | None:
        """It stays where other columns stay beside their row."""
        time = self.input.event_time
        if time is None or not self.carries or self.output.get(time.column) != time.dtype:
            return None
        return time


@dataclass(frozen=True, slots=True, eq=False)
class MapBatches(Node):
    """Call a user's function with every batch."""

    input: Node
    function: Callable[[pl.DataFrame], pl.DataFrame]
    output: pl.Schema
    row_wise: bool

    @property
    def schema(self) -> pl.Schema:
        """As the user says; checked at every batch."""
        return self.output


@dataclass(frozen=True, slots=True, eq=False)
class Concat(Node):
    """The rows of all inputs, as they come."""

    parts: tuple[Node, ...]

    @property
    def schema(self) -> pl.Schema:
        """The same for all inputs."""
        return self.parts[0].schema

    def _event_time(self) -> EventTime | None:
        """That of the parts, if it is the same in all."""
        first, *others = (part.event_time for part in self.parts)
        return first if all(other == first for other in others) else None

    def _inputs(self) -> tuple[Node, ...]:
        return self.parts


@dataclass(frozen=True, slots=True, eq=False)
class Stateful(Node):
    """A verb that keeps something from row to row, which is found again under the operator's name."""

    name: str

    @property
    def title(self) -> str:
        """What it is, in a few words for `explain()`."""
        raise NotImplementedError

    @property
    def details(self) -> list[str]:
        """What it does, line by line for `explain()`."""
        return []

    @property
    def late_schema(self) -> pl.Schema | None:
        """The columns of its late rows; `None` where no row can be late."""
        return None

    @property
    def bound(self) -> str:
        """What bounds its state, in words for `explain()`."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, eq=False)
class SetEventTime(Node):
    """Say which column tells when a row happened, and how late a row may be.

    Args:
        input: where the rows come from.
        column: the column.
        delay: how late a row may be, in ticks of the column.
        idle_timeout_us: after how long a split that gives nothing is not waited for.
    """

    input: Node
    column: str
    delay: int
    idle_timeout_us: int

    @property
    def schema(self) -> pl.Schema:
        """The same."""
        return self.input.schema

    def _event_time(self) -> EventTime:
        """This column."""
        return EventTime(self.column, self.input.schema[self.column])


@dataclass(frozen=True, slots=True, eq=False)
class TableJoin(Node):
    """Each stream row meets the table's row of the same key: the latest that has come.

    Args:
        input: the stream.
        table: the rows of the table.
        left_on: the key columns of the stream; those of the table, `right_on`, are in the same order.
        how: `inner` or `left`.
        right_outputs: pairs of a table column and the name under which it comes out.
        output: what it puts out, as Polars says.
        nulls_equal: whether null matches null.
        wait: how long a stream row waits for its table row (`None`: for ever), in units of event time, or microseconds.
        name: the name under which its state is found.
        keeps_in: where its state is kept, if not with the checkpoints.
    """

    input: Node
    table: Node
    left_on: tuple[str, ...]
    right_on: tuple[str, ...]
    how: Literal["inner", "left"]
    right_outputs: tuple[tuple[str, str], ...]
    output: pl.Schema
    nulls_equal: bool
    wait: int | None
    name: str
    keeps_in: Literal["etcd"] | None = None

    @property
    def schema(self) -> pl.Schema:
        """As Polars says."""
        return self.output

    def _event_time(self) -> EventTime | None:
        """That of the stream."""
        return self.input.event_time

    def needs(self, outputs: set[str]) -> list[set[str]]:
        """What it must get, input by input, for these of its columns to come out."""
        time = self.input.event_time
        left = (outputs - {name for _, name in self.right_outputs}) | set(self.left_on)
        if time is not None and self.wait != 0:
            left.add(time.column)
        right = {column for column, name in self.right_outputs if name in outputs} | set(self.right_on)
        # A row that is taken back is known by all of its columns.
        return [left & set(self.input.schema), set(self.table.schema) if self.table.is_changes else right]

    def narrowed(self, outputs: set[str]) -> "TableJoin":
        """The same with these columns of the table only."""
        right = tuple((column, name) for column, name in self.right_outputs if name in outputs)
        kept = {*self.input.schema, *(name for _, name in right)}
        output = pl.Schema({name: dtype for name, dtype in self.output.items() if name in kept})
        return replace(self, right_outputs=right, output=output)

    def _is_changes(self) -> bool:
        """As the stream: a row that has met the table's row is not taken back because that changes."""
        return self.input.is_changes


@dataclass(frozen=True, slots=True, eq=False)
class Rejected(Node):
    """The dead letters of everything above `input`."""

    input: Node

    @property
    def schema(self) -> pl.Schema:
        """The same for every dead letter."""
        return DEAD_LETTER_SCHEMA

    def _is_changes(self) -> bool:
        """A letter is not taken back."""
        return False


@dataclass(frozen=True, slots=True, eq=False)
class Late(Node):
    """The rows that came too late for `input`, a verb that closes windows, as they were when they came there."""

    input: Stateful
    output: pl.Schema

    @property
    def schema(self) -> pl.Schema:
        """That of the rows that go into the verb."""
        return self.output

    def _is_changes(self) -> bool:
        """A late row is not taken back."""
        return False


@dataclass(frozen=True, slots=True, eq=False)
class Write(Node):
    """Hand the rows to a sink.

    Args:
        input: where the rows come from.
        make_sink: makes the sink for one run.
        name: its name in the job.
        text, separate: where the rows go, for `explain()`; whether it has a task of its own.
        target: the place that no other sink of the job may write, if there is one.
        loop, file: the event loop that must run for rows to go out; where and how files are written, if any are.
        delivery: what a job with checkpoints promises of its rows.
    """

    input: Node
    make_sink: Callable[[], Sink]
    name: str
    text: str = ""
    separate: bool = True
    target: str | None = None
    loop: AbstractEventLoop | None = None
    file: FileOutput | None = None
    delivery: Delivery = "exactly_once"

    @property
    def schema(self) -> pl.Schema:
        """What is written; of a changes stream the weight too."""
        return pl.Schema({**self.input.schema, DIFF: pl.Int64()}) if self.is_changes else self.input.schema


RowWise = Filter | Project | Reshape | MapBatches
"""The verbs that take one row at a time; neighbours run as one chain."""


def walk(*roots: Node) -> Iterator[Node]:
    """Every node above and at `roots`, once, inputs before those who take from them."""
    seen: set[int] = set()
    stack: list[tuple[Node, bool]] = [(root, False) for root in reversed(roots)]
    while stack:
        node, expanded = stack.pop()
        if id(node) in seen:
            continue
        if expanded:
            seen.add(id(node))
            yield node
        else:
            stack += [(node, True), *((each, False) for each in reversed(node.inputs))]


def is_bounded(node: Node) -> bool:
    """Whether the rows of a node end."""
    return all(scan.source.bounded for scan in walk(node) if isinstance(scan, Scan))
