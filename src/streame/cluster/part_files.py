"""The part of one node in a checkpoint: written by it, found and read by the leader.

A part is a manifest of its own, with the states of that node alone; what it says beside is which tasks have ended.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from xxhash import xxh3_128_hexdigest

from streame.cluster.frames import Attempt
from streame.cluster.shelf import FOLDER, Shelf
from streame.errors import CheckpointError
from streame.runtime.part import Gathered, OperatorPart, TaskPart
from streame.state.checkpoint.manifest import (
    Manifest,
    Output,
    SavedState,
    StoredFile,
    StoredState,
    chunks_of,
    decode_manifest,
    encode_manifest,
)
from streame.state.checkpoint.object_packs import Cutting, send_pack
from streame.state.snapshot import Snapshot
from streame.storage.objects import ObjectStore

NOT_HERE = StoredState(SavedState(None, ()), ())
"""Stands for the state of an instance that another node has."""


def empty_manifest(job: str) -> Manifest:
    """What is known of the last checkpoint where there is none."""
    return Manifest(job, 0, 0, None, {}, {}, {}, (Output(0, {}),), (), ())


def folder_of(checkpoint: int, attempt: Attempt) -> str:
    """Where the files of a checkpoint are that an attempt makes."""
    return f"c/{checkpoint}/{attempt}"


class PartFiles:
    """Writes the parts of one node in one attempt.

    Args:
        store: where.
        job: the name of the job.
        attempt: the attempt.
        place: which of its members this node is.
        instances: how many instances each operator has, by its name.
        start: the checkpoint that the attempt goes on from; `None` if there is none.
        shelf: where the state of small tables goes.
        shelved: the names of their operators.
    """

    def __init__(
        self,
        store: ObjectStore,
        job: str,
        attempt: Attempt,
        place: int,
        instances: Mapping[str, int],
        start: Manifest | None,
        shelf: Shelf,
        shelved: Collection[str],
    ) -> None:
        self._store, self._job, self._attempt, self._place = store, job, attempt, place
        self._instances = instances
        self._shelf, self._shelved = shelf, shelved
        self._last = start or empty_manifest(job)
        self._hints = False

    def write(self, gathered: Gathered) -> StoredFile:
        """Write the parts of all tasks of this node; they last when this returns. May be tried again after an error.

        Raises:
            OSError: when a disk is full.
            CheckpointError: when the store does not answer.
        """
        stem = f"{folder_of(gathered.checkpoint, self._attempt)}/{self._place}"
        parts = [*gathered.reached, *gathered.ended]
        given: dict[str, list[Snapshot | StoredState]] = {}
        for part in parts:
            for each in part.operators:
                places = given.setdefault(each.operator, [NOT_HERE] * self._instances[each.operator])
                places[each.instance] = each.snapshot
        sent = send_states(
            self._store, self._shelf, self._shelved, stem, self._last, given, hints=self._hints
        )
        operators = sent.operators
        known = {file.path: file for file in [*self._last.packs, *sent.files]}
        packs = _used(known, operators)
        tasks = [[_task(part) for part in some] for some in (gathered.reached, gathered.ended)]
        manifest = Manifest(
            self._job, gathered.checkpoint, self._attempt.number, None, {"tasks": tasks}, operators,
            {part.task: dict(part.sources) for part in parts if part.sources},
            (Output(gathered.checkpoint, {}),), packs, (),
        )  # fmt: skip
        content = encode_manifest(manifest)
        self._store.put_new(f"{stem}.part", content)
        merged = _merged(self._last, operators)
        self._last, self._hints = replace(manifest, operators=merged, packs=_used(known, merged)), True
        return StoredFile(f"{stem}.part", len(content), xxh3_128_hexdigest(content))


@dataclass(frozen=True, slots=True)
class Sent:
    """States that were written.

    Args:
        operators: where they are.
        files: what was made for them.
        others: files with states that others have written, by their path.
    """

    operators: dict[str, tuple[SavedState, ...]]
    files: list[StoredFile]
    others: dict[str, StoredFile]


def send_states(
    store: ObjectStore,
    shelf: Shelf,
    shelved: Collection[str],
    stem: str,
    last: Manifest,
    given: Mapping[str, Sequence[Snapshot | StoredState]],
    *,
    hints: bool,
) -> Sent:
    """Write what is new of some states.

    Args:
        store: where those of most operators go.
        shelf: where those of small tables go.
        shelved: the names of their operators.
        stem: with which the names of the files begin.
        last: the last checkpoint.
        given: the states of all instances of all operators.
        hints: whether what the leaves say of unchanged chunks is about the time since the last checkpoint.
    """
    sent = Sent({}, [], {})
    for place, start, some in (
        (store, stem, {name: each for name, each in given.items() if name not in shelved}),
        (shelf, f"{FOLDER}/{stem}", {name: each for name, each in given.items() if name in shelved}),
    ):
        cutting = Cutting(place, start)
        sent.operators.update(send_pack(cutting, last, some, hints=hints))
        sent.files.extend(cutting.files)
        sent.others.update(cutting.others)
    return sent


def read_part(store: ObjectStore, checkpoint: int, file: StoredFile) -> Gathered:
    """What another node has written.

    Args:
        store: where.
        checkpoint: the number of the checkpoint.
        file: the part.

    Raises:
        CheckpointError: when it is not what that node says that it has written, or the store does not answer; nothing was
            decided with it, so another attempt does no harm.
    """
    try:
        content = store.get(file.path)
    except FileNotFoundError:
        raise CheckpointError(
            f"{store.where}: {file.path} is not there, though its node has written it"
        ) from None
    if xxh3_128_hexdigest(content) != file.digest:
        raise CheckpointError(f"{store.where}: {file.path} is not what its node has written")
    manifest = decode_manifest(content, checkpoint, None)
    assert isinstance(manifest, Manifest), manifest
    packs = {pack.path: pack for pack in manifest.packs}

    def part(said: Sequence[object]) -> TaskPart:
        task, operators = said
        states = [(name, number, manifest.operators[name][number]) for name, number in operators]  # type: ignore[attr-defined]
        return TaskPart(
            str(task),
            [
                OperatorPart(name, number, StoredState(state, _packs(state, packs)))
                for name, number, state in states
            ],
            {},
            manifest.sources.get(task, {}),
        )

    reached, ended = manifest.settings["tasks"]
    return Gathered(checkpoint, [part(each) for each in reached], [part(each) for each in ended])


def _task(part: TaskPart) -> list[object]:
    return [part.task, [[each.operator, each.instance] for each in part.operators]]


def _used(
    known: Mapping[str, StoredFile], operators: Mapping[str, tuple[SavedState, ...]]
) -> tuple[StoredFile, ...]:
    """The files to which states refer."""
    return tuple(known[path] for path in sorted({chunk.pack for chunk in chunks_of(operators)}))


def _packs(state: SavedState, packs: Mapping[str, StoredFile]) -> tuple[StoredFile, ...]:
    paths = {chunk.pack for leaf in state.leaves for chunk in leaf.chunks}
    return tuple(packs[path] for path in sorted(paths))


def _merged(
    last: Manifest, operators: Mapping[str, tuple[SavedState, ...]]
) -> dict[str, tuple[SavedState, ...]]:
    """The last states of all instances: what was written now, in place of what was there."""
    merged = dict(last.operators)
    for name, states in operators.items():
        before = merged.get(name, ())
        if len(before) != len(states):
            before = (NOT_HERE.state,) * len(states)
        merged[name] = tuple(
            old if new == NOT_HERE.state else new for old, new in zip(before, states, strict=True)
        )
    return merged
