"""What waits to be sent: frames that follow closely go together, and what the peer waits for is not held back."""

import threading
import time
from collections.abc import Callable
from itertools import count, pairwise
from queue import SimpleQueue

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streame.cluster import outgoing as module
from streame.cluster.frames import (
    Attempt,
    Credit,
    Frame,
    Ping,
    Pong,
    Unread,
    Watermark,
    frames_of,
    pack,
    unpack,
)
from streame.cluster.outgoing import INTERVAL_S, Outgoing

MINE = Attempt(7, 2)
TICK_S = 1 / 1024
GATHER_LOOKS = int(INTERVAL_S / TICK_S)
WAIT_S = 30.0

Does = Callable[[Outgoing], None]

URGENT: list[tuple[Does, Frame]] = [
    (lambda to: to.ping(3), Ping(MINE, 3)),
    (lambda to: to.pong(4), Pong(MINE, 4)),
    (lambda to: to.credit(1, 500), Credit(MINE, 1, 500)),
    (lambda to: to.unread(2), Unread(MINE, 2)),
]


def packed(number: int) -> bytes:
    """The frame of a number."""
    return pack(Watermark(MINE, 0, number, None))


def frames(*numbers: int) -> list[Frame]:
    """The frames of some numbers."""
    return [Watermark(MINE, 0, number, None) for number in numbers]


def said(message: bytes | None) -> list[Frame]:
    """The frames of a message."""
    assert message is not None
    return [unpack(data)[0] for data in frames_of(message)]


class Sending:
    """A stream on which a frame has just gone. Its clock goes on by a tick with each look at it."""

    def __init__(self) -> None:
        self.outgoing = Outgoing(MINE, self._look)
        self.ticks = self._looks = 0
        self._planned: dict[int, Callable[[], None]] = {}
        self._messages = self.outgoing.messages()
        self.pass_by(1_000)
        self.add(1)
        assert said(next(self._messages)) == frames(1)
        assert self._looks == 1

    def add(self, *numbers: int) -> None:
        """These frames are to be sent."""
        for number in numbers:
            self.outgoing.add(packed(number))

    def pass_by(self, ticks: int) -> None:
        """Let time pass."""
        self.ticks += ticks

    def plan(self, looks: int, what: Callable[[], None]) -> None:
        """Let something happen when so many looks have shown that the next frame is to wait."""
        self._planned[self._looks + 2 + looks] = what

    def next(self) -> tuple[list[Frame], int]:
        """The next message, and how many looks have shown that it was to wait."""
        before = self._looks + 2  # one says when the message before it had gone
        return said(next(self._messages)), self._looks - before

    def _look(self) -> float:
        self._looks += 1
        self.ticks += 1
        self._planned.pop(self._looks, lambda: None)()
        return self.ticks * TICK_S


def test_frames_that_follow_closely_go_in_one_message() -> None:
    sending = Sending()
    sending.add(2)
    sending.plan(1, lambda: sending.add(3))
    sending.plan(GATHER_LOOKS - 1, lambda: sending.add(4))
    assert sending.next() == (frames(2, 3, 4), GATHER_LOOKS)
    sending.add(5)
    assert sending.next() == (frames(5), GATHER_LOOKS)


def test_a_frame_goes_at_once_when_none_has_just_gone() -> None:
    sending = Sending()
    sending.add(2)
    sending.plan(0, lambda: sending.pass_by(GATHER_LOOKS))
    assert sending.next() == (frames(2), 0)


@pytest.mark.parametrize(("tell", "told"), URGENT)
def test_what_the_peer_waits_for_is_not_held_back(tell: Does, told: Frame) -> None:
    sending = Sending()
    tell(sending.outgoing)
    assert sending.next() == ([told], 0)
    sending.add(2, 3)
    sending.plan(1, lambda: tell(sending.outgoing))
    assert sending.next() == ([told, *frames(2, 3)], 2)


def test_there_is_never_more_than_one_of_what_the_peer_waits_for() -> None:
    outgoing = Outgoing(MINE, time.perf_counter)
    for number in (1, 2):
        for to in (outgoing.ping, outgoing.pong, outgoing.unread):
            to(number)
        for channel in (0, 5):
            outgoing.credit(channel, number)
    outgoing.unread(1)
    outgoing.finish()
    (message,) = outgoing.messages()
    assert said(message) == [
        Pong(MINE, 2), Ping(MINE, 2), Credit(MINE, 0, 3), Credit(MINE, 5, 3), Unread(MINE, 1), Unread(MINE, 2)
    ]  # fmt: skip


