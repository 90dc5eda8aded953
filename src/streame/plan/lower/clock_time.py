"""Processing time becomes an operator that asks the clock."""

from functools import partial

from streame.plan.clock_time import ClockTime
from streame.plan.lower.lowering import Lowering, Rows, lower_node
from streame.runtime.graph import Edge
from streame.runtime.operators.clock_time import ClockTimeOperator


@lower_node.register(ClockTime)
def _(node: ClockTime, lowering: Lowering) -> Rows:
    edge = Edge(lowering.vertex_of(node.input))
    # One instance: another one that no rows come to would hold the time of all back.
    return lowering.add(lowering.names[id(node)], partial(ClockTimeOperator, node.rule), (edge,))
