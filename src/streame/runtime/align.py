"""Alignment: which channels of a task wait until a barrier has come on all the others."""

from collections.abc import Iterable


class Alignment:
    """The channels of one task between the first and the last barrier of a checkpoint.

    A channel that has ended is not waited for. The source of a barrier makes the next one only when the checkpoint of
    the last one is written or given up, so barriers of two checkpoints are never under way on one channel.

    Args:
        channels: the channels, by number.
    """

    def __init__(self, channels: Iterable[int]) -> None:
        self._open = set(channels)
        self._arrived: set[int] = set()
        self._checkpoint: int | None = None

    def arrived(self, channel: int, checkpoint: int) -> int | None:
        """A barrier has come on a channel, of which nothing more may be read until the alignment is complete.

        Returns:
            The checkpoint, if it has come on all channels.
        """
        assert channel in self._open - self._arrived, (channel, self._open, self._arrived)
        assert self._checkpoint in {None, checkpoint}, (self._checkpoint, checkpoint)
        self._checkpoint = checkpoint
        self._arrived.add(channel)
        return self._complete()

    def ended(self, channel: int) -> int | None:
        """Nothing more comes on a channel; what `arrived` returns."""
        self._open.discard(channel)
        return self._complete()

    def _complete(self) -> int | None:
        if self._checkpoint is None or self._arrived < self._open:
            return None
        checkpoint, self._checkpoint = self._checkpoint, None
        self._arrived.clear()
        return checkpoint
