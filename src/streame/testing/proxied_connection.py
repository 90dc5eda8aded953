"""A connection that a proxy passes on: chunks are taken in at one end, and delivered at the other when it is time."""

import asyncio
import random
import socket
import struct
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from streame.testing.lines import Line, Passage

SOCKET_BYTES = 256 * 1024
"""What the system may hold of a connection that is not taken in; sockets that grow would hide a stall for megabytes."""


class ProxiedConnection:
    """A connection of two sockets: one was accepted, the other goes to the target."""

    def __init__(
        self,
        accepted: socket.socket,
        target: tuple[str, int],
        lines: dict[str, Line],
        seed: str,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._target = target
        self._loop = loop
        self._near, self._far = accepted, socket.socket()
        for each in (self._near, self._far):
            _prepare(each)
        self._there = Way("there", self._near, self._far, lines, seed, loop)
        self._back = Way("back", self._far, self._near, lines, seed, loop)
        self._there.opposite, self._back.opposite = self._back, self._there
        self.ways = (self._there, self._back)
        self._tasks: list[asyncio.Task[None]] = []
        self._is_ending = False
        self.task = loop.create_task(self._run())
        self.task.add_done_callback(self._close)

    def changed(self) -> None:
        """What happens to bytes is another now."""
        for way in self.ways:
            way.wake.set()
            way.room.set()

    def reset(self) -> None:
        """End it for both ends at once."""
        if not self._is_ending:
            self._is_ending = True
            self.task.cancel()

    async def _run(self) -> None:
        there, back = self._there, self._back
        try:
            there.taking = self._task(there.take_in())
            while there.line.is_stalled and not there.line.is_cut:
                there.wake.clear()
                await there.wake.wait()
            there.is_mute |= there.line.is_cut
            if there.is_mute:  # the call itself is lost: the target never hears of it
                await there.taking
                return
            await self._loop.sock_connect(self._far, self._target)
            back.taking = self._task(back.take_in())
            await asyncio.gather(self._task(there.deliver()), self._task(back.deliver()))
        finally:
            self._is_ending = True
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        self._tasks.append(self._loop.create_task(work))
        return self._tasks[-1]

    def _close(self, ended: asyncio.Task[None]) -> None:
        """Close the sockets behind the tasks that used them: with a reset, if it was no end in order."""
        error = None if ended.cancelled() else ended.exception()
        for each in (self._near, self._far):
            if ended.cancelled() or error is not None:
                end_with_reset(each)
            each.close()
        if error is not None and not isinstance(error, OSError):
            raise error


class Way:
    """One direction of a connection: chunks are taken in at one end and delivered at the other when it is time."""

    opposite: "Way"

    def __init__(
        self,
        name: str,
        source: socket.socket,
        target: socket.socket,
        lines: dict[str, Line],
        seed: str,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.name = name
        self.wake, self.room = asyncio.Event(), asyncio.Event()
        self.is_mute, self.is_over = False, False
        self.held_bytes = 0
        self.taking: asyncio.Task[None] | None = None
        self._source, self._target = source, target
        self._lines = lines
        self._passage = Passage(random.Random(f"{seed}/{name}"))  # noqa: S311 - it is to come again
        self._loop = loop
        self._held: deque[tuple[float, bytes | None]] = deque()  # nothing: the end; `None`: a reset

    @property
    def line(self) -> Line:
        """What happens to bytes now."""
        return self._lines[self.name]

    def put(self, chunk: bytes | None) -> None:
        """Send a chunk, an end or a reset on its way."""
        self.is_mute |= self.line.is_cut
        size = len(chunk or b"")
        if not self.is_mute:
            self._held.append((self._passage.arrival_s(self.line, size, self._loop.time()), chunk))
            self.held_bytes += size
        self.wake.set()

    async def take_in(self) -> None:
        """Take in what comes, to its end."""
        chunk: bytes | None = b"more"
        while chunk:
            while self.held_bytes >= self.line.held_bytes_max:
                self.room.clear()
                await self.room.wait()
            try:
                chunk = await self._loop.sock_recv(self._source, self.line.chunk_bytes)
            except OSError:
                chunk = None
            self.put(chunk)
        self._loop.call_soon(self.wake.set)  # `deliver` looks whether this has ended

    async def deliver(self) -> None:
        """Deliver what was taken in, to its end; a way that is mute ends when its source has gone.

        Raises:
            ConnectionResetError: one end has reset the connection, and the other is to see that now.
        """
        while (chunk := await self._due()) is not None:
            self.room.set()
            try:
                if chunk:
                    await self._loop.sock_sendall(self._target, self._passage.arrived(self.line, chunk))
                else:
                    self._target.shutdown(socket.SHUT_WR)
                    break
            except OSError:
                self._lost()
        self.is_over = True

    async def _due(self) -> bytes | None:
        """The next chunk, when it is time for it; `None` when nothing will be delivered any more."""
        while (pause_s := self._pause_s()) != 0:
            if not self._held and self.is_mute and self.taking is not None and self.taking.done():
                return None
            self.wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self.wake.wait()
        _, chunk = self._held.popleft()
        if chunk is None:
            raise ConnectionResetError
        self.held_bytes -= len(chunk)
        return chunk

    def _lost(self) -> None:
        """The target has gone. Its source hears that on the other way, if that is not cut."""
        self.is_mute = True
        self._held.clear()
        self.held_bytes = 0
        if not self.opposite.is_over:
            self.opposite.put(None)
        elif not self.opposite.line.is_cut:
            raise ConnectionResetError

    def _pause_s(self) -> float | None:
        """How long until the next chunk is due; `None` when that cannot be told."""
        if not self._held or self.line.is_stalled:
            return None
        return max(0.0, self._held[0][0] - self._loop.time())


def _prepare(connection: socket.socket) -> None:
    connection.setblocking(False)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        connection.setsockopt(socket.SOL_SOCKET, buffer, SOCKET_BYTES)


def end_with_reset(connection: socket.socket) -> None:
    """Let the end of a connection be a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
