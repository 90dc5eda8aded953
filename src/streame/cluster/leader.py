"""What the leader does: facts in, one action out. Pure; it is asked again whenever something has changed."""

from collections.abc import Mapping

from streame.cluster.actions import (
    AbandonPart,
    Action,
    End,
    Facts,
    Part,
    Propose,
    Record,
    Resign,
    RunPart,
    SayLeaving,
    StopPart,
    Wait,
)
from streame.cluster.frames import Attempt
from streame.cluster.schedule import assign
from streame.cluster.view import AttemptEntry, Member, Outcome, can_speak, one_per_name

SETTLE_S = 0.5
"""A node that has just come is taken in after so long, together with others that come meanwhile."""

BACKOFF_S = 0.1
BACKOFF_MAX_S = 5.0


def lead(facts: Facts, instances: int) -> Action:
    """What to do as the leader.

    Args:
        facts: what is known.
        instances: how many instances each keyed operator has.
    """
    view, part, epoch = facts.view, facts.part, facts.leads
    assert epoch is not None
    ours = part if part is not None and part.attempt.epoch == epoch else None
    if part is not None and ours is None and not part.is_over:
        return AbandonPart("this node leads now")
    if view.outcome is not None and view.outcome.epoch == epoch:
        return End(view.outcome)
    if facts.must_say_leaving:
        return SayLeaving()  # so that whoever leads next does not count on it
    if ours is None or ours.is_over:
        return _next(facts, epoch, ours, instances)
    if ours.state == "running":
        return _keep_running(facts, ours)
    return Wait()


def _next(facts: Facts, epoch: int, part: Part | None, instances: int) -> Action:
    """Nothing runs: what comes next."""
    if part is not None and part.state == "finished":
        return Record(Outcome(epoch, "finished"))
    if part is not None and part.state == "failed":
        return Record(Outcome(epoch, "failed", part.error))
    if facts.is_leaving:
        return Resign()
    entry = facts.view.attempt
    # The attempt before may have decided a checkpoint after etcd was read for this proposal. An attempt that begins before
    # that checkpoint would take it back with its own first decision.
    if (
        entry is not None
        and entry.attempt.epoch == epoch
        and (part is None or part.attempt < entry.attempt)
        and entry.start == facts.view.pointer
    ):
        return RunPart(entry)
    if facts.now < facts.not_before:
        return Wait(facts.not_before)
    return Propose(proposal(facts, epoch, instances))


def _keep_running(facts: Facts, part: Part) -> Action:
    """An attempt runs: whether it is to be stopped for another one."""
    if facts.is_leaving:
        return StopPart("this node leads, and is to end")
    present = {entry.member.id: entry for entry in facts.view.nodes}
    for member in part.entry.members[1:]:
        entry = present.get(member.id)
        if entry is None or entry.leaving or member.id in facts.view.drained:
            why = "is no longer there" if entry is None else "is to end"
            return StopPart(f"node {member.name!r} {why}")
    taking_part = {member.id for member in part.entry.members}
    new = [member for member in _able(facts) if member.id not in taking_part]
    if not new:
        return Wait(
            min((each.until for each in facts.suspects.values() if each.until > facts.now), default=None)
        )
    settled = max(facts.seen.get(member.id, facts.now) for member in new) + SETTLE_S
    if facts.now < settled:
        return Wait(settled)
    return StopPart(f"{', '.join(repr(member.name) for member in new)} joined")


def proposal(facts: Facts, epoch: int, instances: int) -> AttemptEntry:
    """The next attempt: every node that is there works, but the leader only if it is alone: it reads, decides and writes."""
    able = _able(facts)
    leader = next(entry.member for entry in facts.view.nodes if entry.member.id == facts.node_id)
    workers = sorted((each for each in able if each.id != leader.id), key=lambda each: each.name)
    members = (leader, *workers)
    names = {member.name: at for at, member in enumerate(members)}
    last = facts.view.attempt
    number = last.attempt.number + 1 if last is not None and last.attempt.epoch == epoch else 1
    before = _places(last)
    nodes = assign(instances, [each.name for each in workers] or [leader.name], before)
    slots = tuple(names[node] for node in nodes)
    return AttemptEntry(Attempt(epoch, number), members, slots, facts.view.pointer)


def _able(facts: Facts) -> list[Member]:
    """The nodes that can take part, the leader among them. One that has its name waits until it leads no more."""
    own = next(entry.member.name for entry in facts.view.nodes if entry.member.id == facts.node_id)
    return [
        entry.member
        for entry in one_per_name(facts.view.nodes)
        if entry.member.id == facts.node_id
        or not (
            entry.member.name == own
            or entry.leaving
            or entry.digest != facts.digest
            or not can_speak(entry.authorities, facts.authorities)
            or entry.member.id in facts.view.drained
            or facts.leaves_out(entry.member.id)
        )
    ]


def _places(entry: AttemptEntry | None) -> Mapping[int, str]:
    """Where instances are in an attempt."""
    if entry is None:
        return {}
    return {instance: entry.members[place].name for instance, place in enumerate(entry.slots)}


def backoff_s(failures: int, jitter: float) -> float:
    """How long to wait before another attempt.

    Args:
        failures: how many attempts were lost since the last checkpoint.
        jitter: a number from 0 to 1, drawn by whoever asks.
    """
    if failures <= 1:
        return 0.0  # a lost node is nothing that happens again at once
    return float(min(BACKOFF_MAX_S, BACKOFF_S * 2 ** (failures - 2)) * (0.5 + 0.5 * jitter))
