"""Streams between nodes over a bad network: all rows in order, or an error at both ends in time."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from streame.cluster.flow import CREDIT_BYTES
from streame.cluster.security import Tls
from streame.cluster.session import Session
from streame.cluster.transport import connect
from streame.core.messages import END_OF_STREAM, Batch, EndOfStream
from streame.errors import ClusterError, PeerLost
from streame.testing.lines import Line
from streame.testing.tcp_proxy import Direction, TcpProxy
from tests.cluster.node import COLUMNS, ME, RECEIVER, rows
from tests.cluster.servers import Signer
from tests.cluster.test_transport import ATTEMPT, WAIT_S, Receiver, eventually, receiver, sender, told

FOR_EVER = 1_000_000
HEIGHT = 100
FRAMES = 500


@cache
def frames(height: int) -> list[pl.DataFrame]:
    """What is sent, over and over."""
    return list(rows(0, FRAMES * height, 20).iter_slices(height))


class Sender:
    """A second node in this process, whose thread sends numbered rows until it has sent all or gets an error."""

    def __init__(self, address: str, batches: int, height: int = HEIGHT, tls: Tls | None = None) -> None:
        self.error: ClusterError | None = None
        self.ended_s = 0.0
        self._frames = frames(height)
        self._batches = batches
        self._session = Session(ATTEMPT, ["receiver"], {}, lambda error: None)
        self._channel = connect(address, ME, RECEIVER, self._session, tls, WAIT_S).sender("numbers", COLUMNS)
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def _send(self) -> None:
        try:
            for number in range(self._batches):
                self._channel.put(0, Batch(self._frames[number % len(self._frames)]))
            self._channel.put(0, END_OF_STREAM)
            self._session.finish(WAIT_S)
        except ClusterError as error:
            self.error = error
        self.ended_s = time.monotonic()

    def join(self) -> None:
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()


@contextmanager
def net(tls: Tls | None = None, seed: int = 0) -> Iterator[tuple[Receiver, TcpProxy]]:
    """A node, and the way to it."""
    with receiver(tls=tls) as node, TcpProxy("127.0.0.1", node.server.port, seed=seed) as proxy:
        yield node, proxy


def take_all(node: Receiver, height: int = HEIGHT) -> int:
    """Take everything to the end, and compare it with what was sent; how many batches it was."""
    expected, number = frames(height), 0
    while not isinstance(message := node.take()[1], EndOfStream):
        if isinstance(message, Batch):
            assert message.frame.equals(expected[number % FRAMES]), number
            number += 1
    return number


def rows_per_s(line: Line, batches: int, height: int) -> float:
    """How fast rows come over a line, all of them, from the first on."""
    with net() as (node, proxy):
        proxy.set(line)
        there = Sender(proxy.address, batches, height)
        began = time.perf_counter()
        assert take_all(node, height) == batches
        took_s = time.perf_counter() - began
        node.session.finish(WAIT_S)
        there.join()
        assert there.error is None
        return batches * height / took_s


@pytest.mark.parametrize(("batches", "height"), [(2000, 20), (1000, 1000)])
def test_all_rows_come_over_a_delay_of_fifty_milliseconds(batches: int, height: int) -> None:
    near = rows_per_s(Line(), batches, height)
    far = rows_per_s(Line(delay_s=0.05), batches, height)
    print(
        f"{batches} batches of {height}: {near:,.0f} rows/s, {far:,.0f} over 50 ms each way: {far / near:.0%}"
    )


def test_loss_and_jitter_lose_no_row_and_no_peer() -> None:
    assert rows_per_s(Line(delay_s=0.01, jitter_s=0.05, loss=0.05), batches=1000, height=HEIGHT) > 0


def test_a_network_that_stands_still_for_a_second_loses_nothing() -> None:
    with net() as (node, proxy):
        there = Sender(proxy.address, 3000)
        eventually(lambda: len(node.inbox._costs[0]) > 10)
        proxy.stall(for_s=1.0)
        assert take_all(node) == 3000
        node.session.finish(WAIT_S)
        there.join()
        assert there.error is None


@pytest.mark.parametrize(
    ("direction", "is_busy"), [("both", True), ("there", True), ("back", True), ("both", False)]
)
def test_a_cut_is_noticed_by_both_ends(direction: Direction, is_busy: bool) -> None:
    with net() as (node, proxy):
        there = Sender(proxy.address, FOR_EVER, height=5000)
        if is_busy:
            keep_taking(node)
        else:
            eventually(lambda: sum(node.inbox._costs[0]) > CREDIT_BYTES * 7 / 8)
        began = time.monotonic()
        proxy.cut(direction)
        here_s = eventually(lambda: bool(node.errors))
        there.join()
        there_s = there.ended_s - began
        print(
            f"noticed here after {here_s:.2f} s, there after {there_s:.2f} s: {node.errors[0]}; {there.error}"
        )
        assert isinstance(node.errors[0], PeerLost)
        assert isinstance(there.error, PeerLost)
        assert max(here_s, there_s) < 4


def keep_taking(node: Receiver) -> None:
    """Let somebody take what comes, and wait until that has begun."""
    begun = threading.Event()

    def take() -> None:
        while node.inbox.take(WAIT_S) is not None:
            begun.set()

    threading.Thread(target=take, daemon=True).start()
    assert begun.wait(WAIT_S)


def test_a_reset_is_noticed_at_once_by_both_ends() -> None:
    with net() as (node, proxy):
        there = Sender(proxy.address, FOR_EVER)
        keep_taking(node)
        began = time.monotonic()
        proxy.reset()
        here_s = eventually(lambda: bool(node.errors))
        there.join()
        assert isinstance(node.errors[0], PeerLost)
        assert isinstance(there.error, PeerLost)
        assert max(here_s, there.ended_s - began) < 1


def resident_mb(pid: int) -> float:
    """The resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 1e6


