"""Clients of etcd in a bad network, and members that are lost: work goes on, or ends with an error in time."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from itertools import pairwise

import pytest

from streame.cluster.etcd.client import EtcdClient
from streame.cluster.etcd.election import resign
from streame.cluster.etcd.interface import Compare, Event, Field, Put, Transaction, Watch
from streame.cluster.etcd.lease import LeaseKeeper
from streame.cluster.etcd.swap import NotSwapped, Swap, Swapped, carry_out
from streame.errors import EtcdUnavailable, LeaseLost, Unknown
from streame.testing.lines import Line
from streame.testing.tcp_proxy import TcpProxy
from tests.cluster.campaign import campaign
from tests.cluster.conftest import started
from tests.cluster.etcd_net import Loss, Net, net_to
from tests.cluster.netns import hosts, why_not
from tests.cluster.worlds import put
from tests.services.etcd import EtcdServers, until

NOTICED_S = 4.0

Connect = Callable[..., EtcdClient]


@pytest.fixture
def net(three_members: EtcdServers) -> Iterator[Net]:
    with net_to(three_members) as made:
        yield made


@pytest.fixture
def parted() -> Iterator[Net]:
    """Three members that can be parted from each other, though clients reach all of them."""
    if (reason := why_not(joined=True)) is not None:
        pytest.skip(reason)
    with hosts(3, joined=True) as made:
        servers = started(3, hosts=[(made.address(each), made.command(each)) for each in range(3)])
        try:
            with net_to(servers) as net:
                net.hosts = made
                yield net
        finally:
            servers.stop()


class Follower:
    """What a watch tells, in a thread of its own."""

    def __init__(self, watch: Watch) -> None:
        self.events: list[Event] = []
        self.heard_s: list[float] = []
        self._watch, self._over = watch, threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        while not self._over.is_set():
            with suppress(EtcdUnavailable):
                for event in self._watch.next(0.2):
                    self.events.append(event)
                    self.heard_s.append(time.monotonic())

    def close(self) -> None:
        self._over.set()
        self._thread.join()


def longest_gap_s(times: list[float]) -> float:
    return max(after - before for before, after in pairwise(times))


@pytest.mark.parametrize("how", ["killed", "stopped", "cut off"])
def test_work_goes_on_when_the_member_that_everybody_asks_is_lost(
    net: Net, prefix: str, connect: Connect, how: Loss
) -> None:
    work_goes_on(net, prefix, connect, how)


def test_work_goes_on_when_the_member_that_everybody_asks_is_parted_from_the_others(
    parted: Net, prefix: str, connect: Connect
) -> None:
    """It answers still, but it may not be believed."""
    work_goes_on(parted, prefix, connect, "parted")


def work_goes_on(net: Net, prefix: str, connect: Connect, how: Loss) -> None:
    """Lose the member that leads the others; a lease, guarded writes, a watch and an election all hung on it."""
    lost = net.servers.leader()
    mine, other, onlooker = (connect(*net.endpoints(lost)) for _ in range(3))
    key, leader_key = prefix + "n", prefix + "leader"
    with ExitStack() as opened, LeaseKeeper(mine, 5) as lease, LeaseKeeper(other, 5) as next_lease:
        pool = opened.enter_context(ThreadPoolExecutor(1))
        won = campaign(mine, leader_key, b"ann", lease.id, timeout_s=5)
        assert won is not None
        waiting = pool.submit(campaign, other, leader_key, b"bob", next_lease.id, timeout_s=20)
        follower = Follower(onlooker.watch(key, onlooker.get(key).revision + 1))
        opened.callback(follower.close)
        written_s, expected = [time.monotonic()], 0
        net.lose(lost, how)
        while time.monotonic() < written_s[0] + 2.5 or len(written_s) < 10:
            done = carry_out(
                mine, Swap(key, str(len(written_s)).encode(), expected, (won.guard,)), timeout_s=9
            )
            assert isinstance(done, Swapped)
            expected = done.entry.mod_revision
            written_s.append(time.monotonic())
        heard = until(lambda: len(follower.events) == len(written_s) - 1, NOTICED_S)
        assert heard, (len(follower.events), len(written_s) - 1)
        assert [int(each.entry.value) for each in follower.events if each.entry] == [
            *range(1, len(written_s))
        ]
        gap_s, heard_gap_s = longest_gap_s(written_s), longest_gap_s([written_s[0], *follower.heard_s])
        assert lease.is_held()
        assert next_lease.is_held()
        assert resign(mine, won, timeout_s=5)
        resigned_s = time.monotonic()
        next_won = waiting.result(20)
        took_s = time.monotonic() - resigned_s
        assert next_won is not None
        assert next_won.epoch > won.epoch
        stale = carry_out(mine, Swap(key, b"stale", expected, (won.guard,)), timeout_s=5)
        assert isinstance(stale, NotSwapped)
        print(
            f"{how}: writes stopped for {gap_s:.2f} s, the watch for {heard_gap_s:.2f} s; elected in {took_s:.2f} s"
        )
        assert max(gap_s, heard_gap_s, took_s) < NOTICED_S


def test_who_waits_is_elected_though_the_leader_and_that_of_etcd_die_together(
    net: Net, prefix: str, connect: Connect
) -> None:
    key = prefix + "leader"
    killed = net.servers.leader()
    alive = net.servers.endpoints[(killed + 1) % 3]
    command = [sys.executable, "-m", "tests.cluster.campaigner", alive, key, "ann"]
    winner = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE)
    try:
        assert winner.stdout is not None
        epoch = int(winner.stdout.readline())
        etcd = connect(*net.endpoints(killed))
        with LeaseKeeper(etcd, 5) as lease, ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(campaign, etcd, key, b"bob", lease.id, timeout_s=20)
            winner.kill()
            net.servers.kill(killed)
            killed_s = time.monotonic()
            won = waiting.result()
            took_s = time.monotonic() - killed_s
            assert won is not None
            assert won.epoch > epoch
            assert lease.is_held()
            print(f"elected after {took_s:.2f} s")
            assert took_s < 6
    finally:
        winner.kill()
        winner.communicate()


def ends_in_time(ask: Callable[[float], object], timeout_s: float) -> type[Exception]:
    """With which error a call ends, within its time."""
    began = time.monotonic()
    with pytest.raises((Unknown, EtcdUnavailable)) as caught:
        ask(timeout_s)
    assert time.monotonic() - began < timeout_s + 0.5
    return caught.type


def guarded(etcd: EtcdClient, key: str, value: bytes, revision: int, timeout_s: float) -> bool:
    """Replace a key if it is still of that revision."""
    unchanged = Compare(key, Field.MOD_REVISION, revision)
    return etcd.transact(Transaction((unchanged,), (Put(key, value),)), timeout_s=timeout_s).succeeded


def test_who_is_cut_off_from_all_members_gets_errors_in_time_and_gives_up_its_lease(
    net: Net, prefix: str, connect: Connect
) -> None:
    key = prefix + "a"
    etcd = connect(*net.endpoints(), timeout_s=1.0)
    revision = put(etcd, key, b"1").revision
    watch = etcd.watch(key, revision + 1)
    with LeaseKeeper(etcd, 3) as lease:
        net.everywhere(TcpProxy.cut)
        cut_s = time.monotonic()
        found = [
            ends_in_time(lambda timeout_s: guarded(etcd, key, b"2", revision, timeout_s), 0.5),
            ends_in_time(lambda timeout_s: etcd.get(key, timeout_s=timeout_s), 0.3),
            ends_in_time(lambda timeout_s: etcd.range(prefix, timeout_s=timeout_s), 0.3),
            ends_in_time(lambda timeout_s: etcd.grant(5, timeout_s=timeout_s), 0.3),
            ends_in_time(lambda timeout_s: etcd.keep_alive(lease.id, timeout_s=timeout_s), 0.3),
        ]
        assert found == [Unknown, *[EtcdUnavailable] * 4]
        assert lease.wait_until_lost(2.5)
        lost_s = time.monotonic() - cut_s
        assert lost_s < 2.5  # two thirds of its time, and what the machine needs
        with pytest.raises(LeaseLost, match="it was not renewed"):
            lease.check()
        assert until(lambda: is_unavailable(watch), NOTICED_S)
        net.everywhere(TcpProxy.heal)
        healed_s = time.monotonic()
        with LeaseKeeper(waited_for(etcd), 3) as again:
            back_s = time.monotonic() - healed_s
            won = campaign(etcd, prefix + "leader", b"ann", again.id, timeout_s=3)
            assert won is not None
            assert guarded(etcd, key, b"3", revision, 3)
        assert until(lambda: told(watch) == [b"3"], NOTICED_S)
        print(f"the lease was given up after {lost_s:.2f} s; back {back_s:.2f} s after the cut was healed")


def is_unavailable(watch: Watch) -> bool:
    try:
        watch.next(0.05)
    except EtcdUnavailable:
        return True
    return False


def told(watch: Watch) -> list[bytes]:
    with suppress(EtcdUnavailable):
        return [event.entry.value for event in watch.next(0.1) if event.entry is not None]
    return []


def waited_for(etcd: EtcdClient) -> EtcdClient:
    """The client, once it is answered again."""

    def answers() -> bool:
        with suppress(EtcdUnavailable):
            return bool(etcd.get("any", timeout_s=1).revision)
        return False

    assert until(answers, NOTICED_S)
    return etcd


def test_a_write_whose_answers_are_cut_off_is_unknown_and_found_out_later(
    net: Net, prefix: str, connect: Connect
) -> None:
    key = prefix + "a"
    etcd, elsewhere = connect(*net.endpoints()), connect(*net.servers.endpoints)
    revision = put(etcd, key, b"1").revision
    net.everywhere(lambda proxy: proxy.cut("back"))
    assert ends_in_time(lambda timeout_s: guarded(etcd, key, b"2", revision, timeout_s), 0.5) is Unknown
    entry = elsewhere.get(key).entry
    assert entry is not None
    assert entry.value == b"2"
    with ThreadPoolExecutor(1) as pool:
        swap = Swap(key, b"3", entry.mod_revision)
        swapping = pool.submit(carry_out, etcd, swap, timeout_s=5)
        net.everywhere(TcpProxy.heal)
        assert isinstance(swapping.result(), Swapped)
    entry = elsewhere.get(key).entry
    assert entry is not None
    assert (entry.value, entry.version) == (b"3", 3)


def test_a_slow_network_loses_no_lease(net: Net, prefix: str, connect: Connect) -> None:
    """Of the time that is left to renew it every member gets a third, but never so little that no answer can come."""
    etcd = connect(*net.endpoints())
    net.everywhere(lambda proxy: proxy.delay(0.2))
    with LeaseKeeper(etcd, 3) as lease:
        put(etcd, prefix + "node", b"me", lease.id)
        assert not lease.wait_until_lost(2.3)
        net.everywhere(TcpProxy.heal)
        assert etcd.get(prefix + "node").entry is not None


def test_a_network_that_loses_segments_loses_no_lease(net: Net, prefix: str, connect: Connect) -> None:
    etcd = connect(*net.endpoints())
    with LeaseKeeper(etcd, 4) as lease:
        net.everywhere(lambda proxy: proxy.set(Line(delay_s=0.02, jitter_s=0.05, loss=0.2)))
        put(etcd, prefix + "node", b"me", lease.id)
        assert not lease.wait_until_lost(2.8)
        net.everywhere(TcpProxy.heal)


@contextmanager
def stuck(proxy: TcpProxy, ask: Callable[[float], object]) -> Iterator[None]:
    """A request that hangs in the network when its client has given up, and is delivered behind the block."""
    proxy.stall("there")
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ends_in_time, ask, 0.5)
        assert until(lambda: proxy.held_bytes("there") > 100, 0.4)
        proxy.cut("there")  # the client's last word, that it has given up, does not arrive
        assert asking.result() is Unknown
    yield
    proxy.release("there")
    assert until(lambda: proxy.held_bytes("there") == 0, 1)


def test_a_write_that_arrives_after_its_client_gave_up_happens(
    net: Net, prefix: str, connect: Connect
) -> None:
    """That is why its fate is unknown, and the proof that the test below shows something."""
    key = prefix + "a"
    etcd, elsewhere = connect(net.endpoints()[0]), connect(*net.servers.endpoints)
    revision = put(etcd, key, b"1").revision
    with stuck(net.proxies[0], lambda timeout_s: guarded(etcd, key, b"late", revision, timeout_s)):
        assert elsewhere.get(key).revision == revision
    assert until(lambda: elsewhere.get(key).revision > revision, 2)
    entry = elsewhere.get(key).entry
    assert entry is not None
    assert entry.value == b"late"


def test_a_write_that_arrives_two_seconds_late_is_refused_if_another_came_first(
    net: Net, prefix: str, connect: Connect
) -> None:
    key = prefix + "a"
    etcd, elsewhere = connect(net.endpoints()[0]), connect(*net.servers.endpoints)
    revision = put(etcd, key, b"1").revision
    with stuck(net.proxies[0], lambda timeout_s: guarded(etcd, key, b"stale", revision, timeout_s)):
        swapped = carry_out(elsewhere, Swap(key, b"next", revision), timeout_s=1)
        assert isinstance(swapped, Swapped)
        threading.Event().wait(1.5)
    assert not until(lambda: elsewhere.get(key).revision > swapped.entry.mod_revision, 0.5)
    assert elsewhere.get(key).entry == swapped.entry
    net.everywhere(TcpProxy.heal)
    late = carry_out(waited_for(etcd), Swap(key, b"stale", revision), timeout_s=3)
    assert late == NotSwapped(swapped.entry)


def test_a_watch_whose_connections_are_reset_tells_each_change_once_and_in_order(
    net: Net, prefix: str, connect: Connect
) -> None:
    etcd, writer = connect(*net.endpoints()), connect(*net.servers.endpoints)
    begin = writer.get(prefix).revision + 1
    follower = Follower(etcd.watch(prefix, begin, is_prefix=True))
    try:
        for number in range(300):
            put(writer, f"{prefix}{number % 7}", str(number).encode())
            if number % 25 == 24:
                net.everywhere(lambda proxy: proxy.reset())
        assert until(lambda: len(follower.events) >= 300, NOTICED_S), len(follower.events)
    finally:
        follower.close()
    entries = [event.entry for event in follower.events if event.entry is not None]
    assert [int(entry.value) for entry in entries] == [*range(300)]
    last = {entry.key: entry for entry in entries}
    assert tuple(last[key] for key in sorted(last)) == writer.range(prefix).entries


def test_closing_a_watch_does_not_turn_the_client_away_from_its_member(
    net: Net, prefix: str, connect: Connect
) -> None:
    etcd = connect(*net.endpoints())
    etcd.watch(prefix, etcd.get(prefix).revision + 1, is_prefix=True).close()
    assert etcd.get(prefix).revision
    assert [proxy.connections for proxy in net.proxies] == [1, 0, 0]


def test_who_is_refused_and_reset_everywhere_is_told_and_comes_back(
    net: Net, prefix: str, connect: Connect
) -> None:
    etcd = connect(*net.endpoints())
    revision = put(etcd, prefix + "a", b"1").revision
    net.everywhere(lambda proxy: proxy.reset(new_too=True))
    assert ends_in_time(lambda timeout_s: etcd.get(prefix, timeout_s=timeout_s), 0.5) is EtcdUnavailable
    net.everywhere(TcpProxy.refuse)
    ends_in_time(lambda timeout_s: guarded(etcd, prefix + "a", b"2", revision, timeout_s), 0.5)
    net.everywhere(TcpProxy.heal)
    assert guarded(waited_for(etcd), prefix + "a", b"2", revision, 3)
