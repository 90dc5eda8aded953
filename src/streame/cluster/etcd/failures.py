"""Decides what a failed call means: may it be tried elsewhere, may it have happened, or is it refused for good."""

from dataclasses import dataclass

from grpc import StatusCode

from streame.errors import AccessDenied, Compacted, EtcdError, LeaseLost, NoSpace, RequestTooLarge


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Another endpoint may answer.

    Args:
        reason: what went wrong here.
        may_have_happened: whether the request may have reached etcd, or may still reach it.
    """

    reason: str
    may_have_happened: bool


@dataclass(frozen=True, slots=True)
class NewToken:
    """Nothing happened: the token has expired, or users and roles have changed since it was given."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing happened, and trying again does not help."""

    error: EtcdError


Verdict = Elsewhere | NewToken | Refused

_NEVER_SENT = ("failed to connect to all addresses", "DNS resolution failed", "etcdserver: no leader")
"""How the messages of failures begin before which nothing was carried out. Whatever is not known may have been."""

_EXPIRED = ("invalid auth token", "revision of auth store is old", "auth: revision in header is old")

_REFUSED: tuple[tuple[str, type[EtcdError], str], ...] = (
    (
        "request is too large",
        RequestTooLarge,
        "etcd takes 1.5 MiB by default; keep large values in the store of checkpoints",
    ),
    (
        "larger than max",
        RequestTooLarge,
        "etcd takes 1.5 MiB by default; keep large values in the store of checkpoints",
    ),
    (
        "database space exceeded",
        NoSpace,
        "compact and defragment etcd or raise its quota, then disarm its alarm (etcdctl alarm disarm)",
    ),
    ("requested lease not found", LeaseLost, "take a new lease and begin again"),
    ("has been compacted", Compacted, "list the keys and go on from there"),
    ("invalid user ID or password", AccessDenied, "check the user and the password file"),
    (
        "authentication is not enabled",
        AccessDenied,
        "a user is set, but etcd asks for none: enable its authentication, or leave the user out",
    ),
    ("user name is empty", AccessDenied, "etcd asks for a user: set a user and a password file"),
    ("permission denied", AccessDenied, "give the user a role with this prefix"),
)
"""A part of etcd's message, the error, and what to do about it."""


def judge(code: StatusCode, details: str) -> Verdict:
    """What a call that ended with this status means.

    Args:
        code: the status.
        details: its message, as etcd or gRPC wrote it.
    """
    if any(part in details for part in _EXPIRED) or code is StatusCode.UNAUTHENTICATED:
        return NewToken(details)
    for part, error, advice in _REFUSED:
        if part in details:
            return Refused(error(f"etcd: {details.removeprefix('etcdserver: ')}; {advice}"))
    match code:
        case StatusCode.DEADLINE_EXCEEDED:
            return Elsewhere("no answer in time", may_have_happened=True)
        case StatusCode.RESOURCE_EXHAUSTED:  # too many requests: refused before they are looked at
            return Elsewhere(details, may_have_happened=False)
        case StatusCode.UNAVAILABLE | StatusCode.CANCELLED | StatusCode.UNKNOWN | StatusCode.INTERNAL:
            return Elsewhere(details, may_have_happened=not details.startswith(_NEVER_SENT))
        case StatusCode.PERMISSION_DENIED:
            return Refused(AccessDenied(f"etcd: {details}; give the user a role with this prefix"))
        case _:
            return Refused(EtcdError(f"etcd refused a request: {details} ({code.name})"))
