"""What a node decides, as leader and as follower, for every situation that a protocol step stands for."""

from dataclasses import replace
from typing import Any

import pytest

from streame.cluster.actions import (
    AbandonPart,
    Action,
    Campaign,
    End,
    Facts,
    Leave,
    Part,
    PartState,
    Propose,
    Record,
    Refuse,
    Register,
    Resign,
    RunPart,
    SayLeaving,
    StopPart,
    Wait,
)
from streame.cluster.follower import follow
from streame.cluster.frames import Attempt
from streame.cluster.leader import BACKOFF_MAX_S, SETTLE_S, backoff_s, lead
from streame.cluster.part import may_pass
from streame.cluster.suspects import Suspect
from streame.cluster.view import AttemptEntry, LeaderEntry, Member, NodeEntry, Outcome, Pointer, View
from streame.errors import StopOverdue

EPOCH = 7
A, B, C = (Member(f"{name}-1", name, f"{name}:1") for name in "abc")
POINTER = Pointer(4, Attempt(6, 2), "c/4/6.2/MANIFEST", "", 10)


def entry(number: int, *members: Member, epoch: int = EPOCH) -> AttemptEntry:
    return AttemptEntry(Attempt(epoch, number), members, tuple(1 % len(members) for _ in range(4)), POINTER)


def view(*members: Member, attempt: AttemptEntry | None = None, **more: Any) -> View:
    nodes = tuple(NodeEntry(member, "d") for member in members)
    return View(LeaderEntry(A, "d"), EPOCH, nodes, attempt, POINTER, **more)


def facts(me: Member, there: View, **more: Any) -> Facts:
    return Facts(me.id, "d", 100.0, there, **{"followed": frozenset({EPOCH}), **more})


def part(attempt: AttemptEntry, state: PartState = "running", **more: Any) -> Part:
    return Part(attempt, state, **more)


def leads(there: View, **more: Any) -> Action:
    return lead(facts(A, there, leads=EPOCH, **more), 4)


def follows(me: Member, seen: View, **more: Any) -> Action:
    return follow(facts(me, seen, **more))


ONE, TWO = entry(1, A, B), entry(2, A, B, C)


def test_a_new_leader_proposes_an_attempt_of_all_who_are_there() -> None:
    action = leads(view(A, B, C))
    assert isinstance(action, Propose)
    assert action.entry.attempt == Attempt(EPOCH, 1)
    assert (action.entry.members[0], set(action.entry.members)) == (A, {A, B, C})
    assert action.entry.start == POINTER
    assert set(action.entry.slots) == {1, 2}, "a leader that is not alone has no keys"


def test_a_leader_that_is_alone_does_all_of_it() -> None:
    action = leads(view(A))
    assert isinstance(action, Propose)
    assert (action.entry.members, action.entry.slots) == ((A,), (0, 0, 0, 0))


def test_of_two_nodes_of_one_name_the_newer_one_takes_part() -> None:
    again = replace_id(B, "b-2")
    action = leads(view(A, B, again))
    assert isinstance(action, Propose)
    assert action.entry.members == (A, again)


def test_a_second_node_with_the_name_of_the_leader_made_each_attempt_fail() -> None:
    again = replace_id(A, "a-2")
    action = leads(view(A, B, again))
    assert isinstance(action, Propose)
    assert action.entry.members == (A, B)
    late = {again.id: 0.0}
    assert leads(view(A, B, again, attempt=ONE), part=part(ONE), seen=late) == Wait()


def replace_id(member: Member, node_id: str) -> Member:
    return Member(node_id, member.name, member.address)


@pytest.mark.parametrize("why", ["suspect", "leaving", "drained", "other program", "other TLS"])
def test_who_cannot_take_part_is_left_out(why: str) -> None:
    seen, more = view(A, B, C), {}
    nodes = dict(zip("abc", seen.nodes, strict=True))
    match why:
        case "suspect":
            more = {"suspects": {C.id: Suspect(100.5, 3.0)}}
        case "leaving":
            nodes["c"] = NodeEntry(C, "d", leaving=True)
        case "drained":
            seen = replace(seen, drained=frozenset({C.id}))
        case "other TLS":
            nodes["c"] = NodeEntry(C, "d", authorities=("stranger",))
        case _:
            nodes["c"] = NodeEntry(C, "other")
    action = leads(replace(seen, nodes=tuple(nodes.values())), **more)
    assert isinstance(action, Propose)
    assert action.entry.members == (A, B)


