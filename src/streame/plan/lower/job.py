"""From what the user asked for to the physical graph that runs: sources, sinks, and what only connects."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from streame.core.config import Config
from streame.io.sink import Sink
from streame.io.source import NarrowableSource
from streame.plan.lower.lowering import Lowering, Rows, lower_node, make_sink
from streame.plan.nodes import Concat, Late, Rejected, Scan, SetEventTime, Write
from streame.plan.splits import split_sources
from streame.runtime.graph import Edge, Graph, SourceVertex
from streame.runtime.operators.event_time import EventTimeOperator
from streame.runtime.operators.merge import MergeOperator


def lower(
    writes: Sequence[Write],
    config: Config,
    errors: Callable[[], Sink] | None = None,
    *,
    apart: bool = False,
) -> Graph:
    """The physical graph of a job.

    Args:
        writes: its sinks, optimized, with everything above them.
        config: the settings of the run.
        errors: makes the sink of all dead letters.
        apart: whether the instances of keyed operators may be on other nodes than the rows that come to them.
    """
    return Lowering(writes, config, apart).graph(errors)


@lower_node.register(Scan)
def _(node: Scan, lowering: Lowering) -> Rows:
    source, columns = node.source, node.columns
    if columns is not None and isinstance(source, NarrowableSource):
        source = source.with_columns_only(columns)
    readers = lowering.config.parallelism if id(node) in lowering.read_by_many else 1
    return lowering.add_source(SourceVertex(node.name, source, node.on_error, columns, parallelism=readers))


@lower_node.register(SetEventTime)
def _(node: SetEventTime, lowering: Lowering) -> Rows:
    upstream = lowering.vertex_of(node.input)
    sources = split_sources(node.input)
    for name in sources:
        source = lowering.vertices[name]
        assert isinstance(source, SourceVertex), name
        timeouts = source.idle_timeouts_us | {node.idle_timeout_us}
        lowering.vertices[name] = replace(source, idle_timeouts_us=timeouts)
    assert node.event_time is not None
    policy = lowering.policy(upstream)
    make = partial(EventTimeOperator, node.event_time, node.delay, policy, node.idle_timeout_us, sources)
    width = lowering.parallelism(upstream)
    return lowering.add(lowering.names[id(node)], make, (Edge(upstream),), width, refuses=True)


@lower_node.register(Concat)
def _(node: Concat, lowering: Lowering) -> Rows:
    edges = tuple(Edge(lowering.vertex_of(part), port) for port, part in enumerate(node.parts))
    widths = {lowering.parallelism(edge.upstream) for edge in edges}
    width = widths.pop() if len(widths) == 1 else 1
    make = partial(MergeOperator, changes=node.is_changes)
    return lowering.add(lowering.names[id(node)], make, edges, width)


@lower_node.register(Rejected)
def _(node: Rejected, lowering: Lowering) -> Rows:
    above = lowering.above[lowering.vertex_of(node.input)]
    return lowering.add(lowering.names[id(node)], MergeOperator, lowering.rejected_edges(above))


@lower_node.register(Late)
def _(node: Late, lowering: Lowering) -> Rows:
    edge = Edge(lowering.vertex_of(node.input), 0, "late")
    return lowering.add(lowering.names[id(node)], MergeOperator, (edge,))


@lower_node.register(Write)
def _(node: Write, lowering: Lowering) -> Rows:
    make = partial(make_sink, node.make_sink, node.schema, changes=node.is_changes)
    edge = Edge(lowering.vertex_of(node.input))
    return lowering.add(node.name, make, (edge,), separate=node.separate)
