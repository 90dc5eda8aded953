"""The network between simulated processes: what `grpc` has and `cluster/transport.py` uses of it, over wires that fail."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import grpc

from streame.testing.simulation.scheduler import Host, SimTask, host, scheduler
from streame.testing.simulation.threads import Event

READY_EVERY_S = 0.05
WORLD = Host("the world")


class CallFailed(grpc.RpcError):
    """A call that has ended with an error."""

    def __init__(self, status: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self._status, self._details = status, details

    def code(self) -> grpc.StatusCode:
        """Its status."""
        return self._status

    def details(self) -> str:
        """What was said."""
        return self._details


class Aborted(Exception):  # noqa: N818 - as gRPC does it
    """A handler has ended its call."""


END = object()
"""Nothing more is sent in this direction."""


class Pipe:
    """One direction of a stream: messages come in order, or not at all.

    Args:
        net: the network.
        sender: who sends.
        receiver: who receives.
    """

    def __init__(self, net: "Network", sender: Host, receiver: Host) -> None:
        self._net, self._sender, self._receiver = net, sender, receiver
        self._under_way: deque[object] = deque()
        self._arrives = 0.0
        self._there: deque[object] = deque()
        self._reader: SimTask | None = None
        self.failure: CallFailed | None = None

    def send(self, item: object) -> None:
        """Send a message, `END`, or the error with which it ends."""
        if self.failure is not None:
            return
        sim = scheduler()
        self._arrives = max(self._arrives, sim.now + self._net.latency_s())
        self._under_way.append(item)
        sim.at(self._arrives - sim.now, self._arrive)

    def fail(self, failure: CallFailed) -> None:
        """Nothing comes any more; what is there is lost."""
        if self.failure is None:
            self.failure = failure
            self._there.clear()
            self._wake()

    def take(self) -> Iterator[bytes]:
        """What comes, for the one who reads."""
        while True:
            while not self._there:
                if self.failure is not None:
                    raise self.failure
                sim = scheduler()
                self._reader = sim.current
                sim.block(None)
            item = self._there.popleft()
            if item is END:
                return
            if isinstance(item, CallFailed):
                raise item
            assert isinstance(item, bytes), item
            yield item

    def _arrive(self) -> None:
        if self._net.is_cut(self._sender.name, self._receiver.name):
            self._net.when_healed(self._sender.name, self._receiver.name, self._arrive)
            return
        if self._under_way:
            item = self._under_way.popleft()
            if self.failure is None:
                self._there.append(item)
                self._wake()

    def _wake(self) -> None:
        if self._reader is not None:
            reader, self._reader = self._reader, None
            scheduler().wake(reader)


class Stream:
    """A call that streams both ways.

    Args:
        net: the network.
        client: who has called.
        server: who was called.
    """

    def __init__(self, net: "Network", client: Host, server: Host) -> None:
        self.net, self.client, self.server = net, client, server
        self.up, self.down = Pipe(net, client, server), Pipe(net, server, client)
        self.is_over_there = False
        self._callbacks: list[Callable[[], None]] = []

    def cancel(self) -> None:
        """The client gives it up."""
        self.down.fail(CallFailed(grpc.StatusCode.CANCELLED, "Locally cancelled by application!"))
        self.later(self.client, self.server, lambda: self.end_there(is_lost=True))

    def end_there(self, *, is_lost: bool) -> None:
        """The server's side has ended."""
        if self.is_over_there:
            return
        self.is_over_there = True
        if is_lost:
            self.up.fail(CallFailed(grpc.StatusCode.CANCELLED, ""))
        for callback in self._callbacks:
            self.net.spawn(self.server, "grpc callback", callback)

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """See `grpc.RpcContext`."""
        if self.is_over_there:
            return False
        self._callbacks.append(callback)
        return True

    def break_off(self, why: str, *, delay_s: float = 0.0) -> None:
        """The connection is gone; each side learns of it in its time."""
        failure = CallFailed(grpc.StatusCode.UNAVAILABLE, why)
        sim, random = scheduler(), scheduler().rng.random
        sim.at(random() * delay_s, lambda: self.down.fail(failure))
        sim.at(random() * delay_s, lambda: self.end_there(is_lost=True))

    def later(self, sender: Host, receiver: Host, act: Callable[[], None]) -> None:
        """Do something when a word from one side comes to the other."""

        def arrive() -> None:
            if self.net.is_cut(sender.name, receiver.name):
                self.net.when_healed(sender.name, receiver.name, arrive)
            else:
                act()

        scheduler().at(self.net.latency_s(), arrive)


