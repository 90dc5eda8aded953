"""Sources that cannot be read again, behind a log."""

import queue
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hs
from polars.testing import assert_frame_equal

from streame.core.deadletters import BadRow
from streame.errors import (
    CheckpointDamaged,
    CheckpointError,
    ConnectorError,
    NotAccepted,
    PlanChanged,
    PlanError,
)
from streame.io.durable_queue import END, Queue
from streame.io.logged import LoggedSource
from streame.io.logged_chunks import decoded, encoded
from streame.io.queues import QueueSource
from streame.io.rows import FramesSource, RowsSource
from streame.io.source import Chunk, Offset, Source
from streame.storage.log import Log
from streame.testing.strategies import frames, schemas
from tests.examples import examples
from tests.io.test_durable_queue import Putting
from tests.storage.power_cut_disk import PowerCutDisk

SCHEMA = pl.Schema({"a": pl.Int64})

JSON = hs.none() | hs.booleans() | hs.integers(-(2**63), 2**64 - 1) | hs.floats(allow_nan=False) | hs.text()


def nested(values: hs.SearchStrategy[Any]) -> hs.SearchStrategy[Any]:
    """JSON values within others."""
    return hs.lists(values, max_size=3) | hs.dictionaries(hs.text(), values, max_size=3)


def logged(source: Source, disk: PowerCutDisk) -> LoggedSource:
    return LoggedSource(source, Log(disk, "wal", segment_bytes=2_000))


def rest(source: Source, offset: Offset = None, split: str | None = None) -> list[Chunk]:
    name = source.splits()[0] if split is None else split
    return [chunk for chunk in source.read(name, offset) if chunk is not None]


def values(chunks: Sequence[Chunk]) -> list[int]:
    return [value for chunk in chunks for value in chunk.frame["a"].to_list()]


class Ticker(Source):
    """A source of one's own that cannot be read again: each reading gives what its feed still has."""

    bounded = True
    replayable = False

    def __init__(self, feed: Sequence[Chunk | None], splits: Sequence[str] = ("all",)) -> None:
        self.feed = list(feed)
        self.names = splits
        self.asked: list[Offset] = []

    def schema(self) -> pl.Schema:
        return SCHEMA

    def splits(self) -> Sequence[str]:
        return self.names

    def read(self, split: str, offset: Offset) -> Iterator[Chunk | None]:
        self.asked.append(offset)
        while self.feed:
            yield self.feed.pop(0)


def tick(value: int, **more: Any) -> Chunk:
    return Chunk(pl.DataFrame({"a": [value]}, SCHEMA), {"at": value}, **more)


def test_every_chunk_is_read_again_from_every_offset() -> None:
    bad = BadRow(3, "type", "no number", b"\xff")
    feed = [tick(1), None, tick(2, offsets=lambda: np.array([2]), rejected=[bad]), tick(4)]
    disk = PowerCutDisk()
    source = logged(Ticker(feed), disk)
    chunks = rest(source)
    assert values(chunks) == [1, 2, 4]
    for number, offset in enumerate([None, *(chunk.next_offset for chunk in chunks)]):
        inner = Ticker([tick(9)])
        again = logged(inner, disk.after_kill())
        got = rest(again, offset)
        assert inner.asked == []  # its end is in the log
        assert [chunk.next_offset for chunk in got] == [chunk.next_offset for chunk in chunks[number:]]
        assert values(got) == values(chunks[number:])
        for one, other in zip(got, chunks[number:], strict=True):
            assert list(one.rejected) == list(other.rejected)
            assert (one.offsets is None) == (other.offsets is None)
            if one.offsets is not None and other.offsets is not None:
                assert one.offsets().tolist() == other.offsets().tolist()


def test_a_new_reading_goes_on_behind_the_log() -> None:
    disk = PowerCutDisk()
    reading = logged(Ticker([tick(1), tick(2)]), disk).read("all", None)
    first = next(reading)
    assert first is not None
    next(reading)
    inner = Ticker([tick(3)])
    assert values(rest(logged(inner, disk.after_kill()), first.next_offset)) == [2, 3]
    assert inner.asked == [{"at": 2}]


