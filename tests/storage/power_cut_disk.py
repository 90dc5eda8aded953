"""A disk in memory that can lose its power: what was not synced is then there in part, or not at all."""

import errno
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from streame.storage.disk import Bytes, Disk

PAGE_BYTES = 16
"""Small, so that a record has many pages."""


@dataclass(eq=False)
class File:
    """A file: what is in it, and what of it is on the disk for certain."""

    data: bytes = b""
    synced: bytes = b""


class PowerCutDisk(Disk):
    """Files in memory.

    Args:
        names: the files that are there, all synced.
    """

    def __init__(self, names: "dict[str, bytes] | None" = None) -> None:
        self._names = {name: File(data, data) for name, data in (names or {}).items()}
        self._synced_names = dict(self._names)
        self._pending: list[tuple[str, File | None]] = []
        self.room: int | None = None
        """How many more bytes can be appended; `None` for any number."""
        self.broken = False
        """Whether `sync` fails."""
        self.syncs = 0

    def after_power_cut(self, random_: random.Random) -> "PowerCutDisk":
        """What is there when the power comes back."""
        names = dict(self._synced_names)
        for name, file in self._pending:
            if random_.random() < 0.5:
                names |= {name: file} if file is not None else {}
                if file is None:
                    names.pop(name, None)
        return PowerCutDisk({name: _left(file, random_) for name, file in names.items()})

    def synced(self) -> dict[str, bytes]:
        """What is on the disk for certain."""
        return {name: file.synced for name, file in self._synced_names.items()}

    def after_kill(self) -> "PowerCutDisk":
        """What is there when only the process has died."""
        return PowerCutDisk({name: file.data for name, file in self._names.items()})

    def flipped(self, name: str, at: int, bit: int) -> "PowerCutDisk":
        """The same files, with one bit of one of them changed."""
        data = bytearray(self._names[name].data)
        data[at] ^= 1 << bit
        return PowerCutDisk({each: file.data for each, file in self._names.items()} | {name: bytes(data)})

    def write(self, path: str, parts: Iterable[Bytes]) -> int:
        self._name(path, File())
        return self.append(path, b"".join(parts))

    def append(self, path: str, data: Bytes) -> int:
        if path not in self._names:
            self._name(path, File())
        if self.room is not None and len(data) > self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        if self.room is not None:
            self.room -= len(data)
        file = self._names[path]
        file.data += bytes(data)
        return len(file.data)

    def truncate(self, path: str, length: int) -> None:
        file = self._names[path]
        file.data = file.data[:length]

    def sync(self, path: str) -> None:
        self.syncs += 1
        if self.broken:
            raise OSError(errno.EIO, "Input/output error")
        file = self._names[path]
        file.synced = file.data

    def sync_directory(self, path: str) -> None:
        if self.broken:
            raise OSError(errno.EIO, "Input/output error")
        self._synced_names, self._pending = dict(self._names), []

    def make_directory(self, path: str) -> None:
        """Folders are there."""

    def link(self, source: str, target: str) -> None:
        if target in self._names:
            raise FileExistsError(errno.EEXIST, "File exists", target)
        self._name(target, self._names[source])

    def remove(self, path: str) -> None:
        if self._names.pop(path, None) is not None:
            self._pending.append((path, None))

    def rename(self, source: str, target: str) -> None:
        self._name(target, self._names[source])
        self.remove(source)

    def remove_directory(self, path: str) -> None:
        for name in self.names(path):
            self.remove(f"{path}/{name}")

    def reserve(self, path: str, length: int) -> None:
        self.write(path, (bytes(length),))

    def names(self, path: str) -> list[str]:
        return sorted(name.rpartition("/")[2] for name in self._names if name.startswith(f"{path}/"))

    def size(self, path: str) -> int | None:
        return len(self._names[path].data) if path in self._names else None

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        if path not in self._names:
            raise FileNotFoundError(path)
        data = self._names[path].data[offset:]
        return data if length is None else data[:length]

    def remove_empty_directory(self, path: str) -> None:
        """There are no folders."""

    def lock(self, path: str, note: bytes) -> Callable[[], None]:
        """Nobody else has this disk."""
        return lambda: None

    def _name(self, path: str, file: File) -> None:
        self._names[path] = file
        self._pending.append((path, file))


def _left(file: File, random_: random.Random) -> bytes:
    """What is in a file after a power cut: each page as it is, as it was, or zero where it was not."""
    lengths = sorted((len(file.synced), len(file.data)))
    data, synced = file.data.ljust(lengths[1], b"\0"), file.synced.ljust(lengths[1], b"\0")
    pages = [random_.choice((data, synced))[at : at + PAGE_BYTES] for at in range(0, lengths[1], PAGE_BYTES)]
    length = random_.choice((*lengths, random_.randint(*lengths)))
    return b"".join(pages)[:length]
