"""What waits to be sent on one stream: frames in order, and what goes before them because others wait for it."""

import threading
from collections import deque
from collections.abc import Callable, Iterator

from streame.cluster.frames import Attempt, Credit, Ping, Pong, Unread, pack

TOGETHER_BYTES = 1024 * 1024
"""How many bytes several frames have together at most, in one message."""

INTERVAL_S = 0.02
"""So long after a message the next one goes at the earliest, so that frames gather for it meanwhile."""


class Outgoing:
    """The frames of one stream, from many threads to the one that sends them.

    Frames with rows are bounded by the credits of their channels, as far as these have a limit. Pings, their answers and
    credits are kept as what there is to say, so that there is never more than one of each.

    Args:
        attempt: that of the frames.
        clock_s: seconds that never go back.
    """

    def __init__(self, attempt: Attempt, clock_s: Callable[[], float]) -> None:
        self._attempt = attempt
        self._clock_s = clock_s
        self._ordered: deque[bytes] = deque()
        self._waiting = 0
        self._gathering = False
        self._sent_s = 0.0
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
                self._waiting += len(frame)
                if not self._gathering or self._waiting >= TOGETHER_BYTES:
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
            self._waiting = 0
            self._changed.notify()

    def messages(self) -> Iterator[bytes]:
        """What is sent, until there will be no more; waits for each. One thread calls it, once.

        Frames that wait go together: a message costs a tenth of a millisecond on both sides, however small it is. One that
        would follow another at once waits a moment for more.
        """
        while (frames := self._next()) is not None:
            yield frames[0] if len(frames) == 1 else b"".join(frames)
            self._sent_s = self._clock_s()

    def _next(self) -> list[bytes] | None:
        with self._changed:
            while not self._stopped:
                frames = self._urgent()
                if frames or self._ordered:
                    wait_s = self._sent_s + INTERVAL_S - self._clock_s()
                    if frames or self._finished or wait_s <= 0 or self._waiting >= TOGETHER_BYTES:
                        return frames + self._together()
                    self._gathering = True
                    self._changed.wait(wait_s)
                    self._gathering = False
                elif self._finished:
                    return None
                else:
                    self._changed.wait()
            return None

    def _together(self) -> list[bytes]:
        """The frames that go in one message: one, or as many as are small enough."""
        frames: list[bytes] = []
        size = 0
        while self._ordered and (not frames or size + len(self._ordered[0]) <= TOGETHER_BYTES):
            frames.append(self._ordered.popleft())
            size += len(frames[-1])
        self._waiting -= size
        return frames

    def _urgent(self) -> list[bytes]:
        """What does not wait for anything, since the peer waits for it."""
        attempt = self._attempt
        frames: list[bytes] = []
        if self._pong is not None:
            frames.append(pack(Pong(attempt, self._pong)))
        if self._ping is not None:
            frames.append(pack(Ping(attempt, self._ping)))
        frames += [pack(Credit(attempt, *each)) for each in self._credits.items()]
        frames += [pack(Unread(attempt, channel)) for channel in self._unread]
        self._pong = self._ping = None
        self._credits.clear()
        self._unread.clear()
        return frames