class Context:
    """See `grpc.ServicerContext`."""

    def __init__(self, stream: Stream, metadata: Sequence[tuple[str, str]]) -> None:
        self._stream, self._metadata = stream, metadata
        self.aborted: CallFailed | None = None

    def invocation_metadata(self) -> Sequence[tuple[str, str]]:
        """What the caller has said."""
        return self._metadata

    def abort(self, code: grpc.StatusCode, details: str) -> None:
        """End the call with an error."""
        self.aborted = CallFailed(code, details)
        raise Aborted

    def cancel(self) -> None:
        """End the call at once."""
        stream = self._stream
        stream.end_there(is_lost=True)
        stream.later(
            stream.server,
            stream.client,
            lambda: stream.down.fail(CallFailed(grpc.StatusCode.CANCELLED, "cancelled")),
        )

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """See `grpc.RpcContext`."""
        return self._stream.add_callback(callback)


Handler = Callable[[Iterator[bytes], Any], Iterator[bytes]]


class Server:
    """See `grpc.Server`."""

    def __init__(self, net: "Network") -> None:
        self._net, self.host = net, host()
        self.handler: Handler | None = None
        self.address = ""

    def add_generic_rpc_handlers(self, handlers: Sequence[Mapping[str, Handler | None]]) -> None:
        """What is done with calls."""
        (self.handler,) = (handler for each in handlers for handler in each.values() if handler is not None)

    def add_insecure_port(self, address: str) -> int:
        """Where it listens."""
        there = self._net.servers.get(address)
        if there is not None and not there.host.is_dead:
            raise RuntimeError("address in use")
        self.address = address
        return int(address.rpartition(":")[2])

    def start(self) -> None:
        """Listen."""
        self._net.servers[self.address] = self

    def stop(self, grace: float | None) -> Event:
        """End all calls."""
        if self._net.servers.get(self.address) is self:
            del self._net.servers[self.address]
        for stream in self._net.streams_of(self.host):
            if stream.server is self.host:
                Context(stream, ()).cancel()
        stopped = Event()
        stopped.set()
        return stopped


class Channel:
    """See `grpc.Channel`."""

    def __init__(self, net: "Network", address: str) -> None:
        self._net, self._address, self._host = net, address, host()

    def server(self) -> Server | None:
        """Who can be reached now."""
        found = self._net.servers.get(self._address)
        if found is None or found.host.is_dead or found.host.is_paused:
            return None
        there, here = found.host.name, self._host.name
        return None if self._net.is_cut(here, there) or self._net.is_cut(there, here) else found

    def stream_stream(self, method: str) -> Callable[..., "Call"]:
        """How a method is called."""

        def call(requests: Iterator[bytes], metadata: Sequence[tuple[str, str]] = ()) -> Call:
            return Call(self._net, self, requests, metadata)

        return call

    def close(self) -> None:
        """There is nothing to close."""


