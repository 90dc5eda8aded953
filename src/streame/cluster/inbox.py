"""The inbox of a task some of whose channels come from other nodes."""

import threading
from collections import deque
from collections.abc import Callable, Sequence

from streame.cluster.frames import FrameRefused
from streame.core.messages import Batch, Message, Watermark
from streame.runtime.channel import ChannelLimits, Inbox

TOLD_MAX = 262_144
"""How many messages without rows may wait in one channel; they need no credit."""


class RemoteInbox(Inbox):
    """An inbox into which streams put messages without ever waiting: credits bound what their senders send.

    A stream carries many channels, and one that waited for a full channel would stop the others, among them the barrier for
    which the full one waits.

    Args:
        ports: the input port of each channel.
        limits: the bound of each channel from this process; `None` for the others.
    """

    def __init__(self, ports: Sequence[int], limits: Sequence[ChannelLimits | None]) -> None:
        super().__init__(ports, limits)
        self._costs: list[deque[int]] = [deque() for _ in ports]
        self._told = [0] * len(ports)
        self._counting = threading.Lock()
        self._taken: dict[int, Callable[[int], None]] = {}
        self._leaving: list[Callable[[], None]] = []
        self._unbounded: set[int] = set()

    def attach(
        self, channel: int, taken: Callable[[int], None], left: Callable[[], None], *, is_bounded: bool = True
    ) -> None:
        """A stream begins to fill a channel.

        Args:
            channel: which one.
            taken: told what a batch has cost when it was taken from the channel.
            left: called when nobody reads any more.
            is_bounded: whether what waits has a limit.
        """
        self._taken[channel] = taken
        if not is_bounded:
            self._unbounded.add(channel)
        self._leaving.append(left)
        if self.closed:
            left()

    def arrive(self, channel: int, message: Message, cost: int = 0) -> None:
        """Add what came from another node; never waits.

        Args:
            channel: where it belongs.
            message: what came.
            cost: what it has taken of the credit, if it has rows.

        Raises:
            FrameRefused: when too many messages wait that need no credit.
        """
        if isinstance(message, Batch):
            self._costs[channel].append(cost)
        elif self._replaces_last(channel, message):
            return
        else:
            with self._counting:
                self._told[channel] += 1
            if self._told[channel] > TOLD_MAX and not self.closed and channel not in self._unbounded:
                raise FrameRefused(f"more than {TOLD_MAX:,} messages without rows wait in one channel")
        self.put(channel, message)

    def take(self, timeout_s: float | None) -> tuple[int, Message] | None:
        """The next channel and message, as of any inbox; the sender of a batch gets its credit back."""
        found = super().take(timeout_s)
        if found is not None and found[0] in self._taken:
            channel, message = found
            if isinstance(message, Batch):
                self._taken[channel](self._costs[channel].popleft())
            else:
                with self._counting:
                    self._told[channel] -= 1
        return found

    def close(self) -> None:
        """Nobody reads any more; the other nodes are told."""
        super().close()
        for left in self._leaving:
            left()

    def _replaces_last(self, channel: int, message: Message) -> bool:
        """Whether a watermark has taken the place of one right before it, which nobody has read."""
        if not isinstance(message, Watermark) or message.time is None:
            return False
        with self._filled:
            queue = self._queues[channel]
            last = queue[-1] if queue else None
            if isinstance(last, Watermark) and last.time is not None and last.time <= message.time:
                queue[-1] = message
                return True
        return False
