"""Windows over event time become keyed operators."""

from functools import partial

import polars as pl

from streame.plan.lower.lowering import Lowering, Rows, lower_node
from streame.plan.windows import WindowAggregate
from streame.runtime.graph import Edge
from streame.runtime.operators.pre_aggregation import partial_schema
from streame.runtime.operators.window import WindowOperator
from streame.runtime.operators.window_pre_aggregation import WindowPreAggregationOperator
from streame.runtime.preparation import Preparation
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
    if parallelism > 1 and lowering.apart and _can_pre_aggregate(node) and not lowering.may_wake(upstream):
        upstream = _pre_aggregated(node, lowering, upstream, setup)
    key = pl.Schema({column: schema[column] for column in columns}) if parallelism > 1 else None
    edges, keys = (Edge(upstream, key=key),), lowering.keys(node, columns)
    return lowering.add(node.name, make, edges, parallelism, refuses=True, keys=keys)


def _can_pre_aggregate(node: WindowAggregate) -> bool:
    """Whether the values of a group can be sent in place of its rows."""
    aggregation = node.aggregation
    is_plain = aggregation.has_partials and not aggregation.needs_order and not node.input.is_changes
    return is_plain and node.rule.time.column not in {column for column, _ in node.keys}


def _pre_aggregated(node: WindowAggregate, lowering: Lowering, upstream: str, setup: WindowSetup) -> str:
    schema = node.input.schema
    preparation = Preparation(node.aggregation, node.rule.time, lowering.policy(upstream))
    make = partial(WindowPreAggregationOperator, node.name, setup, preparation, lowering.instances(node))
    edges, width = (Edge(upstream),), lowering.parallelism(upstream)
    rows = lowering.add(f"{node.name} (partial)", make, edges, width, refuses=True)
    columns = [*setup.key_columns, node.rule.time.column]
    values = partial_schema(pl.Schema({name: schema[name] for name in columns}), node.aggregation)
    lowering.know(rows.vertex, schema=schema, partial_schema=values)
    return rows.vertex
