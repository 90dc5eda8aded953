"""Plain grouping becomes keyed operators."""

from functools import partial

import polars as pl

from streame.plan.grouping import GroupBy
from streame.plan.lower.lowering import Lowering, Rows, lower_node
from streame.runtime.graph import Edge
from streame.runtime.operators.group_by import GroupByOperator
from streame.runtime.operators.pre_aggregation import PreAggregationOperator, partial_schema
from streame.runtime.preparation import Preparation


@lower_node.register(GroupBy)
def _(node: GroupBy, lowering: Lowering) -> Rows:
    upstream = lowering.vertex_of(node.input)
    aggregation, schema = node.aggregation, node.input.schema
    lowering.keep_positions_for(aggregation, upstream, schema)
    preparation = Preparation(aggregation, node.input.event_time, lowering.policy(upstream))
    key = pl.Schema({column: schema[column] for column, _ in node.keys})
    parallelism = lowering.instances(node)
    if parallelism > 1 and aggregation.has_partials and not node.input.is_changes:
        make_partial = partial(PreAggregationOperator, node.name, key, aggregation, preparation)
        edges, width = (Edge(upstream),), lowering.parallelism(upstream)
        upstream = lowering.add(f"{node.name} (partial)", make_partial, edges, width, refuses=True).vertex
        lowering.know(upstream, schema=schema, partial_schema=partial_schema(key, aggregation))
    make = partial(
        GroupByOperator,
        keys=key.names(),
        key_schema=pl.Schema({name: schema[column] for column, name in node.keys}),
        aggregation=aggregation,
        preparation=preparation,
        retractable=node.input.is_changes,
        emission=node.emission,
    )
    edge = Edge(upstream, key=key if parallelism > 1 else None)
    keys = lowering.keys(node, key.names())
    return lowering.add(node.name, make, (edge,), parallelism, refuses=True, keys=keys)
