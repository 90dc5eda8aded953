"""What has changed in a job between two looks at etcd, in words, for the log. Pure."""

from collections.abc import Iterator

from streame.cluster.view import NodeEntry, View, can_speak, trust_of


def changes(before: View, after: View) -> Iterator[str]:
    """One line for each change.

    Args:
        before: what was read before.
        after: what was read now.
    """
    then = {each.member.id: each for each in before.nodes}
    now = {each.member.id: each for each in after.nodes}
    for node_id, entry in now.items():
        if node_id not in then:
            yield f"node {entry.member.name} ({entry.member.address}) is there"
            if entry.member.name in {each.member.name for each in now.values() if each is not entry}:
                yield (
                    f"there are several nodes named {entry.member.name}: only one of them is given work; unless the older one is "
                    "just going, give each a name of its own"
                )
        elif entry.leaving and not then[node_id].leaving:
            yield f"node {entry.member.name} wants to end, and hands its work over"
    for node_id, entry in then.items():
        if node_id not in now:
            asked = entry.leaving or node_id in before.drained
            how = "has ended" if asked else "is gone"
            yield f"node {entry.member.name} ({entry.member.address}) {how}"
    for node_id in sorted(after.drained - before.drained):
        if node_id in now:
            yield f"node {now[node_id].member.name} is to be drained"
    if after.epoch != before.epoch:
        if after.leader is None:
            yield "no node leads"
        else:
            yield f"node {after.leader.member.name} leads, in epoch {after.epoch}"
    told = _strangers(before)
    for node_id, entry in _strangers(after).items():
        if node_id not in told and after.leader is not None:
            yield (
                f"node {entry.member.name} ({entry.member.address}) {trust_of(entry.authorities)}, but the leader "
                f"{trust_of(after.leader.authorities)}: it is given no work; use certificates of one authority on all nodes"
            )
    if after.attempt is not None and after.attempt != before.attempt and after.is_current:
        names = ", ".join(each.name for each in after.attempt.members)
        start = after.attempt.start
        begins = "at the beginning" if start is None else f"from checkpoint {start.number}"
        yield f"attempt {after.attempt.attempt} begins {begins}, with {names}"
    if (
        after.outcome is not None
        and after.outcome != before.outcome
        and after.outcome.epoch in {before.epoch, after.epoch}
    ):
        yield f"the job has {after.outcome.state}"


def _strangers(view: View) -> dict[str, NodeEntry]:
    """The nodes that the leader cannot speak to, by id."""
    if view.leader is None:
        return {}
    trusted = view.leader.authorities
    return {each.member.id: each for each in view.nodes if not can_speak(each.authorities, trusted)}