def test_a_chunk_is_durable_before_it_is_seen() -> None:
    disk = PowerCutDisk()
    reading = logged(Ticker([tick(1)]), disk).read("all", None)
    assert next(reading) is not None
    disk.broken = True
    assert values(rest(logged(Ticker([]), PowerCutDisk(disk.synced())))) == [1]
    with pytest.raises(CheckpointError):
        next(reading)


def test_splits_that_are_gone_are_read_from_the_log() -> None:
    disk = PowerCutDisk()
    source = logged(Ticker([tick(1)], ["one"]), disk)
    next(source.read("one", None))
    again = logged(Ticker([tick(2)], ["two"]), disk.after_kill())
    assert again.splits() == ["two", "one"]
    assert values(rest(again, split="one")) == [1]
    assert values(rest(again, split="two")) == [2]


def test_what_is_decided_is_removed_once_no_split_needs_it() -> None:
    disk = PowerCutDisk()
    source = logged(Ticker([tick(number) for number in range(100)], ["one", "two"]), disk)
    one, two = source.read("one", None), source.read("two", None)
    last: dict[str, Chunk] = {}
    for _ in range(20):
        for split, reading in (("one", one), ("two", two)):
            chunk = next(reading)
            assert chunk is not None
            last[split] = chunk
    segments = len(disk.names("wal"))
    source.decided("one", last["one"].next_offset)
    assert len(disk.names("wal")) == segments
    source.decided("two", last["two"].next_offset)
    assert len(disk.names("wal")) == 1
    again = logged(Ticker([], ["one", "two"]), disk.after_kill())
    assert values(rest(again, last["one"].next_offset, "one")) == []
    with pytest.raises(CheckpointDamaged, match="files of it were removed"):
        rest(again, [0, None, False], "one")


def test_an_ended_split_keeps_nothing() -> None:
    disk = PowerCutDisk()
    inner = Ticker([tick(number) for number in range(30)], ["one", "two"])
    source = logged(inner, disk)
    rest(source, split="one")
    inner.feed = [tick(number) for number in range(30)]
    chunks = rest(source, split="two")
    source.decided("two", chunks[-1].next_offset)
    assert len(disk.names("wal")) > 2
    source.ended("one")
    assert len(disk.names("wal")) == 1


def test_other_columns_than_before() -> None:
    disk = PowerCutDisk()
    next(logged(Ticker([tick(1)]), disk).read("all", None))
    with pytest.raises(PlanChanged, match="'a' is Int64, but the source now says String"):
        rest(logged(RowsSource(iter([]), pl.Schema({"a": pl.String})), disk.after_kill()), split="all")


def test_rows_of_an_iterator_are_kept_and_those_read_ahead_too() -> None:
    disk = PowerCutDisk()
    all_given, more = threading.Event(), threading.Event()

    def rows() -> Iterator[tuple[int]]:
        for number in range(1_000):
            yield (number,)
        all_given.set()
        more.wait(30)

    source = logged(RowsSource(rows(), SCHEMA), disk)
    assert not RowsSource(rows(), SCHEMA).replayable
    reading = source.read("rows", None)
    first = next(chunk for chunk in reading if chunk is not None)
    assert all_given.wait(10)
    reading.close()  # type: ignore[attr-defined]
    again = logged(RowsSource(iter([(1_000,), (1_001,)]), SCHEMA), disk.after_kill())
    chunks = rest(again, first.next_offset)
    assert values([first, *chunks]) == list(range(1_002))
    positions = [at for chunk in chunks if chunk.offsets for at in chunk.offsets().tolist()]
    assert positions == values(chunks)
    more.set()