def test_what_was_said_of_an_earlier_start_of_a_node_does_not_count() -> None:
    action = leads(replace(view(A, B, C), drained=frozenset({"c-0"})))
    assert isinstance(action, Propose)
    assert action.entry.members == (A, B, C)


def test_what_was_proposed_is_run() -> None:
    assert leads(view(A, B, attempt=ONE)) == RunPart(ONE)
    assert leads(view(A, B, C, attempt=TWO), part=part(ONE, "lost")) == RunPart(TWO)


def test_an_attempt_that_begins_before_the_last_checkpoint_is_not_run() -> None:
    late = Pointer(5, Attempt(EPOCH, 1), "c/5/7.1/MANIFEST", "", 10)
    decided_late = replace(view(A, B, attempt=TWO), pointer=late)
    for found in (None, part(ONE, "lost")):
        action = leads(decided_late, part=found)
        assert isinstance(action, Propose)
        assert (action.entry.attempt, action.entry.start) == (Attempt(EPOCH, 3), late)


def test_attempts_of_each_leader_are_counted_from_one() -> None:
    action = leads(view(A, B, attempt=entry(3, B, A, epoch=6)))
    assert isinstance(action, Propose)
    assert action.entry.attempt == Attempt(EPOCH, 1)


def test_a_lost_attempt_is_followed_by_another_after_a_while() -> None:
    lost = part(ONE, "lost", lost="b")
    assert leads(view(A, B, attempt=ONE), part=lost, not_before=100.1) == Wait(100.1)
    action = leads(view(A, B, attempt=ONE), part=lost, suspects={B.id: Suspect(105.0, 3.0)})
    assert isinstance(action, Propose)
    assert (action.entry.attempt, action.entry.members) == (Attempt(EPOCH, 2), (A,))


def test_new_nodes_are_taken_in_together_once_they_have_settled() -> None:
    seen, running = view(A, B, C, attempt=ONE), part(ONE)
    assert leads(seen, part=running, seen={C.id: 99.9}) == Wait(99.9 + SETTLE_S)
    assert isinstance(leads(seen, part=running, seen={C.id: 99.0}), StopPart)
    assert leads(seen, part=running, seen={C.id: 99.0}, suspects={C.id: Suspect(101.0, 3.0)}) == Wait(101.0)
    assert isinstance(
        leads(seen, part=running, seen={C.id: 99.0}, suspects={C.id: Suspect(100.0, 3.0)}), StopPart
    )
    stopped = leads(seen, part=part(ONE, "stopped"))
    assert isinstance(stopped, Propose)
    assert set(stopped.entry.members) == {A, B, C}


@pytest.mark.parametrize(
    "seen",
    [
        view(A, attempt=ONE),
        view(A, B, attempt=ONE, drained=frozenset({B.id})),
        replace(view(A, B, attempt=ONE), nodes=(NodeEntry(A, "d"), NodeEntry(B, "d", leaving=True))),
    ],
    ids=["gone", "drained", "leaving"],
)
def test_a_node_that_goes_hands_over_at_a_checkpoint(seen: View) -> None:
    assert isinstance(leads(seen, part=part(ONE)), StopPart)


def test_a_leader_that_is_to_end_says_so_stops_resigns_and_leaves() -> None:
    seen = view(A, B, attempt=ONE)
    for state in ("running", "lost"):
        assert leads(seen, part=part(ONE, state), is_leaving=True) == SayLeaving()
    seen = replace(seen, nodes=(NodeEntry(A, "d", leaving=True), NodeEntry(B, "d")))
    assert isinstance(leads(seen, part=part(ONE), is_leaving=True), StopPart)
    assert leads(seen, part=part(ONE, "stopping"), is_leaving=True) == Wait()
    assert leads(seen, part=part(ONE, "stopped"), is_leaving=True) == Resign()
    assert (
        follows(A, replace(seen, leader=None, epoch=0), part=part(ONE, "stopped"), is_leaving=True) == Leave()
    )


def test_the_end_is_written_down_for_all() -> None:
    seen = view(A, B, attempt=ONE)
    assert leads(seen, part=part(ONE, "finished")) == Record(Outcome(EPOCH, "finished"))
    assert leads(seen, part=part(ONE, "failed", error="x")) == Record(Outcome(EPOCH, "failed", "x"))
    done = Outcome(EPOCH, "finished")
    assert leads(replace(seen, outcome=done), part=part(ONE, "finished")) == End(done)
    assert follows(B, replace(seen, outcome=done), part=part(ONE, "lost")) == End(done)


