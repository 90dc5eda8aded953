"""What is decided about failed calls, leases, watches and lost answers, without a server."""

from contextlib import suppress
from itertools import islice, product
from typing import Any

import pytest
from grpc import StatusCode

from streame.cluster.etcd import rpc_pb2 as rpc
from streame.cluster.etcd import wire
from streame.cluster.etcd.calls import ATTEMPT_S_MAX, ATTEMPT_S_MIN, attempt_time_s, attempts
from streame.cluster.etcd.failures import Elsewhere, NewToken, Refused, judge
from streame.cluster.etcd.interface import Compare, Delete, Field, Put, Transaction
from streame.cluster.etcd.lease import (
    SECOND_NS,
    TICK_NS_MAX,
    LeaseKeeper,
    LeaseTimes,
    Renew,
    Rest,
    StepDown,
    decide,
)
from streame.cluster.etcd.swap import NotSwapped, Swap, Swapped, carry_out
from streame.cluster.etcd.watch_progress import (
    ANSWER_S,
    PROBE_S,
    Broken,
    Changed,
    Denied,
    Ended,
    Heard,
    Pulse,
    WatchProgress,
)
from streame.errors import (
    AccessDenied,
    Compacted,
    EtcdUnavailable,
    LeaseLost,
    NoSpace,
    RequestTooLarge,
    Unknown,
)
from streame.testing.memory_etcd import Fault, MemoryEtcd
from tests.cluster.campaign import campaign
from tests.cluster.worlds import put


