"""Push filters down: a row that is dropped early need not be computed, shared out or joined."""

from collections.abc import Mapping, Sequence

import polars as pl

from streame.core.expressions import referenced_columns, substitute_columns
from streame.core.salvage import may_fail
from streame.plan.joins import StreamsJoin
from streame.plan.nodes import Concat, Filter, Node, Project, TableJoin
from streame.plan.rewrite import consumer_counts, rewrite, with_inputs


def push_down_filter(roots: Sequence[Node]) -> tuple[Node, ...]:
    """Move filters towards the sources, below projections, joins and concatenations.

    A filter that can fail stays where it is, and none moves across a verb that can fail: a row would otherwise be
    refused, or not, that was to be the other. Nor is a node changed that others take rows from as well.
    """
    counts = consumer_counts(roots)
    shared: set[int] = set()

    def replaced(node: Node, original: Node) -> Node:
        result = node
        if isinstance(node, Filter) and not may_fail(node.predicate, node.input.schema):
            result = _push(node.predicate, node.input, shared) or node
        if counts[id(original)] > 1:
            shared.add(id(result))
        return result

    return rewrite(roots, replaced)


def _push(predicate: pl.Expr, node: Node, shared: set[int]) -> Node | None:
    """`node` with the filter somewhere above it; `None` where it cannot pass."""
    if id(node) in shared:
        return None
    match node:
        case Project():
            below = _below_project(predicate, node)
            return None if below is None else with_inputs(node, [_settle(below, node.input, shared)])
        case StreamsJoin():
            return _below_join(predicate, node, shared)
        case TableJoin() if referenced_columns(predicate) <= _stream_columns(node):
            return with_inputs(node, [_settle(predicate, node.input, shared), node.table])
        case Concat():
            return with_inputs(node, [_settle(predicate, part, shared) for part in node.parts])
        case _:
            return None


def _settle(predicate: pl.Expr, node: Node, shared: set[int]) -> Node:
    return _push(predicate, node, shared) or Filter(node, predicate)


def _below_project(predicate: pl.Expr, node: Project) -> pl.Expr | None:
    """The predicate in the names that go into a projection, if it reads only what is handed through."""
    if any(may_fail(output.expr, node.input.schema) for output in node.outputs):
        return None
    through = {output.name: column for output in node.outputs if (column := output.column) is not None}
    return _renamed(predicate, through)


def _below_join(predicate: pl.Expr, node: StreamsJoin, shared: set[int]) -> Node | None:
    """The join with the filter above one of its sides."""
    for port, through in enumerate(node.handed_through):
        below = _renamed(predicate, through)
        if below is not None:
            inputs = list(node.inputs)
            inputs[port] = _settle(below, inputs[port], shared)
            return with_inputs(node, inputs)
    return None


def _renamed(predicate: pl.Expr, through: Mapping[str, str]) -> pl.Expr | None:
    """The predicate in the names of a verb's input, if it reads only what the verb hands through."""
    roots = referenced_columns(predicate)
    if not roots <= through.keys():
        return None
    renamed = {root: through[root] for root in roots if through[root] != root}
    return substitute_columns(predicate, renamed) if renamed else predicate


def _stream_columns(node: TableJoin) -> set[str]:
    """The columns of a join's output that come unchanged from the stream."""
    from_table = {name for _, name in node.right_outputs}
    return set(node.input.schema) - from_table
