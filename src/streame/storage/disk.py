"""A disk: files under one folder, with every call that decides what is left after a power cut as a method of its own."""

import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterable
from io import FileIO
from pathlib import Path
from typing import Protocol, TypeAlias

from streame.core.disk_room import DiskRoom

Bytes: TypeAlias = bytes | bytearray | memoryview
"""What can be written as it is."""

_WRITE_BYTES_MAX = 8 * 1024 * 1024
"""One call of the system writes no more, so that other threads have their turn."""


class RootGone(OSError):  # noqa: N818
    """The root of a disk is not there: it is made on purpose, by `make_directory("")`, and never by a write.

    It is no `FileNotFoundError`: that means that something below the root is missing, which a caller may make again.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(
            errno.ENOENT,
            "this folder is gone, and is not made anew, since what it held would be missing; mount it again or put it back",
            str(root),
        )


class Files(Protocol):
    """Files by their path, with slashes, for whoever only reads. What goes wrong is an `OSError`."""

    def names(self, path: str) -> list[str]:
        """What is in a folder, in order; nothing if there is no such folder."""

    def size(self, path: str) -> int | None:
        """How many bytes a file has; `None` if it is not there."""

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of a file, fewer than `length` at its end.

        Raises:
            FileNotFoundError: when there is no such file.
        """

    def read_into(self, path: str, offset: int, target: memoryview) -> int:
        """Read bytes of a file into memory that is there; returns how many: fewer than asked at its end.

        Raises:
            FileNotFoundError: when there is no such file.
        """
        data = self.read(path, offset, len(target))
        target[: len(data)] = data
        return len(data)


class Disk(Files, Protocol):
    """Files by their path below a root, with slashes.

    A write is not there after a power cut before `sync`, and a name that was made, changed or removed is not before
    `sync_directory`. What goes wrong is an `OSError`. After an error of `sync` or `sync_directory` nobody knows what
    is on the disk, and a second call may wrongly say that all is well: whoever sees one gives up.

    Only `make_directory("")` makes the root. What is written while that is missing is a `RootGone`.
    """

    def write(self, path: str, parts: Iterable[Bytes]) -> int:
        """Write a file, in the place of one that is there; returns its length. Its folder must be there."""

    def append(self, path: str, data: Bytes) -> int:
        """Write at the end of a file, which is made if it is not there; returns its length.

        If it fails, the file is as long as it was, as far as that can still be done.
        """

    def truncate(self, path: str, length: int) -> None:
        """Cut a file off."""

    def sync(self, path: str) -> None:
        """Make the bytes of a file last."""

    def sync_directory(self, path: str) -> None:
        """Make the names in a folder last; `""` is the root."""

    def make_directory(self, path: str) -> None:
        """Make a folder, and those above it below the root, if they are not there; their names last when this returns.

        `""` is the root, which is made with all that is above it. For any other folder the root must be there.
        """

    def rename(self, source: str, target: str) -> None:
        """Give a file another name, in the place of what had it."""

    def link(self, source: str, target: str) -> None:
        """Give a file a second name.

        Raises:
            FileExistsError: when something has that name.
        """

    def remove(self, path: str) -> None:
        """Remove a file; one that is not there is removed already."""

    def remove_directory(self, path: str) -> None:
        """Remove a folder with all that is in it; one that is not there is removed already."""

    def remove_empty_directory(self, path: str) -> None:
        """Remove a folder if there is nothing in it; one that is not there is removed already."""

    def reserve(self, path: str, length: int) -> None:
        """Find out whether there is room for so many bytes: they are allocated to a file, which may be removed again."""

    def space(self) -> DiskRoom | None:
        """How much room there is; `None` if nobody knows."""
        return None

    def lock(self, path: str, note: bytes) -> Callable[[], None]:
        """Be the only one, in any process, that holds a file locked, as long as this process lives.

        Args:
            path: the file, which is made if it is not there.
            note: what it shall hold, for whoever comes later.

        Returns:
            What gives the lock up.

        Raises:
            BlockingIOError: when somebody holds it.
        """


