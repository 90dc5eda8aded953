"""A TCP proxy on this machine whose network is as bad as a test says: slow, stuck, cut off, reset, refusing, damaged."""

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from streame.testing.lines import CLEAR, Line
from streame.testing.proxied_connection import ProxiedConnection, end_with_reset

Direction = Literal["there", "back", "both"]
"""From those who connect to the target, from the target to them, or both."""

CLOSE_S = 5.0
BACKLOG = 256

Result = TypeVar("Result")


class TcpProxy:
    """Passes connections on to a target, and does to them what it is told, while they are open.

    It works in a thread of its own, and every method takes effect before it returns. What is random comes from a seed:
    the same bytes in the same chunks meet the same fate.

    Args:
        target_host: to whom connections are passed on.
        target_port: and where it listens.
        seed: of what is random.
    """

    def __init__(self, target_host: str, target_port: int, *, seed: int = 0) -> None:
        self.host = "127.0.0.1"
        self._target = (target_host, target_port)
        self._seed = seed
        self._lines: dict[str, Line] = {"there": CLEAR, "back": CLEAR}
        self._connections: set[ProxiedConnection] = set()
        self._accepted = 0
        self._resets_new = False
        self._listener: socket.socket | None = None
        self._held_port = _bound(0)  # it never listens: while the proxy refuses nobody else gets the port
        self.port: int = self._held_port.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy {self.port}", daemon=True)
        self._thread.start()
        self._do(self._listen)

    @property
    def address(self) -> str:
        """Where it listens, `HOST:PORT`."""
        return f"{self.host}:{self.port}"

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return self._do(lambda: len(self._connections))

    def held_bytes(self, direction: Direction = "both") -> int:
        """How many bytes are under way, or stuck."""
        return self._do(
            lambda: sum(
                way.held_bytes
                for each in self._connections
                for way in each.ways
                if _covers(direction, way.name)
            )
        )

    def set(self, line: Line, direction: Direction = "both") -> None:
        """What happens from now on."""
        self._change(direction, lambda _: line)

    def delay(self, seconds: float, jitter_s: float = 0.0, direction: Direction = "both") -> None:
        """Let bytes take that long, and up to `jitter_s` longer."""
        self._change(direction, lambda line: replace(line, delay_s=seconds, jitter_s=jitter_s))

    def throttle(self, bytes_per_s: float, direction: Direction = "both") -> None:
        """Let no more than that pass in a second, in each connection."""
        self._change(direction, lambda line: replace(line, bytes_per_s=bytes_per_s))

    def lose(self, share: float, direction: Direction = "both") -> None:
        """Let that share of chunks get lost; TCP hides it, and what is left to see is a stop of 200 ms."""
        self._change(direction, lambda line: replace(line, loss=share))

    def corrupt(self, share: float = 1.0, direction: Direction = "both") -> None:
        """Turn over one bit in that share of chunks."""
        self._change(direction, lambda line: replace(line, corruption=share))

    def stall(self, direction: Direction = "both", for_s: float | None = None) -> None:
        """Hold everything back until `release`, or for so long; nothing is lost."""
        self._change(direction, lambda line: replace(line, is_stalled=True))
        if for_s is not None:
            self._do(lambda: self._loop.call_later(for_s, self._set, direction, _released))

    def release(self, direction: Direction = "both") -> None:
        """Deliver what was held back, and pass on what comes."""
        self._change(direction, _released)

    def cut(self, direction: Direction = "both") -> None:
        """Throw away what comes from now on, ends of connections too, as when the net is parted.

        Who connects meanwhile is accepted and hears nothing: that a system on this machine answers a call cannot be
        prevented. A connection that has lost something stays mute when the net is whole again; one to which nothing
        happened goes on. For a net that comes back before TCP has given up, use `stall`.
        """
        self._change(direction, lambda line: replace(line, is_cut=True))

    def reset(self, *, new_too: bool = False) -> None:
        """End all connections with a reset, which both ends see at once.

        Args:
            new_too: do that to new ones too, until `heal`.
        """
        self._wait(self._reset(new_too))

    def refuse(self) -> None:
        """Let nobody connect until `heal`; connections that are open stay so."""
        self._do(self._hang_up)

    def heal(self) -> None:
        """Be a good net again."""
        self._do(self._heal)

    def close(self) -> None:
        """Reset all connections and listen no more; within five seconds."""
        if self._loop.is_closed():
            return
        self._wait(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_S)
        self._loop.close()
        self._held_port.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _do(self, action: Callable[[], Result]) -> Result:
        """Do something in the proxy's thread, and wait for it."""

        async def done() -> Result:
            return action()

        return self._wait(done())

    def _wait(self, action: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(action, self._loop).result(CLOSE_S)

    def _change(self, direction: Direction, change: Callable[[Line], Line]) -> None:
        self._do(lambda: self._set(direction, change))

    def _set(self, direction: Direction, change: Callable[[Line], Line]) -> None:
        for name in self._lines:
            if _covers(direction, name):
                self._lines[name] = change(self._lines[name])
        for connection in self._connections:
            connection.changed()

    async def _reset(self, new_too: bool) -> None:
        self._resets_new |= new_too
        ending = list(self._connections)
        for connection in ending:
            connection.reset()
        await asyncio.gather(*(each.task for each in ending), return_exceptions=True)

    def _heal(self) -> None:
        self._resets_new = False
        self._set("both", lambda _: CLEAR)
        self._listen()

    def _listen(self) -> None:
        if self._listener is None:
            self._listener = _bound(self.port)
            self._listener.listen(BACKLOG)
            self._loop.add_reader(self._listener, self._accept, self._listener)

    def _hang_up(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def _accept(self, listener: socket.socket) -> None:
        """Take one connection; a task that waits for one could be cancelled when it has it, and forget it."""
        with suppress(BlockingIOError, ConnectionAbortedError):
            accepted, _ = listener.accept()
            if self._resets_new:
                end_with_reset(accepted)
                accepted.close()
            else:
                self._pass_on(accepted)

    def _pass_on(self, accepted: socket.socket) -> None:
        self._accepted += 1
        seed = f"{self._seed}/{self._accepted}"
        connection = ProxiedConnection(accepted, self._target, self._lines, seed, self._loop)
        self._connections.add(connection)
        connection.task.add_done_callback(lambda _: self._connections.discard(connection))

    async def _shut(self) -> None:
        self._hang_up()
        await self._reset(new_too=True)


def _covers(direction: Direction, name: str) -> bool:
    return direction in {"both", name}


def _released(line: Line) -> Line:
    return replace(line, is_stalled=False)


def _bound(port: int) -> socket.socket:
    """A socket with an address, which others of this proxy may have as well."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.setblocking(False)
    made.bind(("127.0.0.1", port))
    return made
