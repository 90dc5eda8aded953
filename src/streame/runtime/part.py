"""Parts of a checkpoint: what each task gives for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from streame.core.staging import Staged
from streame.state.checkpoint.manifest import StoredState
from streame.state.snapshot import Snapshot

Json: TypeAlias = Any


@dataclass(frozen=True, slots=True)
class OperatorPart:
    """The state of one instance of an operator.

    Args:
        operator: its name.
        instance: its number.
        snapshot: the state, or where another process has written it.
    """

    operator: str
    instance: int
    snapshot: Snapshot | StoredState


@dataclass(frozen=True, slots=True)
class TaskPart:
    """What one task gives for a checkpoint.

    Args:
        task: its key among all tasks.
        operators: the states of its operators that keep something.
        staged: by sink, the output since the last part.
        sources: the position of the source that it reads, by its name; others may read other splits of it.
    """

    task: str
    operators: Sequence[OperatorPart] = ()
    staged: Mapping[str, Staged] = field(default_factory=dict)
    sources: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Gathered:
    """What all tasks of one process give for a checkpoint.

    Args:
        checkpoint: its number.
        reached: the parts of tasks through which the barrier has come.
        ended: the last parts of tasks that have ended; those told before are not among them.
    """

    checkpoint: int
    reached: Sequence[TaskPart]
    ended: Sequence[TaskPart]


class Checkpointer(Protocol):
    """Who takes the parts of tasks."""

    def reached(self, checkpoint: int, part: TaskPart) -> None:
        """A barrier has come through a task."""

    def ended(self, part: TaskPart) -> None:
        """A task has nothing left to do; this is its part of every checkpoint whose barrier did not come to it."""
