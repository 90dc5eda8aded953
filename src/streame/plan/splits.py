"""Whose splits the rows of a node still belong to: event time counts each split for itself."""

from streame.plan.nodes import Concat, Node, RowWise, Scan, SetEventTime, TableJoin


def split_sources(node: Node) -> frozenset[str]:
    """The sources whose splits are told apart in the rows of a node; none where a verb has mixed them."""
    if isinstance(node, Scan):
        return frozenset({node.name})
    # A row that has waited in a join comes out of its split's order.
    if isinstance(node, RowWise | SetEventTime) or (isinstance(node, TableJoin) and node.wait == 0):
        return split_sources(node.input)
    if isinstance(node, Concat):
        parts = [split_sources(part) for part in node.parts]
        sources = frozenset().union(*parts)
        # Rows of one source that took two ways have lost their order, too.
        return sources if all(parts) and len(sources) == sum(map(len, parts)) else frozenset()
    return frozenset()


def is_in_order(node: Node) -> bool:
    """Whether rows stand behind each other for a reason: all in one order, or each split in its own."""
    while isinstance(node, RowWise | SetEventTime | TableJoin):
        node = node.input
    return not isinstance(node, Concat) or bool(split_sources(node))
