"""Where instances go: balanced, with few moves, and the same for everybody who asks."""

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from streame.cluster.schedule import assign

NAMES = st.lists(
    st.sampled_from([f"node-{number}" for number in range(12)]), min_size=1, max_size=12, unique=True
)


@given(st.integers(1, 128), NAMES)
def test_every_node_has_as_many_as_any_other_or_one_more(instances: int, nodes: list[str]) -> None:
    counts = Counter(assign(instances, nodes, {}))
    most, least = max(counts.values()), min(counts[node] for node in nodes)
    assert sum(counts.values()) == instances
    assert counts.keys() <= set(nodes)
    assert most - least <= 1


@given(st.integers(1, 128), NAMES, NAMES)
def test_no_more_moves_than_the_balance_asks_for(instances: int, before: list[str], after: list[str]) -> None:
    old = assign(instances, before, {})
    new = assign(instances, after, dict(enumerate(old)))
    kept = sum(one == other for one, other in zip(old, new, strict=True))
    held, room = Counter(old), sorted(Counter(new).values(), reverse=True)
    staying = sorted((held[node] for node in set(before) & set(after)), reverse=True)
    most = sum(min(count, size) for count, size in zip(staying, room, strict=False))
    assert kept == most, (old, new)


@given(st.integers(1, 128), NAMES, st.randoms(use_true_random=False))
def test_the_order_of_the_nodes_does_not_matter(instances: int, nodes: list[str], random: Random) -> None:
    shuffled = list(nodes)
    random.shuffle(shuffled)
    assert assign(instances, nodes, {}) == assign(instances, shuffled, {})


def test_golden_places() -> None:
    """A leader of another version moves nothing."""
    assert assign(8, ["a", "b", "c"], {}) == ["b", "c", "c", "b", "b", "a", "a", "a"]