def test_frames_of_an_iterator() -> None:
    disk = PowerCutDisk()
    frames = [pl.DataFrame({"a": [number]}) for number in range(6)]
    feed = iter(frames)
    source = logged(FramesSource(feed, SCHEMA), disk)
    reading = source.read("frames", None)
    first = next(chunk for chunk in reading if chunk is not None)
    reading.close()  # type: ignore[attr-defined]
    again = logged(FramesSource(feed, SCHEMA), disk.after_kill())
    chunks = rest(again, first.next_offset)
    assert values([first, *chunks]) == [0, 1, 2, 3, 4, 5]


def test_a_full_disk_makes_an_iterator_wait() -> None:
    disk = PowerCutDisk()
    source = logged(RowsSource(iter([(1,), (2,)]), SCHEMA), disk)
    disk.room = 10
    reading = source.read("rows", None)
    assert [next(reading) for _ in range(5)] == [None] * 5
    assert source.waits_for is not None
    disk.room = None
    assert values([chunk for chunk in reading if chunk is not None]) == [1, 2]
    assert source.waits_for is None


def test_rows_that_cannot_be_kept_when_reading_is_stopped_are_an_error() -> None:
    disk = PowerCutDisk()
    source = logged(Ticker([tick(1)]), disk)
    disk.room = 10
    reading = source.read("all", None)
    assert next(reading) is None
    with pytest.raises(NotAccepted):
        reading.close()  # type: ignore[attr-defined]


class Reading:
    """A job that reads a queue, reduced to its source."""

    def __init__(self, items: Queue, disk: PowerCutDisk, offset: Offset = None) -> None:
        self.source = logged(QueueSource(items, SCHEMA), disk)
        self.chunks: list[Chunk] = []
        self.stopped = threading.Event()
        self._offset = offset
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        reading = self.source.read("queue", self._offset)
        while not self.stopped.is_set() and (chunk := next(reading, self)) is not self:
            if isinstance(chunk, Chunk):
                self.chunks.append(chunk)
        reading.close()  # type: ignore[attr-defined]
        self.source.close()

    def stop(self) -> list[Chunk]:
        self.stopped.set()
        return self.end()

    def end(self) -> list[Chunk]:
        self._thread.join(10)
        assert not self._thread.is_alive()
        return self.chunks


def test_rows_of_a_queue_are_durable_when_put_returns() -> None:
    disk, items = PowerCutDisk(), Queue()
    items.put((0,))
    reading = Reading(items, disk)
    items.put((1,), timeout=10)
    items.put_many([(2,), ("bad",), (3,)], timeout=10)
    kept = PowerCutDisk(disk.synced())
    chunks = reading.stop()
    assert values(chunks) == [0, 1, 2, 3]
    with pytest.raises(NotAccepted, match="the job that reads it has ended"):
        items.put((9,))
    more = Queue()
    again = Reading(more, kept, chunks[0].next_offset)
    more.put((4,), timeout=10)
    more.close(timeout=10)
    ended = PowerCutDisk(kept.synced())
    got = again.end()
    assert values(got) == [*values(chunks[1:]), 4]
    (bad,) = [bad for chunk in got for bad in chunk.rejected]
    assert (bad.kind, bad.raw) == ("type", b'["bad"]')
    assert bad.offset == 3
    last = Queue()
    assert values(Reading(last, ended, got[0].next_offset).end()) == values(got[1:])
    with pytest.raises(NotAccepted):
        last.put((5,))


def test_a_full_disk_refuses_rows_and_the_end_of_a_queue() -> None:
    disk, items = PowerCutDisk(), Queue()
    reading = Reading(items, disk)
    items.put((1,), timeout=10)
    disk.room = 10
    with pytest.raises(NotAccepted, match="the disk is full"):
        items.put((2,), timeout=10)
    with pytest.raises(NotAccepted, match="the disk is full"):
        items.close(timeout=10)
    disk.room = None
    items.put((3,), timeout=10)
    items.close(timeout=10)
    assert values(reading.end()) == [1, 3]
    assert values(rest(logged(QueueSource(Queue(), SCHEMA), disk.after_kill()))) == [1, 3]


