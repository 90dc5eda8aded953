"""Ownership of a folder of checkpoints: one process at a time, one job for ever, on a file system that can do it."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

from streame.errors import CheckpointError
from streame.state.checkpoint.lasting import must_last
from streame.state.checkpoint.manifest import json_bytes
from streame.state.checkpoint.sealed import Broken, Newer, seal, unseal
from streame.storage.disk import Disk, Files

FORMAT = "FORMAT"
LOCK = "LOCK"

_SEALED_AS = "checkpoints"
_FOLDERS = ("m", "out", "state")


def claim(disk: Disk, job: str, where: str) -> Callable[[], None]:
    """Become the owner of a folder, which is made if it is not there; returns what gives it up.

    Args:
        disk: the folder.
        job: the name of the job.
        where: the folder, for messages.

    Raises:
        CheckpointError: when that cannot be; says why.
    """
    try:
        disk.make_directory("")
        release = disk.lock(LOCK, f"process {os.getpid()} of boot {_boot_id()}\n".encode())
    except BlockingIOError as error:
        holder = disk.read(LOCK).decode(errors="replace").strip() or "somebody"
        raise CheckpointError(
            f"{where}: another job writes checkpoints there ({holder}); "
            "stop it, or give each job a folder of its own"
        ) from error
    except OSError as error:
        raise _unusable(where, error) from error
    try:
        _settle(disk, job, where)
    except BaseException as error:
        release()
        if isinstance(error, OSError):
            raise _unusable(where, error) from error
        raise
    return release


def require_place(disk: Files, where: str) -> None:
    """Refuse a folder that was claimed and is gone, or that of a mount which is gone: nothing there is of the job.

    Args:
        disk: the folder.
        where: the folder, for messages.

    Raises:
        CheckpointError: when it is not there.
    """
    if disk.size(FORMAT) is None:
        raise CheckpointError(
            f"{where}: the folder of the checkpoints is gone, or another one is in its place (it has no file {FORMAT}), so no "
            "checkpoint is made. Mount it again or put it back, then start the job again: it goes on from the last checkpoint"
        )


def job_of(disk: Files, where: str) -> str | None:
    """The name of the job that a folder belongs to; `None` if it is new.

    Args:
        disk: the folder.
        where: the folder, for messages.

    Raises:
        CheckpointError: when its format is newer or damaged.
    """
    try:
        data = disk.read(FORMAT)
    except FileNotFoundError:
        return None
    match unseal(_SEALED_AS, data):
        case Newer(version):
            raise CheckpointError(
                f"{where}: its format is {version}, which this version of Streame does not know; update Streame"
            )
        case Broken(why):
            raise CheckpointError(
                f"{where}: the file {FORMAT} is damaged: {why}; check the disk, and restore the file from a backup"
            )
        case body:
            return str(json.loads(body)["job"])


def _settle(disk: Disk, job: str, where: str) -> None:
    """Check whose folder it is, or make it this job's."""
    owner = job_of(disk, where)
    if owner is not None and owner != job:
        raise CheckpointError(
            f"{where}: these are the checkpoints of job {owner!r}, not of {job!r}; "
            "give each job a folder of its own, or the job its old name"
        )
    _prove_create_only(disk, where)
    for folder in _FOLDERS:
        disk.make_directory(folder)
    if owner is None:
        write_format(disk, job)
    must_last(disk.sync_directory, "")  # also what a process that was killed had not made last


def format_bytes(job: str) -> bytes:
    """What the file `FORMAT` holds."""
    return seal(_SEALED_AS, json_bytes({"job": job}))


def write_format(disk: Disk, job: str) -> None:
    """Say for ever what the folder is, and whose."""
    disk.write(f"{FORMAT}.tmp", [format_bytes(job)])
    must_last(disk.sync, f"{FORMAT}.tmp")
    disk.link(f"{FORMAT}.tmp", FORMAT)
    disk.remove(f"{FORMAT}.tmp")
    must_last(disk.sync_directory, "")


def _prove_create_only(disk: Disk, where: str) -> None:
    """Refuse a file system on which a name can be taken twice: nothing would stop a second writer."""
    source, target = "proof.tmp", "proof.link.tmp"
    for path in (source, target):
        disk.remove(path)
    disk.write(source, [b"proof"])
    disk.link(source, target)
    try:
        disk.link(source, target)
    except FileExistsError:
        return
    finally:
        for path in (source, target):
            disk.remove(path)
    raise CheckpointError(
        f"{where}: this file system gives one name to two files; keep checkpoints on a local disk"
    )


def _unusable(where: str, error: OSError) -> CheckpointError:
    hint = {
        errno.EROFS: "it is read-only; mount it for writing, or choose another folder",
        errno.EACCES: "this user may not write there; change its rights, or choose another folder",
        errno.EPERM: "this file system has no hard links; keep checkpoints on a local disk",
        errno.ENOSPC: "the disk is full; make room",
    }.get(error.errno or 0, "choose another folder")
    return CheckpointError(f"{where}: checkpoints cannot be written there ({error}): {hint}")


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"