def test_a_slow_network_fills_no_memory_of_the_sender() -> None:
    """A gigabyte is to be sent at ten megabytes a second."""
    big: dict[str, Any] = {"batches": 1000, "height": 100, "text_bytes": 10_000}
    with net() as (node, proxy):
        proxy.throttle(10e6, "there")
        with sender(node, address=proxy.address, **big) as process:
            assert told(process, "sent")["sent"] == 0
            before = peak = resident_mb(process.pid)
            deadline, number = time.monotonic() + 2.5, 0
            while time.monotonic() < deadline:
                message = node.take()[1]
                if isinstance(message, Batch):
                    assert message.frame["n"][0] == number * 100
                    number += 1
                peak = max(peak, resident_mb(process.pid))
            print(f"{number} MB came, the sender grew by {peak - before:.0f} MB")
            assert 10 < number < 100
            assert peak - before < 64
            assert not node.errors


@pytest.mark.parametrize("direction", ["there", "back"])
@pytest.mark.parametrize("seed", range(4))
def test_damaged_bytes_are_an_error_and_never_wrong_rows(direction: Direction, seed: int) -> None:
    damaged(direction, seed, None, None)


@pytest.mark.parametrize("direction", ["there", "back"])
def test_damaged_bytes_are_an_error_of_tls(tmp_path: Path, direction: Direction) -> None:
    signer = Signer(tmp_path / "tls")
    mine, theirs = (
        signer.files(f"streame://shop/node/{name}", hosts=[f"{name}.node.shop.streame.internal"])
        for name in ("receiver", "sender")
    )
    damaged(direction, 0, mine, theirs)


def damaged(direction: Direction, seed: int, mine: Tls | None, theirs: Tls | None) -> None:
    """Take rows over a line that damages them, until both ends have an error."""
    with net(mine, seed) as (node, proxy):
        there = Sender(proxy.address, FOR_EVER, tls=theirs)
        eventually(lambda: len(node.inbox._costs[0]) > 10)
        proxy.corrupt(0.2, direction)
        expected, number = frames(HEIGHT), 0
        while (found := node.inbox.take(WAIT_S)) is not None:
            if isinstance(found[1], Batch):
                assert found[1].frame.equals(expected[number % FRAMES]), number
                number += 1
        there.join()
        print(f"{number} batches, then here: {node.errors[0]}; there: {there.error}")
        assert there.error is not None
