"""What a power cut may leave: every legal disk after some operations, by the weakest promise of a file system.

Bytes that were not synced may be there, cut off, zero, or not there. Of the changes of names in a folder since it was
last synced any subset may be there; a rename within a folder is one change.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import TypeAlias

from tests.storage.memory_disk import Op

Files: TypeAlias = dict[str, bytes]


@dataclass
class _File:
    """The bytes of a file: those that were synced, and those that a living system sees."""

    synced: bytes | None = None
    seen: bytes = b""

    def left(self) -> set[bytes]:
        """What may be left of it."""
        if self.synced == self.seen:
            return {self.seen}
        safe = self.synced or b""
        common = len(safe) if self.seen.startswith(safe) else 0
        half = (common + len(self.seen)) // 2
        zeros = self.seen[:common] + bytes(len(self.seen) - common)
        return {safe, self.seen, self.seen[:half], zeros}


@dataclass(frozen=True)
class _Change:
    """A change of names in a folder: those that are gone, and the file that has a name now."""

    gone: str | None
    name: str | None
    file: int


@dataclass
class Power:
    """A disk that may lose its power at any time."""

    files: dict[int, _File] = field(default_factory=dict)
    lasting: dict[str, int] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    pending: dict[str, list[_Change]] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)

    @staticmethod
    def of(files: Files, folders: set[str]) -> "Power":
        """A disk on which all of these files last."""
        numbered = {number: _File(content, content) for number, content in enumerate(files.values())}
        names = {path: number for number, path in enumerate(files)}
        return Power(numbered, names, dict(names), {}, set(folders))

    def copy(self) -> "Power":
        """The same disk, of which one may go another way."""
        return Power(
            {number: _File(file.synced, file.seen) for number, file in self.files.items()},
            dict(self.lasting), dict(self.seen),
            {folder: list(changes) for folder, changes in self.pending.items()}, set(self.folders),
        )  # fmt: skip

    def apply(self, op: Op) -> None:
        """Do what an entry of the log of a disk says."""
        match op:
            case ("write" | "lock", path, bytes(content)):
                self._open(path).seen = content
            case ("reserve", path, int(length)):
                self._open(path).seen = bytes(length)
            case ("append", path, bytes(data)):
                self._open(path).seen += data
            case ("sync", path, _):
                file = self.files[self.seen[path]]
                file.synced = file.seen
            case ("sync_directory", path, _):
                for change in self.pending.pop(path, []):
                    _apply(change, self.lasting)
            case ("rename", source, str(target)):
                self._change(_Change(source, target, self.seen[source]))
            case ("link", source, str(target)):
                self._change(_Change(None, target, self.seen[source]))
            case ("remove", path, _):
                self._change(_Change(path, None, -1))
            case ("make_directory", path, _):
                self.folders.add(path)
            case ("remove_empty_directory", path, _):
                pass  # it may be there after the power cut
            case _:
                raise AssertionError(op)

    def living(self) -> Files:
        """What is there as long as the power is."""
        return {path: self.files[number].seen for path, number in self.seen.items()}

    def cuts(self) -> Iterator[Files]:
        """Every disk that may be left now."""
        changes = [change for pending in self.pending.values() for change in pending]
        for chosen in product((False, True), repeat=len(changes)):
            names = dict(self.lasting)
            for change, there in zip(changes, chosen, strict=True):
                if there:
                    _apply(change, names)
            numbers = sorted(set(names.values()))
            for contents in product(*(sorted(self.files[number].left()) for number in numbers)):
                content = dict(zip(numbers, contents, strict=True))
                yield {path: content[number] for path, number in names.items()}

    def _open(self, path: str) -> _File:
        if path not in self.seen:
            self.files[len(self.files)] = _File()
            self._change(_Change(None, path, len(self.files) - 1))
        return self.files[self.seen[path]]

    def _change(self, change: _Change) -> None:
        folders = {name.rpartition("/")[0] for name in (change.gone, change.name) if name is not None}
        assert len(folders) == 1, change
        _apply(change, self.seen)
        self.pending.setdefault(folders.pop(), []).append(change)


def _apply(change: _Change, names: dict[str, int]) -> None:
    if change.gone is not None:
        names.pop(change.gone, None)
    if change.name is not None:
        names[change.name] = change.file
