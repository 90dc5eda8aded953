"""Lowering: from what the user asked for to the physical graph that runs."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import polars as pl

from streame.core.config import Config
from streame.core.deadletters import DEAD_LETTER_SCHEMA, OnError, strictest
from streame.core.expressions import NamedExpr, referenced_columns
from streame.core.salvage import failure_mask, may_fail
from streame.io.sink import Sink
from streame.io.source import NarrowableSource
from streame.plan.names import Names, free_name, operator_names
from streame.plan.nodes import (
    Concat,
    Filter,
    MapBatches,
    Node,
    Project,
    Rejected,
    Reshape,
    RowWise,
    Scan,
    TableJoin,
    Write,
    walk,
)
from streame.plan.rewrite import consumer_counts
from streame.runtime.graph import Edge, Graph, OperatorVertex, SourceVertex, Vertex
from streame.runtime.operator import Operator
from streame.runtime.operators.chain import ChainOperator
from streame.runtime.operators.merge import MergeOperator
from streame.runtime.operators.sink import SinkOperator
from streame.runtime.operators.table_join import TableJoinOperator
from streame.runtime.steps import FilterStep, FrameStep, MapStep, Output, ProjectStep, Step

CHAIN_NAMES_MAX = 4
"""How many verbs the name of a chain lists; a longer one names the first and the last."""


def lower(writes: Sequence[Write], config: Config, errors: Callable[[], Sink] | None = None) -> Graph:
    """The physical graph of a job.

    Args:
        writes: its sinks, optimized, with everything above them.
        config: the settings of the run.
        errors: makes the sink of all dead letters.
    """
    return _Lowering(writes, config).graph(errors)


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows that come out of a vertex once some row-wise steps are put behind it."""

    vertex: str
    steps: tuple[Step, ...] = ()


