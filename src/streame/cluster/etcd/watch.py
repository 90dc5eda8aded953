"""A watch on etcd: one thread that follows changes, from one member to the next, and hands them over in order."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, assert_never

import grpc

from streame.cluster.etcd import rpc_pb2 as rpc
from streame.cluster.etcd import wire
from streame.cluster.etcd.calls import Calls, attempts, metadata, no_answer, status_of
from streame.cluster.etcd.channels import Endpoint
from streame.cluster.etcd.failures import Elsewhere, NewToken, Refused, judge
from streame.cluster.etcd.interface import Event
from streame.cluster.etcd.watch_progress import (
    ANSWER_S,
    PROBE_S,
    Broken,
    Changed,
    Denied,
    Ended,
    Heard,
    Pulse,
    WatchProgress,
)
from streame.errors import AccessDenied, EtcdError, EtcdUnavailable

WATCH = "/etcdserverpb.Watch/Watch"

WAITING_MAX = 256
"""How many answers with changes may wait to be taken; then etcd is not read on."""

LASTED_S = 1.0
"""A member that was followed for that long worked; one that sends watches away at once is not asked without rest."""

CLOSE_S = 5.0


class EtcdWatch:
    """The changes of a key or prefix; `interface.Watch` says what its methods promise.

    Args:
        calls: the connections.
        key: a key, or what keys begin with.
        start_revision: the first revision whose changes are wanted.
        is_prefix: which of the two `key` is.
    """

    def __init__(self, calls: Calls, key: str, start_revision: int, *, is_prefix: bool) -> None:
        self._calls, self._key, self._is_prefix = calls, key, is_prefix
        self._progress = WatchProgress(start_revision)
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Event, ...]] = deque()
        self._error: EtcdError | None = None
        self._broken_since: float | None = time.monotonic()
        self._reasons: dict[str, str] = {}
        self._denials = 0
        self._closed = threading.Event()
        self._stream: Any = None
        self._thread = threading.Thread(target=self._run, name=f"etcd-watch-{key}", daemon=True)
        self._thread.start()

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._closed.is_set()

    def next(self, timeout_s: float) -> tuple[Event, ...]:
        """The next changes; nothing if there are none in time."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._waiting or self._error is not None or self.is_closed, timeout_s
            )
            if self._waiting:
                self._changed.notify_all()
                return self._waiting.popleft()
            if self._error is not None:
                raise self._error
            since, limit_s = self._broken_since, self._calls.settings.timeout_s
            if since is not None and time.monotonic() - since >= limit_s and not self.is_closed:
                raise EtcdUnavailable(no_answer(limit_s, self._calls.settings.endpoints, self._reasons))
            return ()

    def close(self) -> None:
        """End the watch."""
        self._closed.set()
        with self._changed:
            self._changed.notify_all()
            stream = self._stream
        if stream is not None:
            stream.cancel()
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        try:
            while not self.is_closed and self._error is None:
                self._follow_until_broken()
        except BaseException as error:
            self._end(EtcdError(f"etcd: the watch of {self._key!r} failed: {error!r}"))
            raise

    def _follow_until_broken(self) -> None:
        """Try one member after the other, with rests, until one was followed for a while."""
        for pause_s, _ in attempts(len(self._calls.channels.endpoints)):
            if self._closed.wait(pause_s):
                return
            endpoint = self._calls.channels.current()
            began = time.monotonic()
            self._follow(endpoint)
            if self._error is not None or time.monotonic() - began > LASTED_S:
                return

    def _follow(self, endpoint: Endpoint) -> None:
        """Follow one member until it fails."""
        pulse, over = Pulse(), threading.Event()
        token = ""
        try:
            token = self._calls.token(endpoint, ANSWER_S)
            open_stream = endpoint.channel.stream_stream(
                WATCH, rpc.WatchRequest.SerializeToString, rpc.WatchResponse.FromString
            )
            self._progress.reconnected()
            stream = open_stream(self._requests(pulse, over), metadata=metadata(token))
            with self._changed:
                self._stream = stream
            if self.is_closed:
                stream.cancel()
            self._failed(endpoint, self._receive(stream, pulse, token))
        except grpc.RpcError as error:
            self._judge(error, endpoint, token, is_silent=over.is_set())
        finally:
            over.set()
            with self._changed:
                stream, self._stream = self._stream, None
            if stream is not None:
                stream.cancel()

    def _requests(self, pulse: Pulse, over: threading.Event) -> Iterator[rpc.WatchRequest]:
        """What is sent, in a thread of gRPC's: the watch, then a probe every two seconds."""
        pulse.asked_s = time.monotonic()
        yield wire.watch_request(self._key, self._progress.next_revision, self._is_prefix)
        while not over.wait(ANSWER_S):
            if pulse.is_silent(time.monotonic()):
                over.set()
                with self._changed:
                    stream = self._stream
                if stream is not None:
                    stream.cancel()
                return
            if over.wait(PROBE_S - ANSWER_S):
                return
            pulse.asked_s = time.monotonic()
            yield rpc.WatchRequest(progress_request=rpc.WatchProgressRequest())

    def _receive(self, stream: Any, pulse: Pulse, token: str) -> str:
        """Take what comes, until the stream ends or the watch does; why it ended."""
        for response in stream:
            pulse.heard_s = time.monotonic()
            match self._progress.take(response):
                case Changed(events):
                    pulse.is_busy = True
                    self._hand_over(events)
                    pulse.is_busy = False
                case Heard():
                    pass
                case Denied(reason):
                    self._denied(reason, token)
                    return reason
                case Broken(reason):
                    return reason
                case Ended(error):
                    self._end(error)
                    return str(error)
                case step:
                    assert_never(step)
            with self._changed:
                self._broken_since, self._denials = None, 0
        return "the stream ended"

    def _hand_over(self, events: tuple[Event, ...]) -> None:
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) < WAITING_MAX or self.is_closed)
            self._waiting.append(events)
            self._changed.notify_all()

    def _denied(self, reason: str, token: str) -> None:
        """Take a new token, once: etcd says the same of an old token and of keys that are not the user's."""
        self._denials += 1
        self._calls.expire(token)
        if self._denials > 1:
            self._end(AccessDenied(f"etcd: watching {self._key!r}: {reason}; give the user a role with it"))

    def _judge(self, error: grpc.RpcError, endpoint: Endpoint, token: str, *, is_silent: bool) -> None:
        verdict = judge(*status_of(error))
        match verdict:
            case Refused(error=refusal):
                self._end(refusal)
            case NewToken(reason):
                self._denied(reason, token)
            case Elsewhere(reason):
                self._failed(endpoint, "no sign of life" if is_silent else reason)
            case _:
                assert_never(verdict)

    def _failed(self, endpoint: Endpoint, reason: str) -> None:
        if self.is_closed:  # we have ended the stream ourselves, and the member is as good as before
            return
        self._calls.channels.leave(endpoint)
        with self._changed:
            self._reasons[endpoint.address] = reason
            if self._broken_since is None:
                self._broken_since = time.monotonic()

    def _end(self, error: EtcdError) -> None:
        with self._changed:
            self._error = error
            self._changed.notify_all()