@pytest.mark.parametrize(
    ("code", "details", "may_have_happened"),
    [
        (StatusCode.UNAVAILABLE, "failed to connect to all addresses; last error: refused", False),
        (StatusCode.UNAVAILABLE, "etcdserver: no leader", False),
        (StatusCode.RESOURCE_EXHAUSTED, "etcdserver: too many requests", False),
        (StatusCode.UNAVAILABLE, "Socket closed", True),
        (StatusCode.UNAVAILABLE, "etcdserver: request timed out", True),
        (StatusCode.UNAVAILABLE, "etcdserver: leader changed", True),
        (StatusCode.UNAVAILABLE, "something that nobody knows", True),
        (StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", True),
        (StatusCode.CANCELLED, "Channel closed!", True),
        (StatusCode.UNKNOWN, "context canceled", True),
        (StatusCode.INTERNAL, "Received RST_STREAM with error code 2", True),
    ],
)
def test_a_failed_call_that_another_endpoint_may_answer(
    code: StatusCode, details: str, may_have_happened: bool
) -> None:
    verdict = judge(code, details)
    assert isinstance(verdict, Elsewhere)
    assert verdict.may_have_happened is may_have_happened


@pytest.mark.parametrize(
    ("code", "details", "error"),
    [
        (StatusCode.INVALID_ARGUMENT, "etcdserver: request is too large", RequestTooLarge),
        (StatusCode.RESOURCE_EXHAUSTED, "grpc: received message larger than max (3 vs. 2)", RequestTooLarge),
        (StatusCode.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded", NoSpace),
        (StatusCode.NOT_FOUND, "etcdserver: requested lease not found", LeaseLost),
        (StatusCode.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted", Compacted),
        (StatusCode.PERMISSION_DENIED, "etcdserver: permission denied", AccessDenied),
        (StatusCode.PERMISSION_DENIED, "something else", AccessDenied),
        (StatusCode.INVALID_ARGUMENT, "etcdserver: user name is empty", AccessDenied),
    ],
)
def test_a_failed_call_that_is_refused(code: StatusCode, details: str, error: type[Exception]) -> None:
    verdict = judge(code, details)
    assert isinstance(verdict, Refused)
    assert type(verdict.error) is error


def test_a_failed_call_that_wants_a_new_token() -> None:
    assert judge(StatusCode.UNAUTHENTICATED, "etcdserver: invalid auth token") == NewToken(
        "etcdserver: invalid auth token"
    )
    assert isinstance(
        judge(StatusCode.INVALID_ARGUMENT, "etcdserver: revision of auth store is old"), NewToken
    )


def test_every_endpoint_gets_its_share_of_the_time_before_one_is_asked_again() -> None:
    assert list(islice(attempts(3), 5)) == [
        (0.0, 1 / 3),
        (0.0, 1 / 2),
        (0.0, 1.0),
        (0.02, 1 / 3),
        (0.0, 1 / 2),
    ]
    assert list(islice(attempts(1), 3)) == [(0.0, 1.0), (0.02, 1.0), (0.05, 1.0)]


def test_an_attempt_is_long_enough_for_a_slow_network_if_there_is_time() -> None:
    assert attempt_time_s(3.0, 1 / 3) == 1.0
    assert attempt_time_s(1.0, 1 / 3) == ATTEMPT_S_MIN
    assert attempt_time_s(0.4, 1 / 3) == 0.4
    assert attempt_time_s(9.0, 1.0) == ATTEMPT_S_MAX


@pytest.mark.parametrize(
    ("prefix", "end"), [(b"a", b"b"), (b"a/", b"a0"), (b"a\xff", b"b"), (b"\xff\xff", b"\0"), (b"", b"\0")]
)
def test_the_end_of_a_prefix(prefix: bytes, end: bytes) -> None:
    assert wire.end_of(prefix) == end


def test_keys_of_others_that_are_no_text() -> None:
    assert wire.to_bytes(wire.from_bytes(b"a\xff\xfe")) == b"a\xff\xfe"


TTL_S = 6


def lease_at(
    now_s: float, *, renewed: float = 0, tried: float = 0, ticked: float = 0
) -> Renew | Rest | StepDown:
    times = [round(each * SECOND_NS) for each in (TTL_S, renewed, tried, ticked)]
    return decide(LeaseTimes(*times), round(now_s * SECOND_NS))


def test_a_lease_is_renewed_four_times_in_its_life() -> None:
    assert lease_at(0) == Rest(round(1.5 * SECOND_NS))
    assert lease_at(1.4) == Rest(round(0.1 * SECOND_NS))
    assert lease_at(1.5) == Renew(round(2.5 * SECOND_NS))
    assert lease_at(2.0, tried=1.9) == Rest(round(0.2 * SECOND_NS))  # it has just failed
    assert lease_at(2.2, tried=1.9) == Renew(round(1.8 * SECOND_NS))


def test_a_lease_is_given_up_when_two_thirds_of_it_are_over() -> None:
    assert isinstance(lease_at(3.999, tried=3.0), Renew)
    assert lease_at(4) == StepDown("it was not renewed, and two thirds of its 6 s are over")


def test_a_lease_of_an_owner_that_hangs_is_not_renewed() -> None:
    limit = TICK_NS_MAX / SECOND_NS
    assert isinstance(lease_at(limit - 0.1, renewed=limit - 2), Renew)
    assert lease_at(limit, renewed=limit - 2) == Rest(round(0.75 * SECOND_NS))
    assert lease_at(limit + 2, renewed=limit - 2) == StepDown(
        "its owner has not ticked for 10 s, and two thirds of its 6 s are over"
    )
    assert isinstance(lease_at(limit, renewed=limit - 2, ticked=1), Renew)


class Stopwatch:
    """A clock in nanoseconds that a test moves."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


def test_a_lease_that_was_not_held_once_is_never_held_again() -> None:
    clock, etcd = Stopwatch(), MemoryEtcd()
    with LeaseKeeper(etcd, 600, clock) as lease:
        assert lease.is_held()
        clock.now_ns = 399 * SECOND_NS
        assert lease.is_held()
        clock.now_ns = 400 * SECOND_NS  # the machine slept; no thread has noticed yet
        assert not lease.is_held()
        clock.now_ns = 0
        assert not lease.is_held()
        with pytest.raises(LeaseLost, match="take a new one"):
            lease.check()
    assert etcd.time_to_live(lease.id) is None


def test_a_lease_that_etcd_has_ended_is_lost() -> None:
    etcd = MemoryEtcd()
    with LeaseKeeper(etcd, 1) as lease:
        etcd.revoke(lease.id)
        assert lease.wait_until_lost(5)


def response(*revisions: int, **settings: Any) -> rpc.WatchResponse:
    events = [rpc.Event(kv=rpc.KeyValue(key=b"a", mod_revision=each)) for each in revisions]
    return rpc.WatchResponse(events=events, **settings)


def revisions(step: object) -> list[int]:
    assert isinstance(step, Changed)
    return [event.mod_revision for event in step.events]


def test_a_watch_goes_on_behind_what_it_has_seen() -> None:
    progress = WatchProgress(5)
    assert progress.take(response(created=True)) == Heard()
    assert progress.next_revision == 5
    assert revisions(progress.take(response(5, 5, 7))) == [5, 5, 7]
    assert progress.next_revision == 8
    assert revisions(progress.take(response(5, 7, 9))) == [9]
    assert progress.take(response(9)) == Heard()
    assert progress.take(response()) == Heard()  # an answer to a probe
    assert progress.next_revision == 10


def test_pieces_of_an_answer_are_put_together_first() -> None:
    progress = WatchProgress(1)
    assert progress.take(response(1, 2, fragment=True)) == Heard()
    assert progress.next_revision == 1
    progress.reconnected()
    assert progress.take(response(1, 2, fragment=True)) == Heard()
    assert revisions(progress.take(response(2, 3))) == [1, 2, 2, 3]


def test_a_watch_that_was_cancelled() -> None:
    progress = WatchProgress(3)
    ended = progress.take(response(canceled=True, compact_revision=9))
    assert isinstance(ended, Ended)
    assert isinstance(ended.error, Compacted)
    assert isinstance(progress.take(response(canceled=True, cancel_reason="etcdserver: no leader")), Broken)
    assert isinstance(
        progress.take(response(canceled=True, cancel_reason="etcdserver: permission denied")), Denied
    )


def test_a_peer_is_silent_when_it_leaves_a_probe_unanswered() -> None:
    assert not Pulse(asked_s=10, heard_s=9).is_silent(10 + ANSWER_S - 0.01)
    assert Pulse(asked_s=10, heard_s=9).is_silent(10 + ANSWER_S)
    assert not Pulse(asked_s=10, heard_s=10.1).is_silent(100)
    assert not Pulse(asked_s=10, heard_s=9, is_busy=True).is_silent(100)
    assert PROBE_S + ANSWER_S < 4


@pytest.mark.parametrize("faults", [each for count in range(4) for each in product(Fault, repeat=count)])
def test_a_swap_happens_once_whichever_answers_are_lost(faults: tuple[Fault, ...]) -> None:
    etcd = MemoryEtcd()
    etcd.lose_answers(*faults)
    done = carry_out(etcd, Swap("ptr", b"mine", 0), timeout_s=30)
    etcd.land()
    entry = etcd.get("ptr").entry
    assert entry is not None
    assert done == Swapped(entry)
    assert entry.version == 1


@pytest.mark.parametrize("fault", Fault)
def test_a_swap_whose_key_another_has_written_meanwhile(fault: Fault) -> None:
    etcd = MemoryEtcd()
    first = put(etcd, "ptr", b"first").revision
    swap = Swap("ptr", b"mine", first)
    etcd.lose_answers(fault)
    with pytest.raises(Unknown):
        etcd.transact(swap.transaction())
    put(etcd, "ptr", b"theirs")
    etcd.land()
    entry = etcd.get("ptr").entry
    assert entry is not None
    assert entry.value == b"theirs"
    assert carry_out(etcd, swap, timeout_s=30) == NotSwapped(entry)


def test_a_swap_that_cannot_be_found_out_is_unknown() -> None:
    etcd = MemoryEtcd()
    etcd.lose_answers(Fault.AFTER, *[Fault.BEFORE] * 100_000)
    with pytest.raises(Unknown):
        carry_out(etcd, Swap("ptr", b"mine", 0), timeout_s=0.05)


def test_a_full_etcd_does_not_hide_that_a_swap_may_have_happened() -> None:
    etcd = MemoryEtcd()
    etcd.is_full = True
    with pytest.raises(NoSpace):
        carry_out(etcd, Swap("ptr", b"mine", 0), timeout_s=5)
    etcd.lose_answers(Fault.LATER)
    with pytest.raises(Unknown):
        carry_out(etcd, Swap("ptr", b"mine", 0), timeout_s=5)


@pytest.mark.parametrize("faults", list(product([None, *Fault], repeat=3)))
def test_an_election_whose_answers_are_lost_has_one_winner(
    faults: tuple[Fault | None, ...],
) -> None:
    etcd = MemoryEtcd()
    lease = etcd.grant(60).id
    etcd.lose_answers(*faults)
    won = None
    while won is None:
        with suppress(EtcdUnavailable, Unknown):
            won = campaign(etcd, "leader", b"ann", lease, timeout_s=0)
    etcd.lose_answers()
    etcd.land()
    assert etcd.transact(Transaction((won.guard,), (Delete("leader"),))).succeeded


def test_a_transaction_that_lands_late_meets_its_guard() -> None:
    etcd = MemoryEtcd()
    epoch = put(etcd, "leader", b"ann").revision
    etcd.lose_answers(Fault.LATER)
    with pytest.raises(Unknown):
        etcd.transact(
            Transaction((Compare("leader", Field.CREATE_REVISION, epoch),), (Put("ptr", b"stale"),))
        )
    etcd.transact(Transaction((Compare("leader", Field.CREATE_REVISION, epoch),), (Delete("leader"),)))
    put(etcd, "leader", b"bob")
    etcd.land()
    assert etcd.get("ptr").entry is None


def test_unguarded_writes_cannot_be_said() -> None:
    with pytest.raises(AssertionError, match="compares something"):
        Transaction((), (Put("a", b""),))
