"""Joins become keyed operators with two inputs."""

from functools import partial

import polars as pl

from streame.plan.joins import AsofJoin, IntervalJoin, StreamJoin, StreamsJoin
from streame.plan.lower.lowering import Lowering, Rows, lower_node
from streame.plan.nodes import TableJoin, is_bounded
from streame.runtime.graph import Edge
from streame.runtime.joining import JoinSide
from streame.runtime.operators.asof_join import AsofJoinOperator
from streame.runtime.operators.interval_join import IntervalJoinOperator
from streame.runtime.operators.stream_join import StreamJoinOperator
from streame.runtime.operators.table_join import TableJoinOperator


@lower_node.register(TableJoin)
def _(node: TableJoin, lowering: Lowering) -> Rows:
    stream, table = lowering.vertex_of(node.input), lowering.vertex_of(node.table)
    bounded = is_bounded(node.table)
    parallelism = lowering.instances(node)
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
        wait=node.wait,
        time=node.input.event_time,
        table_is_bounded=bounded,
        table_changes=node.table.is_changes,
    )
    edges = (
        Edge(stream, 0, key=left, bounded=not (bounded and lowering.feeds_a_table(stream))),
        Edge(table, 1, key=right),
    )
    keys = lowering.keys(node, node.left_on, node.right_on)
    return lowering.add(node.name, make, edges, parallelism, keys=keys)


@lower_node.register(IntervalJoin)
def _(node: IntervalJoin, lowering: Lowering) -> Rows:
    edges, instances = _keyed_edges(node, lowering)
    make = partial(
        IntervalJoinOperator,
        *_sides(node),
        keys=node.keys,
        columns=node.columns,
        how=node.how,
        lower=node.lower,
        upper=node.upper,
    )
    keys = lowering.keys(node, node.keys.left, node.keys.right)
    return lowering.add(node.name, make, edges, instances, keys=keys)


@lower_node.register(AsofJoin)
def _(node: AsofJoin, lowering: Lowering) -> Rows:
    edges, instances = _keyed_edges(node, lowering)
    right = edges[1].upstream
    by_position = not lowering.order_is_known(right)
    if by_position:
        lowering.keep_positions(right)
    make = partial(
        AsofJoinOperator,
        *_sides(node, whole=True),
        keys=node.keys,
        columns=node.columns,
        strategy=node.strategy,
        tolerance=node.tolerance,
        exact=node.exact,
        by_position=by_position,
    )
    keys = lowering.keys(node, node.keys.left, node.keys.right)
    return lowering.add(node.name, make, edges, instances, keys=keys)


@lower_node.register(StreamJoin)
def _(node: StreamJoin, lowering: Lowering) -> Rows:
    edges, instances = _keyed_edges(node, lowering)
    make = partial(
        StreamJoinOperator,
        *_sides(node),
        keys=node.keys,
        columns=node.columns,
        how=node.how,
        changes=(node.input.is_changes, node.other.is_changes),
        ttl=node.ttl,
    )
    keys = lowering.keys(node, node.keys.left, node.keys.right)
    return lowering.add(node.name, make, edges, instances, keys=keys)


def _keyed_edges(node: StreamsJoin, lowering: Lowering) -> tuple[tuple[Edge, Edge], int]:
    """The inputs of a join, shared out by its keys; and among how many instances."""
    instances = lowering.instances(node) if node.keys.left else 1
    edges = []
    for port, (side, on) in enumerate(((node.input, node.keys.left), (node.other, node.keys.right))):
        key = pl.Schema({name: side.schema[name] for name in on}) if instances > 1 else None
        edges.append(Edge(lowering.vertex_of(side), port, key=key))
    return (edges[0], edges[1]), instances


def _sides(node: StreamsJoin, *, whole: bool = False) -> tuple[JoinSide, JoinSide]:
    """Both sides of a join, and what is kept of them: all columns, or those that come out."""
    left, right = (
        JoinSide(
            side.schema,
            tuple(side.schema) if whole else tuple(sorted(read)) or tuple(side.schema)[:1],
            time,
            node.unit,
        )
        for side, read, time in zip(node.inputs, node.columns.read(), node.times or (None, None), strict=True)
    )
    return left, right
