"""Savepoints: a checkpoint copied to a folder of its own, with all that it needs, from which a job can be started."""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from xxhash import xxh3_128

from streame.core.staging import Json
from streame.errors import CheckpointError
from streame.state.checkpoint.decide import Fresh, Resume
from streame.state.checkpoint.lasting import must_last
from streame.state.checkpoint.manifest import (
    Chunk,
    Manifest,
    SavedState,
    StoredFile,
    chunks_of,
    encode_manifest,
)
from streame.state.checkpoint.outbox import READ_BYTES, file_name
from streame.state.checkpoint.ownership import claim
from streame.state.checkpoint.packs import FIRST_LINE, checked_chunk
from streame.state.checkpoint.recovery import (
    SHOWN,
    announce,
    look_for_checkpoint,
    manifest_numbers,
    manifest_path,
    read_store,
    refused,
)
from streame.storage.disk import Disk, Files, LocalDisk

Check: TypeAlias = Callable[[Json], object]
"""Raises when a job cannot go on with the plan of a checkpoint."""

log = logging.getLogger("streame")

LOGS = "wal"
"""The folder with the logs of sources that cannot be read again."""

_TRIES = 5
"""A running job may delete a checkpoint while it is copied; there is a newer one then."""


def any_plan(_plan: Json) -> None:
    """Stands for a check that nobody asked for."""


def make_savepoint(folder: Path, target: Path) -> int:
    """Copy the last checkpoint of a job to a new folder; returns its number. The job may be running.

    Args:
        folder: the checkpoints of the job.
        target: the new folder: it may be moved, kept as long as you like, and given to a job to start from.

    Raises:
        CheckpointError: when there is no checkpoint that can be copied, or something is in the new folder.
    """
    return copy_last(LocalDisk(folder), str(folder), target)


def copy_last(source: Disk, where: str, target: Path) -> int:
    """Copy the last checkpoint to a new folder; returns its number.

    Args:
        source: where the checkpoints of the job are.
        where: the same, for messages.
        target: as for `make_savepoint`.

    Raises:
        CheckpointError: as for `make_savepoint`.
    """
    return copy_newest(
        source,
        target,
        last=lambda: last_checkpoint(source, where),
        newest=lambda: max(manifest_numbers(source), default=0),
        logs=lambda: source.names(LOGS),
    )


def copy_newest(
    source: Files,
    target: Path,
    *,
    last: Callable[[], Manifest],
    newest: Callable[[], int],
    logs: Callable[[], Collection[str]],
) -> int:
    """Copy the last checkpoint to a new folder, or a newer one if that is deleted meanwhile; returns its number.

    Args:
        source: where the files of the checkpoints are.
        target: as for `make_savepoint`.
        last: finds the last checkpoint.
        newest: finds its number alone.
        logs: finds the folders of logs, as for `without_logs`.

    Raises:
        CheckpointError: as for `make_savepoint`.
    """
    into = LocalDisk(target)
    if into.names(""):
        raise CheckpointError(f"{target}: there is something already; a savepoint needs a new folder")
    for tries_left in reversed(range(_TRIES)):
        manifest = last()
        release = claim(into, manifest.job, str(target))
        try:
            copy_checkpoint(source, without_logs(manifest, logs()), into)
        except (CheckpointError, OSError) as error:
            if not tries_left or newest() == manifest.number:
                raise CheckpointError(
                    f"{target}: the savepoint could not be made: {error}; remove the folder"
                ) from error
            for begun in ("state", "out"):
                into.remove_directory(begun)
        else:
            return manifest.number
        finally:
            release()
    raise AssertionError(_TRIES)


