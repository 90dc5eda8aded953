"""Scratch files: bytes that one process puts aside for itself, and that end with it."""

import fcntl
import os
import shutil
import tempfile
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "streame-spill-"
_NEW_PREFIX = ".streame-new-"
_LOCK = "in-use"

_FREE_MAX = 4
"""So many files that nobody needs are kept: to write over one takes half as long as to make one and delete another."""


class ScratchFile:
    """A file that does not change as long as anything refers to it.

    Args:
        path: where it is.
        length: how many bytes it has.
        give_back: called with the path when nothing refers to it any more, at any moment and in any thread.
    """

    __slots__ = ("__weakref__", "_removal", "length", "path")

    def __init__(self, path: str, length: int, give_back: Callable[[str], None]) -> None:
        self.path, self.length = path, length
        self._removal = weakref.finalize(self, give_back, path)
        self._removal.atexit = False

    def fill(self, offset: int, into: memoryview) -> bool:
        """Fill memory with its bytes from an offset on; returns whether there were so many.

        Raises:
            OSError: when they cannot be read.
        """
        with self._descriptor() as descriptor:
            while into:
                count = os.preadv(descriptor, [into], offset)
                if not count:
                    return False
                into, offset = into[count:], offset + count
        return True

    def read(self, offset: int, length: int) -> bytes:
        """So many of its bytes from an offset on, or fewer where it ends.

        Raises:
            OSError: when they cannot be read.
        """
        with self._descriptor() as descriptor:
            found = os.pread(descriptor, length, offset)
            while len(found) < length and (
                more := os.pread(descriptor, length - len(found), offset + len(found))
            ):
                found += more
        return found

    @contextmanager
    def _descriptor(self) -> Iterator[int]:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


class Scratch:
    """A folder of scratch files, with a name of its own: other processes may put theirs beside it.

    It is made when it is first needed, and deleted when the last of those who joined has left. What a process that
    was killed left behind is deleted by the next one.

    Args:
        parent: the folder in which it is made.
    """

    def __init__(self, parent: str | os.PathLike[str] | None = None) -> None:
        self._parent = Path(tempfile.gettempdir() if parent is None else parent)
        self._folder: str | None = None
        self._lock = threading.Lock()
        self._descriptor = -1
        self._users = 0
        self._number = 0
        self._free: deque[str] = deque()

    def join(self) -> None:
        """Somebody will write here."""
        with self._lock:
            self._users += 1

    def leave(self) -> None:
        """Somebody who joined needs none of its files any more."""
        with self._lock:
            self._users -= 1
            if self._users == 0 and self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
                os.close(self._descriptor)
                self._folder = None
                self._free.clear()

    def write(self, parts: Sequence[memoryview]) -> ScratchFile:
        """A new file of these bytes. It is not synced: nobody reads it after a crash.

        Raises:
            OSError: when it cannot be written; then there is no file.
        """
        path, descriptor = self._opened()
        length = sum(map(len, parts))
        try:
            try:
                for part in parts:
                    while part:
                        part = part[os.write(descriptor, part) :]  # noqa: PLW2901 - what is left of it
                os.ftruncate(descriptor, length)  # it was longer, if it was another one before
            finally:
                os.close(descriptor)
        except BaseException:
            _remove(path)
            raise
        return ScratchFile(path, length, self._give_back)

    def trim(self) -> None:
        """Delete the files that were kept to be written over."""
        while self._free:
            with suppress(IndexError):  # another thread took it
                _remove(self._free.pop())

    def _opened(self) -> tuple[str, int]:
        """A file to write to, from its beginning."""
        while self._free:
            with suppress(IndexError, FileNotFoundError):  # another thread took it; its folder is gone
                path = self._free.pop()
                return path, os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        with self._lock:
            if self._folder is None:
                self._folder = self._made()
            self._number += 1
            path = f"{self._folder}/{self._number}"
        return path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def _give_back(self, path: str) -> None:
        """Nobody needs a file any more. Called in the middle of anything, so it takes no lock."""
        if len(self._free) < _FREE_MAX:
            self._free.append(path)
        else:
            _remove(path)

    def _made(self) -> str:
        """The folder, locked for as long as this process lives."""
        self._parent.mkdir(parents=True, exist_ok=True)
        for left in self._parent.glob(f"{_PREFIX}*"):
            _remove_if_left(left)
        new = Path(tempfile.mkdtemp(prefix=_NEW_PREFIX, dir=self._parent))
        self._descriptor = os.open(new / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Only now others look at it.
        return str(new.rename(new.with_name(_PREFIX + new.name.removeprefix(_NEW_PREFIX))))


def _remove_if_left(folder: Path) -> None:
    """Delete the folder of a process that is gone; one that is in use, or of somebody else, stays."""
    with suppress(OSError):
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(descriptor)


def _remove(path: str) -> None:
    with suppress(OSError):
        Path(path).unlink()
