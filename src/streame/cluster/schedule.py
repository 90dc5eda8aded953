"""Which node runs which instances of the keyed operators: balanced, and with as few moves as possible. Pure."""

from collections.abc import Mapping, Sequence

from xxhash import xxh3_64_intdigest


def assign(instances: int, nodes: Sequence[str], before: Mapping[int, str]) -> list[str]:
    """The node of each instance.

    Every node has as many as any other, or one more. An instance stays where it was if that allows it; where it has to
    move it goes to the node with the highest score for it (rendezvous hashing: Thaler and Ravishankar, "Using
    name-based mappings to increase hit rates", 1998), so that who decides, and in which order, does not matter.

    Args:
        instances: how many there are.
        nodes: their names, at least one, each once.
        before: where instances were, as far as that is known.
    """
    assert nodes, "somebody has to do the work"
    held: dict[str, list[int]] = {node: [] for node in sorted(nodes)}
    for instance in range(instances):
        if before.get(instance) in held:
            held[before[instance]].append(instance)
    least, more = divmod(instances, len(held))
    # Those with the most may keep one more than the others.
    roomy = sorted(held, key=lambda node: (-len(held[node]), node))[:more]
    room = {node: least + (node in roomy) for node in held}
    kept = {
        node: sorted(own, key=lambda each: _score(node, each))[-room[node] :] if room[node] else []
        for node, own in held.items()
    }
    owner = {instance: node for node, own in kept.items() for instance in own}
    for instance in range(instances):
        if instance not in owner:
            free = [node for node in held if len(kept[node]) < room[node]]
            node = owner[instance] = max(free, key=lambda node: (_score(node, instance), node))
            kept[node].append(instance)
    return [owner[instance] for instance in range(instances)]


def _score(node: str, instance: int) -> int:
    return xxh3_64_intdigest(f"{node}/{instance}".encode())
