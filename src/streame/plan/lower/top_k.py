"""The best rows become a keyed operator."""

from functools import partial

import polars as pl

from streame.core.positions import POSITION_DTYPE
from streame.core.ranking import Ranking
from streame.plan.lower.lowering import Lowering, Rows, lower_node
from streame.plan.top_k import TopK
from streame.runtime.graph import Edge
from streame.runtime.operators.top_k import TopKOperator


@lower_node.register(TopK)
def _(node: TopK, lowering: Lowering) -> Rows:
    upstream, schema = lowering.vertex_of(node.input), node.input.schema
    changes, time = node.input.is_changes, node.input.event_time
    positions = None if changes or lowering.order_is_known(upstream) else POSITION_DTYPE
    if positions is not None:
        lowering.keep_positions(upstream)
    make = partial(
        TopKOperator,
        k=node.k,
        # Rows that are taken back have no order of their own.
        ranking=Ranking(
            node.by, node.smallest, None if time is None else time.column, tuple(schema) if changes else ()
        ),
        keys=node.keys,
        schema=schema,
        columns=list(node.output),
        retractable=changes,
        positions=positions,
    )
    parallelism = lowering.instances(node) if node.keys else 1
    key = pl.Schema({name: schema[name] for name in node.keys}) if parallelism > 1 else None
    keys = lowering.keys(node, node.keys)
    return lowering.add(node.name, make, (Edge(upstream, key=key),), parallelism, keys=keys)
