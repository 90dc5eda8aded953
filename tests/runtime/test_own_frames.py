"""No frame object is in the hands of two threads.

Polars locks a frame object while it writes it to a Python file, and needs the interpreter's lock for that; whoever asks
the same object for its height meanwhile has the interpreter's lock and waits for the other one. The process stands
still then, its main thread included.
"""

from queue import SimpleQueue
from typing import Any

import polars as pl

from streame.core.messages import Batch
from streame.io.queues import QueueSink
from streame.io.rows import FramesSource
from streame.runtime.channel import Inbox
from streame.runtime.outputs import ChannelOutput
from streame.runtime.partition import Partitioner

FRAME = pl.DataFrame({"k": [1, 1], "v": [1, 2]})


def received(output: ChannelOutput, inboxes: list[Inbox]) -> list[pl.DataFrame]:
    output.send(Batch(FRAME))
    taken = [inbox.take(0) for inbox in inboxes]
    return [each[1].frame for each in taken if each is not None and isinstance(each[1], Batch)]


def test_each_receiver_has_its_own() -> None:
    inbox = Inbox([0], [None])
    (alone,) = received(ChannelOutput([(inbox, 0)]), [inbox])
    assert alone is not FRAME
    assert alone.equals(FRAME)
    inboxes = [Inbox([0], [None]), Inbox([0], [None])]
    shared = ChannelOutput([(each, 0) for each in inboxes], Partitioner(pl.Schema({"k": pl.Int64()}), 2))
    (alone,) = received(shared, inboxes)  # all rows have one key
    assert alone is not FRAME
    assert alone.equals(FRAME)


def test_a_source_does_not_hand_out_the_frames_of_its_user() -> None:
    (chunk,) = [chunk for chunk in FramesSource([FRAME]).read("frames", None) if chunk is not None]
    assert chunk.frame is not FRAME


def test_a_queue_does_not_hand_out_the_frames_of_the_engine() -> None:
    queue: SimpleQueue[Any] = SimpleQueue()
    sink = QueueSink(queue, as_frames=True)
    sink.open(FRAME.schema)
    sink.write(FRAME)
    assert queue.get() is not FRAME
