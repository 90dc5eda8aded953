"""Members that die, stand still, or are all gone: nothing is lost or done twice, and errors come in time."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from streame.cluster.etcd.client import EtcdClient
from streame.cluster.etcd.interface import Compare, Event, Field, Put, Transaction, Watch
from streame.cluster.etcd.lease import LeaseKeeper
from streame.cluster.etcd.swap import Swap, Swapped, carry_out
from streame.errors import EtcdUnavailable, LeaseLost, Unknown
from tests.cluster.campaign import campaign
from tests.cluster.worlds import put, taken
from tests.services.etcd import EtcdServers, until

NOTICED_S = 4.0

Connect = Callable[..., EtcdClient]


def counted(etcd: EtcdClient, key: str, numbers: range) -> None:
    """Write the numbers one after the other, each once, whatever happens to the members."""
    for number in numbers:
        entry = etcd.get(key, timeout_s=20).entry
        assert number == 0 or (entry is not None and entry.value == str(number - 1).encode())
        swap = Swap(key, str(number).encode(), entry.mod_revision if entry is not None else 0)
        assert isinstance(carry_out(etcd, swap, timeout_s=20), Swapped)


def values(events: list[Event]) -> list[int]:
    return [int(event.entry.value) for event in events if event.entry is not None]


def first_member(servers: EtcdServers, member: int) -> list[str]:
    """The endpoints, that of `member` in front: a client asks it as long as it answers."""
    ours = servers.endpoints[member]
    return [ours, *(endpoint for endpoint in servers.endpoints if endpoint != ours)]


def test_no_change_is_lost_or_doubled_when_members_are_killed(
    three_members: EtcdServers, prefix: str, connect: Connect
) -> None:
    key = prefix + "n"
    leader = three_members.leader()
    follower = (leader + 1) % 3
    of_follower = connect(*first_member(three_members, follower))
    of_leader = connect(*first_member(three_members, leader))
    begin = of_leader.get(key).revision + 1
    watches = [of_follower.watch(prefix, begin, is_prefix=True), of_leader.watch(key, begin)]
    counted(of_follower, key, range(50))
    assert [values(taken(watch, 50)) for watch in watches] == [[*range(50)]] * 2
    three_members.kill(follower)
    counted(of_follower, key, range(50, 100))
    three_members.start()
    three_members.kill(leader)
    counted(of_leader, key, range(100, 150))
    three_members.start()
    assert [values(taken(watch, 100)) for watch in watches] == [[*range(50, 150)]] * 2
    assert [watch.next(0) for watch in watches] == [(), ()]
    entry = of_leader.get(key).entry
    assert entry is not None
    assert entry.version == 150


@pytest.mark.parametrize("is_leader", [False, True])
def test_a_member_that_stands_still_is_noticed(
    three_members: EtcdServers, prefix: str, connect: Connect, is_leader: bool
) -> None:
    key = prefix + "a"
    stopped = three_members.leader() if is_leader else (three_members.leader() + 1) % 3
    reader, watcher = (connect(*first_member(three_members, stopped)) for _ in range(2))
    writer = connect(*first_member(three_members, (stopped + 1) % 3))
    watch = watcher.watch(key, put(reader, key, b"0").revision + 1)
    assert put(writer, key, b"1").revision
    assert values(taken(watch, 1)) == [1]
    three_members.pause(stopped)
    paused = time.monotonic()
    assert reader.get(key, timeout_s=NOTICED_S).entry is not None
    assert time.monotonic() - paused < NOTICED_S
    swapped = until(lambda: write_two(writer, key), NOTICED_S)
    assert swapped
    assert values(taken(watch, 1)) == [2]
    assert time.monotonic() - paused < NOTICED_S


def write_two(etcd: EtcdClient, key: str) -> bool:
    """Write the value 2 once; whether it is known to be there."""
    try:
        one = Compare(key, Field.VALUE, b"1")
        etcd.transact(Transaction((one,), (Put(key, b"2"),)), timeout_s=1)
        entry = etcd.get(key, timeout_s=1).entry
    except (Unknown, EtcdUnavailable):
        return False
    return entry is not None and entry.value == b"2"


def test_a_transaction_of_a_member_that_stands_still_is_unknown(
    one_member: EtcdServers, prefix: str, connect: Connect
) -> None:
    etcd = connect(*one_member.endpoints)
    put(etcd, prefix + "a", b"1")
    one_member.pause(0)
    try:
        with pytest.raises(Unknown, match=r"it may have happened: read before trying it again"):
            etcd.transact(
                Transaction((Compare(prefix + "a", Field.VERSION, 1),), (Put(prefix + "a", b"2"),)),
                timeout_s=0.2,
            )
    finally:
        one_member.resume(0)
    assert until(lambda: etcd.get(prefix + "a").entry is not None, 5)


def raised(watch: Watch) -> EtcdUnavailable | None:
    try:
        watch.next(0.05)
    except EtcdUnavailable as error:
        return error
    return None


def test_when_all_members_are_gone_errors_come_in_time_and_the_watch_goes_on_later(
    three_members: EtcdServers, prefix: str, connect: Connect
) -> None:
    key = prefix + "a"
    etcd = connect(*three_members.endpoints, timeout_s=0.5)
    watch = etcd.watch(key, put(etcd, key, b"0").revision + 1)
    for member in range(3):
        three_members.kill(member)
    began = time.monotonic()
    asked: tuple[Callable[[], object], ...] = (
        lambda: etcd.get(key),
        lambda: etcd.range(prefix),
        lambda: etcd.grant(1),
        lambda: etcd.keep_alive(1),
        lambda: etcd.transact(
            Transaction((Compare(key, Field.VERSION, 1),), (Put(key, b""),)), timeout_s=0.3
        ),
    )
    for ask in asked:
        with pytest.raises(EtcdUnavailable, match=r"no endpoint answered in 0\.\d s: 127\.0\.0\.1:\d+: "):
            ask()
    assert time.monotonic() - began < 6  # 2.3 s on a machine with nothing else to do
    assert until(lambda: raised(watch) is not None, 5)
    three_members.start()
    assert until(lambda: etcd.get(key, timeout_s=5).entry is not None, 10)
    counted_up = carry_out(etcd, Swap(key, b"1", 0), timeout_s=5)
    assert not isinstance(counted_up, Swapped)
    put(etcd, key, b"1")
    events: list[Event] = []

    def told() -> bool:
        with suppress(EtcdUnavailable):  # the watch may not be back yet
            events.extend(watch.next(0.1))
        return bool(events)

    assert until(told, 10, every=0)
    assert values(events) == [1]


def test_a_lease_is_given_up_before_it_ends_when_nobody_answers(
    three_members: EtcdServers, connect: Connect
) -> None:
    etcd = connect(*three_members.endpoints)
    with LeaseKeeper(etcd, 2) as lease:
        assert not lease.wait_until_lost(1.0)
        for member in range(3):
            three_members.pause(member)
        assert lease.wait_until_lost(2.0)
        with pytest.raises(LeaseLost, match=r"lease [0-9a-f]+ is lost: it was not renewed"):
            lease.check()
        for member in range(3):
            three_members.resume(member)


def test_a_lease_is_kept_while_a_member_dies(
    three_members: EtcdServers, prefix: str, connect: Connect
) -> None:
    leader = three_members.leader()
    etcd = connect(*first_member(three_members, (leader + 1) % 3))
    with LeaseKeeper(etcd, 2) as lease:
        put(etcd, prefix + "node", b"me", lease.id)
        three_members.kill((leader + 1) % 3)
        assert not lease.wait_until_lost(2.5)
        assert etcd.get(prefix + "node").entry is not None
    assert etcd.get(prefix + "node").entry is None


def test_the_loser_leads_when_the_winner_is_killed(
    one_member: EtcdServers, prefix: str, connect: Connect
) -> None:
    key = prefix + "leader"
    command = [sys.executable, "-m", "tests.cluster.campaigner", *one_member.endpoints, key, "ann"]
    winner = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE)
    try:
        assert winner.stdout is not None
        epoch = int(winner.stdout.readline())
        etcd = connect(*one_member.endpoints)
        with LeaseKeeper(etcd, 60) as lease:
            assert campaign(etcd, key, b"bob", lease.id, timeout_s=0.1) is None
            os.kill(winner.pid, signal.SIGKILL)
            killed = time.monotonic()
            won = campaign(etcd, key, b"bob", lease.id, timeout_s=10)
            assert won is not None
            assert won.epoch > epoch
            assert time.monotonic() - killed < 4
    finally:
        winner.kill()
        winner.communicate()


def test_a_client_that_is_closed_leaves_nothing_behind(
    one_member: EtcdServers, prefix: str, connect: Connect
) -> None:
    etcd = connect(*one_member.endpoints)
    watch = etcd.watch(prefix, etcd.get(prefix).revision + 1, is_prefix=True)
    assert watch.next(0.1) == ()
    assert threads_of(prefix)
    etcd.close()
    assert not threads_of(prefix)
    assert watch.next(10) == ()
    with pytest.raises(EtcdUnavailable, match="the client is closed"):
        etcd.get(prefix)


def threads_of(prefix: str) -> list[str]:
    return [thread.name for thread in threading.enumerate() if prefix in thread.name]
