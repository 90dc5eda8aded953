"""What a node does that does not lead: facts in, one action out. Pure; it is asked again whenever something has changed."""

from streame.cluster.actions import (
    AbandonPart,
    Action,
    Campaign,
    End,
    Facts,
    Leave,
    Refuse,
    Register,
    RunPart,
    SayLeaving,
    Wait,
)
from streame.cluster.view import can_speak, trust_of


def follow(facts: Facts) -> Action:
    """What to do while another node leads, or none.

    Args:
        facts: what is known.
    """
    view, part = facts.view, facts.part
    running = part is not None and not part.is_over
    if view.outcome is not None and view.outcome.epoch in facts.followed:
        return End(view.outcome)
    if (why := _unlike(facts)) is not None:
        return Refuse(why)
    if facts.is_leaving and not running and (view.leader is None or not _takes_part(facts)):
        return Leave()
    if not facts.is_held or view.node(facts.node_id) is None:
        return Leave() if facts.is_leaving else Register()
    if view.leader is None:
        return Leave() if facts.is_leaving else Campaign()
    if view.leader.member.id == facts.node_id:
        return Campaign()  # it was elected, and did not get the answer
    entry = view.attempt
    assert entry is None or entry.members
    if view.is_current and entry is not None:
        if part is not None and part.attempt == entry.attempt:
            return SayLeaving() if facts.must_say_leaving else Wait()
        if entry.place(facts.node_id) is not None:
            return RunPart(entry)
    if running:
        return AbandonPart("there is another attempt" if view.is_current else "another node leads")
    return SayLeaving() if facts.must_say_leaving else Wait()


def _takes_part(facts: Facts) -> bool:
    """Whether the newest attempt counts on this node."""
    entry = facts.view.attempt
    return facts.view.is_current and entry is not None and entry.place(facts.node_id) is not None


def _unlike(facts: Facts) -> str | None:
    """Why this node cannot work with the leader; `None` if it can."""
    leader = facts.view.leader
    if leader is None:
        return None
    if not can_speak(facts.authorities, leader.authorities):
        return (
            f"this node cannot speak to node {leader.member.name!r} ({leader.member.address}), which leads: "
            f"this node {trust_of(facts.authorities)}, and that one {trust_of(leader.authorities)}. Give all nodes of a "
            "cluster certificates of one authority (tls_ca, tls_certificate and tls_key), or all of them insecure=True"
        )
    if leader.digest == facts.digest:
        return None
    return (
        f"the program of this node is another one than that of node {leader.member.name!r} ({leader.member.address}), "
        f"which leads: its digest is {facts.digest}, there {leader.digest}. All nodes of a job run the same plan, "
        "functions and parallelism: start all with the same version (`streame explain` shows the plan); to change it, "
        "stop all nodes first"
    )
