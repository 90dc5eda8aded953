"""Queues as source and sink."""

import asyncio
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from streame.errors import ConnectorError, PlanError
from streame.io.durable_queue import END
from streame.io.queues import QueueSink, QueueSource
from streame.io.source import Chunk

ORDERS = pl.Schema({"user": pl.String, "qty": pl.Int64})
FRAME = pl.DataFrame({"user": ["ann", "bob"], "qty": [1, None]}, schema=ORDERS)
DICTS = [{"user": "ann", "qty": 1}, {"user": "bob", "qty": None}]


@dataclass
class Order:
    user: str
    qty: int


def drain(source: QueueSource, offset: Any = None) -> list[Chunk]:
    return [chunk for chunk in source.read("queue", offset) if chunk is not None]


@pytest.fixture(params=[queue.Queue, queue.SimpleQueue, queue.LifoQueue])
def items(request: pytest.FixtureRequest) -> "queue.Queue[Any]":
    made: queue.Queue[Any] = request.param()
    return made


def test_rows_up_to_the_end() -> None:
    items: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for item in ({"user": "ann"}, ("bob", 2), Order("cid", 3), END, ("dan", 4)):
        items.put(item)
    (chunk,) = drain(QueueSource(items, ORDERS))
    assert chunk.frame.rows() == [("ann", None), ("bob", 2), ("cid", 3)]
    assert chunk.next_offset == 3
    assert items.get() == ("dan", 4)


def test_an_item_that_is_no_row_is_a_bad_row() -> None:
    items: queue.Queue[Any] = queue.Queue()
    for item in (("ann", 1), 5, None, FRAME, ("bob", 2), END):
        items.put(item)
    (chunk,) = drain(QueueSource(items, ORDERS), offset=10)
    assert chunk.frame.rows() == [("ann", 1), ("bob", 2)]
    assert [(bad.offset, bad.kind) for bad in chunk.rejected] == [(11, "type"), (12, "type"), (13, "type")]
    assert chunk.rejected[0].raw == b"5"
    assert b"shape: (2, 2)" in chunk.rejected[2].raw


def test_required_columns() -> None:
    items: queue.Queue[Any] = queue.Queue()
    items.put({"user": "ann"})
    items.put(END)
    (chunk,) = drain(QueueSource(items, ORDERS, required=["qty"]))
    assert [bad.kind for bad in chunk.rejected] == ["null"]


def test_an_empty_queue_says_that_nothing_is_there() -> None:
    items: queue.Queue[Any] = queue.Queue()
    steps = QueueSource(items, ORDERS).read("queue", None)
    assert next(steps) is None
    items.put(("ann", 1))
    chunk = next(steps)
    assert chunk is not None
    assert chunk.frame.rows() == [("ann", 1)]
    items.put(END)
    assert list(steps) == []


def test_what_waits_is_handed_over_together_within_bounds() -> None:
    items: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for number in range(70_000):
        items.put(("ann", number))
    items.put(END)
    chunks = drain(QueueSource(items, ORDERS))
    assert [chunk.frame.height for chunk in chunks] == [65_536, 70_000 - 65_536]
    assert chunks[1].offsets is not None
    assert chunks[1].offsets()[0] == 65_536


@pytest.mark.parametrize("thing", [[], 5, None], ids=str)
def test_things_that_are_no_queue(thing: Any) -> None:
    with pytest.raises(PlanError, match="where a queue is needed"):
        QueueSource(thing, ORDERS)
    with pytest.raises(PlanError, match="where a queue is needed"):
        QueueSink(thing)


def test_asyncio_queue_needs_its_loop() -> None:
    with pytest.raises(PlanError, match="inside a coroutine"):
        QueueSource(asyncio.Queue(), ORDERS)
    with pytest.raises(PlanError, match="inside a coroutine"):
        QueueSink(asyncio.Queue())


def test_asyncio_queue_as_source() -> None:
    async def main() -> list[Chunk]:
        items: asyncio.Queue[Any] = asyncio.Queue()
        reading = asyncio.create_task(asyncio.to_thread(drain, QueueSource(items, ORDERS)))
        for number in range(1_000):
            await items.put(("ann", number))
        await items.put(END)
        return await reading

    chunks = asyncio.run(main())
    assert pl.concat(chunk.frame for chunk in chunks)["qty"].to_list() == list(range(1_000))


def test_asyncio_queue_that_is_empty_and_one_whose_loop_is_gone() -> None:
    async def main() -> Iterator[Chunk | None]:
        steps = QueueSource(asyncio.Queue(), ORDERS).read("queue", None)
        assert await asyncio.to_thread(next, steps) is None
        return steps

    steps = asyncio.run(main())
    with pytest.raises(ConnectorError, match="event loop"):
        next(steps)


def test_rows_and_the_end_are_put(items: "queue.Queue[Any]") -> None:
    sink = QueueSink(items)
    sink.open(ORDERS)
    sink.write(FRAME)
    sink.close()
    got = [items.get() for _ in range(3)]
    assert (got if got[-1] is END else got[::-1]) == [*DICTS, END]


def test_frames_without_an_end() -> None:
    items: queue.Queue[Any] = queue.Queue()
    sink = QueueSink(items, as_frames=True, end=False)
    sink.open(ORDERS)
    sink.write(FRAME)
    sink.close()
    assert_frame_equal(items.get_nowait(), FRAME)
    assert items.empty()


def test_a_full_queue_holds_the_writer_up_and_loses_nothing() -> None:
    items: queue.Queue[Any] = queue.Queue(maxsize=10)
    frame = pl.DataFrame({"user": "ann", "qty": range(1_000)}, schema=ORDERS)

    def fill() -> None:
        sink = QueueSink(items)
        sink.open(ORDERS)
        sink.write(frame)
        sink.close()

    filling = threading.Thread(target=fill)
    filling.start()
    got = list(iter(items.get, END))
    filling.join(10)
    assert [row["qty"] for row in got] == list(range(1_000))


def test_interrupting_frees_a_writer_that_waits_for_room() -> None:
    items: queue.Queue[Any] = queue.Queue(maxsize=1)
    sink = QueueSink(items)
    sink.open(ORDERS)
    writing = threading.Thread(target=sink.write, args=(FRAME,), daemon=True)
    writing.start()
    sink.interrupt()
    writing.join(10)
    assert not writing.is_alive()
    assert items.qsize() <= 1


def test_asyncio_queue_as_sink_with_back_pressure() -> None:
    async def main() -> list[Any]:
        items: asyncio.Queue[Any] = asyncio.Queue(maxsize=1)
        sink = QueueSink(items)
        sink.open(ORDERS)

        def fill() -> None:
            sink.write(FRAME)
            sink.close()

        filling = asyncio.create_task(asyncio.to_thread(fill))
        got = [await items.get() for _ in range(3)]
        await filling
        return got

    assert asyncio.run(main()) == [*DICTS, END]


def test_interrupting_frees_a_writer_to_a_full_asyncio_queue() -> None:
    async def main() -> int:
        items: asyncio.Queue[Any] = asyncio.Queue(maxsize=1)
        sink = QueueSink(items)
        sink.open(ORDERS)
        writing = asyncio.create_task(asyncio.to_thread(sink.write, FRAME))
        assert await items.get() == DICTS[0]
        sink.interrupt()
        await writing
        return items.qsize()

    assert asyncio.run(main()) <= 1


def test_the_end_has_a_name() -> None:
    assert repr(END) == "streame.END"
