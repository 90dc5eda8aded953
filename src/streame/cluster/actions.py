"""What a node knows when it decides, and what it may do. Pure values; `leader.py` and `follower.py` decide, `node.py` acts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from streame.cluster.frames import Attempt
from streame.cluster.suspects import Suspect
from streame.cluster.view import AttemptEntry, Outcome, View

PartState = Literal["running", "stopping", "stopped", "finished", "lost", "failed"]
"""`running` also while it starts; `stopping` until its last checkpoint; the others are ends: `stopped` behind that
checkpoint, `finished` when all sources have ended, `lost` when the attempt cannot go on, `failed` when the job cannot."""


@dataclass(frozen=True, slots=True)
class Part:
    """What this node runs of an attempt.

    Args:
        entry: the attempt.
        state: where it stands.
        lost: the name of the node that was lost, if it is `lost` and that is known.
        error: the message, if it is `lost` or `failed`.
    """

    entry: AttemptEntry
    state: PartState
    lost: str | None = None
    error: str = ""

    @property
    def attempt(self) -> Attempt:
        """Of which attempt."""
        return self.entry.attempt

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.state not in {"running", "stopping"}


@dataclass(frozen=True, slots=True)
class Facts:
    """What a node knows.

    Args:
        node_id: who it is now.
        digest: of its program.
        now: the time, in seconds of a clock that only goes on.
        view: etcd as it was read last.
        is_held: whether its lease still counts.
        part: what it runs, or ran last.
        is_leaving: whether it was asked to hand its work over and end.
        leads: the epoch in which it leads, if it has won an election.
        followed: the epochs of leaders for which it has worked, its own too.
        suspects: nodes that were lost, by id.
        seen: when each node that is there was first seen, by id.
        not_before: before then no attempt is proposed.
        authorities: those whose certificates it trusts; none if it uses no TLS.
    """

    node_id: str
    digest: str
    now: float
    view: View
    is_held: bool = True
    part: Part | None = None
    is_leaving: bool = False
    leads: int | None = None
    followed: frozenset[int] = frozenset()
    suspects: Mapping[str, Suspect] = field(default_factory=dict)
    seen: Mapping[str, float] = field(default_factory=dict)
    not_before: float = 0.0
    authorities: tuple[str, ...] = ()

    def leaves_out(self, node_id: str) -> bool:
        """Whether a node was lost so recently that nothing is begun with it yet."""
        suspect = self.suspects.get(node_id)
        return suspect is not None and suspect.until > self.now

    @property
    def must_say_leaving(self) -> bool:
        """Whether the others do not know yet that this node is to end."""
        entry = self.view.node(self.node_id)
        return self.is_leaving and entry is not None and not entry.leaving


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before something changes, or before a time.

    Args:
        until: that time; `None` for whenever something changes.
    """

    until: float | None = None


@dataclass(frozen=True, slots=True)
class Register:
    """Take a lease under a new id, and say that this node is there."""


@dataclass(frozen=True, slots=True)
class SayLeaving:
    """Say in the own entry that this node wants to end."""


@dataclass(frozen=True, slots=True)
class Campaign:
    """Become the leader, if nobody else is."""


@dataclass(frozen=True, slots=True)
class Propose:
    """Write down an attempt; it begins when that has succeeded.

    Args:
        entry: the attempt.
    """

    entry: AttemptEntry


@dataclass(frozen=True, slots=True)
class RunPart:
    """Run the part of this node in an attempt; what it runs of another one is ended at once.

    Args:
        entry: the attempt.
    """

    entry: AttemptEntry


@dataclass(frozen=True, slots=True)
class StopPart:
    """Make a last checkpoint, and end behind it."""

    why: str


@dataclass(frozen=True, slots=True)
class AbandonPart:
    """End at once what this node runs."""

    why: str


@dataclass(frozen=True, slots=True)
class Record:
    """Write down how the job has ended.

    Args:
        outcome: how.
    """

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Resign:
    """Lead no longer."""


@dataclass(frozen=True, slots=True)
class Leave:
    """End this node; the others go on."""


@dataclass(frozen=True, slots=True)
class End:
    """The job has ended, and this node with it.

    Args:
        outcome: how.
    """

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Refuse:
    """End this node with an error: it cannot take part.

    Args:
        why: the message.
    """

    why: str


Action: TypeAlias = (
    Wait
    | Register
    | SayLeaving
    | Campaign
    | Propose
    | RunPart
    | StopPart
    | AbandonPart
    | Record
    | Resign
    | Leave
    | End
    | Refuse
)
