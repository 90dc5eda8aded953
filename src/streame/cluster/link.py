"""A link: one stream between two nodes for one attempt, which carries all channels between them."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, cast, get_args

from streame.cluster.batches import BatchCodec
from streame.cluster.channel import RemoteChannel
from streame.cluster.columns import ChannelColumns
from streame.cluster.flow import (
    CREDIT_BYTES,
    MISSED_FIRST,
    MISSED_MAX,
    NO_LIMIT_BYTES,
    PING_S,
    Heartbeat,
    Returns,
    SequenceCheck,
    Window,
    charge,
)
from streame.cluster.frames import (
    Ack,
    Ask,
    Attempt,
    Barrier,
    Control,
    Credit,
    Data,
    End,
    Failed,
    Frame,
    FrameRefused,
    More,
    Numbered,
    Open,
    Opened,
    Ping,
    Pong,
    Split,
    Unread,
    Watermark,
    frames_of,
    pack,
    unpack,
)
from streame.cluster.inbox import RemoteInbox
from streame.cluster.outgoing import Outgoing
from streame.core import messages
from streame.errors import ClusterError, PeerLost, PlanError

State = Literal["open", "idle", "ended"]
CHANNELS_MAX = 65_536

FAREWELL_S = 0.5
"""How long a peer that is told why the attempt has failed may take to end its side."""


@dataclass(frozen=True, slots=True)
class Input:
    """Where the messages of one channel from another node go.

    Args:
        peer: the node that sends them.
        inbox: the inbox of the task.
        channel: which of its channels.
        columns: what rows must have.
        credit_bytes: how much of them may be under way or wait unread.
    """

    peer: str
    inbox: RemoteInbox
    channel: int
    columns: ChannelColumns
    credit_bytes: int = CREDIT_BYTES


@dataclass(frozen=True, slots=True)
class _Begun:
    """A row of which more is to come.

    Args:
        data: its first frame.
        body: what there is of it.
        size: how long that is to be.
        cost: what it has taken of the credit.
    """

    data: Data
    body: bytearray
    size: int
    cost: int


@dataclass(slots=True)
class _Receiving:
    """A channel that the peer has opened."""

    name: str
    to: Input
    codec: BatchCodec
    returns: Returns
    lock: threading.Lock
    begun: "_Begun | None" = None


class Link:
    """One side of a stream. The transport gives it what comes, and takes from it what goes.

    Args:
        peer: the name of the other node.
        opened: whether this side has opened the stream.
        attempt: the one that this node works for.
        inputs: the channels that the peer may open, by name.
        failed: told once why the stream has ended before its time.
        told: told what the peer says beside the channels.
        ping_s: the seconds between two pings.
    """

    def __init__(
        self,
        peer: str,
        opened: bool,
        attempt: Attempt,
        inputs: Mapping[str, Input],
        failed: Callable[[ClusterError], None],
        told: Callable[[str, Control], None] | None = None,
        ping_s: float = PING_S,
    ) -> None:
        self.peer = peer
        self.error: ClusterError | None = None
        self.round_trip_s: float | None = None
        self._opened = opened
        self._attempt = attempt
        self._inputs = inputs
        self._failed = failed
        self._told = told
        self._outgoing = Outgoing(attempt, time.perf_counter)
        self._sequence = SequenceCheck(attempt)
        self._heartbeat = Heartbeat(missed_first=MISSED_FIRST if opened else MISSED_MAX)
        self._ping_s = ping_s
        self._pinged = (0, 0.0)
        self._senders: list[RemoteChannel] = []
        self._receiving: dict[int, _Receiving] = {}
        self._named: set[str] = set()
        self._cancel: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._over = threading.Event()

    @property
    def over(self) -> bool:
        """Whether nothing comes any more."""
        return self._over.is_set()

    def sender(self, name: str, columns: ChannelColumns, credit_bytes: int = CREDIT_BYTES) -> RemoteChannel:
        """Open a channel to the peer.

        Args:
            name: by which the peer knows it.
            columns: of its rows.
            credit_bytes: how much of them may be under way or wait unread; the peer expects the same.

        Raises:
            PlanError: when there are too many.
        """
        with self._lock:
            number = len(self._senders)
            if number == CHANNELS_MAX:
                raise PlanError(
                    f"the plan has more than {CHANNELS_MAX:,} channels from one node to another; give less parallelism"
                )
            window = Window(credit_bytes)
            sender = RemoteChannel(number, name, columns, self._attempt, self._outgoing, window)
            self._senders.append(sender)
            error = self.error
        if error is None and self.over:
            error = PeerLost(f"node {self.peer!r} has ended its stream")
        if error is not None:
            sender.fail(error)
        return sender

    def tell(self, control: Control) -> None:
        """Say something beside the channels."""
        self._outgoing.add(pack(control))

    def outgoing(self) -> Iterator[bytes]:
        """What goes to the peer, until the end: messages of one frame or several."""
        return self._outgoing.messages()

    def receive(self, stream: Iterable[bytes]) -> None:
        """Take what comes from the peer until its end, in a thread of its own.

        Args:
            stream: what comes; a `ClusterError` out of it says why nothing more does.
        """
        beating = threading.Thread(target=self._beat, name=f"ping {self.peer}", daemon=True)
        beating.start()
        try:
            for message in stream:
                self._heartbeat.heard()
                for data in frames_of(message):
                    self._take(*unpack(data), len(data))
        except ClusterError as error:
            self.fail(error)
        except Exception as error:  # nothing that a peer says may end this thread unseen
            self.fail(ClusterError(f"what node {self.peer!r} has sent could not be taken: {error!r}"))
        else:
            self._ended_by_peer()
            self._outgoing.finish()
        finally:
            self._over.set()
            beating.join()

    def finish(self) -> None:
        """All tasks of this node are done. The side that has opened the stream ends it when all that waits has gone.

        The other side goes on to answer, and ends when that has happened.
        """
        if self._opened:
            self._outgoing.finish()

    def wait_over(self, timeout_s: float) -> bool:
        """Wait until nothing comes any more; false when it did not end in time."""
        return self._over.wait(timeout_s)

    def on_cancel(self, cancel: Callable[[], None]) -> None:
        """Say how the stream is ended at once."""
        self._cancel = cancel
        if self.error is not None:
            cancel()

    def part(self, farewell: Failed, error: ClusterError) -> None:
        """Tell the peer why, and end once it has ended its side, or soon in any case."""
        with self._lock:
            senders = list(self._senders)
        for sender in senders:
            sender.fail(error)
        self.tell(farewell)

        def leave() -> None:
            self._over.wait(FAREWELL_S)
            self.fail(error)

        threading.Thread(target=leave, name=f"part from {self.peer}", daemon=True).start()

    def fail(self, error: ClusterError) -> None:
        """End at once; the first error is the one that is told."""
        with self._lock:
            if self.error is not None or self._over.is_set():
                return
            self.error = error
            senders = list(self._senders)
        for sender in senders:
            sender.fail(error)
        self._outgoing.stop()
        self._failed(error)
        self._cancel()

    def _ended_by_peer(self) -> None:
        unopened = self._inputs.keys() - self._named
        unended = {self._receiving[number].name for number in self._sequence.unended}
        unsent = {sender.name for sender in self._senders if not sender.done}
        missing = sorted(
            unopened | {name for name in unended if not self._inputs[name].inbox.closed} | unsent
        )
        if missing:
            self.fail(
                PeerLost(
                    f"node {self.peer!r} has gone: its stream ended, though nothing has ended {', '.join(missing)}"
                )
            )

    def _beat(self) -> None:
        number, self._pinged = 0, (0, time.perf_counter())
        self._outgoing.ping(number)  # at once: the peer may wait for a sign that this side has joined
        while not self._over.wait(self._ping_s) and self.error is None:
            if self._heartbeat.tick():
                silent_s = self._ping_s * self._heartbeat.missed_allowed
                self.fail(
                    PeerLost(
                        f"node {self.peer!r} was not heard for {silent_s:g} s; it has stopped, or is cut off"
                    )
                )
                return
            number += 1
            self._pinged = (number, time.perf_counter())
            self._outgoing.ping(number)

    def _take(self, frame: Frame, body: memoryview, size: int) -> None:
        self._sequence.check_attempt(frame)
        match frame:
            case Open():
                self._open(frame)
            case Data() | More() | Barrier() | Watermark() | Split() | End():
                self._sequence.take(frame)
                self._deliver(frame, body, size)
            case Credit():
                self._sender(frame.channel).credit(frame.bytes)
            case Unread():
                self._sender(frame.channel).leave()
            case Ping():
                self._outgoing.pong(frame.number)
            case Pong():
                number, at = self._pinged
                if frame.number == number:
                    self.round_trip_s = time.perf_counter() - at
            case Ack() | Ask() | Opened() | Failed():
                if self._told is None:
                    raise FrameRefused(
                        f"node {self.peer!r} speaks of a checkpoint ({type(frame).__name__}), which nobody asked it for"
                    )
                self._told(self.peer, frame)

    def _open(self, frame: Open) -> None:
        to = self._inputs.get(frame.name)
        if to is None or frame.name in self._named:
            raise FrameRefused(
                f"node {self.peer!r} opens the channel {frame.name!r}, which it has no part in or has opened before; "
                "the nodes do not run the same plan"
            )
        if frame.schema != to.columns.digest:
            raise FrameRefused(
                f"node {self.peer!r} opens {frame.name!r} with the columns {frame.columns}; expected {to.columns.text}: the "
                "nodes do not run the same plan"
            )
        self._sequence.open(frame.channel)
        receiving = _Receiving(
            frame.name,
            to,
            BatchCodec(to.columns.rows, frame.name, partial=to.columns.partial),
            Returns(to.credit_bytes),
            threading.Lock(),
        )
        self._receiving[frame.channel] = receiving
        self._named.add(frame.name)

        def taken(cost: int) -> None:
            with receiving.lock:
                told = receiving.returns.consumed(cost)
            if told:
                self._outgoing.credit(frame.channel, told)

        def left() -> None:
            self._outgoing.unread(frame.channel)

        to.inbox.attach(to.channel, taken, left, is_bounded=to.credit_bytes < NO_LIMIT_BYTES)

    def _deliver(self, frame: Numbered, body: memoryview, size: int) -> None:
        receiving = self._receiving[frame.channel]
        inbox, channel = receiving.to.inbox, receiving.to.channel
        if (receiving.begun is None) == isinstance(frame, More):
            raise FrameRefused(
                f"a frame {type(frame).__name__} came on channel {frame.channel} where "
                f"{'no row is begun' if receiving.begun is None else 'the rest of a row must follow'}"
            )
        match frame:
            case Data():
                length = len(body) + frame.rest
                cost = charge(length if frame.rest else size, frame.bytes)
                with receiving.lock:
                    receiving.returns.arrived(cost)
                if frame.rest:
                    receiving.begun = _Begun(frame, bytearray(body), length, cost)
                else:
                    inbox.arrive(channel, receiving.codec.decode(frame, body), cost)
            case More():
                self._continue(receiving, body)
            case Barrier():
                inbox.arrive(channel, messages.Barrier(frame.checkpoint))
            case Watermark():
                inbox.arrive(channel, messages.Watermark(frame.time))
            case Split():
                if frame.state not in get_args(State):
                    raise FrameRefused(f"the state {frame.state!r} of a split does not exist")
                status = messages.SplitStatus(frame.split, cast("State", frame.state), frame.after_us)
                inbox.arrive(channel, status)
            case End():
                self._sequence.end(frame.channel)
                inbox.arrive(channel, messages.END_OF_STREAM)

    def _continue(self, receiving: _Receiving, body: memoryview) -> None:
        """More of a body has come."""
        begun = receiving.begun
        assert begun is not None
        if not 0 < len(body) <= begun.size - len(begun.body):
            raise FrameRefused(
                f"{len(body):,} more bytes came of a row that has {len(begun.body):,} of {begun.size:,} bytes"
            )
        begun.body.extend(body)
        if len(begun.body) == begun.size:
            receiving.begun = None
            batch = receiving.codec.decode(begun.data, memoryview(begun.body))
            receiving.to.inbox.arrive(receiving.to.channel, batch, begun.cost)

    def _sender(self, channel: int) -> RemoteChannel:
        if channel >= len(self._senders):
            raise FrameRefused(f"node {self.peer!r} speaks of channel {channel}, which was never opened")
        return self._senders[channel]
