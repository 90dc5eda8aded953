"""The rules of a stream between two nodes: numbers in order, credits, and when a peer counts as lost. No I/O, no threads."""

from streame.cluster.frames import Attempt, Frame, FrameRefused, Numbered

CREDIT_BYTES = 4 * 4 * 1024 * 1024
"""How much may be under way or wait unread in one channel."""

NO_LIMIT_BYTES = 2**62
"""The same for a channel whose receiver keeps all that comes, however much it is."""

_TOLD_TOGETHER = 8
"""Consumed bytes are told once they are this part of the window; a sender never needs the last part to go on."""

CHARGE_MIN = 4096
"""What a batch costs at least, however small its frame: about what its object takes in memory."""

PING_S = 0.5
MISSED_MAX = 3
"""A peer that was not heard for so many pings is lost."""

MISSED_FIRST = 24
"""So is one that was not heard for so many from the beginning."""


def charge(frame_bytes: int, body_bytes: int) -> int:
    """What a frame with rows takes of the credit of its channel.

    Args:
        frame_bytes: its length.
        body_bytes: what its body stands for: rows wait in memory as wide as they are.
    """
    return max(frame_bytes, body_bytes, CHARGE_MIN)


def _needed(cost: int, size: int) -> int:
    """How much of a window must be free for a frame: one that is too large goes when all but what is owed is free."""
    return min(cost, size - size // _TOLD_TOGETHER)


class SequenceCheck:
    """What a receiver takes of its peer: frames of its own attempt, on each channel the next number.

    There is no repetition within an attempt: the stream keeps the order, and whatever is missing or comes twice means that
    this attempt cannot be right any more.

    Args:
        attempt: that of the receiver.
    """

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._last: dict[int, int] = {}
        self._ended: set[int] = set()

    def check_attempt(self, frame: Frame) -> None:
        """Refuse a frame of another attempt.

        Raises:
            FrameRefused: when it is of one.
        """
        if frame.attempt != self._attempt:
            raise FrameRefused(
                f"a frame of attempt {frame.attempt} came where attempt {self._attempt} runs; the node that sent it must "
                "join the new attempt"
            )

    def open(self, channel: int) -> None:
        """A channel begins.

        Raises:
            FrameRefused: when it has begun before.
        """
        if channel in self._last:
            raise FrameRefused(f"channel {channel} was opened twice")
        self._last[channel] = 0

    def take(self, frame: Numbered) -> None:
        """The next frame of a channel.

        Raises:
            FrameRefused: when it is not the next one.
        """
        last = self._last.get(frame.channel)
        if last is None:
            raise FrameRefused(
                f"a frame {type(frame).__name__} came on channel {frame.channel}, which is not open"
            )
        if frame.channel in self._ended:
            raise FrameRefused(f"frame {frame.seq} came on channel {frame.channel} after its end")
        if frame.seq != last + 1:
            raise FrameRefused(f"frame {frame.seq} came on channel {frame.channel} behind frame {last}")
        self._last[frame.channel] = frame.seq

    def end(self, channel: int) -> None:
        """The frame that was just taken is the last one of its channel."""
        self._ended.add(channel)

    @property
    def unended(self) -> list[int]:
        """The channels that have begun and not ended."""
        return sorted(self._last.keys() - self._ended)


class Window:
    """What a sender may still send on a channel.

    Args:
        size: how much may be under way.
    """

    def __init__(self, size: int = CREDIT_BYTES) -> None:
        self._size = size
        self._left = size

    def has(self, cost: int) -> bool:
        """Whether so much may be sent now."""
        return not cost or self._left >= _needed(cost, self._size)

    def take(self, cost: int) -> None:
        """So much is sent; it was asked for before."""
        assert self.has(cost), (self._left, cost)
        self._left -= cost

    def give_back(self, cost: int) -> None:
        """The receiver has consumed so much.

        Raises:
            FrameRefused: when it was never sent.
        """
        if self._left + cost > self._size:
            raise FrameRefused(
                f"a credit of {cost:,} bytes came back, of which only {self._size - self._left:,} were used"
            )
        self._left += cost


class Returns:
    """What a receiver owes the sender of a channel; told in larger sums, so that small batches need no answer each.

    Args:
        size: how much may be under way.
    """

    def __init__(self, size: int = CREDIT_BYTES) -> None:
        self._size = size
        self._held = 0
        self._owed = 0

    def arrived(self, cost: int) -> None:
        """Rows have come.

        Raises:
            FrameRefused: when the sender had no credit for them.
        """
        if self._held + _needed(cost, self._size) > self._size:
            raise FrameRefused(
                f"rows of {cost:,} bytes came while {self._held:,} of {self._size:,} bytes were not consumed yet: the sender "
                "has no credit for them"
            )
        self._held += cost

    def consumed(self, cost: int) -> int:
        """Rows were taken from the channel.

        Returns:
            How much to tell the sender now; 0 to wait until it is worth a frame.
        """
        self._owed += cost
        if self._owed < self._size // _TOLD_TOGETHER:
            return 0
        told, self._owed = self._owed, 0
        self._held -= told
        return told


class Heartbeat:
    """Whether the peer is still heard: told of every frame, and of the passing of time in ticks, one for each ping.

    Before the first frame it is more patient: the peer may have to learn of the attempt first.

    It counts ticks and no seconds: a process that was stopped itself has heard nothing meanwhile, and finds one tick gone.
    """

    def __init__(self, missed_max: int = MISSED_MAX, missed_first: int = MISSED_FIRST) -> None:
        self._missed_max = missed_max
        self.missed_allowed = missed_first
        self._heard = True
        self._missed = 0

    def heard(self) -> None:
        """Anything has come from the peer."""
        self._heard = True
        self.missed_allowed = self._missed_max

    def tick(self) -> bool:
        """It is time for the next ping; returns whether the peer is lost."""
        self._missed = 0 if self._heard else self._missed + 1
        self._heard = False
        return self._missed >= self.missed_allowed
