"""Channels: bounded by rows and by bytes, fair, and never in the way of an end."""

import threading

import polars as pl

from streame.core.messages import END_OF_STREAM, Batch, EndOfStream
from streame.runtime.channel import ChannelLimits, Inbox

WAIT_S = 10.0


def batch(rows: int) -> Batch:
    return Batch(pl.DataFrame({"a": range(rows)}))


def rows_taken(inbox: Inbox) -> list[int]:
    taken = []
    while (item := inbox.take(0)) is not None:
        _, message = item
        taken.append(message.frame.height if isinstance(message, Batch) else -1)
    return taken


def in_thread(inbox: Inbox, *batches: Batch) -> threading.Thread:
    def send() -> None:
        for each in batches:
            inbox.put(0, each)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    return thread


def test_a_full_channel_holds_the_sender_until_it_is_read() -> None:
    inbox = Inbox([0], [ChannelLimits(rows=10, bytes=1_000_000)])
    sender = in_thread(inbox, batch(6), batch(6), batch(6))
    assert inbox.take(WAIT_S) is not None
    assert inbox.take(WAIT_S) is not None
    assert inbox.take(WAIT_S) is not None
    sender.join(WAIT_S)
    assert not sender.is_alive()


def test_what_waits_is_bounded_by_rows() -> None:
    inbox = Inbox([0], [ChannelLimits(rows=10, bytes=1_000_000)])
    sender = in_thread(inbox, *[batch(5)] * 20)
    highest = 0
    for _ in range(20):
        highest = max(highest, sum(inbox._rows))
        assert inbox.take(WAIT_S) is not None
    sender.join(WAIT_S)
    assert highest <= 10


def test_what_waits_is_bounded_by_bytes() -> None:
    inbox = Inbox([0], [ChannelLimits(rows=1_000_000, bytes=80)])
    sender = in_thread(inbox, *[batch(10)] * 20)
    highest = 0
    for _ in range(20):
        highest = max(highest, sum(inbox._rows))
        assert inbox.take(WAIT_S) is not None
    sender.join(WAIT_S)
    assert highest <= 20


def test_one_batch_is_always_let_in() -> None:
    inbox = Inbox([0], [ChannelLimits(rows=1, bytes=1)])
    inbox.put(0, batch(1000))
    assert rows_taken(inbox) == [1000]


def test_a_full_channel_does_not_stop_another() -> None:
    inbox = Inbox([0, 1], [ChannelLimits(rows=1, bytes=1)] * 2)
    inbox.put(0, batch(3))
    inbox.put(1, batch(4))
    assert rows_taken(inbox) == [3, 4]


def test_channels_are_read_in_turn() -> None:
    inbox = Inbox([0, 1], [None, None])
    for _ in range(3):
        inbox.put(0, batch(1))
    for _ in range(3):
        inbox.put(1, batch(2))
    assert rows_taken(inbox) == [1, 2, 1, 2, 1, 2]


def test_a_held_port_is_left_unread_until_it_is_released() -> None:
    inbox = Inbox([0, 1], [None, None])
    inbox.hold(0)
    inbox.put(0, batch(1))
    inbox.put(1, END_OF_STREAM)
    taken = inbox.take(0)
    assert taken is not None
    assert isinstance(taken[1], EndOfStream)
    assert inbox.take(0) is None
    inbox.release(0)
    assert rows_taken(inbox) == [1]


def test_closing_wakes_the_sender_and_the_reader() -> None:
    full = Inbox([0], [ChannelLimits(rows=1, bytes=1)])
    full.put(0, batch(1))
    sender = in_thread(full, batch(1))
    full.close()
    sender.join(WAIT_S)
    assert not sender.is_alive()

    empty = Inbox([0], [None])
    reader = threading.Thread(target=empty.take, args=(None,), daemon=True)
    reader.start()
    empty.close()
    reader.join(WAIT_S)
    assert not reader.is_alive()
