"""The end of a channel at which messages for a task on another node go in."""

import threading

from streame.cluster.batches import BatchCodec
from streame.cluster.columns import ChannelColumns
from streame.cluster.flow import Window
from streame.cluster.frames import Attempt, Barrier, End, Open, Split, Watermark, pack
from streame.cluster.outgoing import Outgoing
from streame.core import messages
from streame.errors import ClusterError


class RemoteChannel:
    """Takes messages as an inbox does; one task puts them, in order.

    Args:
        number: of the channel within its stream.
        name: by which both nodes know it.
        columns: of the rows that go through it.
        attempt: that of its frames.
        outgoing: the stream.
        window: how much may be under way.
    """

    def __init__(
        self,
        number: int,
        name: str,
        columns: ChannelColumns,
        attempt: Attempt,
        outgoing: Outgoing,
        window: Window,
    ) -> None:
        self.name = name
        self._number = number
        self._attempt = attempt
        self._codec = BatchCodec(columns.rows, name, partial=columns.partial)
        self._outgoing = outgoing
        self._window = window
        self._seq = 0
        self._unread = False
        self._ended = False
        self._error: ClusterError | None = None
        self._changed = threading.Condition()
        outgoing.add(pack(Open(attempt, number, name, columns.digest, columns.text)))

    @property
    def closed(self) -> bool:
        """Whether nobody reads any more."""
        return self._unread

    @property
    def done(self) -> bool:
        """Whether nothing more is to be sent."""
        return self._ended or self._unread

    def put(self, channel: int, message: messages.Message) -> None:
        """Send a message; blocks while it has rows and there is no credit. Does nothing once nobody reads.

        Args:
            channel: only for the sake of inboxes, which have several; 0.
            message: what to send.

        Raises:
            ClusterError: when the stream has ended before.
            DataError: when a row is too large.
        """
        assert channel == 0, channel
        assert not self._ended, self.name
        if isinstance(message, messages.Batch):
            for frame, cost in self._codec.encode(message, self._attempt, self._number, self._seq + 1):
                if not self._admitted(cost):
                    return
                self._seq += 1
                self._outgoing.add(frame)
        elif self._admitted(0):
            self._seq += 1
            self._outgoing.add(self._told(message))

    def credit(self, size: int) -> None:
        """The receiver has consumed so much.

        Raises:
            FrameRefused: when it was never sent.
        """
        with self._changed:
            self._window.give_back(size)
            self._changed.notify_all()

    def leave(self) -> None:
        """The receiver reads no further."""
        with self._changed:
            self._unread = True
            self._changed.notify_all()

    def fail(self, error: ClusterError) -> None:
        """The stream has ended: whoever puts, or waits to, gets the error."""
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def _admitted(self, cost: int) -> bool:
        """Wait for credit, and use it; false once nobody reads."""
        with self._changed:
            self._changed.wait_for(lambda: self._error is not None or self._unread or self._window.has(cost))
            if self._error is not None:
                raise type(self._error)(f"{self.name}: {self._error}") from self._error
            if self._unread:
                return False
            self._window.take(cost)
            return True

    def _told(
        self,
        message: messages.Watermark | messages.SplitStatus | messages.Barrier | messages.EndOfStream,
    ) -> bytes:
        to = (self._attempt, self._number, self._seq)
        match message:
            case messages.Watermark(time=time):
                return pack(Watermark(*to, time))
            case messages.SplitStatus(split=split, state=state, after_us=after_us):
                return pack(Split(*to, split, state, after_us))
            case messages.Barrier(checkpoint=checkpoint):
                return pack(Barrier(*to, checkpoint))
            case messages.EndOfStream():
                self._ended = True
                return pack(End(*to))