class LocalDisk(Disk):
    """A folder of a file system.

    Args:
        root: the folder; it need not be there before `make_directory("")`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, parts: Iterable[Bytes]) -> int:
        """See `Disk`."""
        with self._opened(path, "wb") as file:
            return sum(_write_all(file.fileno(), part) for part in parts)

    def append(self, path: str, data: Bytes) -> int:
        """See `Disk`."""
        with self._opened(path, "ab") as file:
            before = os.fstat(file.fileno()).st_size
            try:
                return before + _write_all(file.fileno(), data)
            except OSError:
                os.ftruncate(file.fileno(), before)
                raise

    def truncate(self, path: str, length: int) -> None:
        """See `Disk`."""
        os.truncate(self.root / path, length)

    def sync(self, path: str) -> None:
        """See `Disk`."""
        _sync(self.root / path, os.O_RDONLY)

    def sync_directory(self, path: str) -> None:
        """See `Disk`."""
        _sync(self.root / path, os.O_RDONLY | os.O_DIRECTORY)

    def make_directory(self, path: str) -> None:
        """See `Disk`."""
        place, made = self.root / path, []
        while not place.is_dir():
            if path and place == self.root:
                raise RootGone(self.root)
            made.append(place)
            place = place.parent
        for folder in reversed(made):
            folder.mkdir(exist_ok=True)
            _sync(folder.parent, os.O_RDONLY | os.O_DIRECTORY)

    def rename(self, source: str, target: str) -> None:
        """See `Disk`."""
        (self.root / source).rename(self.root / target)

    def link(self, source: str, target: str) -> None:
        """See `Disk`."""
        os.link(self.root / source, self.root / target)

    def remove(self, path: str) -> None:
        """See `Disk`."""
        (self.root / path).unlink(missing_ok=True)

    def remove_directory(self, path: str) -> None:
        """See `Disk`."""
        shutil.rmtree(self.root / path, ignore_errors=True)

    def remove_empty_directory(self, path: str) -> None:
        """See `Disk`."""
        try:
            (self.root / path).rmdir()
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT}:
                raise

    def names(self, path: str) -> list[str]:
        """See `Disk`."""
        try:
            return sorted(place.name for place in (self.root / path).iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def size(self, path: str) -> int | None:
        """See `Disk`."""
        try:
            return (self.root / path).stat().st_size
        except FileNotFoundError:
            return None

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        """See `Disk`."""
        with (self.root / path).open("rb") as file:
            file.seek(offset)
            return file.read() if length is None else file.read(length)

    def read_into(self, path: str, offset: int, target: memoryview) -> int:
        """See `Disk`."""
        filled = 0
        with (self.root / path).open("rb", buffering=0) as file:
            file.seek(offset)
            while filled < len(target) and (count := file.readinto(target[filled:])):
                filled += count
        return filled

    def reserve(self, path: str, length: int) -> None:
        """See `Disk`."""
        with self._opened(path, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, length))

    def space(self) -> DiskRoom | None:
        """See `Disk`."""
        try:
            found = os.statvfs(self.root)
        except OSError:
            return None
        used = found.f_blocks - found.f_bfree
        total = used + found.f_bavail  # what is kept back for the administrator is neither
        return DiskRoom(str(self.root), total * found.f_frsize, found.f_bavail * found.f_frsize)

    def lock(self, path: str, note: bytes) -> Callable[[], None]:
        """See `Disk`."""
        handle = os.open(self.root / path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(handle, 0)
            os.pwrite(handle, note, 0)
        except OSError:
            os.close(handle)
            raise
        return lambda: os.close(handle)

    def _opened(self, path: str, mode: str) -> FileIO:
        """A file to be written to; it may be new, its folder may not."""
        try:
            return FileIO(self.root / path, mode)
        except FileNotFoundError:
            if self.root.is_dir():
                raise
            raise RootGone(self.root) from None


def _write_all(handle: int, data: Bytes) -> int:
    """Write all of it: a call of the system may write less than it was given."""
    rest = memoryview(data).cast("B")
    while len(rest):
        rest = rest[os.write(handle, rest[:_WRITE_BYTES_MAX]) :]
    return memoryview(data).nbytes


def _sync(place: Path, flags: int) -> None:
    handle = os.open(place, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
