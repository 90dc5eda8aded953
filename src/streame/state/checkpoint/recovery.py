"""Recovery: finds the checkpoint to go on from, checks every byte of it, and makes sure that it lasts."""

import re
from dataclasses import dataclass
from typing import TypeAlias

from streame.core.failpoints import failpoint
from streame.errors import CheckpointDamaged, CheckpointError
from streame.state.checkpoint.decide import (
    Damaged,
    Fact,
    Facts,
    ForeignJob,
    Fresh,
    LookAt,
    Lost,
    NewerFormat,
    Resume,
    Sound,
    decide,
    shown_by,
)
from streame.state.checkpoint.lasting import must_last
from streame.state.checkpoint.manifest import Manifest, StoredFile, decode_manifest
from streame.state.checkpoint.outbox import damage
from streame.state.checkpoint.sealed import seal
from streame.storage.disk import Disk, Files

SHOWN = "SHOWN"
"""A file that is there once a checkpoint was decided of which something will be published or acknowledged, and before it is."""

SHOWN_BYTES = seal("shown", b"something may have been published or acknowledged")

Refusal: TypeAlias = Damaged | ForeignJob | Lost | NewerFormat

_MANIFEST = re.compile(r"([1-9]\d*)\.json")


@dataclass(slots=True)
class Found:
    """What is in a store.

    Args:
        facts: what the decision needs.
        manifests: those that can be read.
        damaged: the files of checkpoints that were looked at, and are not what was written.
    """

    facts: Facts
    manifests: dict[int, Manifest]
    damaged: dict[int, list[StoredFile]]

    def look_at(self, disk: Files, number: int) -> tuple[str, ...]:
        """Check every byte that a checkpoint refers to; returns what is wrong, in a few words each."""
        manifest = self.manifests[number]
        wrong = [(file, damage(disk, file)) for file in manifest.files]
        self.damaged[number] = [file for file, why in wrong if why is not None]
        said = tuple(f"{file.path}: {why}" for file, why in wrong if why is not None)
        self.facts.manifests[number] = Sound(shown_by(manifest), said)
        return said


def manifest_path(number: int) -> str:
    """Where the manifest of a checkpoint is."""
    return f"m/{number}.json"


def manifest_numbers(disk: Disk) -> list[int]:
    """The checkpoints that have a manifest, oldest first. What else is in the folder is left alone."""
    matches = (_MANIFEST.fullmatch(name) for name in disk.names("m"))
    return sorted(int(match[1]) for match in matches if match is not None)


def read_store(disk: Disk, job: str | None) -> Found:
    """Read all manifests of a store, and look at none of their files yet.

    Args:
        disk: where.
        job: the name of the job that asks; `None` for whoever only looks.

    Raises:
        CheckpointError: when a manifest cannot be read: nobody knows whether it is damaged.
    """
    facts: dict[int, Fact] = {}
    manifests = {}
    for number in manifest_numbers(disk):
        data = _bytes_of(disk, manifest_path(number))
        if data is None:
            continue  # the job has deleted it since
        match decode_manifest(data, number, job):
            case Manifest() as manifest:
                manifests[number] = manifest
                facts[number] = Sound(shown_by(manifest))
            case fact:
                facts[number] = fact
    return Found(Facts(facts, disk.size(SHOWN) is not None), manifests, {})


def recover(disk: Disk, job: str) -> tuple[Manifest | None, dict[int, Manifest]]:
    """The manifest to go on from, and all that can be read.

    Args:
        disk: where.
        job: the name of the job.

    Raises:
        CheckpointDamaged: as `CheckpointStore.recover`.
        CheckpointError: as `CheckpointStore.recover`.
    """
    failpoint("R0.before")
    found, decision = look_for_checkpoint(disk, job)
    match decision:
        case Fresh():
            return None, {}
        case Resume(number, behind):
            manifest = found.manifests[number]
            _make_last(disk, manifest)
            if any(output.shows for output in manifest.history):
                announce(disk)
            _put_aside(disk, found, number, behind)
            failpoint("R0.after")
            return manifest, {each: known for each, known in found.manifests.items() if each <= number}
        case _:
            raise refused(decision, job)


