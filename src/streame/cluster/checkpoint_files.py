"""The names of the files of checkpoints: which are garbage, and which show that etcd has forgotten something. Pure."""

import re
from collections.abc import Iterable, Mapping

from streame.cluster.frames import Attempt
from streame.state.checkpoint.manifest import Manifest

_MANIFEST = re.compile(r"c/(\d+)/(\d+)\.(\d+)/MANIFEST")
_FILE = re.compile(r"(?:etcd/)?c/(\d+)/(\d+)\.(\d+)/[^/]+|out/(\d+)/(\d+)\.[^/]+\.out")


def manifests_among(paths: Iterable[str]) -> list[tuple[int, Attempt]]:
    """The checkpoint and the attempt of each manifest that a leader has written."""
    found = (_MANIFEST.fullmatch(path) for path in paths)
    written = [(int(each[1]), Attempt(int(each[2]), int(each[3]))) for each in found if each is not None]
    return [(number, attempt) for number, attempt in written if attempt.epoch]  # 0: copies of savepoints


def later_manifest(
    manifests: Iterable[tuple[int, Attempt]], attempt: Attempt, last: int
) -> tuple[int, Attempt] | None:
    """The newest of the manifests that cannot be there before an attempt writes its first one.

    A leader writes a manifest for the number behind the last decided one alone, and under an attempt that is newer than all
    before.

    Args:
        manifests: the checkpoint and the attempt of each.
        attempt: the one that begins.
        last: the number of the last checkpoint that was decided; 0 if there is none.
    """
    return max((each for each in manifests if each[1] >= attempt or each[0] > last + 1), default=None)


def garbage(
    paths: Iterable[str], attempt: Attempt, last: int, kept: Mapping[int, Manifest], needed: Iterable[str]
) -> list[str]:
    """The files that are deleted.

    Only such as nodes write, of this attempt or an older one, for a checkpoint up to the last one: they can never be
    referred to again. What else lies there is somebody else's, or may be decided yet.

    Args:
        paths: what is there.
        attempt: the one that runs.
        last: the number of the last checkpoint that was decided.
        kept: the manifests that are kept.
        needed: other files that are.
    """
    used = set(needed)
    for manifest in kept.values():
        used.update(file.path for file in manifest.files)
    for output in {id(each): each for manifest in kept.values() for each in manifest.history}.values():
        used.update(output.paths)
    return [path for path in paths if path not in used and _is_old(path, attempt, last)]


def _is_old(path: str, attempt: Attempt, last: int) -> bool:
    found = _FILE.fullmatch(path)
    if found is None:
        return False
    if found[1] is not None:
        return int(found[1]) <= last and Attempt(int(found[2]), int(found[3])) <= attempt
    return int(found[4]) <= last and int(found[5]) <= attempt.epoch
