"""What a job is, as far as the state of a checkpoint depends on it: its operators by name, and what each of them does."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import polars as pl

from streame.core.aggregates import Aggregation
from streame.core.expressions import NamedExpr, full_text
from streame.core.user_aggregates import UserAggregate
from streame.plan.clock_time import ClockTime
from streame.plan.keyed import CountAggregate, RollingAggregate
from streame.plan.names import operator_names
from streame.plan.nodes import Node, Scan, SetEventTime, Stateful, TableJoin, Write, walk

KEEPS = (Scan, SetEventTime, ClockTime, Stateful, TableJoin, Write)
"""The nodes of which a checkpoint has something."""


def plan_identity(writes: Sequence[Write]) -> dict[str, Any]:
    """The operators of a job that keep something, as a JSON value.

    Args:
        writes: its sinks, optimized, with everything above them.

    Returns:
        By name the kind of each, and a text of what it does, which is the same in every process. Two operators of equal
        texts can go on with each other's state.
    """
    names = operator_names(writes)
    nodes = sorted((names[id(node)], node) for node in walk(*writes) if isinstance(node, KEEPS))
    return {"operators": {name: {"kind": _kind(node), "does": _does(node)} for name, node in nodes}}


def _kind(node: Node) -> str:
    match node:
        case Scan():
            return f"source {type(node.source).__name__}"
        case Write():
            return "sink"
        case _:
            return type(node).__name__


def _does(node: Node) -> str:
    if isinstance(node, Scan | Write):
        return ""
    if isinstance(node, SetEventTime):  # how late rows may be can be changed at any time
        return f"column: {node.column}; dtype: {node.schema[node.column]}"
    parts = [
        part for each in fields(node) if each.init for part in _parts(each.name, getattr(node, each.name))
    ]
    reads = (None,) * len(node.inputs) if _rows_wait(node) else node.reads
    inputs = [
        f"input {number}: {_text(_read(below.schema, read))}"
        for number, (below, read) in enumerate(zip(node.inputs, reads, strict=True))
    ]
    return "; ".join([*parts, *inputs])


def _rows_wait(node: Node) -> bool:
    """Whether rows are kept as they come, with all columns in their order, though not all of these are read."""
    return isinstance(node, RollingAggregate) or (
        isinstance(node, CountAggregate) and node.input.event_time is not None
    )


def _parts(name: str, value: Any) -> list[str]:
    if isinstance(value, Node) or name in {"name", "keeps_in"}:
        return []
    if name == "aggs":
        return [f"{each.name} = {_aggregate_text(each)}" for each in value]
    if isinstance(value, Aggregation):  # it is made of `aggs`
        return [f"results: {_text(value.outputs)}"]
    return [f"{name}: {_text(value)}"]


def _aggregate_text(each: NamedExpr) -> str:
    """An aggregate, without its name."""
    if isinstance(each, UserAggregate):
        inputs = (full_text(value.expr.meta.undo_aliases()) for value in each.inputs)
        return f"{_text(each.aggregate)}({', '.join(inputs)})"
    return full_text(each.expr.meta.undo_aliases())


def _read(schema: pl.Schema, reads: frozenset[str] | None) -> pl.Schema:
    """The columns of an input on which the state depends; in the order of their names where their place does not matter."""
    return (
        schema if reads is None else pl.Schema({name: schema[name] for name in sorted(reads & set(schema))})
    )


def _text(value: Any) -> str:
    """A value as a text without addresses."""
    match value:
        case pl.Expr():
            return full_text(value)
        case pl.DataType() | None | bool() | int() | float() | str() | bytes():
            return str(value) if isinstance(value, pl.DataType) else repr(value)
        case pl.Schema() | Mapping():
            return "{" + ", ".join(f"{name}: {_text(each)}" for name, each in value.items()) + "}"
        case frozenset() | set():
            return "{" + ", ".join(sorted(map(_text, value))) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_text, value)) + "]"
        case type():
            return f"{value.__module__}.{value.__qualname__}"
        case _ if is_dataclass(value):
            inner = (f"{each.name}={_text(getattr(value, each.name))}" for each in fields(value))
            return f"{type(value).__name__}({', '.join(inner)})"
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"
