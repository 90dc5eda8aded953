"""A disk that knows what could be left of it if the power were cut now."""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TypeVar

from streame.storage.disk import Bytes, LocalDisk
from streame.testing.contracts import Crashed

ALL_MAX = 16
"""So many states after one operation are all looked at; of more, as many at random."""

T = TypeVar("T")
Files = frozenset[tuple[str, bytes]]


@dataclass(eq=False)
class Inode:
    """A file without its names: what a power cut leaves for certain, and what it holds now."""

    synced: bytes = b""
    now: bytes = b""

    def after_a_cut(self) -> list[bytes]:
        """What may be left: the old bytes, the new ones, some of them, or as many zeros."""
        if self.synced == self.now:
            return [self.now]
        kept = self.synced if self.now.startswith(self.synced) else b""
        new = self.now[len(kept) :]
        return [self.synced, self.now, kept + new[: len(new) // 2], kept + bytes(len(new))]


@dataclass(frozen=True)
class Left:
    """What may be left after a power cut, and how many checkpoints had been decided by then."""

    files: Files
    decided: int

    def lay_out(self, place: Path) -> None:
        """Write the files into a folder."""
        for name, data in self.files:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(data)


@dataclass
class PowerDisk(LocalDisk):
    """A folder whose states after a power cut at any moment are collected in `states`.

    Names that were made or removed since their directory was synced are there or not, each by itself; bytes since
    their file was synced may be missing, cut off or zeros. What others write into the folder is seen too.

    Args:
        root: the folder.
        seed: for the choice among too many states.
        unsynced: which calls of `sync` and `sync_directory` do nothing, to see that they matter.
    """

    root: Path
    seed: int
    unsynced: Callable[[str], bool] = lambda path: False
    decided: int = 0
    operations: int = 0
    stop_at: int | None = None
    states: dict[Left, str] = field(default_factory=dict)
    _lasting: dict[str, Inode] = field(default_factory=dict)
    _names: dict[str, Inode] = field(default_factory=dict)
    _inodes: dict[int, Inode] = field(default_factory=dict)
    _pending: dict[str, list[tuple[str, Inode | None]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def write(self, path: str, parts: Iterable[Bytes]) -> int:
        self._begin()
        length = super().write(path, parts)
        self._collect(f"write {path}")
        return length

    def append(self, path: str, data: Bytes) -> int:
        self._begin()
        length = super().append(path, data)
        self._collect(f"append {path}")
        return length

    def truncate(self, path: str, length: int) -> None:
        self._begin()
        super().truncate(path, length)
        self._collect(f"truncate {path}")

    def link(self, source: str, target: str) -> None:
        self._begin()
        super().link(source, target)
        self._collect(f"link {target}")

    def rename(self, source: str, target: str) -> None:
        raise AssertionError("nothing is renamed where checkpoints are")

    def remove(self, path: str) -> None:
        self._begin()
        super().remove(path)
        self._collect(f"remove {path}")

    def sync(self, path: str) -> None:
        self._begin()
        self._look()
        if not self.unsynced(path):
            self._names[path].synced = self._names[path].now
        self._collect(f"sync {path}")

    def sync_directory(self, path: str) -> None:
        self._begin()
        self._look()
        if not self.unsynced(path):
            for name, inode in self._pending.pop(path, []):
                _name(self._lasting, name, inode)
        self._collect(f"sync_directory {path!r}")

    def decide(self) -> None:
        """A checkpoint is decided elsewhere."""
        self.decided += 1
        self._collect(f"decide {self.decided}")

    def _begin(self) -> None:
        if self.stop_at is not None and self.operations >= self.stop_at:
            raise Crashed
        self.operations += 1

    def _look(self) -> None:
        """See what has changed, by whomever."""
        found = {
            path.relative_to(self.root).as_posix(): path for path in self.root.rglob("*") if path.is_file()
        }
        for name in self._names.keys() - found.keys():
            del self._names[name]
            self._pending.setdefault(_folder(name), []).append((name, None))
        held = set(self._names.values())
        self._inodes = {number: inode for number, inode in self._inodes.items() if inode in held}
        for name, path in sorted(found.items()):
            inode = self._inodes.setdefault(path.stat().st_ino, Inode())
            inode.now = path.read_bytes()
            if self._names.get(name) is not inode:
                self._names[name] = inode
                self._pending.setdefault(_folder(name), []).append((name, inode))

    def _collect(self, what: str) -> None:
        self._look()
        for files in self._after_a_cut():
            self.states.setdefault(Left(files, self.decided), f"after {what} (operation {self.operations})")

    def _after_a_cut(self) -> Iterator[Files]:
        changes = [change for pending in self._pending.values() for change in pending]
        for chosen in self._some(list(_subsets(len(changes)))):
            names = dict(self._lasting)
            for (name, inode), there in zip(changes, chosen, strict=True):
                if there:
                    _name(names, name, inode)
            inodes = list(dict.fromkeys(names.values()))
            for contents in self._some(list(product(*(inode.after_a_cut() for inode in inodes)))):
                data = dict(zip(inodes, contents, strict=True))
                yield frozenset((name, data[inode]) for name, inode in names.items())

    def _some(self, choices: list[T]) -> list[T]:
        if len(choices) <= ALL_MAX:
            return choices
        return [choices[0], choices[-1], *self._random.sample(choices[1:-1], ALL_MAX - 2)]


def _subsets(count: int) -> Iterator[tuple[bool, ...]]:
    return product((False, True), repeat=count)


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _name(names: dict[str, Inode], name: str, inode: Inode | None) -> None:
    if inode is None:
        names.pop(name, None)
    else:
        names[name] = inode
