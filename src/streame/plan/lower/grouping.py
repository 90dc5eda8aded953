"""Grouping verbs become keyed operators."""

from functools import partial

import polars as pl

from streame.core.salvage import may_fail
from streame.plan.grouping import GroupBy
from streame.plan.lower.lowering import Lowering, Rows, lower_node
from streame.runtime.graph import Edge
from streame.runtime.operators.group_by import GroupByOperator


@lower_node.register(GroupBy)
def _(node: GroupBy, lowering: Lowering) -> Rows:
    upstream = lowering.vertex_of(node.input)
    aggregation, schema = node.aggregation, node.input.schema
    unordered = aggregation.needs_order and not lowering.order_is_known(upstream)
    if unordered or any(may_fail(expr, schema) for expr in aggregation.prepared.values()):
        lowering.keep_positions(upstream)
    columns = [column for column, _ in node.keys]
    parallelism = lowering.instances(node)
    make = partial(
        GroupByOperator,
        keys=columns,
        key_schema=pl.Schema({name: schema[column] for column, name in node.keys}),
        aggregation=aggregation,
        time=node.input.event_time,
        policy=lowering.policy(upstream),
        retractable=node.input.is_changes,
        emission=node.emission,
    )
    key = pl.Schema({column: schema[column] for column in columns}) if parallelism > 1 else None
    return lowering.add(node.name, make, (Edge(upstream, key=key),), parallelism, refuses=True)
