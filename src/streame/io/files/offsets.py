"""Offsets in files: where reading goes on, and in which file, so that no other one is read on by mistake."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xxhash import xxh3_64_hexdigest

from streame.errors import SourceDataLost
from streame.io.source import Offset

HEAD_BYTES = 1024
"""By so many first bytes, or what was read of them, a followed file is known again: systems give the number of a
deleted file to a new one."""

_ANEW = "or begin anew with other checkpoints"


@dataclass(frozen=True, slots=True)
class Version:
    """A file that is written once, as it was when it was opened."""

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Version":
        """The version that a file has now."""
        return cls(status.st_size, status.st_mtime_ns)

    def offset(self, unit: str, position: int) -> Offset:
        """An offset in this version; `unit` says what is counted."""
        return {unit: position, "size": self.size, "mtime_ns": self.mtime_ns}

    def require(self, path: str, unit: str, offset: Any) -> int:
        """The position of an offset in this version of a file.

        Raises:
            SourceDataLost: when the file has been changed since.
        """
        position = int(offset[unit])
        known = Version(offset["size"], offset["mtime_ns"])
        if known == self:
            return position
        what = (
            f"it had {known.size} bytes and now has {self.size}"
            if known.size != self.size
            else f"it was written at {known.mtime_ns} ns and again at {self.mtime_ns} ns"
        )
        raise SourceDataLost(
            f"{_named(path)}: was changed after it had been read up to {unit} {position}: {what}. Put the file back as "
            f"it was, with its time (cp --preserve), {_ANEW}; to read a file that grows use follow=True"
        )


@dataclass(frozen=True, slots=True)
class Identity:
    """A followed file, which keeps its beginning and its number whatever its name is.

    Args:
        inode: its number.
        head: how many first bytes are known.
        digest: their digest.
    """

    inode: int
    head: int = 0
    digest: str = ""

    @classmethod
    def of(cls, handle: int, read: int) -> "Identity":
        """The identity of an open file of which so many bytes were read."""
        beginning = os.pread(handle, min(read, HEAD_BYTES), 0)
        return cls(os.fstat(handle).st_ino, len(beginning), xxh3_64_hexdigest(beginning))

    @classmethod
    def parsed(cls, offset: Any) -> "Identity":
        """The file that an offset is for."""
        return cls(offset["inode"], offset["head"], offset["digest"])

    def offset(self, position: int) -> Offset:
        """An offset in this file."""
        return {"byte": position, "inode": self.inode, "head": self.head, "digest": self.digest}

    def is_at(self, path: str) -> bool:
        """Whether the file at a path is this one."""
        try:
            with Path(path).open("rb", buffering=0) as file:
                beginning = file.read(self.head)
                return os.fstat(file.fileno()).st_ino == self.inode and (
                    xxh3_64_hexdigest(beginning) == self.digest or not self.head
                )
        except OSError:
            return False

    def found(self, path: str) -> str | None:
        """Where the file that had a name is now: there, or under another name in its directory."""
        if self.is_at(path):
            return path
        try:
            with os.scandir(Path(path).parent) as entries:
                names = [entry.path for entry in entries if entry.inode() == self.inode]
        except OSError:
            return None
        return next(filter(self.is_at, names), None)


def gone(path: str, unit: str, offset: Any) -> SourceDataLost:
    """The error for a file that is not there any more."""
    return SourceDataLost(
        f"{_named(path)}: was read up to {unit} {offset[unit]} before, and is gone now, so that nobody knows what followed; "
        f"put it back, {_ANEW}"
    )


def replaced(path: str, position: int) -> SourceDataLost:
    """The error for a followed file that is not there, while another file may have its name."""
    now = "another file has its name" if Path(path).exists() else "no file has its name"
    return SourceDataLost(
        f"{_named(path)}: was read up to byte {position} before; now {now}, and it is under no other name in its folder, "
        f"so that nobody knows what followed. Put it back, {_ANEW}"
    )


def passed_over(path: str, files: list[str]) -> SourceDataLost:
    """The error for a followed file that was rotated more than once while nobody read."""
    return SourceDataLost(
        f"{_named(path)}: was rotated more than once while no job read it; these files were not read at all: "
        f"{', '.join(files)}. Read them with a job of their own and begin anew with other checkpoints"
    )


def truncated(path: str, position: int) -> SourceDataLost:
    """The error for a file that became shorter than what was read of it."""
    return SourceDataLost(
        f"{_named(path)}: was truncated below {position}, up to where it has been read; "
        "begin a new file instead of overwriting the old one"
    )


def _named(path: str) -> str:
    return str(Path(path).absolute())
