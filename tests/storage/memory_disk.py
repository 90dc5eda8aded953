"""A disk in memory, and one that writes down what is done to another."""

import errno
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from streame.storage.disk import Bytes, Disk

Op: TypeAlias = tuple[str, str, object]
"""The name of a method, the path, and what else it was given."""


class MemoryDisk(Disk):
    """Files in a dict. A folder must have been made before something is written in it.

    Args:
        files: what is there.
        folders: which folders there are, besides those of the files.
        room: how many bytes there is room for in all.
    """

    def __init__(
        self, files: dict[str, bytes] | None = None, folders: Iterable[str] = (), room: int | None = None
    ) -> None:
        self.files = {path: bytearray(content) for path, content in (files or {}).items()}
        self.folders = {"", *folders}
        for path in self.files:
            self._make(path.rpartition("/")[0])
        self.room = room
        self.locked: set[str] = set()

    def write(self, path: str, parts: Iterable[Bytes]) -> int:
        assert path.rpartition("/")[0] in self.folders, path
        self.files[path] = bytearray()
        for part in parts:
            self._grow(path, bytes(part))
        return len(self.files[path])

    def append(self, path: str, data: Bytes) -> int:
        assert path.rpartition("/")[0] in self.folders, path
        before = len(self.files.setdefault(path, bytearray()))
        try:
            self._grow(path, bytes(data))
        except OSError:
            del self.files[path][before:]
            raise
        return len(self.files[path])

    def truncate(self, path: str, length: int) -> None:
        del self.files[path][length:]

    def sync(self, path: str) -> None:
        if path not in self.files:
            raise FileNotFoundError(path)

    def sync_directory(self, path: str) -> None:
        if path not in self.folders:
            raise FileNotFoundError(path)

    def make_directory(self, path: str) -> None:
        self._make(path)

    def rename(self, source: str, target: str) -> None:
        self.files[target] = self._file(source)
        del self.files[source]

    def link(self, source: str, target: str) -> None:
        if target in self.files:
            raise FileExistsError(target)
        self.files[target] = self._file(source)

    def remove(self, path: str) -> None:
        self.files.pop(path, None)

    def remove_directory(self, path: str) -> None:
        self.files = {
            each: content for each, content in self.files.items() if not each.startswith(f"{path}/")
        }
        self.folders = {each for each in self.folders if each != path and not each.startswith(f"{path}/")}

    def remove_empty_directory(self, path: str) -> None:
        if not self.names(path):
            self.folders.discard(path)

    def names(self, path: str) -> list[str]:
        below = f"{path}/" if path else ""
        every = [each for each in (*self.files, *self.folders) if each.startswith(below) and each != path]
        return sorted({each[len(below) :].partition("/")[0] for each in every})

    def size(self, path: str) -> int | None:
        return len(self.files[path]) if path in self.files else None

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        end = None if length is None else offset + length
        return bytes(self._file(path)[offset:end])

    def reserve(self, path: str, length: int) -> None:
        self.write(path, [bytes(length)])

    def lock(self, path: str, note: bytes) -> Callable[[], None]:
        if path in self.locked:
            raise BlockingIOError(path)
        self.locked.add(path)
        self.files[path] = bytearray(note)
        return lambda: self.locked.discard(path)

    def _grow(self, path: str, data: bytes) -> None:
        used = sum(len(content) for content in self.files.values())
        if self.room is not None and used + len(data) > self.room:
            self.files[path] += data[: max(0, self.room - used)]
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        self.files[path] += data

    def _file(self, path: str) -> bytearray:
        if path not in self.files:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return self.files[path]

    def _make(self, path: str) -> None:
        parts = path.split("/")
        self.folders.update("/".join(parts[:count]) for count in range(1, len(parts) + 1))


@dataclass
class RecordedDisk(Disk):
    """Does everything on another disk, and writes down what changes it or makes it last.

    Args:
        inner: the disk.
        log: what was done, in order; an entry is made when a call has succeeded.
    """

    inner: Disk
    log: list[Op] = field(default_factory=list)

    def write(self, path: str, parts: Iterable[Bytes]) -> int:
        content: list[bytes] = []

        def seen() -> Iterable[Bytes]:
            for part in parts:
                content.append(bytes(part))
                yield part

        try:
            return self.inner.write(path, seen())
        finally:
            self._note("write", path, b"".join(content))

    def append(self, path: str, data: Bytes) -> int:
        length = self.inner.append(path, data)
        self._note("append", path, bytes(data))
        return length

    def truncate(self, path: str, length: int) -> None:
        self.inner.truncate(path, length)
        self._note("truncate", path, length)

    def sync(self, path: str) -> None:
        self.inner.sync(path)
        self._note("sync", path)

    def sync_directory(self, path: str) -> None:
        self.inner.sync_directory(path)
        self._note("sync_directory", path)

    def make_directory(self, path: str) -> None:
        self.inner.make_directory(path)
        self._note("make_directory", path)

    def rename(self, source: str, target: str) -> None:
        self.inner.rename(source, target)
        self._note("rename", source, target)

    def link(self, source: str, target: str) -> None:
        self.inner.link(source, target)
        self._note("link", source, target)

    def remove(self, path: str) -> None:
        there = self.inner.size(path) is not None
        self.inner.remove(path)
        if there:
            self._note("remove", path)

    def remove_directory(self, path: str) -> None:
        self.inner.remove_directory(path)
        self._note("remove_directory", path)

    def remove_empty_directory(self, path: str) -> None:
        folder, _, name = path.rpartition("/")
        there = name in self.inner.names(folder)
        self.inner.remove_empty_directory(path)
        if there and name not in self.inner.names(folder):
            self._note("remove_empty_directory", path)

    def names(self, path: str) -> list[str]:
        return self.inner.names(path)

    def size(self, path: str) -> int | None:
        return self.inner.size(path)

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        return self.inner.read(path, offset, length)

    def reserve(self, path: str, length: int) -> None:
        self.inner.reserve(path, length)
        self._note("reserve", path, length)

    def lock(self, path: str, note: bytes) -> Callable[[], None]:
        release = self.inner.lock(path, note)
        self._note("lock", path, note)
        return release

    def _note(self, name: str, path: str, more: object = None) -> None:
        self.log.append((name, path, more))
