"""Prune columns: only what is needed leaves a source, a projection or a table."""

from collections.abc import Sequence
from dataclasses import replace

from streame.core.expressions import NamedExpr, referenced_columns
from streame.core.salvage import may_fail
from streame.plan.clock_time import ClockTime
from streame.plan.joins import StreamsJoin
from streame.plan.nodes import Concat, Filter, Late, Node, Project, Scan, SetEventTime, TableJoin, walk
from streame.plan.rewrite import rewrite
from streame.plan.unique import Unique

Needed = dict[int, set[str]]


def prune_columns(roots: Sequence[Node]) -> tuple[Node, ...]:
    """Leave out the columns that nothing further down reads. What can fail is computed all the same."""
    needed: Needed = {id(root): set(root.schema) for root in roots}
    nodes = list(walk(*roots))
    whole = {id(node.input) for node in nodes if isinstance(node, Late)}  # late rows come out as they went in
    for node in reversed(nodes):
        outputs = needed.setdefault(id(node), set())
        columns_of = [set(each.schema) for each in node.inputs]
        columns_of = columns_of if id(node) in whole else _needed_of_inputs(node, outputs)
        for each, columns in zip(node.inputs, columns_of, strict=True):
            needed.setdefault(id(each), set()).update(columns)

    def replaced(node: Node, original: Node) -> Node:
        outputs = needed[id(original)]
        # What can fail is asked of the original: the input of the node has been narrowed already.
        kept = _kept_outputs(original, outputs) if isinstance(original, Project) else ()
        return _narrowed(node, outputs, kept)

    return rewrite(roots, replaced)


def _needed_of_inputs(node: Node, outputs: set[str]) -> list[set[str]]:
    """What a node must get, input by input, for these of its columns to come out."""
    match node:
        case Filter():
            return [outputs | referenced_columns(node.predicate)]
        case Project():
            kept = _kept_outputs(node, outputs)
            return [{root for output in kept for root in output.roots}]
        case Concat():
            return [set(outputs) for _ in node.parts]
        case TableJoin() | StreamsJoin():
            return node.needs(outputs)
        case SetEventTime():
            return [outputs | {node.column}]
        case ClockTime():
            return [outputs - {node.rule.time.column}]
        case Unique():
            time = {node.input.event_time.column} if node.input.event_time is not None else set[str]()
            return [outputs | set(node.subset) | time]
        case _:
            return [
                set(each.schema) if read is None else set(read)
                for each, read in zip(node.inputs, node.reads, strict=True)
            ]


def _kept_outputs(node: Project, outputs: set[str]) -> tuple[NamedExpr, ...]:
    """Those that are needed, those that can fail, and at least one, so that rows can still be counted."""
    kept = tuple(
        output
        for output in node.outputs
        if output.name in outputs or may_fail(output.expr, node.input.schema)
    )
    return kept or node.outputs[:1]


def _narrowed(node: Node, outputs: set[str], kept: tuple[NamedExpr, ...]) -> Node:
    match node:
        case Scan():
            columns = tuple(name for name in node.source_schema if name in outputs)
            return replace(node, columns=columns or tuple(node.source_schema)[:1])
        case Project():
            return replace(node, outputs=kept)
        case TableJoin() | StreamsJoin():
            return node.narrowed(outputs)
        case _:
            return node
