"""Which tasks of an attempt run on this node, and the channels between them and those on other nodes."""

from collections.abc import Mapping, Sequence

from streame.cluster.channel import RemoteChannel
from streame.cluster.columns import ChannelColumns
from streame.cluster.flow import CREDIT_BYTES, NO_LIMIT_BYTES
from streame.cluster.inbox import RemoteInbox
from streame.cluster.link import Input, Link
from streame.cluster.view import AttemptEntry
from streame.core.messages import Message
from streame.runtime.build import TaskPlace, Wire
from streame.runtime.channel import ChannelLimits, Inbox


def place_tasks(tasks: Sequence[TaskPlace], entry: AttemptEntry) -> dict[str, int]:
    """The member on which each task runs: instances of keyed operators have slots, all others are with the leader.

    Args:
        tasks: all tasks of the graph.
        entry: the attempt.
    """
    shared = len(entry.slots)
    return {task.key: entry.slots[task.instance] if task.instances == shared else 0 for task in tasks}


def credit_bytes(wire: Wire) -> int:
    """How much of the rows of a channel may be under way or wait unread; both sides say the same, as it follows from the plan."""
    return CREDIT_BYTES if wire.bounded else NO_LIMIT_BYTES


class Sender:
    """Where messages for a task on another node go in: a channel that is there once the nodes are connected.

    Args:
        peer: the name of the other node.
        wire: the channel.
    """

    def __init__(self, peer: str, wire: Wire) -> None:
        self.peer, self.wire = peer, wire
        self.columns = ChannelColumns.of(wire.schema, wire.partial_schema, wire.name)
        self._channel: RemoteChannel | None = None

    def connect(self, link: Link) -> None:
        """Open the channel: from now on messages can be put."""
        self._channel = link.sender(self.wire.name, self.columns, credit_bytes(self.wire))

    @property
    def closed(self) -> bool:
        """Whether nobody reads any more."""
        return self._channel is not None and self._channel.closed

    def put(self, channel: int, message: Message) -> None:
        """See `Entrance`."""
        assert self._channel is not None, self.wire.name
        self._channel.put(channel, message)


class NodeWiring:
    """The wiring of one node in an attempt, as `build_tasks` asks for it.

    Args:
        homes: the member on which each task runs.
        place: which of the members this node is.
        entry: the attempt.

    Attributes:
        inputs: the channels that come from other nodes, by name.
        senders: those that go to other nodes.
    """

    def __init__(self, homes: Mapping[str, int], place: int, entry: AttemptEntry) -> None:
        self._homes, self._place, self._entry = homes, place, entry
        self.inputs: dict[str, Input] = {}
        self.senders: list[Sender] = []

    @property
    def peers(self) -> set[str]:
        """The names of the nodes that this one has to do with: the leader and all others, and whoever it has channels with."""
        names = {each.peer for each in self.senders} | {each.peer for each in self.inputs.values()}
        members = self._entry.members
        return names | {member.name for at, member in enumerate(members) if (at == 0) != (self._place == 0)}

    def is_here(self, task: str) -> bool:
        """See `Wiring`."""
        return self._homes[task] == self._place

    def inbox(
        self, ports: Sequence[int], limits: Sequence[ChannelLimits | None], wires: Mapping[int, Wire]
    ) -> Inbox:
        """See `Wiring`."""
        if not wires:
            return Inbox(ports, limits)
        inbox = RemoteInbox(ports, [None if at in wires else each for at, each in enumerate(limits)])
        for channel, wire in wires.items():
            assert wire.name not in self.inputs, wire.name
            columns = ChannelColumns.of(wire.schema, wire.partial_schema, wire.name)
            self.inputs[wire.name] = Input(
                self._name(wire.sender), inbox, channel, columns, credit_bytes(wire)
            )
        return inbox

    def entrance(self, wire: Wire) -> Sender:
        """See `Wiring`."""
        sender = Sender(self._name(wire.receiver), wire)
        self.senders.append(sender)
        return sender

    def _name(self, task: str) -> str:
        return self._entry.members[self._homes[task]].name
