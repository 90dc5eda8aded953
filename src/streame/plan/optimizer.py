"""The optimizer: small rules, each a file, that make the same plan cheaper."""

from collections.abc import Callable, Sequence

from streame.plan.nodes import Node
from streame.plan.rules.prune_columns import prune_columns
from streame.plan.rules.push_down_filter import push_down_filter

Rule = Callable[[Sequence[Node]], tuple[Node, ...]]

RULES: tuple[Rule, ...] = (
    push_down_filter,
    prune_columns,  # last: it needs to know where the filters stand
)


def optimize(roots: Sequence[Node]) -> tuple[Node, ...]:
    """The same plan, cheaper. No rule moves anything across an expression that can fail."""
    plan = tuple(roots)
    for rule in RULES:
        after = rule(plan)
        for old, new in zip(plan, after, strict=True):
            assert old.schema == new.schema, (rule.__name__, old.schema, new.schema)
        plan = after
    return plan
