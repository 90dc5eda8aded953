"""From the physical graph to tasks: which operators share a task, and which channels connect the tasks."""

from dataclasses import dataclass, field

from streame.core.clock import Clock
from streame.runtime.channel import ChannelLimits, Inbox
from streame.runtime.graph import Edge, Graph, OperatorVertex, SourceVertex
from streame.runtime.outputs import ChannelOutput, Outputs
from streame.runtime.partition import Partitioner
from streame.runtime.source_task import SourceTask
from streame.runtime.stage import Stage
from streame.runtime.task import OperatorTask, Task


def build_tasks(graph: Graph, clock: Clock, limits: ChannelLimits | None) -> list[Task]:
    """The tasks of a graph, connected and not yet opened; sources first.

    Args:
        graph: what is to run.
        clock: the wall clock of all tasks.
        limits: the bound of every channel; `None` for no bound.
    """
    return _Builder(graph, clock, limits).build()


@dataclass(slots=True)
class _Builder:
    graph: Graph
    clock: Clock
    limits: ChannelLimits | None
    outputs: dict[str, list[Outputs[Stage]]] = field(default_factory=dict)
    tasks: list[Task] = field(default_factory=list)

    def build(self) -> list[Task]:
        for name, vertex in self.graph.vertices.items():
            match vertex:
                case SourceVertex():
                    task = SourceTask(vertex, self.clock)
                    self.outputs[name] = [task.outputs]
                    self.tasks.append(task)
                case OperatorVertex():
                    self._add(vertex)
        return self.tasks

    def _add(self, vertex: OperatorVertex) -> None:
        if self.graph.is_inline(vertex):
            stages = [Stage(vertex.name, vertex.make(), [0], number) for number in range(vertex.parallelism)]
            for upstream, stage in zip(self.outputs[vertex.inputs[0].upstream], stages, strict=True):
                upstream.inline.append(stage)
        else:
            stages = self._add_tasks(vertex)
        for stage in stages:
            stage.outputs.makes_positions = vertex.makes_positions
        self.outputs[vertex.name] = [stage.outputs for stage in stages]

    def _add_tasks(self, vertex: OperatorVertex) -> list[Stage]:
        """One task per instance, each with an inbox of one channel per upstream instance that sends to it."""
        feeds = [self._feeds(vertex, instance) for instance in range(vertex.parallelism)]
        inboxes = [
            Inbox(
                [edge.port for edge, _ in feed],
                [self.limits if edge.bounded else None for edge, _ in feed],
            )
            for feed in feeds
        ]
        stages = [
            Stage(vertex.name, vertex.make(), inbox.ports, number) for number, inbox in enumerate(inboxes)
        ]
        for stage, inbox in zip(stages, inboxes, strict=True):
            self.tasks.append(OperatorTask(stage, inbox, self.clock))
        for edge in vertex.inputs:
            for number, outputs in enumerate(self.outputs[edge.upstream]):
                targets = [
                    (inbox, feed.index((edge, number)))
                    for inbox, feed in zip(inboxes, feeds, strict=True)
                    if (edge, number) in feed
                ]
                splitter = Partitioner(edge.key, len(targets)) if edge.key and len(targets) > 1 else None
                channel = ChannelOutput(targets, splitter)
                outputs.of(edge.output).append(channel)
        return stages

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