def test_a_source_whose_rows_are_refused_can_be_stopped() -> None:
    disk, items = PowerCutDisk(), Queue()
    reading = logged(QueueSource(items, SCHEMA), disk).read("queue", None)
    disk.room = 10
    for _ in range(3):
        putting = Putting(items, (1,))
        while putting.waits:
            assert next(reading) is None
        assert isinstance(putting.end(), NotAccepted)


def test_a_broken_disk_tells_everybody() -> None:
    disk, items = PowerCutDisk(), Queue()
    source = logged(QueueSource(items, SCHEMA), disk)
    putting = Putting(items, (1,))
    disk.broken = True
    reading = source.read("queue", None)
    with pytest.raises(CheckpointError, match="may be there or not"):
        list(reading)
    assert isinstance(putting.end(), CheckpointError)
    source.close()
    with pytest.raises(NotAccepted):
        items.put((2,))


@pytest.mark.parametrize("items", [queue.Queue(), queue.SimpleQueue()], ids=["Queue", "SimpleQueue"])
def test_queues_that_cannot_wait_are_refused(items: Any) -> None:
    with pytest.raises(PlanError, match=r"Queue forgets a row when it is read.*use st.Queue"):
        logged(QueueSource(items, SCHEMA), PowerCutDisk())


def test_an_iterator_that_raises_is_an_error_behind_its_rows() -> None:
    def broken() -> Iterator[tuple[int]]:
        yield (1,)
        raise ValueError("dry")

    disk = PowerCutDisk()
    with pytest.raises(ConnectorError, match="dry"):
        rest(logged(RowsSource(broken(), SCHEMA), disk))
    assert values(rest(logged(RowsSource(iter([(2,)]), SCHEMA), disk.after_kill()))) == [1, 2]


@settings(max_examples=examples(30))
@given(steps=hs.lists(hs.sampled_from(["row", "rows", "bad", "crash", "decide"]), max_size=25))
def test_whatever_happens_every_acknowledged_row_comes_once(steps: list[str]) -> None:
    disk, count = PowerCutDisk(), 0
    seen: list[int] = []
    offset: Offset = None
    items, reading = Queue(), None
    for step in [*steps, "crash"]:
        reading = Reading(items, disk, offset) if reading is None else reading
        match step:
            case "row" | "bad":
                items.put((count,) if step == "row" else ("bad",), timeout=10)
                count += step == "row"
            case "rows":
                items.put_many([(count + number,) for number in range(5)], timeout=10)
                count += 5
            case "decide" | "crash":
                chunks = reading.stop()
                decided = chunks[: len(chunks) // 2] if step == "crash" else chunks
                if decided:
                    seen += values(decided)
                    offset = decided[-1].next_offset
                disk, items, reading = disk.after_kill(), Queue(), None
    seen += values(rest(logged(QueueSource(_ended(), SCHEMA), disk.after_kill()), offset))
    assert seen == list(range(count))


def _ended() -> Queue:
    items = Queue()
    items.put(END)
    return items


@settings(max_examples=examples(40))
@given(frame=schemas().flatmap(frames), next_offset=hs.recursive(JSON, nested, max_leaves=5))
def test_a_chunk_comes_back_from_its_bytes(frame: pl.DataFrame, next_offset: Offset) -> None:
    bad = [BadRow(None, "syntax", "", b"\x00\xff"), BadRow(2**62, "type", "no \ud7ff row", b"")]
    chunk = Chunk(frame, next_offset, lambda: np.arange(frame.height) - 5, bad)
    record = decoded(encoded("a split", chunk))
    back = record.chunk(frame.schema, record.next_offset)
    assert record.split == "a split"
    assert back.next_offset == next_offset
    assert_frame_equal(back.frame, frame)
    assert back.frame.schema == frame.schema
    assert list(back.rejected) == bad
    assert back.offsets is not None
    assert back.offsets().tolist() == [at - 5 for at in range(frame.height)]
