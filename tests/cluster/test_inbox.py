"""The inbox of a task with channels from other nodes: credits, watermarks that take each other's place, floods."""

import polars as pl
import pytest

from streame.cluster import inbox as inbox_module
from streame.cluster.frames import FrameRefused
from streame.cluster.inbox import RemoteInbox
from streame.core.messages import END_OF_STREAM, Barrier, Batch, Message, Watermark
from streame.runtime.channel import ChannelLimits

LIMIT = 1_000


def taken(inbox: RemoteInbox) -> list[Message]:
    found = []
    while (each := inbox.take(0)) is not None:
        found.append(each[1])
    return found


def test_credit_goes_back_when_a_batch_is_taken_and_not_before() -> None:
    inbox = RemoteInbox([0, 0], [ChannelLimits(1, 1), None])
    returned: list[int] = []
    inbox.attach(1, returned.append, lambda: None)
    frame = pl.DataFrame({"a": [1]})
    inbox.arrive(1, Batch(frame), 5)
    inbox.arrive(1, Barrier(1))
    inbox.arrive(1, Batch(frame), 7)
    inbox.block(1)
    inbox.put(0, Batch(frame))
    assert inbox.take(0) is not None
    assert inbox.take(0) is None
    assert returned == []
    inbox.unblock()
    for expected in ([5], [5], [5, 7]):
        inbox.take(0)
        assert returned == expected


def test_a_watermark_takes_the_place_of_one_that_nobody_has_read() -> None:
    inbox = RemoteInbox([0], [None])
    rows = Batch(pl.DataFrame({"a": [1]}))
    for message in (
        Watermark(1),
        Watermark(2),
        rows,
        Watermark(3),
        Watermark(None),
        Watermark(3),
        Watermark(9),
    ):
        inbox.arrive(0, message)
    inbox.arrive(0, Barrier(1))
    inbox.arrive(0, Watermark(10))
    inbox.arrive(0, END_OF_STREAM)
    assert taken(inbox) == [
        Watermark(2), rows, Watermark(3), Watermark(None), Watermark(9), Barrier(1), Watermark(10), END_OF_STREAM,
    ]  # fmt: skip


def test_a_flood_of_what_needs_no_credit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "TOLD_MAX", LIMIT)
    inbox = RemoteInbox([0], [None])
    inbox.attach(0, lambda cost: None, lambda: None)
    for _ in range(3):  # what is read in between does not count
        for _ in range(LIMIT // 2):
            inbox.arrive(0, Watermark(None))
            inbox.arrive(0, Watermark(1))
        assert len(taken(inbox)) == LIMIT
    for number in range(LIMIT):
        inbox.arrive(0, Barrier(number))
    with pytest.raises(FrameRefused, match="more than 1,000 messages without rows wait in one channel"):
        inbox.arrive(0, Barrier(LIMIT))


def test_where_rows_have_no_limit_other_messages_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "TOLD_MAX", LIMIT)
    inbox = RemoteInbox([0], [None])
    inbox.attach(0, lambda cost: None, lambda: None, is_bounded=False)
    for number in range(3 * LIMIT):
        inbox.arrive(0, Batch(pl.DataFrame({"a": [number]})), 1)
        inbox.arrive(0, Watermark(number))
    assert len(taken(inbox)) == 6 * LIMIT


def test_the_others_are_told_that_nobody_reads() -> None:
    inbox = RemoteInbox([0, 0], [None, None])
    left: list[str] = []
    inbox.attach(0, lambda cost: None, lambda: left.append("before"))
    inbox.close()
    inbox.attach(1, lambda cost: None, lambda: left.append("behind"))
    assert left == ["before", "behind"]
    inbox.arrive(0, Barrier(1))
    assert taken(inbox) == []
