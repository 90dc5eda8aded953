"""From the physical graph to tasks: which operators share a task, and which channels connect the tasks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import polars as pl

from streame.core.clock import Clock
from streame.core.deadletters import DEAD_LETTER_SCHEMA
from streame.runtime.channel import ChannelLimits, Entrance, Inbox
from streame.runtime.graph import Edge, Graph, OperatorVertex, SourceVertex
from streame.runtime.outputs import ChannelOutput, Outputs
from streame.runtime.partition import Partitioner
from streame.runtime.source_task import SourceTask
from streame.runtime.stage import Stage
from streame.runtime.task import OperatorTask, Task


@dataclass(frozen=True, slots=True)
class Wire:
    """A channel between two tasks of which one runs in another process.

    Args:
        name: unique in the job, and the same in both processes.
        sender: the key of the task that sends.
        receiver: the key of the task that receives.
        schema: the rows, without hidden columns.
        partial_schema: the same of rows that stand for several others, where there are such.
        bounded: whether the sender waits where much is unread; otherwise the receiver keeps all of it.
    """

    name: str
    sender: str
    receiver: str
    schema: pl.Schema
    partial_schema: pl.Schema | None = None
    bounded: bool = True


class Wiring(Protocol):
    """Which tasks of a graph run in this process, and the channels to and from the others."""

    def is_here(self, task: str) -> bool:
        """Whether the task with this key runs here."""

    def inbox(
        self, ports: Sequence[int], limits: Sequence[ChannelLimits | None], wires: Mapping[int, Wire]
    ) -> Inbox:
        """The inbox of a task that runs here.

        Args:
            ports: as for `Inbox`.
            limits: as for `Inbox`.
            wires: those among its channels that come from other processes.
        """

    def entrance(self, wire: Wire) -> Entrance:
        """Where messages for a task in another process go in, as its channel 0."""


class _AllHere:
    """Everything runs in this process."""

    def is_here(self, task: str) -> bool:
        return True

    def inbox(
        self, ports: Sequence[int], limits: Sequence[ChannelLimits | None], wires: Mapping[int, Wire]
    ) -> Inbox:
        return Inbox(ports, limits)

    def entrance(self, wire: Wire) -> Entrance:
        raise AssertionError(wire)


def build_tasks(
    graph: Graph, clock: Clock, limits: ChannelLimits | None, wiring: Wiring | None = None
) -> list[Task]:
    """The tasks of a graph, connected and not yet opened; sources first.

    Args:
        graph: what is to run.
        clock: the wall clock of all tasks.
        limits: the bound of every channel; `None` for no bound.
        wiring: which of the tasks are made; `None` for all.
    """
    return _Builder(graph, clock, limits, wiring or _AllHere()).build()


@dataclass(frozen=True, slots=True)
class TaskPlace:
    """A task, as far as it matters for where it runs.

    Args:
        key: its key.
        instance: its number among those of its vertex.
        instances: how many there are.
    """

    key: str
    instance: int
    instances: int


def task_places(graph: Graph) -> list[TaskPlace]:
    """All tasks of a graph, wherever they run."""
    places: list[TaskPlace] = []
    for vertex in graph.vertices.values():
        match vertex:
            case SourceVertex():
                keys = source_keys(vertex)
            case OperatorVertex() if not graph.is_inline(vertex):
                keys = [task_key(vertex.name, number) for number in range(vertex.parallelism)]
            case _:
                keys = []
        places += [TaskPlace(key, number, len(keys)) for number, key in enumerate(keys)]
    return places


def task_key(vertex: str, instance: int) -> str:
    """The key of the task of an instance of a vertex."""
    return f"{vertex}/{instance}"


def source_keys(vertex: SourceVertex) -> list[str]:
    """The keys of the tasks that read a source; that of a single one is the name."""
    if vertex.parallelism == 1:
        return [vertex.name]
    return [task_key(vertex.name, number) for number in range(vertex.parallelism)]


@dataclass(slots=True)
class _Builder:
    graph: Graph
    clock: Clock
    limits: ChannelLimits | None
    wiring: Wiring
    outputs: dict[str, list[Outputs[Stage] | None]] = field(default_factory=dict)
    """Of each instance of each vertex; `None` where that runs elsewhere."""
    homes: dict[str, list[str]] = field(default_factory=dict)
    """The key of the task that each instance of each vertex is in."""
    tasks: list[Task] = field(default_factory=list)

    def build(self) -> list[Task]:
        for name, vertex in self.graph.vertices.items():
            match vertex:
                case SourceVertex():
                    self._add_source(name, vertex)
                case OperatorVertex():
                    self._add(vertex)
        return self.tasks

    def _add_source(self, name: str, vertex: SourceVertex) -> None:
        self.homes[name], self.outputs[name] = source_keys(vertex), []
        for number, key in enumerate(self.homes[name]):
            task = SourceTask(vertex, self.clock, key, number) if self.wiring.is_here(key) else None
            self.outputs[name].append(None if task is None else task.outputs)
            if task is not None:
                self.tasks.append(task)

    def _add(self, vertex: OperatorVertex) -> None:
        stages: Sequence[Stage | None]
        if self.graph.is_inline(vertex):
            upstream = vertex.inputs[0].upstream
            self.homes[vertex.name] = self.homes[upstream]
            stages = [
                None if outputs is None else Stage(vertex.name, vertex.make(), [0], number)
                for number, outputs in enumerate(self.outputs[upstream])
            ]
            for outputs, stage in zip(self.outputs[upstream], stages, strict=True):
                if outputs is not None and stage is not None:
                    outputs.inline.append(stage)
        else:
            stages = self._add_tasks(vertex)
        for stage in stages:
            if stage is not None:
                stage.outputs.makes_positions = vertex.makes_positions
        self.outputs[vertex.name] = [None if stage is None else stage.outputs for stage in stages]

    def _add_tasks(self, vertex: OperatorVertex) -> list[Stage | None]:
        """One task per instance, each with an inbox of one channel per upstream instance that sends to it."""
        homes = [task_key(vertex.name, instance) for instance in range(vertex.parallelism)]
        self.homes[vertex.name] = homes
        feeds = [self._feeds(vertex, instance) for instance in range(vertex.parallelism)]
        inboxes: list[Inbox | None] = []
        stages: list[Stage | None] = []
        for number, (home, feed) in enumerate(zip(homes, feeds, strict=True)):
            inbox = self._inbox(home, feed) if self.wiring.is_here(home) else None
            inboxes.append(inbox)
            stages.append(None)
            if inbox is not None:
                stage = stages[number] = Stage(vertex.name, vertex.make(), inbox.ports, number)
                self.tasks.append(OperatorTask(stage, inbox, self.clock))
        for edge in vertex.inputs:
            for number, outputs in enumerate(self.outputs[edge.upstream]):
                if outputs is None:
                    continue
                targets: list[tuple[Entrance, int]] = []
                for home, inbox, feed in zip(homes, inboxes, feeds, strict=True):
                    if (edge, number) not in feed:
                        continue
                    if inbox is not None:
                        targets.append((inbox, feed.index((edge, number))))
                    else:
                        targets.append((self.wiring.entrance(self._wire(edge, number, home)), 0))
                splitter = Partitioner(edge.key, len(targets)) if edge.key and len(targets) > 1 else None
                outputs.of(edge.output).append(ChannelOutput(targets, splitter))
        return stages

    def _inbox(self, home: str, feed: list[tuple[Edge, int]]) -> Inbox:
        wires = {
            channel: self._wire(edge, number, home)
            for channel, (edge, number) in enumerate(feed)
            if not self.wiring.is_here(self.homes[edge.upstream][number])
        }
        limits = [self.limits if edge.bounded else None for edge, _ in feed]
        return self.wiring.inbox([edge.port for edge, _ in feed], limits, wires)

    def _wire(self, edge: Edge, number: int, receiver: str) -> Wire:
        """The channel from an instance of the upstream vertex to a task."""
        name = f"{edge.upstream}/{number}.{edge.output} > {receiver}.{edge.port}"
        vertex = self.graph.vertices[edge.upstream]
        partial = (
            vertex.partial_schema if isinstance(vertex, OperatorVertex) and edge.output == "rows" else None
        )
        return Wire(
            name, self.homes[edge.upstream][number], receiver, self._schema(edge), partial, edge.bounded
        )

    def _schema(self, edge: Edge) -> pl.Schema:
        vertex = self.graph.vertices[edge.upstream]
        match edge.output:
            case "rejected":
                return DEAD_LETTER_SCHEMA
            case "late":
                schema = vertex.late_schema if isinstance(vertex, OperatorVertex) else None
            case "rows":
                schema = vertex.schema
        assert schema is not None, edge
        return schema

    def _feeds(self, vertex: OperatorVertex, instance: int) -> list[tuple[Edge, int]]:
        """The upstream instances that send to one instance of a vertex."""
        feeds = []
        for edge in vertex.inputs:
            upstream = len(self.outputs[edge.upstream])
            everyone = edge.key is not None or vertex.parallelism == 1
            assert everyone or upstream == vertex.parallelism, (edge, upstream, vertex.parallelism)
            numbers = range(upstream) if everyone else [instance]
            feeds += [(edge, number) for number in numbers]
        return feeds
