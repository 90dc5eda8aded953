"""The physical graph: which operators run, how often, and what connects them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import polars as pl

from streame.core.deadletters import OnError
from streame.io.source import Source
from streame.runtime.operator import Operator


@dataclass(frozen=True, slots=True)
class Edge:
    """One input of a vertex.

    Args:
        upstream: the name of the vertex whose output it takes.
        port: the number of the input.
        output: its rows, the rows that it refused, or those that came too late.
        key: columns and dtypes by whose key group the rows are shared out among the instances; without it the
            edge connects instance to instance, or all instances to the only one.
        bounded: whether a full channel holds its sender back. Only where that could never end, because the
            sender's own source must first be read to its end elsewhere, all rows are let in.
    """

    upstream: str
    port: int = 0
    output: Literal["rows", "rejected", "late"] = "rows"
    key: pl.Schema | None = None
    bounded: bool = True


@dataclass(frozen=True, slots=True)
class SourceVertex:
    """A source, which is read by `parallelism` tasks, each its own splits.

    Args:
        name: unique in the job.
        source: what is read.
        on_error: what happens to rows that it refuses.
        columns: the columns that leave it; `None` for all.
        keep_positions: whether rows carry their position in a hidden column, because a verb that may fail, or one
            that goes by the order of rows, stands where the batch's own positions no longer reach.
        idle_timeouts_us: after how long a split that gives nothing is idle, for each who asks; empty where nobody
            asks what becomes of the splits.
        schema: the rows that leave it, without hidden columns; `None` where nobody needs to know.
        parallelism: how many instances read it; a split belongs to one of them.
    """

    name: str
    source: Source
    on_error: OnError
    columns: tuple[str, ...] | None = None
    keep_positions: bool = False
    idle_timeouts_us: frozenset[int] = frozenset()
    schema: pl.Schema | None = None
    parallelism: int = 1


@dataclass(frozen=True, slots=True)
class OperatorVertex:
    """An operator that runs in `parallelism` instances.

    Args:
        name: unique in the job.
        make: makes one instance.
        inputs: where its rows come from.
        parallelism: how many instances run; each owns a range of key groups.
        separate: whether it has a task of its own even where it could run in its neighbour's.
        makes_positions: whether rows that it makes get positions, because a verb that goes by the order of rows follows.
        schema: the rows that leave it, without hidden columns; `None` where nobody needs to know.
        late_schema: the same of rows that came too late.
        partial_schema: the same of rows that stand for several others.
    """

    name: str
    make: Callable[[], Operator]
    inputs: tuple[Edge, ...]
    parallelism: int = 1
    separate: bool = False
    makes_positions: bool = False
    schema: pl.Schema | None = None
    late_schema: pl.Schema | None = None
    partial_schema: pl.Schema | None = None


Vertex = SourceVertex | OperatorVertex


@dataclass(frozen=True, slots=True)
class Graph:
    """Vertices by name; every edge's upstream comes before its vertex."""

    vertices: Mapping[str, Vertex]

    def operators(self) -> list[OperatorVertex]:
        """The vertices that are no sources."""
        return [vertex for vertex in self.vertices.values() if isinstance(vertex, OperatorVertex)]

    def consumers(self, name: str) -> list[tuple[OperatorVertex, Edge]]:
        """Who takes what `name` puts out."""
        return [
            (vertex, edge) for vertex in self.operators() for edge in vertex.inputs if edge.upstream == name
        ]

    def parallelism(self, name: str) -> int:
        """How many instances of a vertex run."""
        return self.vertices[name].parallelism

    def is_inline(self, vertex: OperatorVertex) -> bool:
        """Whether `vertex` runs within its neighbour's task: a direct call instead of a channel.

        So it is where rows go from one operator to one other without being shared out, unless it asks for a
        task of its own. Refused and late rows always go through a channel.
        """
        if vertex.separate or len(vertex.inputs) != 1:
            return False
        (edge,) = vertex.inputs
        rows = [consumer for consumer, other in self.consumers(edge.upstream) if other.output == "rows"]
        return (
            edge.output == "rows"
            and edge.key is None
            and len(rows) == 1
            and self.parallelism(edge.upstream) == vertex.parallelism
        )
