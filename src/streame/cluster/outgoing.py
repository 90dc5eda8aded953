"""What waits to be sent on one stream: frames in order, and what goes before them because others wait for it."""

import threading
from collections import deque
from collections.abc import Iterator

from streame.cluster.frames import Attempt, Credit, Ping, Pong, Unread, pack

TOGETHER_BYTES = 64 * 1024
"""How many bytes small frames have together at most, in one message."""


class Outgoing:
    """The frames of one stream, from many threads to the one that sends them.

    Frames with rows are bounded by the credits of their channels. Pings, their answers and credits are kept as what there is
    to say, so that there is never more than one of each.

    Args:
        attempt: that of the frames.
    """

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._ordered: deque[bytes] = deque()
        self._ping: int | None = None
        self._pong: int | None = None
        self._credits: dict[int, int] = {}
        self._unread: dict[int, None] = {}
        self._finished = False
        self._stopped = False
        self._changed = threading.Condition()

    def add(self, frame: bytes) -> None:
        """Send a frame behind those that wait."""
        with self._changed:
            if not self._stopped:
                self._ordered.append(frame)
                self._changed.notify()

    def ping(self, number: int) -> None:
        """Ask whether the peer is there."""
        with self._changed:
            self._ping = number
            self._changed.notify()

    def pong(self, number: int) -> None:
        """Answer the peer's last ping."""
        with self._changed:
            self._pong = number
            self._changed.notify()

    def credit(self, channel: int, size: int) -> None:
        """Tell the sender of a channel that it may send more."""
        with self._changed:
            self._credits[channel] = self._credits.get(channel, 0) + size
            self._changed.notify()

    def unread(self, channel: int) -> None:
        """Tell the sender of a channel that nobody reads it."""
        with self._changed:
            self._unread[channel] = None
            self._changed.notify()

    def finish(self) -> None:
        """Send what waits, then end."""
        with self._changed:
            self._finished = True
            self._changed.notify()

    def stop(self) -> None:
        """End at once."""
        with self._changed:
            self._stopped = True
            self._ordered.clear()
            self._changed.notify()

    def messages(self) -> Iterator[bytes]:
        """What is sent, until there will be no more; waits for each. One thread calls it, once.

        Small frames that wait go together: a message costs a tenth of a millisecond, however small it is.
        """
        while (message := self._next()) is not None:
            yield message

    def _next(self) -> bytes | None:
        with self._changed:
            while not self._stopped:
                if (frame := self._urgent()) is not None:
                    return frame
                if self._ordered:
                    return self._together()
                if self._finished:
                    return None
                self._changed.wait()
            return None

    def _together(self) -> bytes:
        first = self._ordered.popleft()
        size = len(first)
        if size >= TOGETHER_BYTES or not self._ordered:
            return first
        frames = [first]
        while self._ordered and (size := size + len(self._ordered[0])) <= TOGETHER_BYTES:
            frames.append(self._ordered.popleft())
        return b"".join(frames)

    def _urgent(self) -> bytes | None:
        attempt = self._attempt
        if self._pong is not None:
            number, self._pong = self._pong, None
            return pack(Pong(attempt, number))
        if self._ping is not None:
            number, self._ping = self._ping, None
            return pack(Ping(attempt, number))
        if self._credits:
            channel, size = self._credits.popitem()
            return pack(Credit(attempt, channel, size))
        if self._unread:
            channel, _ = self._unread.popitem()
            return pack(Unread(attempt, channel))
        return None