def look_for_checkpoint(disk: Disk, job: str | None) -> tuple[Found, Refusal | Fresh | Resume]:
    """What is there, and from where a job would go on; every byte of that checkpoint was checked. Changes nothing.

    Args:
        disk: where.
        job: the name of the job; `None` for whoever only looks.
    """
    found = read_store(disk, job)
    while isinstance(decision := decide(found.facts), LookAt):
        found.look_at(disk, decision.number)
    return found, decision


def refused(decision: Refusal, job: str | None) -> CheckpointError:
    """Why a job does not go on.

    Args:
        decision: the decision that it does not.
        job: the name of the job.
    """
    match decision:
        case Damaged(number, why, because):
            return CheckpointDamaged(
                f"checkpoint {number}: {why}. It was not going back to an older one: {because}. "
                "Restore the damaged file from a backup, or go on from a savepoint in a new folder"
            )
        case Lost():
            return CheckpointDamaged(
                f"all checkpoints are gone: {SHOWN} says that output of one may have been published, or rows acknowledged "
                "to their source, but there is no m/<n>.json. A job that began anew could lose rows or write them twice. "
                "Restore m/ from a backup, go on from a savepoint in a new folder, or begin anew with a new folder and an "
                "output of its own"
            )
        case ForeignJob(number, other):
            return CheckpointError(
                f"checkpoint {number} is one of job {other!r}, not of {job!r}; "
                "give each job a folder of its own, or the job its old name"
            )
        case newer:
            return CheckpointError(
                f"checkpoint {newer.number} has format {newer.version}, which this version of Streame does not know; "
                "update Streame"
            )


def prepare_announcement(disk: Disk) -> None:
    """Write the file that will say that something may have been seen, so that nothing needs room once that is decided."""
    if disk.size(SHOWN) is None:
        disk.write(f"{SHOWN}.tmp", [SHOWN_BYTES])
        must_last(disk.sync, f"{SHOWN}.tmp")


def announce(disk: Disk, *, prepared: bool = False) -> None:
    """Say for ever that something of this store may have been published or acknowledged: its manifest lasts, and is not out.

    Args:
        disk: where.
        prepared: whether `prepare_announcement` was called.
    """
    if disk.size(SHOWN) is None:
        if not prepared:
            prepare_announcement(disk)
        disk.rename(f"{SHOWN}.tmp", SHOWN)
        must_last(disk.sync_directory, "")


def _make_last(disk: Disk, manifest: Manifest) -> None:
    """R0: what a process that was killed had not made last may be seen now, and gone after a power cut."""
    must_last(disk.sync, manifest_path(manifest.number))
    folders = {file.path.rpartition("/")[0] for file in manifest.files}
    for folder in sorted(folders | {folder.rpartition("/")[0] for folder in folders}):
        must_last(disk.sync_directory, folder)
    must_last(disk.sync_directory, "m")
    failpoint("R0.synced")


def _put_aside(disk: Disk, found: Found, number: int, behind: tuple[int, ...]) -> None:
    """Move damaged checkpoints into quarantine: first the manifests, so that none is found again."""
    kept = {file.path for file in found.manifests[number].files}
    damaged = {file.path for each in behind for file in found.damaged.get(each, ())}
    for path in [*(manifest_path(each) for each in behind), *sorted(damaged - kept)]:
        if disk.size(path) is not None:
            _quarantine(disk, path)
    for each in behind:
        found.manifests.pop(each, None)


def _quarantine(disk: Disk, path: str) -> None:
    folder, _, _ = path.rpartition("/")
    disk.make_directory("quarantine")
    taken, aside, count = set(disk.names("quarantine")), path.replace("/", "-"), 0
    while f"{aside}.{count}" in taken:
        count += 1
    disk.link(path, f"quarantine/{aside}.{count}")
    must_last(disk.sync_directory, "quarantine")
    disk.remove(path)
    must_last(disk.sync_directory, folder)


def _bytes_of(disk: Disk, path: str) -> bytes | None:
    """All of a file; `None` if it is not there."""
    try:
        return disk.read(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CheckpointError(
            f"the manifest {path} cannot be read ({error}), so nobody knows whether it is damaged; nothing was changed. "
            "Check its rights and the disk, and try again"
        ) from error
