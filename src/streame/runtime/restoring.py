"""Restoring: the states of a checkpoint into the tasks of a run, which may have another parallelism."""

from collections.abc import Collection, Sequence

import polars as pl

from streame.core.clock import Clock
from streame.core.time import Mask
from streame.runtime.graph import Graph, OperatorVertex
from streame.runtime.operators.paged import PagedOperator, is_paged, pages_of
from streame.runtime.partition import owners
from streame.runtime.source_task import SourceTask
from streame.runtime.stage import Stage
from streame.runtime.task import Task
from streame.state.checkpoint.store import Recovered, RecoveredState
from streame.state.snapshot import Mine


def restore(
    tasks: Sequence[Task], graph: Graph, recovered: Recovered, kept: Collection[str], clock: Clock
) -> None:
    """Put the state of a checkpoint into tasks that have been opened.

    All other operators begin anew.

    Args:
        tasks: the tasks of the graph that run here.
        graph: what they run.
        recovered: the checkpoint.
        kept: the names of the sources and operators that can go on with its state.
        clock: the wall clock, for operators that are opened only to be taken apart.

    Raises:
        CheckpointDamaged: when a state is not what was written.
    """
    stages: dict[str, list[Stage]] = {}
    for task in tasks:
        if isinstance(task, SourceTask) and task.name in kept:
            task.restore(recovered.sources[task.name])
        for stage in task.stages():
            stages.setdefault(stage.name, []).append(stage)
    for name, instances in stages.items():
        states = recovered.instances(name)
        if name not in kept or not states or not instances[0].keeps:
            continue
        instances.sort(key=lambda stage: stage.instance)
        if not isinstance(instances[0].operator, PagedOperator) and any(map(is_paged, states)):
            states = [part for state in states for part in pages_of(state)]
            _share_out(graph, name, states, instances, clock)
        elif len(states) == graph.parallelism(name):
            for stage in instances:
                stage.restore(states[stage.instance].values())
        else:
            _share_out(graph, name, states, instances, clock)


def _share_out(
    graph: Graph, name: str, states: Sequence[RecoveredState], instances: Sequence[Stage], clock: Clock
) -> None:
    """Share the states of a number of instances out among another number of them, by the keys that each owns."""
    vertex = graph.vertices[name]
    assert isinstance(vertex, OperatorVertex), name
    others = [_opened(name, vertex, state, clock) for state in states]
    for stage in instances:
        stage.absorb(others, _mine(stage.instance, vertex.parallelism))
    for other in others:
        other.operator.close(failed=False)


def _opened(name: str, vertex: OperatorVertex, state: RecoveredState, clock: Clock) -> Stage:
    stage = Stage(name, vertex.make(), [edge.port for edge in vertex.inputs])
    stage.open_apart(clock)
    stage.restore(state.values())
    return stage


def _mine(instance: int, instances: int) -> Mine:
    def mine(keys: pl.DataFrame) -> Mask:
        owned: Mask = owners(keys, instances) == instance
        return owned

    return mine
