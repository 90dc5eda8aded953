"""Verbs that run a user's Python function over the rows of a group become keyed operators."""

from functools import partial

import polars as pl

from streame.plan.lower.lowering import Lowering, Rows, lower_node
from streame.plan.user import MapWithState
from streame.runtime.graph import Edge
from streame.runtime.keyed_function import KeyedFunction
from streame.runtime.operators.map_with_state import MapWithStateOperator


@lower_node.register(MapWithState)
def _(node: MapWithState, lowering: Lowering) -> Rows:
    upstream = lowering.vertex_of(node.input)
    # For the order of rows of one time, and for dead letters.
    lowering.keep_positions(upstream)
    schema = node.input.schema
    parallelism = lowering.instances(node)
    key = pl.Schema({column: schema[column] for column, _ in node.keys}) if parallelism > 1 else None
    work = KeyedFunction(
        function=node.function,
        key_columns=tuple(column for column, _ in node.keys),
        key_schema=pl.Schema({name: schema[column] for column, name in node.keys}),
        columns=pl.Schema({name: schema[name] for name in node.columns}),
        output=node.output,
        codec=node.codec,
        initial=node.initial,
    )
    make = partial(
        MapWithStateOperator,
        work,
        node.input.event_time,
        lowering.policy(upstream),
        in_order=node.in_order,
        ttl=node.ttl,
    )
    edges, keys = (Edge(upstream, key=key),), lowering.keys(node, work.key_columns)
    return lowering.add(node.name, make, edges, parallelism, refuses=True, keys=keys)
