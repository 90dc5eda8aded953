"""Rewriting a plan: the same plan with some nodes replaced, what was shared still shared."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

from streame.plan.nodes import Concat, Node, walk


def rewrite(roots: Sequence[Node], replaced: Callable[[Node, Node], Node]) -> tuple[Node, ...]:
    """Rebuild a plan from its sources on.

    Args:
        roots: the nodes at the end.
        replaced: given a node whose inputs have been rebuilt, and the node as it was, returns what stands for it.

    Returns:
        The new roots, in order.
    """
    done: dict[int, Node] = {}
    for node in walk(*roots):
        done[id(node)] = replaced(with_inputs(node, [done[id(each)] for each in node.inputs]), node)
    return tuple(done[id(root)] for root in roots)


def with_inputs(node: Node, inputs: Sequence[Node]) -> Node:
    """The node with other inputs; itself where they are the same."""
    if all(new is old for new, old in zip(inputs, node.inputs, strict=True)):
        return node
    if isinstance(node, Concat):
        return replace(node, parts=tuple(inputs))
    names = [each.name for each in fields(node) if isinstance(getattr(node, each.name), Node)]
    changed: dict[str, Any] = dict(zip(names, inputs, strict=True))
    return replace(node, **changed)


def consumer_counts(roots: Sequence[Node]) -> Counter[int]:
    """How many nodes take rows from each node, by its `id`."""
    counts: Counter[int] = Counter()
    for node in walk(*roots):
        counts.update(id(each) for each in node.inputs)
    return counts
