"""Rows without repetition become a keyed operator."""

from collections.abc import Callable
from functools import partial

import polars as pl

from streame.plan.lower.lowering import Lowering, Rows, lower_node
from streame.plan.unique import Unique
from streame.runtime.admission import Admission
from streame.runtime.graph import Edge
from streame.runtime.operator import Operator
from streame.runtime.operators.first_rows import FirstRowsOperator
from streame.runtime.operators.last_rows import LastRowsOperator
from streame.runtime.operators.single_rows import SingleRowsOperator


@lower_node.register(Unique)
def _(node: Unique, lowering: Lowering) -> Rows:
    upstream, schema = lowering.vertex_of(node.input), node.input.schema
    keys = pl.Schema({name: schema[name] for name in node.subset})
    positions = (node.waits or node.keep == "last") and not lowering.order_is_known(upstream)
    if positions:
        lowering.keep_positions(upstream)
    make: Callable[[], Operator]
    time = node.input.event_time
    match node.keep:
        case "first":
            columns, admission = node.schema.names(), None
            if time is not None:
                admission = Admission(time, lowering.policy(upstream), columns)
            make = partial(
                FirstRowsOperator, keys=keys, columns=columns, within=node.within, admission=admission
            )
        case "last":
            make = partial(LastRowsOperator, keys=keys, schema=node.schema, time=time, positions=positions)
        case "none":
            make = partial(SingleRowsOperator, keys=keys, schema=node.schema)
    parallelism = 1 if node.in_order else lowering.instances(node)
    edge = Edge(upstream, key=keys if parallelism > 1 else None)
    paged = () if node.in_order else lowering.keys(node, keys.names())
    return lowering.add(node.name, make, (edge,), parallelism, refuses=node.waits, keys=paged)
