"""Streams between nodes over gRPC: a server that takes them in, and the way to open one."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc

from streame.cluster.frames import FRAME_BYTES_MAX, Attempt, FrameRefused
from streame.cluster.identity import Identity, Role, peer_identity
from streame.cluster.link import Link
from streame.cluster.peer_check import PeerCheck
from streame.cluster.security import Tls, host_of, is_loopback
from streame.cluster.session import Session
from streame.errors import ClusterError, PeerLost

SERVICE, METHOD, STATUS = "streame.Data", "Exchange", "Status"
NODE_KEY = "streame-node"
"""Where a caller without a certificate says its name; asked only on this machine, and when the user has said so."""

ATTEMPT_KEY = "streame-attempt"
"""Where a caller says which attempt it means."""

_ATTEMPT_MAX = 64
"""What a caller says of it has fewer characters."""

BEGIN_S = 10.0
"""How long a caller waits for this node to learn of its attempt."""

CLOSE_S = 5.0
FAREWELL_S = 0.5

_COMMON = (
    ("grpc.max_receive_message_length", FRAME_BYTES_MAX),
    ("grpc.max_send_message_length", FRAME_BYTES_MAX),
    ("grpc.compression_enabled_algorithms_bitset", 1),  # none: a small message must not become a large one
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 1_500),
)
_SERVER = (
    *_COMMON,
    ("grpc.so_reuseport", 0),
    ("grpc.max_concurrent_streams", 4),
    ("grpc.max_metadata_size", 8_192),
    ("grpc.absolute_max_metadata_size", 16_384),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
)
_CLIENT = (
    *_COMMON,
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),  # http_proxy of the environment is for other things
    ("grpc.use_local_subchannel_pool", 1),
)

_REFUSED = grpc.StatusCode.FAILED_PRECONDITION


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """How much of a server others may take, whoever they are.

    Args:
        streams: there may be so many at once; each has a thread. Two for each of the most instances there can be, and some.
        connections: there may be so many; those beyond are closed before anything is read.
        handshake_s: how long a connection may take to say who it is.
    """

    streams: int = 288
    connections: int = 1_000
    handshake_s: float = 5.0


class DataServer:
    """Takes in the streams of other nodes, for the session that is set.

    Args:
        address: where to listen, as `HOST:PORT`; port 0 for any that is free.
        cluster: whose nodes may connect.
        tls: the files of this node; `None` to do without, on this machine alone.
        limits: how much others may take of it.

    Raises:
        ClusterError: when the address cannot be listened on.
    """

    def __init__(
        self, address: str, cluster: str, tls: Tls | None, limits: ServerLimits = ServerLimits()
    ) -> None:
        host = host_of(address)
        assert tls is not None or is_loopback(host), address
        self._secure = tls is not None
        self._session: Session | None = None
        self._status: Callable[[], bytes] | None = None
        self._is_closed = False
        self._changed = threading.Condition()
        self._pool = ThreadPoolExecutor(limits.streams, thread_name_prefix="stream")
        also: dict[str, list[Role]] = {f"/{SERVICE}/{STATUS}": ["client"]}
        checks: list[grpc.ServerInterceptor] = []
        if tls is not None:
            checks.append(PeerCheck(cluster, ["node"], also))
        options = (
            *_SERVER,
            ("grpc.max_allowed_incoming_connections", limits.connections),
            ("grpc.server_handshake_timeout_ms", int(limits.handshake_s * 1000)),
        )
        self._server = grpc.server(
            self._pool, interceptors=checks, options=options, maximum_concurrent_rpcs=limits.streams
        )
        methods: dict[str, Any] = {
            METHOD: grpc.stream_stream_rpc_method_handler(self._exchange),
            STATUS: grpc.unary_unary_rpc_method_handler(self._tell),
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
        try:
            if tls is not None:
                self.port = self._server.add_secure_port(address, tls.server_credentials())
            else:
                self.port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise ClusterError(
                f"cannot listen on {address}: its port is taken, or it is not of this machine; give the address of this machine, "
                "and a port that is free"
            ) from error
        self._server.start()

    def serve(self, session: Session | None) -> None:
        """Let streams in for this session and no other; `None` for none."""
        with self._changed:
            self._session = session
            self._changed.notify_all()

    def serves(self, session: Session | None) -> bool:
        """Whether it lets streams in for this session."""
        return self._session is session is not None

    def answer(self, status: Callable[[], bytes]) -> None:
        """Let nodes and clients of the cluster ask for the status that this gives."""
        self._status = status

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Take no more streams, and end those that there are."""
        with self._changed:
            self._session, self._is_closed = None, True
            self._changed.notify_all()
        self._server.stop(0).wait(timeout_s)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _tell(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        if self._status is None:
            context.abort(_REFUSED, "this node has no status")
        return self._status()

    def _exchange(self, incoming: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        try:
            session = self._session_of(context)
            peer = self._peer(context)
            link = session.join(peer, opened=False)
        except FrameRefused as refused:
            context.abort(_REFUSED, str(refused))
        link.on_cancel(lambda: _cut(link, context))
        context.add_callback(lambda: link.fail(PeerLost(f"node {peer!r} has gone")))
        frames = _told(incoming, peer)
        receiving = threading.Thread(target=link.receive, args=(frames,), name=f"from {peer}", daemon=True)
        receiving.start()
        yield from link.outgoing()
        if link.error is not None:
            context.abort(_REFUSED, str(link.error))
        receiving.join()

    def _session_of(self, context: grpc.ServicerContext) -> Session:
        """The session that a caller means; waits for it, since this node may learn of an attempt after the caller.

        A call of an attempt that is over must not join the next one: it would take the place of the caller's own stream.
        """
        said = [value for key, value in context.invocation_metadata() if key == ATTEMPT_KEY]
        wanted = _attempt(str(said[0])) if said else None
        if wanted is None:
            raise FrameRefused("a stream came that says no attempt")
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_closed or (self._session is not None and self._session.attempt >= wanted),
                BEGIN_S,
            )
            session = self._session
        if session is None:
            raise FrameRefused("this node takes part in no attempt now")
        if session.attempt < wanted:
            raise FrameRefused(f"this node has not learned of attempt {wanted} within {BEGIN_S:g} s")
        if session.attempt > wanted:
            raise FrameRefused(
                f"a stream of attempt {wanted} came where attempt {session.attempt} runs; the node that opens it must join "
                "the new attempt"
            )
        return session

    def _peer(self, context: grpc.ServicerContext) -> str:
        if self._secure:
            return peer_identity(context.auth_context()).name
        names = [value for key, value in context.invocation_metadata() if key == NODE_KEY]
        return str(names[0]) if names else ""


def connect(
    address: str, me: Identity, peer: Identity, session: Session, tls: Tls | None, timeout_s: float
) -> Link:
    """Open the stream to a node.

    Args:
        address: where it listens.
        me: who this node is.
        peer: who the other one must be, by its certificate.
        session: the part of this node in the attempt.
        tls: the files of this node; `None` to do without, on this machine alone.
        timeout_s: how long to try.

    Raises:
        PeerLost: when the node cannot be reached, or is not the one that it must be.
    """
    channel = _channel(address, peer, tls)
    metadata: tuple[tuple[str, str], ...] = ((ATTEMPT_KEY, str(session.attempt)),)
    if tls is None:
        metadata = ((NODE_KEY, me.name), *metadata)
    try:
        grpc.channel_ready_future(channel).result(timeout_s)
    except grpc.FutureTimeoutError:
        channel.close()
        raise PeerLost(
            f"node {peer.name!r} cannot be reached at {address} within {timeout_s:g} s; it does not run, or one of the two "
            "does not trust the certificate of the other"
        ) from None
    link = session.join(peer.name, opened=True)
    exchange: Any = channel.stream_stream(f"/{SERVICE}/{METHOD}")
    call = exchange(link.outgoing(), metadata=metadata)
    link.on_cancel(call.cancel)

    def receive() -> None:
        link.receive(_told(call, peer.name))
        channel.close()

    threading.Thread(target=receive, name=f"from {peer.name}", daemon=True).start()
    return link


def ask_status(address: str, peer: Identity, tls: Tls | None, timeout_s: float) -> bytes:
    """What a node says of itself.

    Args:
        address: where it listens.
        peer: who it must be, by its certificate.
        tls: the files of a node or a client; `None` to do without, on this machine alone.
        timeout_s: how long it may take.

    Raises:
        ClusterError: when there is no answer.
    """
    if tls is None and not is_loopback(host_of(address)):
        raise ClusterError(f"{address} is not of this machine, and there are no TLS files to reach it with")
    with _channel(address, peer, tls) as channel:
        call: Any = channel.unary_unary(f"/{SERVICE}/{STATUS}")
        try:
            answer: bytes = call(b"", timeout=timeout_s, wait_for_ready=True)
        except grpc.RpcError as error:
            raise _unanswered(error, timeout_s) from None
        return answer


def _unanswered(error: Any, timeout_s: float) -> ClusterError:
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return ClusterError(f"no answer within {timeout_s:g} s")
    return ClusterError(f"no answer: {error.details()}")


def _channel(address: str, peer: Identity, tls: Tls | None) -> grpc.Channel:
    """A connection to a node, which must be the one that it must be."""
    assert tls is not None or is_loopback(host_of(address)), address
    if tls is None:
        return grpc.insecure_channel(address, _CLIENT)
    options = (*_CLIENT, ("grpc.ssl_target_name_override", peer.host))
    return grpc.secure_channel(address, tls.channel_credentials(), options)


def _cut(link: Link, context: grpc.ServicerContext) -> None:
    """End a call soon: at first in order, so that the caller is told why, and if it does not hear that by force."""

    def cut() -> None:
        if not link.wait_over(FAREWELL_S):
            context.cancel()

    threading.Thread(target=cut, name=f"cut {link.peer}", daemon=True).start()


def _attempt(text: str) -> Attempt | None:
    """The attempt that a caller has named."""
    epoch, _, number = text.partition(".")
    is_one = len(text) < _ATTEMPT_MAX and epoch.isdecimal() and number.isdecimal()
    return Attempt(int(epoch), int(number)) if is_one else None


def _told(incoming: Iterator[bytes], peer: str) -> Iterator[bytes]:
    """What comes in, with the errors of gRPC as ours."""
    try:
        yield from incoming
    except grpc.RpcError as error:
        raise _explained(error, peer) from None
    except Exception as error:  # a server's iterator raises a bare Exception when the call has ended
        raise PeerLost(f"node {peer!r} has gone: {str(error) or 'its stream was cut'}") from None


def _explained(error: Any, peer: str) -> ClusterError:
    code: Callable[[], Any] | None = getattr(error, "code", None)
    status, details = (code(), error.details()) if code is not None else (None, str(error))
    if status in {_REFUSED, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.RESOURCE_EXHAUSTED}:
        return ClusterError(f"node {peer!r} has refused the stream: {details}")
    return PeerLost(f"node {peer!r} has gone: {details or 'its stream was cut'}")
