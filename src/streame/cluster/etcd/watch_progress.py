"""Decides what a watch has seen, from where it goes on, and when its peer has fallen silent; touches no connection."""

from dataclasses import dataclass

from streame.cluster.etcd import rpc_pb2 as rpc
from streame.cluster.etcd import wire
from streame.cluster.etcd.interface import Event
from streame.errors import Compacted, EtcdError

PROBE_S = 2.0
"""How often a watch asks its peer for a sign of life."""

ANSWER_S = 1.0
"""How long the peer may take for it."""


@dataclass(frozen=True, slots=True)
class Changed:
    """Changes that were not seen before, whole revisions of them."""

    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Heard:
    """A sign of life and no more."""


@dataclass(frozen=True, slots=True)
class Denied:
    """The user may not see these keys, or the token is too old to tell: etcd does not say which."""

    reason: str


@dataclass(frozen=True, slots=True)
class Broken:
    """This member gave the watch up; another may take it on."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The watch cannot go on anywhere."""

    error: EtcdError


Step = Changed | Heard | Denied | Broken | Ended


class WatchProgress:
    """How far a watch has come.

    Args:
        start_revision: the first revision that has not been seen.
    """

    def __init__(self, start_revision: int) -> None:
        assert start_revision >= 1, start_revision
        self.next_revision = start_revision
        self._fragments: list[Event] = []

    def reconnected(self) -> None:
        """The pieces of an answer that was cut off come again."""
        self._fragments = []

    def take(self, response: rpc.WatchResponse) -> Step:
        """What a response means.

        Only changes move the revision on: the revision of an answer to a probe may be ahead of changes that are
        still to come on the same stream.
        """
        if response.compact_revision:
            return Ended(
                Compacted(
                    f"etcd: the changes from revision {self.next_revision} on are compacted up to "
                    f"{response.compact_revision}; list the keys and watch from there"
                )
            )
        if response.canceled:
            reason = response.cancel_reason or "canceled without a reason"
            return Denied(reason) if "permission denied" in reason else Broken(reason)
        self._fragments += wire.events(response.events)
        if response.fragment:
            return Heard()
        events = tuple(each for each in self._fragments if each.mod_revision >= self.next_revision)
        self._fragments = []
        if not events:
            return Heard()
        self.next_revision = events[-1].mod_revision + 1
        return Changed(events)


@dataclass(slots=True)
class Pulse:
    """When a peer was asked for a sign of life and when it gave one, in seconds of a monotonic clock."""

    asked_s: float = 0.0
    heard_s: float = 0.0
    is_busy: bool = False
    """Whether what it sent waits for us: then nothing can be heard, and that is not its fault."""

    def is_silent(self, now_s: float) -> bool:
        """Whether the last question has gone unanswered for too long."""
        return not self.is_busy and self.heard_s < self.asked_s <= now_s - ANSWER_S
