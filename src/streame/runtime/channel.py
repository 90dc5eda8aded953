"""Bounded channels: how batches get from one task to another, and how a slow one holds back a fast one."""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from streame.core.messages import Barrier, Batch, EndOfStream, Message, SplitStatus, Watermark


@dataclass(frozen=True, slots=True)
class ChannelLimits:
    """How much may wait in one channel. One batch is always let in, however large.

    Args:
        rows: number of rows.
        bytes: estimated size in memory.
    """

    rows: int
    bytes: int


class Entrance(Protocol):
    """Where messages for a task go in: its inbox, or a channel to another process where that is."""

    @property
    def closed(self) -> bool:
        """Whether nobody reads any more."""

    def put(self, channel: int, message: Message) -> None:
        """Add a message; blocks while the channel is full. Does nothing once nobody reads."""


class Inbox:
    """The channels that end in one task. Each has its own bound, so that a full one does not stop another.

    Args:
        ports: the input port of each channel; a channel is known by its index here.
        limits: the bound of each channel; `None` for no bound.
    """

    def __init__(self, ports: Sequence[int], limits: Sequence[ChannelLimits | None]) -> None:
        self.ports = tuple(ports)
        self._limits = tuple(limits)
        self._queues: list[deque[Message]] = [deque() for _ in ports]
        self._rows = [0] * len(ports)
        self._bytes = [0] * len(ports)
        self._held: set[int] = set()
        self._blocked: set[int] = set()
        self._next = 0
        self._closed = False
        lock = threading.Lock()
        self._filled = threading.Condition(lock)
        self._drained = threading.Condition(lock)

    @property
    def closed(self) -> bool:
        """Whether nobody reads any more."""
        return self._closed

    def put(self, channel: int, message: Message) -> None:
        """Add a message; blocks while the channel is full. Does nothing once the inbox is closed."""
        rows, size = _extent(message)
        with self._drained:
            while not self._closed and self._is_full(channel):
                self._drained.wait()
            if self._closed:
                return
            self._queues[channel].append(message)
            self._rows[channel] += rows
            self._bytes[channel] += size
            self._filled.notify()

    def take(self, timeout_s: float | None) -> tuple[int, Message] | None:
        """The next channel and message, channels in turn; `None` when none came in time or it was closed.

        Args:
            timeout_s: how long to wait; `None` for ever, 0 not at all.
        """
        with self._filled:
            channel = self._ready()
            if channel is None and timeout_s != 0:
                self._filled.wait_for(lambda: self._closed or self._ready() is not None, timeout_s)
                channel = self._ready()
            if channel is None or self._closed:
                return None
            message = self._queues[channel].popleft()
            rows, size = _extent(message)
            self._rows[channel] -= rows
            self._bytes[channel] -= size
            self._next = (channel + 1) % len(self._queues)
            self._drained.notify_all()
            return channel, message

    def hold(self, port: int) -> None:
        """Leave the channels of a port unread."""
        self._held.add(port)

    def release(self, port: int) -> None:
        """Read the channels of a port again."""
        self._held.discard(port)

    def block(self, channel: int) -> None:
        """Leave one channel unread, until `unblock`."""
        self._blocked.add(channel)

    def unblock(self) -> None:
        """Read all channels again."""
        self._blocked.clear()

    @property
    def held_ports(self) -> frozenset[int]:
        """The ports that are left unread."""
        return frozenset(self._held)

    @property
    def is_held(self) -> bool:
        """Whether a port is left unread."""
        return bool(self._held)

    def close(self) -> None:
        """Nobody reads any more: wake whoever waits, and drop what is there and what still comes."""
        with self._filled:
            self._closed = True
            for queue in self._queues:
                queue.clear()
            self._filled.notify_all()
            self._drained.notify_all()

    def _is_full(self, channel: int) -> bool:
        limits = self._limits[channel]
        if limits is None or not self._queues[channel]:
            return False
        return self._rows[channel] >= limits.rows or self._bytes[channel] >= limits.bytes

    def _ready(self) -> int | None:
        count = len(self._queues)
        for step in range(count):
            channel = (self._next + step) % count
            if (
                self._queues[channel]
                and channel not in self._blocked
                and self.ports[channel] not in self._held
            ):
                return channel
        return None


def _extent(message: Message) -> tuple[int, int]:
    match message:
        case Batch(frame=frame):
            return frame.height, int(frame.estimated_size())
        case Watermark() | SplitStatus() | Barrier() | EndOfStream():
            return 0, 0
