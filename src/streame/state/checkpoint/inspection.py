"""Looking at checkpoints without claiming them: what there is, what is in it, and whether every byte is there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from streame.core.staging import Json
from streame.errors import CheckpointError
from streame.state.checkpoint.manifest import Manifest, SavedState, chunks_of
from streame.state.checkpoint.object_recovery import look_at_objects
from streame.state.checkpoint.ownership import job_of
from streame.state.checkpoint.recovery import Found, read_store
from streame.state.checkpoint.sealed import Broken, Newer
from streame.state.checkpoint.spool import Spool
from streame.storage.disk import Files, LocalDisk
from streame.storage.objects import ObjectStore


@dataclass(frozen=True, slots=True)
class Listed:
    """A checkpoint in a list.

    Args:
        number: of the checkpoint.
        problem: why it cannot be read; `None` if it can.
        state_bytes: the size of all state that it refers to.
        new_bytes: how much of that was written for it.
        operators: how many operators have state in it.
        pieces: how many pieces of output it let out.
    """

    number: int
    problem: str | None
    state_bytes: int = 0
    new_bytes: int = 0
    operators: int = 0
    pieces: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether every byte of a checkpoint is there.

    Args:
        number: of the checkpoint.
        problems: what is not; empty if all is well.
        bytes: how many were read.
    """

    number: int
    problems: Sequence[str]
    bytes: int


@dataclass(frozen=True, slots=True)
class OperatorState:
    """The state of an operator in a checkpoint.

    Args:
        name: of the operator.
        instances: how many of it there are.
        rows: the rows of its largest part, over all instances.
        bytes: the size of all its large parts.
        parts: the size of each large part, over all instances, by its place in the state.
    """

    name: str
    instances: int
    rows: int
    bytes: int
    parts: Mapping[str, int]


def list_checkpoints(place: Path | ObjectStore) -> tuple[str, Sequence[Listed]]:
    """The name of the job, and its checkpoints, oldest first.

    Args:
        place: the folder or the object store with the checkpoints of a job, or a savepoint.

    Raises:
        CheckpointError: when there are none.
    """
    job, found = _read(place)
    return job, [_listed(number, found) for number in sorted(found.facts.manifests)]


def read_checkpoint(place: Path | ObjectStore, number: int | None = None) -> Manifest:
    """All that the manifest of a checkpoint says.

    Args:
        place: the folder or the object store with the checkpoints of a job, or a savepoint.
        number: which one; the last one unless told.

    Raises:
        CheckpointError: when it is not there, or cannot be read.
    """
    _, found = _read(place)
    numbers = sorted(found.facts.manifests)
    number = numbers[-1] if number is None else number
    if number not in found.facts.manifests:
        raise CheckpointError(
            f"{_where(place)}: there is no checkpoint {number}; there are {', '.join(map(str, numbers))}"
        )
    if number not in found.manifests:
        raise CheckpointError(f"{_where(place)}: checkpoint {number}: {_problem(number, found)}")
    return found.manifests[number]


def state_of(manifest: Manifest) -> Sequence[OperatorState]:
    """What there is of state in a checkpoint, the largest first."""
    found = [_operator_state(name, states) for name, states in manifest.operators.items()]
    return sorted(found, key=lambda each: (-each.bytes, each.name))


def checkpoint_json(manifest: Manifest) -> Json:
    """What a program may want to know of a checkpoint."""
    return {
        "job": manifest.job,
        "number": manifest.number,
        "attempt": manifest.attempt,
        "settings": dict(manifest.settings),
        "plan": manifest.plan,
        "sources": manifest.sources,
        "sinks": {
            name: {"pieces": list(staged.pieces), "note": staged.note}
            for name, staged in manifest.output.staged.items()
        },
        "operators": {
            each.name: {
                "instances": each.instances, "rows": each.rows, "bytes": each.bytes, "parts": dict(each.parts)
            }
            for each in state_of(manifest)
        },
        "files": [
            {"path": file.path, "bytes": file.length, "xxh3_128": file.digest} for file in manifest.files
        ],
    }  # fmt: skip


def verify_checkpoints(place: Path | ObjectStore) -> Sequence[Verdict]:
    """Read every byte of every checkpoint, oldest first, and say what is wrong.

    Args:
        place: the folder or the object store with the checkpoints of a job, or a savepoint.

    Raises:
        CheckpointError: when there are none.
    """
    files, (_, found) = _files(place), _read(place)
    verdicts = []
    for number in sorted(found.facts.manifests):
        if number not in found.manifests:
            verdicts.append(Verdict(number, [_problem(number, found) or ""], 0))
            continue
        damaged = found.look_at(files, number)
        read = sum(file.length for file in found.manifests[number].files)
        verdicts.append(Verdict(number, damaged, read))
    return verdicts


def _files(place: Path | ObjectStore) -> Files:
    return Spool(place) if isinstance(place, ObjectStore) else LocalDisk(place)


def _where(place: Path | ObjectStore) -> str:
    return place.where if isinstance(place, ObjectStore) else str(place)


def _read(place: Path | ObjectStore) -> tuple[str, Found]:
    where = _where(place)
    try:
        job = job_of(_files(place), where)
        found = (
            look_at_objects(place) if isinstance(place, ObjectStore) else read_store(LocalDisk(place), None)
        )
    except NotADirectoryError as error:
        raise CheckpointError(f"{where}: it is no folder; give the folder of the checkpoints") from error
    except OSError as error:
        raise CheckpointError(
            f"{where}: it cannot be read ({error}); check the rights of this user, and the disk"
        ) from error
    if not found.facts.manifests:
        why = "it has none yet" if job is not None else "it is not a folder of checkpoints"
        if found.facts.ever_shown:
            why = "they were lost, for SHOWN says that there was one"
        raise CheckpointError(f"{where}: there are no checkpoints: {why}")
    return job or "unknown", found


def _listed(number: int, found: Found) -> Listed:
    manifest = found.manifests.get(number)
    if manifest is None:
        return Listed(number, _problem(number, found))
    chunks = list(chunks_of(manifest.operators))
    return Listed(
        number,
        None,
        sum(chunk.length for chunk in chunks),
        sum(chunk.length for chunk in chunks if chunk.pack.startswith(f"state/{number}/")),
        len(manifest.operators),
        sum(len(staged.pieces) for staged in manifest.output.staged.values()),
    )


def _problem(number: int, found: Found) -> str | None:
    """Why a checkpoint cannot be read."""
    match found.facts.manifests[number]:
        case Broken(why):
            return f"its manifest is damaged: {why}"
        case Newer(version):
            return f"it has format {version}, which this version of Streame does not know"
    return None


def _operator_state(name: str, states: Sequence[SavedState]) -> OperatorState:
    parts: dict[str, int] = {}
    rows: dict[str, int] = {}
    for state in states:
        for leaf in state.leaves:
            parts[leaf.path] = parts.get(leaf.path, 0) + sum(chunk.length for chunk in leaf.chunks)
            rows[leaf.path] = rows.get(leaf.path, 0) + (leaf.shape[0] if leaf.shape else 1)
    return OperatorState(name, len(states), max(rows.values(), default=0), sum(parts.values()), parts)
