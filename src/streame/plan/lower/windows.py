"""Windows over event time become keyed operators."""

from functools import partial

import polars as pl

from streame.plan.lower.lowering import Lowering, Rows, lower_node
from streame.plan.windows import WindowAggregate
from streame.runtime.graph import Edge
from streame.runtime.operators.window import WindowOperator
from streame.runtime.window_results import WindowSetup


@lower_node.register(WindowAggregate)
def _(node: WindowAggregate, lowering: Lowering) -> Rows:
    upstream = lowering.vertex_of(node.input)
    aggregation, schema = node.aggregation, node.input.schema
    lowering.keep_positions_for(aggregation, upstream, schema)
    columns = tuple(column for column, _ in node.keys)
    parallelism = lowering.instances(node) if columns else 1
    setup = WindowSetup(
        rule=node.rule,
        key=pl.Schema({name: schema[column] for column, name in node.keys}),
        key_columns=columns,
        aggregation=aggregation,
        include_boundaries=node.include_boundaries,
        emission=node.emission,
        lateness=node.lateness,
        retractable=node.input.is_changes,
        computed_keys=node.computed_keys,
    )
    make = partial(WindowOperator, setup, lowering.policy(upstream))
    key = pl.Schema({column: schema[column] for column in columns}) if parallelism > 1 else None
    edges, keys = (Edge(upstream, key=key),), lowering.keys(node, columns)
    return lowering.add(node.name, make, edges, parallelism, refuses=True, keys=keys)
