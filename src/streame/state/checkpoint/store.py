"""The interface of a store of checkpoints: all that the runtime knows of where they are kept."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from streame.core.disk_room import DiskRoom
from streame.core.staging import Decided, Json, Outbox, Staged
from streame.state.checkpoint.attempt_file import AttemptFile
from streame.state.snapshot import Data, Snapshot, Tree, leaf_numbers, plain_values

if TYPE_CHECKING:
    from streame.state.checkpoint.manifest import StoredState

_READERS = 4
"""Threads that read a state: new memory costs more time than the disk, and two threads get it twice as fast."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What the next checkpoint is made of, if it succeeds.

    Args:
        plan: what the job is, as a JSON value.
        operators: the snapshots of every instance of every operator, by its name, or where others have written them.
        sources: where the sources are to go on, as a JSON value.
        staged: the output of every transactional sink, by its name.
        hints: whether what the leaves say of unchanged chunks is about the time since the last checkpoint that was
            decided; false for the first one of a run, and after an attempt that failed.
        acknowledges: whether sources will be told that they need not keep what came before.
        attempt: which try this is, for whoever reads the manifest.
        settings: what else must be known to go on, such as the parallelism.
        at_us: when it is made: microseconds since 1970 in UTC; 0 if that is not known.
    """

    plan: Json
    operators: "Mapping[str, Sequence[Snapshot | StoredState]]"
    sources: Json
    staged: Mapping[str, Staged]
    hints: bool = False
    acknowledges: bool = False
    attempt: int = 1
    settings: Mapping[str, Json] | None = None
    at_us: int = 0


@dataclass(frozen=True, slots=True)
class RecoveredState:
    """The state of one instance of an operator, not read yet.

    Args:
        tree: its plain values.
        leaf: reads a large part by its number in the tree, and checks it; an array may be written to.
    """

    tree: Tree
    leaf: Callable[[int], Data]

    def values(self) -> Json:
        """All of it, as `Savable.restore` takes it. Large parts are read by several threads.

        Raises:
            CheckpointDamaged: when it is not what was written.
        """
        numbers = list(leaf_numbers(self.tree))
        with ThreadPoolExecutor(_READERS) as pool:
            parts = dict(zip(numbers, pool.map(self.leaf, numbers), strict=True))
        # What is apart is read when it is asked for.
        return plain_values(self.tree, lambda number: parts[number] if number in parts else self.leaf(number))


@dataclass(frozen=True, slots=True)
class Recovered:
    """The checkpoint that a job goes on from.

    Args:
        number: of the checkpoint.
        plan: what the job was, as a JSON value.
        operators: the state of every instance of every operator, by its name.
        sources: where the sources are to go on.
        decided: for every sink the output of the checkpoints that are still kept, oldest first, this one last; those
            for which it had nothing are among them.
        settings: what was to be known to go on.
        at_us: when it was made: microseconds since 1970 in UTC; 0 if that is not known.
    """

    number: int
    plan: Json
    operators: Mapping[str, Sequence[RecoveredState]]
    sources: Json
    decided: Mapping[str, Sequence[Decided]]
    settings: Mapping[str, Json]
    at_us: int = 0

    def instances(self, operator: str) -> Sequence[RecoveredState]:
        """The states of all instances of an operator; none if it had none."""
        return self.operators.get(operator, ())


@dataclass(frozen=True, slots=True)
class Written:
    """A checkpoint that was decided.

    Args:
        number: of the checkpoint.
        written_bytes: how much was written for it.
        state_bytes: the size of all state that it refers to.
    """

    number: int
    written_bytes: int
    state_bytes: int


class CheckpointStore(Protocol):
    """Where the checkpoints of one job are kept.

    `claim` comes first, then `recover` once, then any number of `write`, each followed by publishing, `published` and
    `collect_garbage`; `release` comes last. All but `outbox` and what it gives are called by one thread at a time.
    """

    def claim(self) -> None:
        """Become the only one that writes here.

        Raises:
            CheckpointError: when that cannot be: another process does, it is the place of another job or of a newer
                version, or nothing can be written.
        """

    def recover(self) -> Recovered | None:
        """The checkpoint to go on from; `None` for a job that has none yet.

        Every byte that it refers to was checked, and it lasts through a power cut.

        Raises:
            CheckpointDamaged: when the newest is damaged, and going on from an older one could lose or double output.
            CheckpointError: when it cannot be used for another reason.
        """

    def write(self, draft: Draft) -> Written:
        """Make the next checkpoint. When this returns it counts: its output is to be published.

        Raises:
            OSError: with `ENOSPC` or `EDQUOT` when the disk is full. What was begun has been removed; the draft may be
                tried again, or another one with at least the same staged output.
            CheckpointError: when nobody knows what is on the disk; the job must stop.
        """

    def published(self, number: int) -> None:
        """All output of a checkpoint is out, and the sources know: the next one may be decided."""

    def collect_garbage(self) -> None:
        """Delete what no checkpoint that is kept needs."""

    def space(self) -> DiskRoom | None:
        """How much room there is for further ones; `None` where there is no disk that fills up."""
        return None

    def outbox(self, sink: str) -> Outbox:
        """Where a sink may keep staged output until it is published.

        Args:
            sink: the name of the sink.
        """

    def attempts(self) -> AttemptFile | None:
        """Where starts are remembered that do not get past a checkpoint; `None` where none are."""
        return None

    def release(self) -> None:
        """Let another process claim the place."""


def stored_pieces(value: Json) -> Iterator[dict[str, Json]]:
    """The files of an outbox that a JSON value of a sink refers to, however deep within it."""
    match value:
        case {"$file": str()}:
            yield value
        case dict():
            for each in value.values():
                yield from stored_pieces(each)
        case list() | tuple():
            for each in value:
                yield from stored_pieces(each)