def last_checkpoint(disk: Disk, where: str) -> Manifest:
    """The checkpoint that a job would go on from, every byte of which was checked.

    Args:
        disk: the folder.
        where: the folder, for messages.

    Raises:
        CheckpointError: when there is none.
    """
    try:
        found, decision = look_for_checkpoint(disk, None)
    except OSError as error:
        raise CheckpointError(
            f"{where}: it cannot be read ({error}); give a folder of checkpoints, or check the rights of this user"
        ) from error
    match decision:
        case Resume(number, _):
            return found.manifests[number]
        case Fresh():
            raise CheckpointError(
                f"{where}: there is no checkpoint; give the folder of a job that has made one"
            )
        case _:
            raise refused(decision, None)


def without_logs(manifest: Manifest, logs: Collection[str]) -> Manifest:
    """The checkpoint for whoever does not have the logs of its sources: reading goes on with a new log.

    Args:
        manifest: that of the checkpoint.
        logs: the folders of the logs that there are, each named after its source.
    """
    logged = {name for name in manifest.sources if file_name(name) in logs}
    sources = {
        name: {**position, "splits": in_new_log(position["splits"])} if name in logged else position
        for name, position in manifest.sources.items()
    }
    return replace(manifest, sources=sources)


def in_new_log(splits: Json) -> Json:
    """Where reading goes on, with a log that has nothing yet; rows that were in the old one alone are not in the savepoint.

    Args:
        splits: the position of a `LoggedSource`.
    """
    offsets = {
        split: None if offset is None else [0, *offset[1:]] for split, offset in splits["offsets"].items()
    }
    return {"offsets": offsets, "read": splits["read"]}


def copy_checkpoint(source: Files, manifest: Manifest, target: Disk) -> Manifest:
    """Copy a checkpoint with all that it needs; returns the manifest of the copy, which is there when this returns.

    Args:
        source: where it is.
        manifest: that of the checkpoint.
        target: a folder that has been claimed and has no checkpoint.

    Raises:
        CheckpointDamaged: when it is not what was written.
    """
    number = manifest.number
    packing = Packing(f"state/{number}/0.1.pack", manifest, source)
    files: dict[str, Iterator[bytes]] = {file.path: _bytes_of(source, file) for file in manifest.staged}
    if manifest.packs:
        files[packing.path] = packing.parts()
    for path, parts in files.items():
        target.make_directory(path.rpartition("/")[0])
        target.write(f"{path}.tmp", parts)
        must_last(target.sync, f"{path}.tmp")
        target.rename(f"{path}.tmp", path)
        must_last(target.sync_directory, path.rpartition("/")[0])
    copy = replace(
        manifest, attempt=1, history=manifest.history[-1:], packs=packing.packs, operators=packing.operators()
    )
    target.write(f"{manifest_path(number)}.tmp", [encode_manifest(copy)])
    must_last(target.sync, f"{manifest_path(number)}.tmp")
    target.rename(f"{manifest_path(number)}.tmp", manifest_path(number))
    must_last(target.sync_directory, "m")
    if any(output.shows for output in manifest.history):
        announce(target)
    return copy


def adopt_savepoint(
    savepoint: Path, job: str, target: Disk, where: str = "", check: Check = any_plan
) -> None:
    """Make a savepoint the first checkpoint of a folder; one that has a checkpoint of its own is left as it is.

    Args:
        savepoint: the folder of the savepoint.
        job: the name of the job.
        target: the folder, which has been claimed.
        where: the folder, for messages.
        check: raises when the job cannot go on with the plan of a checkpoint: the folder stays empty then.

    Raises:
        CheckpointError: when the savepoint cannot be used; says why.
    """
    if numbers := manifest_numbers(target):
        tell_passed_over(savepoint, where, numbers[-1], read_store(target, None).manifests.get(numbers[-1]))
        return
    if target.size(SHOWN) is not None:
        return  # its checkpoints were lost; recovery says so
    manifest = last_checkpoint(LocalDisk(savepoint), str(savepoint))
    require_job(savepoint, manifest, job)
    check(manifest.plan)
    try:
        copy_checkpoint(LocalDisk(savepoint), manifest, target)
    except OSError as error:
        raise CheckpointError(f"{savepoint}: it could not be copied: {error}") from error