def test_nothing_is_held_back_once_it_is_to_end() -> None:
    sending = Sending()
    sending.add(2)
    sending.plan(2, sending.outgoing.finish)
    assert sending.next() == (frames(2), 2)
    sending.add(3, 4)
    assert sending.next() == (frames(3, 4), 0)
    assert list(sending._messages) == []


def test_what_is_long_enough_is_not_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOGETHER_BYTES", 2 * len(packed(2)))
    sending = Sending()
    sending.add(2)
    sending.plan(1, lambda: sending.add(3, 4))
    assert sending.next() == (frames(2, 3), 1)
    assert sending.next() == (frames(4), GATHER_LOOKS)


@given(st.lists(st.integers(1, 70), max_size=40), st.integers(1, 100))
def test_frames_go_in_their_order_and_large_ones_alone(sizes: list[int], most: int) -> None:
    packed = [bytes([number]) * size for number, size in enumerate(sizes)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "TOGETHER_BYTES", most)
        outgoing = Outgoing(MINE, time.perf_counter)
        for each in packed:
            outgoing.add(each)
        outgoing.finish()
        messages = list(outgoing.messages())
    assert b"".join(messages) == b"".join(packed)
    assert all(len(each) <= most or len(set(each)) == 1 for each in messages)
    assert all(len(one) + other.count(other[0]) > most for one, other in pairwise(messages))


class Gathering:
    """A thread that has sent one frame, and holds another one back for so long that no test would see it."""

    def __init__(self) -> None:
        self.outgoing = Outgoing(MINE, self._look)
        self.messages: SimpleQueue[bytes | None] = SimpleQueue()
        self._looks = count(1)
        self._gathers = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)

    def __enter__(self) -> "Gathering":
        self._thread.start()
        self.outgoing.add(packed(1))
        assert said(self.messages.get(timeout=WAIT_S)) == frames(1)
        self.outgoing.add(packed(2))
        assert self._gathers.wait(WAIT_S)
        return self

    def __exit__(self, *error: object) -> None:
        self.outgoing.stop()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()

    def _send(self) -> None:
        for message in self.outgoing.messages():
            self.messages.put(message)
        self.messages.put(None)

    def _look(self) -> float:
        # The one that looks has the lock until it waits, so that whoever says something from now on says it to one that waits.
        if next(self._looks) == 3:
            self._gathers.set()
        return 1_000.0


@pytest.fixture
def _held_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INTERVAL_S", 4 * WAIT_S)


@pytest.mark.usefixtures("_held_for_long")
@pytest.mark.parametrize(("tell", "told"), URGENT)
def test_what_the_peer_waits_for_wakes_the_one_that_gathers(tell: Does, told: Frame) -> None:
    with Gathering() as gathering:
        tell(gathering.outgoing)
        assert said(gathering.messages.get(timeout=WAIT_S)) == [told, *frames(2)]


@pytest.mark.usefixtures("_held_for_long")
def test_its_end_wakes_the_one_that_gathers() -> None:
    with Gathering() as gathering:
        gathering.outgoing.add(packed(3))
        gathering.outgoing.finish()
        assert said(gathering.messages.get(timeout=WAIT_S)) == frames(2, 3)
        assert gathering.messages.get(timeout=WAIT_S) is None


@pytest.mark.usefixtures("_held_for_long")
def test_to_stop_wakes_the_one_that_gathers_and_nothing_goes() -> None:
    with Gathering() as gathering:
        gathering.outgoing.stop()
        gathering.outgoing.add(packed(3))
        assert gathering.messages.get(timeout=WAIT_S) is None


@pytest.mark.usefixtures("_held_for_long")
def test_a_message_that_is_long_enough_wakes_the_one_that_gathers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOGETHER_BYTES", 3 * len(packed(2)))
    with Gathering() as gathering:
        gathering.outgoing.add(packed(3))
        gathering.outgoing.add(packed(4))
        assert said(gathering.messages.get(timeout=WAIT_S)) == frames(2, 3, 4)


def test_frames_of_many_threads_keep_the_order_of_each() -> None:
    outgoing, many = Outgoing(MINE, time.perf_counter), 300

    def add(channel: int) -> None:
        for number in range(many):
            outgoing.add(pack(Watermark(MINE, channel, number, None)))

    threads = [threading.Thread(target=add, args=(channel,)) for channel in range(3)]
    for each in threads:
        each.start()
    messages = outgoing.messages()
    found: list[Frame] = []
    while len(found) < len(threads) * many:
        found += said(next(messages))
    for channel in range(3):
        assert [
            each.seq for each in found if isinstance(each, Watermark) and each.channel == channel
        ] == list(range(many))
    for each in threads:
        each.join()
