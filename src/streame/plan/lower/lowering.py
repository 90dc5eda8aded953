"""Lowering: the physical graph as it grows, node by node."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial, singledispatch

import polars as pl

from streame.core.aggregates import Aggregation
from streame.core.config import Config
from streame.core.deadletters import DEAD_LETTER_SCHEMA, strictest
from streame.core.salvage import may_fail
from streame.io.sink import Sink
from streame.io.source import FileSource
from streame.plan.lower.readers import read_by_many
from streame.plan.lower.row_wise import is_fallible, step_of
from streame.plan.names import Names, free_name, operator_names
from streame.plan.nodes import (
    Node,
    RowWise,
    Scan,
    SetEventTime,
    Stateful,
    TableJoin,
    Write,
    is_bounded,
    walk,
)
from streame.plan.rewrite import consumer_counts
from streame.runtime.graph import Edge, Graph, OperatorVertex, SourceVertex, Vertex
from streame.runtime.letters import RefusalPolicy
from streame.runtime.operator import Operator
from streame.runtime.operators.chain import ChainOperator
from streame.runtime.operators.merge import MergeOperator
from streame.runtime.operators.paged import Memory, PagedOperator, scratch_folder
from streame.runtime.operators.sink import SinkOperator
from streame.runtime.paging import MemoryBudget
from streame.runtime.steps import Step
from streame.storage.scratch import Scratch

CHAIN_NAMES_MAX = 4
"""How many verbs the name of a chain lists; a longer one names the first and the last."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows that come out of a vertex once some row-wise steps are put behind it."""

    vertex: str
    steps: tuple[Step, ...] = ()


@singledispatch
def lower_node(node: Node, lowering: "Lowering") -> Rows:
    """Add what a node needs to the graph; every kind of node registers its own."""
    raise AssertionError(f"no lowering for {type(node).__name__}")


