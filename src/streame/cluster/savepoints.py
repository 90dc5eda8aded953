"""Savepoints of jobs in clusters: copies of their last checkpoint, and jobs that begin from one."""

import secrets
from pathlib import Path

from streame.cluster.checkpoints import Place, manifest_digest, read_manifest
from streame.cluster.etcd.interface import Compare, Field
from streame.cluster.etcd.swap import Swap, Swapped, carry_out
from streame.cluster.frames import Attempt
from streame.cluster.part_files import folder_of
from streame.cluster.view import Pointer, decode, encode
from streame.errors import CheckpointError
from streame.state.checkpoint.manifest import Manifest, encode_manifest
from streame.state.checkpoint.object_savepoints import Savepoint
from streame.state.checkpoint.savepoints import LOGS, Check, copy_newest, tell_passed_over

DECIDE_S = 10.0


def make_savepoint(place: Place, target: Path) -> int:
    """Copy the last checkpoint of a job to a new folder; returns its number. The job may be running.

    Args:
        place: where the job keeps what lasts.
        target: the new folder: it may be moved, kept as long as you like, and given to a job to start from, in a
            cluster or in one process.

    Raises:
        CheckpointError: when there is no checkpoint that can be copied, or something is in the new folder.
    """

    def last() -> Manifest:
        found = _last(place)
        if found is None:
            raise CheckpointError(
                f"job {place.job!r} has no checkpoint in this cluster; give the name of a job that has made one"
            )
        return found

    return copy_newest(
        place.files,
        target,
        last=last,
        newest=lambda: last().number,
        logs=lambda: {path.split("/")[1] for path in place.store.names(LOGS)},
    )


def begin_from(place: Place, folder: Path, check: Check) -> None:
    """Make a savepoint the first checkpoint of a job that has none.

    Each node does so when it is started. What it copies has names of its own, and one transaction decides which copy counts:
    that of the first one, while nobody leads and there is no checkpoint.

    Args:
        place: where the job keeps what lasts.
        folder: of the savepoint.
        check: raises when the job cannot go on with the plan of the savepoint.

    Raises:
        CheckpointError: when the savepoint cannot be used, or the job has begun without it.
    """
    if _has_begun(place, folder):
        return
    savepoint = Savepoint.at(folder, place.job, check)
    attempt = Attempt(0, secrets.randbits(48))  # before that of any leader
    stem = folder_of(savepoint.number, attempt)
    content = encode_manifest(savepoint.copy_to(place.store, f"{stem}/0"))
    place.store.put_new(f"{stem}/MANIFEST", content)
    pointer = Pointer(savepoint.number, attempt, f"{stem}/MANIFEST", manifest_digest(content), len(content))
    nobody_leads = Compare(place.keys.leader, Field.MOD_REVISION, 0)
    swap = Swap(place.keys.pointer, encode(pointer), expected=0, guards=(nobody_leads,))
    if not isinstance(carry_out(place.etcd, swap, timeout_s=DECIDE_S), Swapped) and not _has_begun(
        place, folder
    ):
        raise CheckpointError(
            f"{folder}: the job runs already, and did not begin from this savepoint; stop its nodes, and start all of them "
            "with it"
        )


def _has_begun(place: Place, folder: Path) -> bool:
    """Whether the job has a checkpoint; then it is told that it goes on from that."""
    last = _last(place)
    if last is not None:
        tell_passed_over(folder, place.store.where, last.number, last)
    return last is not None


def _last(place: Place) -> Manifest | None:
    """The last checkpoint that was decided."""
    found = place.etcd.get(place.keys.pointer).entry
    return None if found is None else read_manifest(place.store, decode(Pointer, found), place.job)
