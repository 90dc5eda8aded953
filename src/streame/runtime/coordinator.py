"""The coordinator: when a checkpoint is complete, and what it is made of. It decides; `checkpointing.py` acts."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from streame.core.staging import Staged
from streame.runtime.part import Gathered, Json, OperatorPart, TaskPart
from streame.runtime.shared_splits import merged


@dataclass(frozen=True, slots=True)
class Complete:
    """Everything that a checkpoint is made of.

    Args:
        checkpoint: its number.
        last: whether nothing is read behind it.
        operators: the states of all operators.
        staged: the output of each sink that is to be published with it.
        sources: the position of each source, by its name.
    """

    checkpoint: int
    last: bool
    operators: Sequence[OperatorPart]
    staged: Mapping[str, Staged]
    sources: Mapping[str, Json]


class Coordinator:
    """Collects the parts of one checkpoint after the other.

    A task gives its part when the barrier has come through it. One that has ended gives a last part instead, which
    belongs to every checkpoint whose barrier it did not see; the output in it belongs to the first of these alone.

    Args:
        tasks: the keys of all tasks.
        decided: the number of the last checkpoint that was decided, 0 if none was.
    """

    def __init__(self, tasks: Collection[str], decided: int) -> None:
        self._tasks = frozenset(tasks)
        self._number = decided
        self._under_way = False
        self._last = False
        self._parts: dict[str, TaskPart] = {}
        self._final: dict[str, TaskPart] = {}

    @property
    def is_under_way(self) -> bool:
        """Whether a checkpoint has begun and is neither decided nor given up."""
        return self._under_way

    @property
    def all_ended(self) -> bool:
        """Whether no task is left."""
        return self._final.keys() == self._tasks

    def begin(self, *, last: bool) -> int:
        """Begin the next checkpoint, when none is under way.

        Returns:
            Its number, for the barrier that every source has to send that has not ended.
        """
        assert not self._under_way
        self._under_way, self._last = True, last
        self._number += 1
        return self._number

    def reached(self, checkpoint: int, part: TaskPart) -> Complete | None:
        """The barrier has come through a task. Returns the checkpoint if this was the last part of it."""
        assert self._under_way, part.task
        assert checkpoint == self._number, (checkpoint, self._number)
        assert part.task not in self._parts, part.task
        assert part.task not in self._final, part.task
        self._parts[part.task] = part
        return self.complete()

    def gathered(self, gathered: Gathered) -> Complete | None:
        """Another process has given the parts of its tasks. Returns the checkpoint if these were the last of it.

        One whose tasks have all ended, or that has none, is not waited for, and may answer late.
        """
        if not (gathered.reached or gathered.ended):
            return None
        assert self._under_way, gathered.checkpoint
        assert gathered.checkpoint == self._number, (gathered.checkpoint, self._number)
        for part in gathered.ended:
            assert part.task not in self._final, part.task
            self._final[part.task] = part
        for part in gathered.reached:
            assert part.task not in self._parts, part.task
            self._parts[part.task] = part
        return self.complete()

    def ended(self, part: TaskPart) -> Complete | None:
        """A task has ended. Returns the checkpoint that is under way if this was the last part of it."""
        assert part.task not in self._final, part.task
        self._final[part.task] = part
        return self.complete()

    def complete(self) -> Complete | None:
        """The checkpoint that is under way, if all parts of it are there."""
        parts = {**self._final, **self._parts}
        if not self._under_way or parts.keys() != self._tasks:
            return None
        self._under_way = False
        last = self._last or not self._parts
        # What a task has staged at its end, after its part of this checkpoint, belongs to the next one.
        self._final = {
            key: part if key in self._parts else _without_output(part) for key, part in self._final.items()
        }
        self._parts = {}
        ordered = [parts[key] for key in sorted(parts)]
        positions: dict[str, list[Json]] = {}
        for part in ordered:
            for name, position in part.sources.items():
                positions.setdefault(name, []).append(position)
        return Complete(
            self._number,
            last,
            [each for part in ordered for each in part.operators],
            {name: staged for part in ordered for name, staged in part.staged.items()},
            {name: merged(found) for name, found in positions.items()},
        )


def _without_output(part: TaskPart) -> TaskPart:
    staged = {name: Staged((), each.note) for name, each in part.staged.items()}
    return TaskPart(part.task, part.operators, staged, part.sources)
