"""Streams between real processes: order and content, back-pressure, lost peers, and what is refused."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from streame.cli.bench.process import rss_mb
from streame.cluster.flow import CREDIT_BYTES
from streame.cluster.frames import Attempt
from streame.cluster.inbox import RemoteInbox
from streame.cluster.link import Input
from streame.cluster.session import Session
from streame.cluster.transport import DataServer, connect
from streame.core import messages
from streame.core.messages import Barrier, Batch, EndOfStream
from streame.errors import ClusterError, PeerLost
from streame.runtime.channel import ChannelLimits, Inbox
from streame.runtime.outputs import ChannelOutput
from streame.runtime.partition import Partitioner
from tests.cluster.node import COLUMNS, ME, RECEIVER, rows
from tests.cluster.servers import Signer

WAIT_S = 20.0
ATTEMPT = Attempt(7, 1)


@dataclass
class Receiver:
    """The node of this process: one task with a channel for each name."""

    names: tuple[str, ...] = ("numbers",)
    attempt: Attempt = ATTEMPT
    tls: Any = None
    errors: list[ClusterError] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.inbox = RemoteInbox([0] * len(self.names), [None] * len(self.names))
        inputs = {name: Input("sender", self.inbox, at, COLUMNS) for at, name in enumerate(self.names)}
        self.session = Session(self.attempt, ["sender"], inputs, self.failed)
        self.server = DataServer("127.0.0.1:0", "shop", self.tls)
        self.server.serve(self.session)
        self.address = f"127.0.0.1:{self.server.port}"

    def failed(self, error: ClusterError) -> None:
        self.errors.append(error)
        self.inbox.close()

    def take(self) -> tuple[int, messages.Message]:
        found = self.inbox.take(WAIT_S)
        assert found is not None, self.errors
        return found


@contextmanager
def receiver(**settings: Any) -> Iterator[Receiver]:
    node = Receiver(**settings)
    try:
        yield node
    finally:
        node.server.close()


@contextmanager
def sender(node: Receiver, **settings: Any) -> Iterator[subprocess.Popen[str]]:
    """A process that sends to the receiver; it is killed at the end, if it has not ended."""
    given = {
        "address": node.address, "attempt": [node.attempt.epoch, node.attempt.number], "channels": node.names,
        "height": 100, "text_bytes": 20, "batches": 3, **settings,
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.cluster.node", json.dumps(given)], stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def told(process: subprocess.Popen[str], key: str) -> dict[str, Any]:
    """The next line of a process that has this key."""
    assert process.stdout is not None
    for line in process.stdout:
        found: dict[str, Any] = json.loads(line)
        if key in found:
            return found
        assert "error" not in found, found
    pytest.fail(f"the process has ended without {key!r}")


def eventually(what: Callable[[], bool], within_s: float = WAIT_S) -> float:
    """Wait until something holds; returns how long that took."""
    began = time.monotonic()
    while not what():
        assert time.monotonic() - began < within_s, "it did not happen in time"
        os.sched_yield()
    return time.monotonic() - began


def test_order_and_content_are_kept_over_two_channels_with_tls(tmp_path: Path) -> None:
    signer = Signer(tmp_path / "tls")
    mine, theirs = (
        signer.files(f"streame://shop/node/{name}", hosts=[f"{name}.node.shop.streame.internal"])
        for name in ("receiver", "sender")
    )
    files = [str(path) for path in (theirs.ca, theirs.certificate, theirs.key)]
    with receiver(names=("a", "b"), tls=mine) as node, sender(node, batches=101, tls=files) as process:
        came: dict[int, list[messages.Message]] = {0: [], 1: []}
        open_channels = {0, 1}
        while open_channels:
            channel, message = node.take()
            came[channel].append(message)
            if isinstance(message, EndOfStream):
                open_channels.discard(channel)
        node.session.finish(WAIT_S)
        assert told(process, "done")["closed"] == [False, False]
        assert not node.errors
    for channel, all_of_it in came.items():
        frames = [each.frame for each in all_of_it if isinstance(each, Batch)]
        sent = [rows(number, 100, 20) for number in range(101) if number % 2 == channel]
        assert pl.concat(frames).equals(pl.concat(sent))
        barriers = [each.checkpoint for each in all_of_it if isinstance(each, Barrier)]
        assert barriers == list(range(10, 101, 10))
        before_first = all_of_it[: all_of_it.index(Barrier(10))]
        assert sum(isinstance(each, Batch) for each in before_first) == (6 if channel == 0 else 5)


def test_a_receiver_that_does_not_read_stops_the_sender_and_memory_stays_bounded() -> None:
    count, text_bytes, height = 200, 10_000, 100  # a megabyte each
    with receiver() as node, sender(node, batches=count, height=height, text_bytes=text_bytes) as process:
        costs = node.inbox._costs[0]
        before = peak = rss_mb()
        number = 0
        while number < count:
            if number in {0, 100}:  # wait until nothing more can come, whatever the sender would like to send
                eventually(lambda: sum(costs) > CREDIT_BYTES - 2.5e6)
                assert sum(costs) <= CREDIT_BYTES
                peak = max(peak, rss_mb())
            message = node.take()[1]
            if isinstance(message, Batch):
                assert message.frame["n"][0] == number * height
                number += 1
        while not isinstance(node.take()[1], EndOfStream):
            pass
        node.session.finish(WAIT_S)
        sender_mb = told(process, "done")["grown_mb"]
        print(
            f"of {count} MB the receiver held {peak - before:.0f} MB at most, the sender {sender_mb:.0f} MB"
        )
        assert peak - before < 100
        assert sender_mb < 100


def test_ten_thousand_small_batches() -> None:
    with receiver() as node, sender(node, batches=10_000, height=1, tell_every=1_000_000) as process:
        numbers: list[int] = []
        while not isinstance(message := node.take()[1], EndOfStream):
            if isinstance(message, Batch):
                numbers += message.frame["n"].to_list()
        assert numbers == list(range(10_000))
        node.session.finish(WAIT_S)
        told(process, "done")


def test_batches_of_sixteen_mebibytes() -> None:
    with receiver() as node, sender(node, batches=4, height=16 * 1024, text_bytes=1024) as process:
        frames: list[pl.DataFrame] = []
        while not isinstance(message := node.take()[1], EndOfStream):
            if isinstance(message, Batch):
                frames.append(message.frame)
        assert pl.concat(frames).equals(pl.concat([rows(number, 16 * 1024, 1024) for number in range(4)]))
        node.session.finish(WAIT_S)
        told(process, "done")


def test_a_peer_that_is_killed_is_noticed_at_once() -> None:
    with receiver() as node, sender(node, batches=1_000_000) as process:
        told(process, "sent")
        process.kill()
        seconds = eventually(lambda: bool(node.errors))
        assert isinstance(node.errors[0], PeerLost)
        assert "node 'sender' has gone" in str(node.errors[0])
        assert seconds < 2


def test_a_peer_that_is_stopped_is_noticed_within_four_seconds_by_both_ends() -> None:
    with receiver() as node, sender(node, batches=1_000_000) as process:
        told(process, "sent")
        process.send_signal(signal.SIGSTOP)
        try:
            seconds = eventually(lambda: bool(node.errors))
        finally:
            process.send_signal(signal.SIGCONT)
        print(f"noticed after {seconds:.2f} s")
        assert isinstance(node.errors[0], PeerLost)
        assert seconds < 4
        assert told(process, "error")["error"] in {"PeerLost", "ClusterError"}


def test_a_caller_waits_for_a_node_that_learns_of_the_attempt_later() -> None:
    with receiver() as node:
        node.server.serve(None)
        with sender(node, batches=3) as process:
            told(process, "sent")
            later = threading.Timer(2.5, node.server.serve, [node.session])
            later.start()
            numbers = 0
            while not isinstance(message := node.take()[1], EndOfStream):
                numbers += message.frame.height if isinstance(message, Batch) else 0
            assert numbers == 300
            node.session.finish(WAIT_S)
            told(process, "done")


def test_a_stream_of_an_attempt_that_is_over_took_the_place_of_that_of_the_next_one() -> None:
    with receiver(attempt=Attempt(8, 1)) as node:
        with sender(node, attempt=[7, 5]) as process:
            said = last_error(process)
            assert "a stream of attempt 7.5 came where attempt 8.1 runs" in said
        assert not node.errors
        with sender(node) as process:
            while not isinstance(node.take()[1], EndOfStream):
                pass
            node.session.finish(WAIT_S)
            told(process, "done")


def test_a_reader_that_leaves_lets_its_sender_go_on() -> None:
    with receiver() as node, sender(node, batches=1_000, text_bytes=1_000) as process:
        node.take()
        node.inbox.close()
        assert told(process, "done")["closed"] == [True]
        node.session.finish(WAIT_S)
        assert not node.errors


def test_a_stream_that_ends_before_its_channels_is_an_error() -> None:
    with receiver(names=("numbers", "more")) as node:
        session = Session(ATTEMPT, ["receiver"], {}, lambda error: None)
        link = connect(node.address, ME, RECEIVER, session, None, WAIT_S)
        channel = link.sender("numbers", COLUMNS)
        channel.put(0, Batch(rows(0, 3, 4)))
        link.finish()
        eventually(lambda: bool(node.errors))
        assert "its stream ended, though nothing has ended more, numbers" in str(node.errors[0])


def test_both_ends_send_at_once() -> None:
    with receiver(names=("there",)) as node:
        inbox = RemoteInbox([0, 0], [ChannelLimits(9, 9), None])
        inputs = {"back": Input("receiver", inbox, 1, COLUMNS)}
        session = Session(ATTEMPT, ["receiver"], inputs, lambda error: inbox.close())
        there = connect(node.address, ME, RECEIVER, session, None, WAIT_S).sender("there", COLUMNS)
        back = node.session.link("sender", WAIT_S).sender("back", COLUMNS)
        for number in range(50):
            there.put(0, Batch(rows(number, 3, 4)))
            found = node.take()[1]
            assert isinstance(found, Batch)
            back.put(0, found)
            channel, message = inbox.take(WAIT_S) or (None, None)
            assert channel == 1
            assert isinstance(message, Batch)
            assert message.frame.equals(rows(number, 3, 4))
        there.put(0, messages.END_OF_STREAM)
        assert isinstance(node.take()[1], EndOfStream)
        back.put(0, messages.END_OF_STREAM)
        session.finish(WAIT_S)
        node.session.finish(WAIT_S)
        assert not node.errors


def test_an_output_shares_rows_out_among_tasks_here_and_there() -> None:
    """It does not know which of its targets is on another node."""
    with receiver() as node:
        session = Session(ATTEMPT, ["receiver"], {}, lambda error: None)
        there = connect(node.address, ME, RECEIVER, session, None, WAIT_S).sender("numbers", COLUMNS)
        here = Inbox([0], [None])
        output = ChannelOutput([(here, 0), (there, 0)], Partitioner(pl.Schema({"n": pl.Int64()}), 2))
        output.send(Batch(rows(0, 1000, 4)))
        output.tell(Barrier(1))
        output.tell(messages.END_OF_STREAM)
        parts = [here.take(0), node.take()]
        frames = [each[1].frame for each in parts if each is not None and isinstance(each[1], Batch)]
        assert all(frame.height > 300 for frame in frames)
        assert pl.concat(frames).sort("n").equals(rows(0, 1000, 4))
        assert [here.take(0), here.take(0)] == [node.take(), node.take()]
        assert output.wanted
        session.finish(WAIT_S)
        node.session.finish(WAIT_S)


def test_a_peer_that_does_not_finish_is_waited_for_no_longer_than_told() -> None:
    with receiver() as node:
        session = Session(ATTEMPT, ["receiver"], {}, lambda error: None)
        connect(node.address, ME, RECEIVER, session, None, WAIT_S)
        node.session.link("sender", WAIT_S)
        began = time.monotonic()
        with pytest.raises(PeerLost, match=r"has not ended its stream within 0\.3 s"):
            node.session.finish(0.3)
        assert time.monotonic() - began < 2


def test_a_sender_that_waits_for_credit_is_woken_by_the_end_of_the_stream() -> None:
    with receiver() as node:
        session = Session(ATTEMPT, ["receiver"], {}, lambda error: None)
        channel = connect(node.address, ME, RECEIVER, session, None, WAIT_S).sender("numbers", COLUMNS)
        caught: list[ClusterError] = []

        def put_for_ever() -> None:
            try:
                while True:
                    channel.put(0, Batch(rows(0, 1000, 1000)))
            except ClusterError as error:
                caught.append(error)

        thread = threading.Thread(target=put_for_ever)
        thread.start()
        eventually(lambda: sum(node.inbox._costs[0]) > CREDIT_BYTES - 2.5e6)
        node.server.close()
        thread.join(WAIT_S)
        assert not thread.is_alive()
        assert isinstance(caught[0], PeerLost)


def test_nobody_listens(unused_port: int) -> None:
    session = Session(ATTEMPT, ["receiver"], {}, lambda error: None)
    with pytest.raises(PeerLost, match=r"node 'receiver' cannot be reached at 127\.0\.0\.1"):
        connect(f"127.0.0.1:{unused_port}", ME, RECEIVER, session, None, 0.3)


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def last_error(process: subprocess.Popen[str]) -> str:
    """What the process has ended with."""
    assert process.stdout is not None
    *_, last = process.stdout
    message: str = json.loads(last)["message"]
    return message
