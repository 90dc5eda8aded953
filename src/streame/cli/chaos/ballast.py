"""A file that takes all the room of a disk."""

import errno
import os
from pathlib import Path

_PIECE = 64 * 1024
ROOM_MAX = 2**30
"""A disk with more room than this is not filled."""


class Ballast:
    """A file that fills the disk of a folder, until it is removed.

    Args:
        folder: a folder on that disk.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "ballast"

    @property
    def is_small(self) -> bool:
        """Whether the disk is small enough to be filled."""
        found = os.statvfs(self._path.parent)
        return found.f_bavail * found.f_frsize <= ROOM_MAX

    def fill(self) -> None:
        """Take all room."""
        size = _PIECE
        with self._path.open("ab", buffering=0) as file:
            while size:
                try:
                    file.write(b"\0" * size)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    size //= 2

    def remove(self) -> None:
        """Give it back."""
        self._path.unlink(missing_ok=True)