@dataclass(slots=True)
class Lowering:
    """The graph of a job while it is made.

    Args:
        writes: the sinks, optimized.
        config: the settings of the run.
        apart: whether the instances of keyed operators may be on other nodes than the rows that come to them.
    """

    writes: Sequence[Node]
    config: Config
    apart: bool = False
    vertices: dict[str, Vertex] = field(default_factory=dict)
    rows: dict[int, Rows] = field(default_factory=dict)
    above: dict[str, frozenset[str]] = field(default_factory=dict)
    in_order: set[int] = field(default_factory=set)
    read_by_many: set[int] = field(default_factory=set)
    refusing: list[str] = field(default_factory=list)
    positions: set[str] = field(default_factory=set)
    ordered: set[str] = field(default_factory=set)
    mixed: set[str] = field(default_factory=set)
    names: Names = field(default_factory=dict)
    memory: Memory | None = None

    def graph(self, errors: Callable[[], Sink] | None) -> Graph:
        """All vertices.

        Args:
            errors: makes the sink of all dead letters.
        """
        self.names = operator_names(self.writes)
        if self.config.memory_limit is not None:
            self.memory = Memory(MemoryBudget(self.config.memory_limit), Scratch(scratch_folder(self.config)))
        self.in_order = {id(node) for root in _ordered(self.writes) for node in walk(root)}
        self.read_by_many = read_by_many(self.writes) if self.apart else set()
        counts = consumer_counts(self.writes)
        for node in walk(*self.writes):
            self.rows[id(node)] = self._lower(node)
            if not isinstance(node, RowWise | Write):
                self._note_schema(self.rows[id(node)].vertex, node)
            if counts[id(node)] > 1:
                self.vertex_of(node)
        if errors is not None and (letters := self.rejected_edges(self.vertices)):
            merged = self.add(free_name("errors", self._taken()), MergeOperator, letters)
            self.know(merged.vertex, schema=DEAD_LETTER_SCHEMA)
            make = partial(make_sink, errors, DEAD_LETTER_SCHEMA)
            self.add(free_name("sink errors", self._taken()), make, (Edge(merged.vertex),))
        for name in self.positions:
            vertex = self.vertices[name]
            if isinstance(vertex, SourceVertex):
                self.vertices[name] = replace(vertex, keep_positions=True)
        for name in self.ordered:
            made = self.vertices[name]
            if isinstance(made, OperatorVertex):
                self.vertices[name] = replace(made, makes_positions=True)
        return Graph(self.vertices)

    def _lower(self, node: Node) -> Rows:
        if isinstance(node, RowWise):
            before = self.rows[id(node.input)]
            return Rows(before.vertex, (*before.steps, step_of(node, self.names[id(node)])))
        rows = lower_node(node, self)
        if isinstance(node, Stateful):
            self.mixed.add(rows.vertex)
        return rows

    def feeds_a_table(self, stream: str) -> bool:
        """Whether a source of the stream must be read to its end before some join lets the stream in.

        Then the rows that come meanwhile have to be kept, or nothing would ever move.
        """
        tables = {
            scan.name
            for node in walk(*self.writes)
            if isinstance(node, TableJoin) and is_bounded(node.table)
            for scan in walk(node.table)
            if isinstance(scan, Scan)
        }
        return bool(tables & self.above[stream])

    def vertex_of(self, node: Node) -> str:
        """The vertex that puts out the rows of a node; its waiting steps become a chain."""
        rows = self.rows[id(node)]
        if rows.steps:
            rows = self._chain(rows)
            self.rows[id(node)] = rows
            self.know(rows.vertex, schema=node.schema)
        return rows.vertex

    def _chain(self, rows: Rows) -> Rows:
        names = [step.name for step in rows.steps]
        name = "+".join(names) if len(names) <= CHAIN_NAMES_MAX else f"{names[0]}+...+{names[-1]}"
        name = free_name(name, self._taken()) if len(names) > 1 else name
        if any(is_fallible(step) for step in rows.steps) and not self._is_source(rows.vertex):
            self.positions |= self.above[rows.vertex]
        make = partial(ChainOperator, rows.steps, self.policy(rows.vertex))
        return self.add(name, make, (Edge(rows.vertex),), self.parallelism(rows.vertex), refuses=True)

    def _note_schema(self, vertex: str, node: Node) -> None:
        late = node.late_schema if isinstance(node, Stateful) else None
        self.know(vertex, schema=node.schema, **({} if late is None else {"late_schema": late}))

    def know(self, vertex: str, **schemas: pl.Schema) -> None:
        """Write down what the rows are that leave a vertex."""
        self.vertices[vertex] = replace(self.vertices[vertex], **schemas)  # type: ignore[arg-type]

    def keep_positions(self, vertex: str) -> None:
        """Let the rows that come to what follows a vertex carry their positions, and make some for other rows."""
        self.positions |= self.above[vertex]
        self.ordered |= self.above[vertex]

    def keep_positions_for(self, aggregation: Aggregation, vertex: str, schema: pl.Schema) -> None:
        """Let rows carry their positions to an aggregation that goes by their order, or cannot be computed for some."""
        unordered = aggregation.needs_order and not self.order_is_known(vertex)
        if unordered or any(may_fail(expr, schema) for expr in aggregation.prepared.values()):
            self.keep_positions(vertex)

    def order_is_known(self, vertex: str) -> bool:
        """Whether rows come out of a vertex in the order of their only split, so that they need no positions."""
        above = [self.vertices[name] for name in self.above[vertex]]
        splits = [
            getattr(each.source, "one_split", False) for each in above if isinstance(each, SourceVertex)
        ]
        if splits != [True] or self.mixed & self.above[vertex]:
            return False
        return all(self.parallelism(name) == 1 for name in self.above[vertex])

    def policy(self, vertex: str) -> RefusalPolicy:
        """What becomes of rows that are refused behind a vertex: the strictest policy of the sources above it."""
        sources = self.sources(vertex)
        on_error = strictest([source.on_error for source in sources])
        return RefusalPolicy(on_error, [each.name for each in sources if each.on_error == on_error])

    def sources(self, vertex: str) -> list[SourceVertex]:
        """The sources above a vertex."""
        above = [self.vertices[name] for name in sorted(self.above[vertex])]
        return [each for each in above if isinstance(each, SourceVertex)]

    def rejected_edges(self, above: Iterable[str]) -> tuple[Edge, ...]:
        """Edges from everything among `above` that sets rows aside."""
        among = set(above)
        names = [
            name for name in self.refusing if name in among and self.policy(name).on_error == "dead_letter"
        ]
        return tuple(Edge(name, port, "rejected") for port, name in enumerate(names))

    def may_wake(self, vertex: str) -> bool:
        """Whether a reader above may have been idle, and then give rows that are late for all, which it does not know.

        A single reader knows how far event time has come, and files that end are never idle.
        """
        return any(
            each.parallelism > 1 and not (each.source.bounded and isinstance(each.source, FileSource))
            for each in self.sources(vertex)
        )

    def parallelism(self, vertex: str) -> int:
        """How many instances of a vertex run."""
        return Graph(self.vertices).parallelism(vertex)

    def instances(self, node: Node) -> int:
        """How many instances of a keyed verb are to run: one where the order of its rows decides something."""
        return 1 if id(node) in self.in_order else self.config.parallelism

    def keys(self, node: Node, *columns: Sequence[str]) -> Sequence[Sequence[str]]:
        """The key columns of the inputs of a keyed verb; none where there is no key, or the order of its rows counts."""
        return columns if id(node) not in self.in_order and all(columns) else ()

    def add(
        self,
        name: str,
        make: Callable[[], Operator],
        inputs: tuple[Edge, ...],
        parallelism: int = 1,
        *,
        separate: bool = False,
        refuses: bool = False,
        keys: Sequence[Sequence[str]] = (),
    ) -> Rows:
        """Add an operator.

        Args:
            name: its name.
            make: makes one instance.
            inputs: where its rows come from.
            parallelism: how many instances run.
            separate: whether it has a task of its own.
            refuses: whether it may set rows aside.
            keys: for each input the columns by which its state can be put on pages; empty where it cannot.
        """
        if self.memory is not None and keys:
            make = partial(PagedOperator, make, keys, self.memory)
        assert name not in self.vertices, name
        self.vertices[name] = OperatorVertex(name, make, inputs, parallelism, separate)
        self.above[name] = frozenset({name}).union(*(self.above[edge.upstream] for edge in inputs))
        if refuses:
            self.refusing.append(name)
        return Rows(name)

    def add_source(self, vertex: SourceVertex) -> Rows:
        """Add a source."""
        self.vertices[vertex.name] = vertex
        self.above[vertex.name] = frozenset({vertex.name})
        self.refusing.append(vertex.name)
        return Rows(vertex.name)

    def _is_source(self, vertex: str) -> bool:
        return isinstance(self.vertices[vertex], SourceVertex)

    def _taken(self) -> set[str]:
        return {*self.vertices, *self.names.values()}


def make_sink(make: Callable[[], Sink], schema: pl.Schema, *, changes: bool = False) -> SinkOperator:
    """The operator around a sink."""
    return SinkOperator(make(), schema, changes=changes)


def _ordered(writes: Sequence[Node]) -> Iterator[Node]:
    """Nodes whose rows count in the order in which they come.

    That order says which row of a key is the latest in a table, and how far event time has come.
    """
    for node in walk(*writes):
        if isinstance(node, TableJoin):
            yield node.table
        if isinstance(node, SetEventTime):
            yield node.input
