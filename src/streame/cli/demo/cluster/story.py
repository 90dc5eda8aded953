"""What happens to the cluster, in order, and when its leader is to be killed. Pure: facts in, events out."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from streame.cli.demo.cluster.node import NodeReport

NODES = 3
KILL_AT = 0.4
"""The leader is killed when this part of the flights has been published."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known at one moment.

    Args:
        at_s: the time, in seconds since the beginning.
        leader: the name of the node that leads, as etcd says.
        epoch: of that leader; 0 without one.
        attempt: the number of the attempt in that epoch; `None` if it is one of an older leader.
        homes: the name of the node of each instance, in that attempt.
        members: how many nodes take part in it.
        start: the number of the checkpoint that it goes on from; 0 without one.
        checkpoint: the number of the last checkpoint; 0 without one.
        checkpoint_epoch: of the leader that has decided it.
        published: how many departures are in the output, where everybody sees them.
        published_checkpoint: the number of the checkpoint that published the last of them.
        reports: what the nodes that run have said last.
        ended: whether all of them have ended.
    """

    at_s: float
    leader: str | None = None
    epoch: int = 0
    attempt: int | None = None
    homes: tuple[str, ...] = ()
    members: int = 0
    start: int = 0
    checkpoint: int = 0
    checkpoint_epoch: int = 0
    published: int = 0
    published_checkpoint: int = 0
    reports: Mapping[str, NodeReport] = field(default_factory=dict)
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """Something that has happened.

    Args:
        at_s: when, in seconds since the beginning.
        text: what.
        kind: `bad` for what was done to the cluster, `good` for how it got over it.
    """

    at_s: float
    text: str
    kind: str = ""


class Story:
    """Follows the cluster from its first leader to the end.

    Args:
        departures: how many rows the output will have.
    """

    def __init__(self, departures: int) -> None:
        self._departures = departures
        self._last = Facts(0.0)
        self._killed_epoch = 0
        self.killed: str | None = None
        """The node that was killed."""
        self.killed_at_s: float | None = None
        self.leader_after_s: float | None = None
        """How long after the kill another node led."""
        self.output_after_s: float | None = None
        """How long after the kill the output of that node could be seen."""

    def to_kill(self, facts: Facts) -> str | None:
        """The node that is to be killed now: the leader, once all take part and enough is in the output."""
        ready = facts.members == NODES and facts.attempt is not None
        if self.killed is None and ready and facts.published >= KILL_AT * self._departures:
            return facts.leader
        return None

    def was_killed(self, node: str, at_s: float) -> Event:
        """A node was killed just now."""
        self.killed, self.killed_at_s, self._killed_epoch = node, at_s, self._last.epoch
        return Event(at_s, f"{node}, which leads, is killed (SIGKILL)", "bad")

    def advance(self, facts: Facts) -> list[Event]:
        """What has happened since the last facts."""
        events, before, self._last = [], self._last, facts
        if facts.epoch > before.epoch:
            events.append(self._elected(facts))
        if facts.attempt is not None and (facts.epoch, facts.attempt) != (before.epoch, before.attempt):
            where: dict[str, list[str]] = {name: [] for name in sorted(set(facts.homes))}
            for instance, name in enumerate(facts.homes):
                where[name].append(str(instance))
            shares = "; ".join(f"{name} has the instances {', '.join(own)}" for name, own in where.items())
            start = f"from checkpoint {facts.start}" if facts.start else "from the beginning"
            events.append(Event(facts.at_s, f"attempt {facts.epoch}.{facts.attempt} {start}: {shares}"))
        if (
            self.killed_at_s is not None
            and self.output_after_s is None
            and facts.checkpoint_epoch > self._killed_epoch
            and facts.published_checkpoint >= facts.checkpoint
        ):
            self.output_after_s = facts.at_s - self.killed_at_s
            text = f"new output can be seen, {self.output_after_s:.1f} s after the kill"
            events.append(Event(facts.at_s, text, "good"))
        if facts.ended:
            events.append(Event(facts.at_s, "the job has ended"))
        return events

    def _elected(self, facts: Facts) -> Event:
        text = f"{facts.leader} leads, epoch {facts.epoch}"
        if self.killed_at_s is None or self.leader_after_s is not None:
            return Event(facts.at_s, text)
        self.leader_after_s = facts.at_s - self.killed_at_s
        return Event(facts.at_s, f"{text}, {self.leader_after_s:.1f} s after the kill", "good")
