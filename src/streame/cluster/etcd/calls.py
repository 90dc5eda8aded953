"""Calls that end in time: the next endpoint is asked when one fails, and the token is renewed when it has expired."""

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any, assert_never, cast

import grpc
from google.protobuf.message import Message

from streame.cluster.etcd import rpc_pb2 as rpc
from streame.cluster.etcd.channels import Channels, Endpoint
from streame.cluster.etcd.failures import Elsewhere, NewToken, Refused, judge
from streame.cluster.etcd.settings import EtcdSettings, read_secret
from streame.errors import AccessDenied, EtcdUnavailable, PlanError, Unknown

ATTEMPT_S_MAX = 2.0
"""How long one endpoint may take before the next is asked."""

ATTEMPT_S_MIN = 0.6
"""What it gets of a shorter time too. On a slow network a third of what is left to a lease is too short for an answer from
anywhere; that not all members are asked then does no harm, since most of them work or none is of use."""

PAUSES_S = (0.02, 0.05, 0.1, 0.2, 0.4)
"""The rests after all endpoints have failed; the last one is repeated."""

RENEWALS_MAX = 2
"""How often a call takes a new token; a change of roles outdates every token."""

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Method:
    """A method of etcd's services.

    Args:
        path: its name on the wire.
        response: the message that it answers with.
        is_stream: whether etcd has it as a stream; one message is sent, and the first answer is taken.
        writes: whether it matters if it happens twice.
    """

    path: str
    response: type[Any]
    is_stream: bool = False
    writes: bool = False


AUTHENTICATE = Method("/etcdserverpb.Auth/Authenticate", rpc.AuthenticateResponse)


class Calls:
    """Calls of etcd from any thread.

    Args:
        settings: where etcd is, and who asks.
    """

    def __init__(self, settings: EtcdSettings) -> None:
        self.settings = settings
        self.channels = Channels(settings)
        self.closed = threading.Event()
        self._password = ""
        if settings.password_file is not None:
            self._password = _text(settings.password_file)
        self._token = ""
        self._lock = threading.Lock()

    def call(self, method: Method, request: Message, timeout_s: float | None) -> Any:
        """Ask etcd, and go on with the next endpoint until one answers or the time is over.

        Raises:
            Unknown: the answer of a method that writes was lost.
            EtcdUnavailable: nobody answered.
            EtcdError: it was refused.
        """
        limit_s = self.settings.timeout_s if timeout_s is None else max(0.0, timeout_s)
        deadline = time.monotonic() + limit_s
        reasons: dict[str, str] = {}
        renewals = 0
        for pause_s, share in attempts(len(self.channels.endpoints)):
            self.closed.wait(min(pause_s, max(0.0, deadline - time.monotonic())))
            remaining_s = deadline - time.monotonic()
            if self.closed.is_set() or remaining_s <= 0:
                break
            attempt_s = attempt_time_s(remaining_s, share)
            endpoint = self.channels.current()
            token, was_sent = "", False
            try:
                token = self.token(endpoint, attempt_s)
                was_sent = True
                return _ask(endpoint, method, request, attempt_s, token)
            except grpc.RpcError as error:
                verdict = judge(*status_of(error))
            match verdict:
                case Refused(error=refusal):
                    raise refusal
                case NewToken(reason):
                    renewals += 1
                    if renewals > RENEWALS_MAX or self.settings.user is None:
                        raise AccessDenied(f"etcd: {reason}; check the user and the password file")
                    self.expire(token)
                case Elsewhere(reason, may_have_happened):
                    self.channels.leave(endpoint)
                    reasons[endpoint.address] = reason
                    if method.writes and was_sent and may_have_happened:
                        raise Unknown(
                            f"etcd: the answer of {endpoint.address} to a transaction was lost ({reason}); "
                            "it may have happened: read before trying it again"
                        )
                case _:
                    assert_never(verdict)
        if self.closed.is_set():
            raise EtcdUnavailable("etcd: the client is closed; make a new one")
        raise EtcdUnavailable(no_answer(limit_s, self.settings.endpoints, reasons))

    def token(self, endpoint: Endpoint, timeout_s: float) -> str:
        """The token to show, empty without a user.

        Raises:
            grpc.RpcError: etcd gave none.
        """
        if self.settings.user is None:
            return ""
        with self._lock:
            token = self._token
        if not token:
            request = rpc.AuthenticateRequest(name=self.settings.user, password=self._password)
            token = _ask(endpoint, AUTHENTICATE, request, timeout_s, "").token
            with self._lock:
                self._token = token
        return token

    def expire(self, token: str) -> None:
        """Take a new token for the next call, if `token` still is the one in use."""
        with self._lock:
            if self._token == token:
                self._token = ""

    def close(self) -> None:
        """End all calls and connections."""
        self.closed.set()
        self.channels.close()


def _text(password_file: Path) -> str:
    """The password in a file."""
    try:
        return read_secret(password_file, "password").rstrip(b"\r\n").decode()
    except UnicodeDecodeError:
        pass  # the error would show the password
    raise PlanError(f"etcd: the password in {password_file} is not UTF-8; write it as such")


def attempts(endpoints: int) -> Iterator[tuple[float, float]]:
    """For every attempt the rest before it, and its share of the time that is left: each endpoint gets as much."""
    for pause_s in chain((0.0, *PAUSES_S), repeat(PAUSES_S[-1])):
        yield pause_s, 1 / endpoints
        yield from ((0.0, 1 / left) for left in range(endpoints - 1, 0, -1))


def attempt_time_s(remaining_s: float, share: float) -> float:
    """How long an attempt may take."""
    return min(remaining_s, max(remaining_s * share, ATTEMPT_S_MIN), ATTEMPT_S_MAX)


def metadata(token: str) -> Metadata:
    """What is sent with every call: a member that knows no leader is to say so rather than wait."""
    return (("hasleader", "true"), ("token", token)) if token else (("hasleader", "true"),)


def status_of(error: grpc.RpcError) -> tuple[grpc.StatusCode, str]:
    """The status of a failed call and its message, without anything that was sent."""
    call = cast(grpc.Call, error)  # gRPC raises errors that are calls
    return call.code(), (call.details() or "")[:500]


def no_answer(limit_s: float, endpoints: Iterable[str], reasons: Mapping[str, str]) -> str:
    """The message when nobody answered."""
    found = "; ".join(f"{endpoint}: {reasons.get(endpoint, 'not asked')}" for endpoint in endpoints)
    return (
        f"etcd: no endpoint answered in {limit_s:.3g} s: {found}. "
        "Check that etcd runs, and that addresses and certificates are right"
    )


def _ask(endpoint: Endpoint, method: Method, request: Message, timeout_s: float, token: str) -> Any:
    """Call one endpoint."""
    kind = endpoint.channel.unary_stream if method.is_stream else endpoint.channel.unary_unary
    invoke = kind(method.path, type(request).SerializeToString, method.response.FromString)
    answer = invoke(request, timeout=timeout_s, metadata=metadata(token))
    if not method.is_stream:
        return answer
    for each in answer:
        return each
    raise EtcdUnavailable(f"etcd: {endpoint.address} ended the stream of {method.path} without an answer")