def test_the_end_of_an_earlier_leader_is_none_for_this_one() -> None:
    seen = view(A, B, outcome=Outcome(EPOCH - 1, "finished"))
    assert isinstance(leads(seen), Propose)
    assert follows(B, seen) == Wait()


def test_what_runs_of_another_epoch_is_ended_first() -> None:
    assert isinstance(leads(view(A, B), part=part(entry(3, B, A, epoch=6))), AbandonPart)


def test_a_follower_without_a_lease_takes_one() -> None:
    assert follows(B, view(A)) == Register()
    assert follows(B, view(A, B), is_held=False) == Register()


def test_a_follower_campaigns_when_nobody_leads() -> None:
    assert follows(B, replace(view(A, B), leader=None, epoch=0)) == Campaign()
    assert follows(A, view(A, B)) == Campaign(), "it was elected without hearing of it"


def test_a_follower_runs_what_counts_on_it_and_nothing_else() -> None:
    seen = view(A, B, C, attempt=TWO)
    assert follows(B, seen) == RunPart(TWO)
    assert follows(B, seen, part=part(ONE)) == RunPart(TWO)
    assert follows(B, seen, part=part(TWO)) == Wait()
    assert follows(B, seen, part=part(TWO, "lost")) == Wait(), "the leader says what comes next"
    assert isinstance(follows(C, view(A, B, C, attempt=entry(3, A, B)), part=part(TWO)), AbandonPart)
    assert isinstance(follows(B, view(A, B, attempt=entry(2, C, B, epoch=6)), part=part(ONE)), AbandonPart)


def test_a_follower_that_is_to_end_says_so_and_waits_for_the_hand_over() -> None:
    seen, running = view(A, B, attempt=ONE), part(ONE)
    assert follows(B, seen, part=running, is_leaving=True) == SayLeaving()
    said = replace(seen, nodes=(NodeEntry(A, "d"), NodeEntry(B, "d", leaving=True)))
    assert follows(B, said, part=running, is_leaving=True) == Wait()
    assert follows(B, said, part=part(ONE, "lost"), is_leaving=True) == Wait()
    without = replace(said, attempt=entry(2, A))
    assert follows(B, without, part=part(ONE, "lost"), is_leaving=True) == Leave()
    assert follows(B, replace(said, leader=None, epoch=0), is_leaving=True) == Leave()


def test_another_program_is_refused() -> None:
    action = follow(Facts(B.id, "other", 100.0, view(A, B)))
    assert isinstance(action, Refuse)
    assert "its digest is other, there d" in action.why


@pytest.mark.parametrize(
    ("own", "of_leader", "told"),
    [
        ((), ("one",), "this node uses no TLS, and that one trusts one"),
        (("one",), (), "this node trusts one, and that one uses no TLS"),
        (("one", "two"), ("three",), "this node trusts one, two, and that one trusts three"),
    ],
)
def test_a_leader_with_no_authority_in_common_is_refused(
    own: tuple[str, ...], of_leader: tuple[str, ...], told: str
) -> None:
    seen = replace(view(A, B, attempt=ONE), leader=LeaderEntry(A, "d", of_leader))
    action = follows(B, seen, part=part(ONE), authorities=own)
    assert isinstance(action, Refuse)
    assert told in action.why
    assert "node 'a' (a:1), which leads" in action.why
    assert "certificates of one authority" in action.why


def test_nodes_with_one_authority_in_common_work_together() -> None:
    seen = replace(view(A, B, attempt=ONE), leader=LeaderEntry(A, "d", ("old",)))
    assert follows(B, seen, part=part(ONE), authorities=("new", "old")) == Wait()
    seen = replace(
        seen, nodes=(NodeEntry(A, "d", authorities=("old",)), NodeEntry(B, "d", authorities=("new", "old")))
    )
    action = leads(replace(seen, attempt=None), authorities=("old",))
    assert isinstance(action, Propose)
    assert action.entry.members == (A, B)


def test_pauses_grow_only_while_nothing_is_decided() -> None:
    assert backoff_s(1, 1.0) == 0.0
    assert [backoff_s(failures, 1.0) for failures in (2, 3, 4)] == [0.1, 0.2, 0.4]
    assert backoff_s(50, 1.0) == BACKOFF_MAX_S


def test_a_stop_that_takes_too_long_is_another_attempt_and_no_end() -> None:
    assert may_pass(StopOverdue("60 s"), is_stopping=True)
    assert not may_pass(StopOverdue("60 s"), is_stopping=False)
