"""What no checkpoint needs any more: the rule, and its execution in an order that a crash cannot harm (S9)."""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress

from streame.core.failpoints import failpoint
from streame.errors import CheckpointError
from streame.state.checkpoint.lasting import must_last
from streame.state.checkpoint.manifest import Manifest
from streame.state.checkpoint.recovery import manifest_numbers, manifest_path
from streame.storage.disk import Disk

KEPT = 3
"""So many checkpoints are kept whole."""

_OURS = re.compile(
    r"state/(\d+)/(room\.tmp|[^/]+\.pack(\.tmp)?)|out/(\d+)/[^/]+\.out(\.tmp)?|m/(\d+)\.json\.tmp"
)


def old_manifests(numbers: Iterable[int], last: int) -> list[int]:
    """The checkpoints whose manifests are deleted.

    Args:
        numbers: those that are there.
        last: the number of the last one.
    """
    return [number for number in numbers if number <= last - KEPT]


def old_files(
    paths: Iterable[str], last: int, kept: Mapping[int, Manifest], unclaimed: Iterable[str]
) -> list[str]:
    """The files that are deleted.

    Only such as this program writes, for a checkpoint up to the last one: they can never be referred to again. What
    else lies there is somebody else's.

    Args:
        paths: what is there.
        last: the number of the last checkpoint.
        kept: the manifests that are kept.
        unclaimed: staged output that a later checkpoint will refer to.
    """
    needed = {*unclaimed, *(f"{path}.tmp" for path in unclaimed)}
    for manifest in kept.values():
        needed.update(file.path for file in manifest.files)
    # Each history repeats nearly all of the one before, as the same objects.
    for output in {id(each): each for manifest in kept.values() for each in manifest.history}.values():
        needed.update(output.paths)
    return [path for path in paths if path not in needed and _number(path) <= last]


def is_settled(folder: str, last: int, oldest: int) -> bool:
    """Whether a folder need not be looked at: it is one of hundreds with output that is kept, and is not new.

    What a process that died has left in it is deleted with the rest of it.

    Args:
        folder: its path.
        last: the number of the last checkpoint.
        oldest: that of the oldest whose output is kept.
    """
    return folder.startswith("out/") and oldest <= _number(f"{folder}/any.out") <= last - KEPT


def collect(disk: Disk, last: int, known: dict[int, Manifest], unclaimed: set[str]) -> None:
    """Delete what is old: the manifests, and once they are gone for good what only they needed.

    Args:
        disk: where.
        last: the number of the last checkpoint.
        known: the manifests that can be read; old ones are taken out.
        unclaimed: staged output that a later checkpoint will refer to.
    """
    old = old_manifests(manifest_numbers(disk), last)
    try:
        for number in old:
            disk.remove(manifest_path(number))
    except OSError as error:
        raise CheckpointError(f"an old checkpoint cannot be deleted: {error}") from error
    failpoint("S9.removed")
    if old:
        must_last(disk.sync_directory, "m")
    failpoint("S9.synced")
    for number in [number for number in known if number <= last - KEPT]:
        del known[number]
    if set(manifest_numbers(disk)) <= known.keys():  # else nobody knows what a kept one refers to
        oldest = min((manifest.history[0].checkpoint for manifest in known.values()), default=last)
        folders = [folder for folder in _folders(disk) if not is_settled(folder, last, oldest)]
        paths = [f"{folder}/{name}" for folder in folders for name in disk.names(folder)]
        for path in old_files(
            paths, last, known, frozenset(unclaimed)
        ):  # in this order: see `LocalOutbox.begin`
            with suppress(OSError):  # it is tried again after the next checkpoint
                disk.remove(path)
        for folder in folders:
            if min(_number(f"{folder}/room.tmp"), _number(f"{folder}/any.out")) <= last:
                disk.remove_empty_directory(folder)


def _folders(disk: Disk) -> list[str]:
    return [f"{top}/{name}" for top in ("state", "out") for name in disk.names(top)] + ["m"]


def _number(path: str) -> float:
    """The checkpoint for which a file was written; infinity for what this program does not write."""
    match = _OURS.fullmatch(path)
    return float("inf") if match is None else int(match[1] or match[4] or match[6])