def require_job(savepoint: Path, manifest: Manifest, job: str) -> None:
    """Refuse the savepoint of another job.

    Args:
        savepoint: its folder, for the message.
        manifest: what is in it.
        job: the name of the job.
    """
    if manifest.job != job:
        raise CheckpointError(
            f"{savepoint}: it is a savepoint of job {manifest.job!r}, not of {job!r}; give the job that name"
        )


def tell_passed_over(savepoint: Path, where: str, number: int, last: Manifest | None) -> None:
    """Say that a job goes on from its own checkpoint and not from a savepoint; a warning if it never began from that.

    Args:
        savepoint: the folder of the savepoint.
        where: where the checkpoints of the job are.
        number: of the last one.
        last: what is in it; `None` if it cannot be read.

    Raises:
        CheckpointError: when there is no savepoint.
    """
    there = read_store(LocalDisk(savepoint), None)
    if not there.facts.manifests:
        raise CheckpointError(
            f"{savepoint}: there is no savepoint. The job would go on from its own checkpoint {number} in {where}; leave "
            "savepoint= out, or give the folder of one"
        )
    began = there.manifests.get(max(there.facts.manifests))
    descends = None if began is None or last is None else may_descend(last, began)
    level, so = (
        (logging.WARNING, ", which did not begin from it. To begin from it, give checkpoints= a new folder")
        if descends is False
        else (logging.INFO, "")
    )
    log.log(
        level, "%s: the job goes on from its own checkpoint %d, and not from the savepoint %s%s",
        where, number, savepoint, so,
    )  # fmt: skip


def may_descend(manifest: Manifest, savepoint: Manifest) -> bool:
    """Whether a job can have begun from a savepoint.

    Args:
        manifest: of its last checkpoint.
        savepoint: of the savepoint.
    """
    if manifest.number < savepoint.number or not manifest.history:
        return False
    same = next((each for each in manifest.history if each.checkpoint == savepoint.number), None)
    if same is None:  # forgotten long ago, or never there
        return manifest.history[0].checkpoint > savepoint.number
    return (same.encoded, same.at_us) == (savepoint.output.encoded, savepoint.output.at_us)


@dataclass(slots=True)
class Packing:
    """All chunks of a checkpoint on their way into one pack; take all of `parts` first."""

    path: str
    manifest: Manifest
    disk: Files
    file: StoredFile | None = None

    def parts(self) -> Iterator[bytes]:
        """The bytes of the pack, each chunk checked."""
        digest, length = xxh3_128(), 0
        for part in self._contents():
            digest.update(part)
            length += len(part)
            yield part
        self.file = StoredFile(self.path, length, digest.hexdigest())

    @property
    def packs(self) -> tuple[StoredFile, ...]:
        """The pack, if there is one."""
        return () if self.file is None else (self.file,)

    def operators(self) -> Mapping[str, tuple[SavedState, ...]]:
        """The states, with their chunks where they are in the pack."""
        offset = len(FIRST_LINE)
        moved: dict[str, tuple[SavedState, ...]] = {}
        for name, states in self.manifest.operators.items():
            there = []
            for state in states:
                leaves = []
                for leaf in state.leaves:
                    chunks = []
                    for chunk in leaf.chunks:
                        chunks.append(Chunk(self.path, offset, chunk.length, chunk.digest))
                        offset += chunk.length
                    leaves.append(replace(leaf, chunks=tuple(chunks)))
                there.append(replace(state, leaves=tuple(leaves)))
            moved[name] = tuple(there)
        return moved

    def _contents(self) -> Iterator[bytes]:
        yield FIRST_LINE
        for chunk in chunks_of(self.manifest.operators):
            yield checked_chunk(chunk, self.disk)


def _bytes_of(disk: Files, file: StoredFile) -> Iterator[bytes]:
    """The bytes of a file, which were checked when the checkpoint was found."""
    for offset in range(0, file.length, READ_BYTES):
        yield disk.read(file.path, offset, min(READ_BYTES, file.length - offset))