@dataclass(slots=True)
class _Lowering:
    writes: Sequence[Write]
    config: Config
    vertices: dict[str, Vertex] = field(default_factory=dict)
    rows: dict[int, _Rows] = field(default_factory=dict)
    above: dict[str, frozenset[str]] = field(default_factory=dict)
    into_tables: set[int] = field(default_factory=set)
    refusing: list[str] = field(default_factory=list)
    positions: set[str] = field(default_factory=set)
    names: Names = field(default_factory=dict)

    def graph(self, errors: Callable[[], Sink] | None) -> Graph:
        self.names = operator_names(self.writes)
        # Which row of a key is the latest is told by their order, so what makes a table is not shared out.
        joins = [node for node in walk(*self.writes) if isinstance(node, TableJoin)]
        self.into_tables = {id(node) for join in joins for node in walk(join.table)}
        counts = consumer_counts(self.writes)
        for node in walk(*self.writes):
            self.rows[id(node)] = self._lower(node)
            if counts[id(node)] > 1:
                self._vertex_of(node)
        if errors is not None and (letters := self._rejected_edges(self.vertices)):
            merged = self._add(free_name("errors", self._taken()), MergeOperator, letters)
            make = partial(_make_sink, errors, DEAD_LETTER_SCHEMA)
            self._add(free_name("sink errors", self._taken()), make, (Edge(merged.vertex),))
        for name in self.positions:
            vertex = self.vertices[name]
            if isinstance(vertex, SourceVertex):
                self.vertices[name] = replace(vertex, keep_positions=True)
        return Graph(self.vertices)

    def _lower(self, node: Node) -> _Rows:
        match node:
            case Scan():
                return self._scan(node)
            case Filter() | Project() | Reshape() | MapBatches():
                before = self.rows[id(node.input)]
                return _Rows(before.vertex, (*before.steps, _step(node, self.names[id(node)])))
            case Concat():
                edges = tuple(Edge(self._vertex_of(part), port) for port, part in enumerate(node.parts))
                widths = {self._parallelism(edge.upstream) for edge in edges}
                width = widths.pop() if len(widths) == 1 else 1
                return self._add(self.names[id(node)], MergeOperator, edges, width)
            case TableJoin():
                return self._table_join(node)
            case Rejected():
                self._vertex_of(node.input)
                sources = self.above[self.rows[id(node.input)].vertex]
                return self._add(self.names[id(node)], MergeOperator, self._rejected_edges(sources))
            case Write():
                make = partial(_make_sink, node.make_sink, node.schema)
                return self._add(
                    node.name, make, (Edge(self._vertex_of(node.input)),), separate=node.separate
                )
            case _:
                raise AssertionError(f"no lowering for {type(node).__name__}")

    def _scan(self, node: Scan) -> _Rows:
        source, columns = node.source, node.columns
        if columns is not None and isinstance(source, NarrowableSource):
            source = source.with_columns_only(columns)
        self.vertices[node.name] = SourceVertex(node.name, source, node.on_error, columns)
        self.above[node.name] = frozenset({node.name})
        self.refusing.append(node.name)
        return _Rows(node.name)

    def _table_join(self, node: TableJoin) -> _Rows:
        stream, table = self._vertex_of(node.input), self._vertex_of(node.table)
        bounded = is_bounded(node.table)
        parallelism = 1 if id(node) in self.into_tables else self.config.parallelism
        left = right = None
        if parallelism > 1:
            left = pl.Schema({name: node.input.schema[name] for name in node.left_on})
            right = pl.Schema({name: node.table.schema[name] for name in node.right_on})
        make = partial(
            TableJoinOperator,
            left_on=node.left_on,
            right_on=node.right_on,
            how=node.how,
            right_outputs=node.right_outputs,
            table_schema=node.table.schema,
            nulls_equal=node.nulls_equal,
            wait_us=node.wait_us,
            table_is_bounded=bounded,
        )
        edges = (
            Edge(stream, 0, key=left, bounded=not (bounded and self._feeds_a_table(stream))),
            Edge(table, 1, key=right),
        )
        return self._add(node.name, make, edges, parallelism)

    def _feeds_a_table(self, stream: str) -> bool:
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

    def _vertex_of(self, node: Node) -> str:
        """The vertex that puts out the rows of a node; its waiting steps become a chain."""
        rows = self.rows[id(node)]
        if rows.steps:
            rows = self._chain(rows)
            self.rows[id(node)] = rows
        return rows.vertex

    def _chain(self, rows: _Rows) -> _Rows:
        names = [step.name for step in rows.steps]
        name = "+".join(names) if len(names) <= CHAIN_NAMES_MAX else f"{names[0]}+...+{names[-1]}"
        name = free_name(name, self._taken()) if len(names) > 1 else name
        fallible = any(_fallible(step) for step in rows.steps)
        if fallible and not isinstance(self.vertices[rows.vertex], SourceVertex):
            self.positions |= self.above[rows.vertex]
        policy = self._policy(rows.vertex)
        deciding = [each.name for each in self._sources(rows.vertex) if each.on_error == policy]
        make = partial(ChainOperator, rows.steps, policy, deciding)
        self.refusing.append(name)
        return self._add(name, make, (Edge(rows.vertex),), self._parallelism(rows.vertex))

    def _taken(self) -> set[str]:
        return {*self.vertices, *self.names.values()}

    def _policy(self, vertex: str) -> OnError:
        """The strictest policy of the sources above a vertex."""
        return strictest([source.on_error for source in self._sources(vertex)])

    def _sources(self, vertex: str) -> list[SourceVertex]:
        above = [self.vertices[name] for name in sorted(self.above[vertex])]
        return [each for each in above if isinstance(each, SourceVertex)]

    def _rejected_edges(self, above: Iterable[str]) -> tuple[Edge, ...]:
        """Edges from everything among `above` that sets rows aside."""
        among = set(above)
        names = [name for name in self.refusing if name in among and self._policy(name) == "dead_letter"]
        return tuple(Edge(name, port, "rejected") for port, name in enumerate(names))

    def _parallelism(self, vertex: str) -> int:
        return Graph(self.vertices).parallelism(vertex)

    def _add(
        self,
        name: str,
        make: Callable[[], Operator],
        inputs: tuple[Edge, ...],
        parallelism: int = 1,
        *,
        separate: bool = False,
    ) -> _Rows:
        assert name not in self.vertices, name
        self.vertices[name] = OperatorVertex(name, make, inputs, parallelism, separate)
        self.above[name] = frozenset({name}).union(*(self.above[edge.upstream] for edge in inputs))
        return _Rows(name)


def _make_sink(make: Callable[[], Sink], schema: pl.Schema) -> SinkOperator:
    return SinkOperator(make(), schema)


def is_bounded(node: Node) -> bool:
    """Whether the rows of a node end."""
    return all(scan.source.bounded for scan in walk(node) if isinstance(scan, Scan))


def _step(node: RowWise, name: str) -> Step:
    schema = node.input.schema
    match node:
        case Filter():
            return FilterStep(
                name,
                (node.predicate,),
                may_fail=may_fail(node.predicate, schema),
                roots=frozenset(referenced_columns(node.predicate)),
                failed=failure_mask(node.predicate, schema),
            )
        case Project():
            return ProjectStep(name, tuple(_output(each, schema) for each in node.outputs))
        case Reshape():
            return FrameStep(name, node.function, node.carries)
        case MapBatches():
            return MapStep(name, node.function, node.output, node.row_wise)


def _output(output: NamedExpr, schema: pl.Schema) -> Output:
    column = output.column
    if column is not None:
        return Output(output.name, output.expr, column=column, may_fail=False)
    roots = output.roots
    if not roots:
        constant = pl.select(output.expr.alias(output.name)).to_series().cast(output.dtype)
        return Output(output.name, output.expr, constant=constant, may_fail=False)
    fallible = may_fail(output.expr, schema)
    return Output(
        output.name,
        output.expr,
        may_fail=fallible,
        roots=roots,
        failed=failure_mask(output.expr, schema) if fallible else None,
    )


def _fallible(step: Step) -> bool:
    match step:
        case FilterStep():
            return step.may_fail
        case ProjectStep():
            return any(output.may_fail for output in step.outputs)
        case FrameStep() | MapStep():
            return True
