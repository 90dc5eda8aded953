"""Joins become keyed operators with two inputs."""

from functools import partial

import polars as pl

from streame.plan.lower.lowering import Lowering, Rows, lower_node
from streame.plan.nodes import TableJoin, is_bounded
from streame.runtime.graph import Edge
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
        wait_us=node.wait_us,
        table_is_bounded=bounded,
    )
    edges = (
        Edge(stream, 0, key=left, bounded=not (bounded and lowering.feeds_a_table(stream))),
        Edge(table, 1, key=right),
    )
    return lowering.add(node.name, make, edges, parallelism)
