"""What the nodes of a job say of themselves in etcd, and all of it as it was at one moment."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar
from urllib.parse import quote

import msgspec

from streame.cluster.etcd.interface import KeyValue, Listing
from streame.cluster.frames import Attempt
from streame.errors import ClusterError

Ended = Literal["finished", "failed"]


class Member(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A node, as others know it.

    Args:
        id: new at each start.
        name: who it is, by its certificate if it has one.
        address: where the others reach it.
    """

    id: str
    name: str
    address: str


class NodeEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A node that is there.

    Args:
        member: who it is.
        digest: of its program: nodes of one job must run the same.
        leaving: whether it wants to hand its work over and end.
        since_us: when it came, by its own clock: microseconds since 1970 in UTC.
        authorities: those whose certificates it trusts (`Tls.authorities`); none if it uses no TLS.
    """

    member: Member
    digest: str
    leaving: bool = False
    since_us: int = 0
    authorities: tuple[str, ...] = ()


class LeaderEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The node that leads.

    Args:
        member: who it is.
        digest: of its program.
        authorities: those whose certificates it trusts; none if it uses no TLS.
    """

    member: Member
    digest: str
    authorities: tuple[str, ...] = ()


class Pointer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last checkpoint that was decided.

    Args:
        number: of the checkpoint.
        attempt: the attempt that has made it.
        path: where its manifest is.
        digest: of its bytes, as hexadecimal digits; see `manifest_digest`.
        size: its bytes.
        before: the manifests of the checkpoints right before it that are kept, newest first.
    """

    number: int
    attempt: Attempt
    path: str
    digest: str
    size: int
    before: "tuple[Pointer, ...]" = ()


class AttemptEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One run of the job with one assignment.

    Args:
        attempt: its epoch and number.
        members: the nodes that take part; the leader is the first.
        slots: for each instance of a keyed operator the place of its node among the members.
        start: the checkpoint that it goes on from; `None` where the job begins.
    """

    attempt: Attempt
    members: tuple[Member, ...]
    slots: tuple[int, ...]
    start: Pointer | None = None

    def place(self, node_id: str) -> int | None:
        """Which of the members a node is."""
        return next((at for at, member in enumerate(self.members) if member.id == node_id), None)


class Outcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the job has ended, for all nodes.

    Args:
        epoch: of the leader that says so.
        state: how.
        error: the message, if it has failed.
    """

    epoch: int
    state: Ended
    error: str = ""


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of a job.

    Args:
        cluster: the name of the cluster.
        job: the name of the job.

    Attributes:
        prefix: what all of them begin with.
    """

    cluster: str
    job: str
    prefix: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        prefix = f"/streame/{quote(self.cluster, safe='')}/{quote(self.job, safe='')}/"
        object.__setattr__(self, "prefix", prefix)

    @property
    def leader(self) -> str:
        """Who leads; its revision is the epoch."""
        return f"{self.prefix}leader"

    @property
    def pointer(self) -> str:
        """The last checkpoint that was decided."""
        return f"{self.prefix}ptr"

    @property
    def attempt(self) -> str:
        """The attempt that runs, or is to."""
        return f"{self.prefix}attempt"

    @property
    def outcome(self) -> str:
        """How the job has ended."""
        return f"{self.prefix}outcome"

    @property
    def place(self) -> str:
        """Which file shows that a node has the same checkpoints as the others."""
        return f"{self.prefix}place"

    def node(self, node_id: str) -> str:
        """A node that is there."""
        return f"{self.prefix}nodes/{node_id}"

    def drain(self, name: str) -> str:
        """That a node is to hand its work over and end."""
        return f"{self.prefix}drain/{quote(name, safe='')}"


@dataclass(frozen=True, slots=True)
class View:
    """All keys of a job at one revision.

    Args:
        leader: who leads.
        epoch: of the leader; 0 while nobody leads.
        nodes: those that are there, the one that came first first.
        attempt: the newest attempt.
        pointer: the last checkpoint.
        outcome: how the job has ended, if it ever did.
        drained: the ids of nodes that are to end; the next start of such a node has another one.
        revisions: at which revision each of the single keys was last written, by key; 0 for one that is not there.
    """

    leader: LeaderEntry | None = None
    epoch: int = 0
    nodes: tuple[NodeEntry, ...] = ()
    attempt: AttemptEntry | None = None
    pointer: Pointer | None = None
    outcome: Outcome | None = None
    drained: frozenset[str] = frozenset()
    revisions: dict[str, int] = field(default_factory=dict)

    def node(self, node_id: str) -> NodeEntry | None:
        """The entry of a node."""
        return next((each for each in self.nodes if each.member.id == node_id), None)

    @property
    def is_current(self) -> bool:
        """Whether the newest attempt is one of the leader that there is."""
        return self.attempt is not None and self.attempt.attempt.epoch == self.epoch != 0


Entry = TypeVar("Entry", bound=msgspec.Struct)


def encode(entry: msgspec.Struct) -> bytes:
    """An entry as the value of a key."""
    return msgspec.json.encode(entry)


def decode(kind: type[Entry], found: KeyValue) -> Entry:
    """The entry in the value of a key.

    Raises:
        ClusterError: when something else has written it.
    """
    try:
        return msgspec.json.decode(found.value, type=kind)
    except msgspec.MsgspecError as error:
        raise ClusterError(
            f"etcd: the key {found.key} does not hold what this version of Streame writes there ({error}); another "
            "program, or another version, uses the same names: give the cluster another one"
        ) from error


def view_of(listing: Listing, keys: Keys) -> View:
    """All keys of a job.

    Args:
        listing: all that begins with their prefix.
        keys: which they are.
    """
    found = {each.key: each for each in listing.entries}
    leader, attempt = found.get(keys.leader), found.get(keys.attempt)
    pointer, outcome = found.get(keys.pointer), found.get(keys.outcome)
    nodes = sorted(
        (each for key, each in found.items() if key.startswith(f"{keys.prefix}nodes/")),
        key=lambda each: each.create_revision,
    )
    drains = f"{keys.prefix}drain/"
    return View(
        None if leader is None else decode(LeaderEntry, leader),
        0 if leader is None else leader.create_revision,
        tuple(decode(NodeEntry, each) for each in nodes),
        None if attempt is None else decode(AttemptEntry, attempt),
        None if pointer is None else decode(Pointer, pointer),
        None if outcome is None else decode(Outcome, outcome),
        frozenset(
            each.value.decode(errors="replace") for key, each in found.items() if key.startswith(drains)
        ),
        {key: each.mod_revision for key, each in found.items()},
    )


def can_speak(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether nodes with these authorities can speak to each other: without TLS, or with an authority that both trust.

    One is enough, since during a change of the authority some nodes trust the old and the new one, others only one of them.
    """
    return not (one or other) or not set(one).isdisjoint(other)


def trust_of(authorities: Sequence[str]) -> str:
    """What a node with these authorities does, in words."""
    return f"trusts {', '.join(authorities)}" if authorities else "uses no TLS"


def one_per_name(nodes: Sequence[NodeEntry]) -> list[NodeEntry]:
    """Of several nodes of one name the one that came last: a process that was started again is faster than its lease."""
    return list({each.member.name: each for each in nodes}.values())
