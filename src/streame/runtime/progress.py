"""Progress: how far event time has come over several inputs."""

from collections.abc import Collection
from dataclasses import dataclass

from streame.core.time import WATERMARK_MAX, WATERMARK_MIN


@dataclass(frozen=True, slots=True)
class Idle:
    """None of the inputs is to be waited for."""


class Progress:
    """The smallest watermark of several channels; those that are idle or have ended do not count.

    Args:
        channels: the channels whose watermarks count.
    """

    def __init__(self, channels: Collection[int]) -> None:
        self._reached = dict.fromkeys(channels, WATERMARK_MIN)
        self._idle: set[int] = set()
        self._watermark = self._before = WATERMARK_MIN
        self._was_idle = False

    def restore(self, watermark: int) -> None:
        """It had come so far before a restart: one of the channels may have been idle then, and be behind that."""
        self._before = watermark

    def heard(self, channel: int, time: int | None) -> int | Idle | None:
        """A channel has come to `time`, or is idle (`None`).

        Returns:
            The new watermark of all, if it has risen; `Idle` if all have become idle; else `None`.
        """
        if channel not in self._reached:
            return None
        if time == WATERMARK_MAX:  # others that are idle have not ended
            return self.ended(channel)
        if time is None:
            self._idle.add(channel)
        else:
            self._idle.discard(channel)
            self._reached[channel] = max(self._reached[channel], time)
        return self._change()

    def ended(self, channel: int) -> int | Idle | None:
        """A channel has ended; what `heard` returns."""
        self._idle.discard(channel)
        return None if self._reached.pop(channel, None) is None else self._change()

    def _change(self) -> int | Idle | None:
        if self._reached and len(self._idle) == len(self._reached):
            was_idle, self._was_idle = self._was_idle, True
            return None if was_idle else Idle()
        woken, self._was_idle = self._was_idle, False
        asked = [time for channel, time in self._reached.items() if channel not in self._idle]
        least = min(asked, default=WATERMARK_MAX)
        if least > WATERMARK_MIN:
            least = max(least, self._before)
        if least > self._watermark:
            self._watermark = least
            return least
        return self._watermark if woken and self._watermark > WATERMARK_MIN else None
