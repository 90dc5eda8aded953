"""Verbs that put rows of a key together by how they follow each other in time become keyed operators."""

from collections.abc import Callable
from functools import partial

import polars as pl

from streame.plan.keyed import CountAggregate, KeyedAggregate, RollingAggregate, SessionAggregate
from streame.plan.lower.lowering import Lowering, Rows, lower_node
from streame.runtime.admission import Admission
from streame.runtime.graph import Edge
from streame.runtime.operator import Operator
from streame.runtime.operators.count_window import CountWindowOperator
from streame.runtime.operators.rolling import RollingOperator
from streame.runtime.operators.session import SessionOperator
from streame.runtime.preparation import Preparation


@lower_node.register(SessionAggregate)
def _(node: SessionAggregate, lowering: Lowering) -> Rows:
    upstream = _upstream(node, lowering)
    make = partial(
        SessionOperator,
        node.rule,
        keys=[column for column, _ in node.keys],
        key_schema=node.key_schema,
        aggregation=node.aggregation,
        admission=_admission(node, lowering, upstream, node.rule.lateness + node.rule.gap - 1),
        preparation=_preparation(node, lowering, upstream),
    )
    return _add(node, lowering, upstream, make)


@lower_node.register(CountAggregate)
def _(node: CountAggregate, lowering: Lowering) -> Rows:
    upstream = _upstream(node, lowering)
    timed = node.input.event_time is not None
    if timed and not lowering.order_is_known(upstream):
        lowering.keep_positions(upstream)
    make = partial(
        CountWindowOperator,
        node.count,
        keys=[column for column, _ in node.keys],
        key_schema=node.key_schema,
        aggregation=node.aggregation,
        admission=_admission(node, lowering, upstream) if timed else None,
        preparation=_preparation(node, lowering, upstream),
    )
    return _add(node, lowering, upstream, make)


@lower_node.register(RollingAggregate)
def _(node: RollingAggregate, lowering: Lowering) -> Rows:
    upstream = _upstream(node, lowering)
    make = partial(
        RollingOperator,
        node.rule,
        keys=[column for column, _ in node.keys],
        key_schema=node.key_schema,
        aggregation=node.aggregation,
        admission=_admission(node, lowering, upstream),
        preparation=_preparation(node, lowering, upstream),
    )
    return _add(node, lowering, upstream, make)


def _upstream(node: KeyedAggregate, lowering: Lowering) -> str:
    """The vertex that the rows come from; they carry positions where their order or a refusal asks for them."""
    upstream = lowering.vertex_of(node.input)
    aggregation, schema = node.aggregation, node.input.schema
    lowering.keep_positions_for(aggregation, upstream, schema)
    return upstream


def _admission(node: KeyedAggregate, lowering: Lowering, upstream: str, lateness: int = 0) -> Admission:
    time, late = node.input.event_time, node.late_schema
    assert time is not None
    assert late is not None
    return Admission(time, lowering.policy(upstream), late.names(), lateness)


def _preparation(node: KeyedAggregate, lowering: Lowering, upstream: str) -> Preparation:
    return Preparation(node.aggregation, node.input.event_time, lowering.policy(upstream))


def _add(node: KeyedAggregate, lowering: Lowering, upstream: str, make: Callable[[], Operator]) -> Rows:
    """Add the operator, in several instances where there is a key."""
    parallelism = lowering.instances(node) if node.keys else 1
    schema = node.input.schema
    key = pl.Schema({column: schema[column] for column, _ in node.keys}) if parallelism > 1 else None
    edges, keys = (Edge(upstream, key=key),), lowering.keys(node, [column for column, _ in node.keys])
    return lowering.add(node.name, make, edges, parallelism, refuses=True, keys=keys)