class Call:
    """A call that the client has begun: an iterator of what comes back."""

    def __init__(
        self, net: "Network", channel: Channel, requests: Iterator[bytes], metadata: Sequence[tuple[str, str]]
    ) -> None:
        server = channel.server()
        self._stream = stream = Stream(net, host(), host() if server is None else server.host)
        self._taken = stream.down.take()
        if server is None:
            stream.down.fail(CallFailed(grpc.StatusCode.UNAVAILABLE, "failed to connect"))
            return
        net.streams.append(stream)
        net.spawn(host(), "grpc send", lambda: self._send(requests))
        stream.later(
            stream.client,
            stream.server,
            lambda: net.spawn(server.host, "grpc handler", lambda: self._handle(server, metadata)),
        )

    def cancel(self) -> None:
        """Give it up."""
        self._stream.cancel()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._taken)

    def _send(self, requests: Iterator[bytes]) -> None:
        for message in requests:
            self._stream.up.send(message)
            self._stream.net.note()
        self._stream.up.send(END)

    def _handle(self, server: Server, metadata: Sequence[tuple[str, str]]) -> None:
        stream, context = self._stream, Context(self._stream, metadata)
        assert server.handler is not None
        try:
            for message in server.handler(_bare(stream), context):
                if stream.is_over_there:
                    break
                stream.down.send(message)
                stream.net.note()
            stream.down.send(END)
        except Aborted:
            assert context.aborted is not None
            stream.down.send(context.aborted)
        stream.end_there(is_lost=False)
        stream.net.streams.remove(stream)


def _bare(stream: Stream) -> Iterator[bytes]:
    """What comes in at a server, whose iterator raises a bare exception when the call has ended."""
    try:
        yield from stream.up.take()
    except CallFailed:
        raise Exception from None  # noqa: TRY002 - as gRPC does it


class Network:
    """All wires between processes.

    Args:
        latency_s: how long a message is under way; asked for each.
    """

    def __init__(self, latency_s: Callable[[], float]) -> None:
        self.latency_s = latency_s
        self.servers: dict[str, Server] = {}
        self.streams: list[Stream] = []
        self.messages = 0
        self._cut: set[tuple[str, str]] = set()
        self._held: dict[tuple[str, str], list[Callable[[], None]]] = {}

    def spawn(self, owner: Host, name: str, run: Callable[[], object]) -> None:
        """Start a thread that gRPC would have started in a process."""
        if not owner.is_dead:
            scheduler().spawn(owner, name, run)

    def note(self) -> None:
        """A message was sent."""
        self.messages += 1

    def is_cut(self, sender: str, receiver: str) -> bool:
        """Whether nothing comes through in this direction now."""
        return (sender, receiver) in self._cut

    def cut(self, sender: str, receiver: str) -> None:
        """Let nothing through."""
        self._cut.add((sender, receiver))

    def heal(self, sender: str, receiver: str) -> None:
        """Let all through again, and what has waited first."""
        self._cut.discard((sender, receiver))
        for act in self._held.pop((sender, receiver), []):
            act()

    def heal_all(self) -> None:
        """Cut nothing."""
        for sender, receiver in list(self._cut):
            self.heal(sender, receiver)

    def when_healed(self, sender: str, receiver: str, act: Callable[[], None]) -> None:
        """Do something then."""
        self._held.setdefault((sender, receiver), []).append(act)

    def streams_of(self, owner: Host) -> list[Stream]:
        """The streams of a process."""
        return [each for each in self.streams if owner in {each.client, each.server}]

    def lose(self, dead: Host, *, silently: bool) -> None:
        """A process is dead; unless its machine is too, the others are told."""
        for stream in self.streams_of(dead):
            if not silently:
                stream.break_off("connection reset by peer", delay_s=0.01)

    def grpc(self) -> SimpleNamespace:
        """What stands in the place of the module `grpc`."""
        return SimpleNamespace(
            server=lambda *_, **__: Server(self),
            stream_stream_rpc_method_handler=lambda handler: handler,
            unary_unary_rpc_method_handler=lambda _: None,  # nobody asks here for the status of a node
            method_handlers_generic_handler=lambda _, methods: methods,
            insecure_channel=lambda address, _: Channel(self, address),
            channel_ready_future=lambda channel: SimpleNamespace(
                result=lambda timeout: _ready(channel, timeout)
            ),
            FutureTimeoutError=grpc.FutureTimeoutError,
            RpcError=grpc.RpcError,
            StatusCode=grpc.StatusCode,
        )


def _ready(channel: Channel, timeout_s: float) -> None:
    sim = scheduler()
    until = sim.now + timeout_s
    while channel.server() is None:
        if sim.now >= until:
            raise grpc.FutureTimeoutError
        sim.sleep(READY_EVERY_S)
