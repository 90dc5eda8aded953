"""A file as its readers see it: one that ends, or one that is followed like `tail -F` does."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from streame.core.clock import Clock
from streame.errors import ConnectorError
from streame.io.files.bytestream import ByteStream, open_bytes
from streame.io.files.offsets import HEAD_BYTES, Identity, Version, gone, passed_over, replaced, truncated
from streame.io.source import Offset

AWAKE_US = 60_000_000
"""A followed file that was not written for so long is closed until it changes, so that many may be followed."""


class EndingFile:
    """A file that is read once, to its end.

    Args:
        path: the file.
        offset: where to begin, in its decompressed bytes; `None` is the beginning.

    Raises:
        SourceDataLost: when it is not what the offset was made for.
        ConnectorError: when it cannot be opened.
    """

    def __init__(self, path: str, offset: Offset = None) -> None:
        self.ended = False
        try:
            stream = open_bytes(path)
        except FileNotFoundError as error:
            raise (unreadable(path, error) if offset is None else gone(path, "byte", offset)) from error
        except OSError as error:
            raise unreadable(path, error) from error
        assert stream is not None
        self._bytes = stream
        self._version = Version.of(os.fstat(self._bytes.file.fileno()))
        self.position = 0
        try:
            if offset is not None:
                self.position = self._version.require(path, "byte", offset)
                _skip(self._bytes, path, self.position)
        except BaseException:
            self.close()
            raise

    def offset(self, position: int) -> Offset:
        """Where to go on from a position."""
        return self._version.offset("byte", position)

    def read(self, size: int) -> bytes:
        """The next bytes; at the end none, and then the file has ended."""
        data = self._bytes.read(size)
        if not data:
            self._bytes.require_whole()
            self.ended = True
        return data

    def close(self) -> None:
        """Close the file."""
        self._bytes.file.close()


class FollowedFile:
    """A file to which lines are appended.

    When another file has taken its name, the old one is read to its end, then the new one from its beginning; an
    empty new one has to wait, since the writer may still be writing to the old one. A file that is gone is waited
    for. A file that became shorter than what was read of it is an error: which of its rows are lost, and which
    would come twice, cannot be known.

    Args:
        path: the file.
        offset: where to begin, in its decompressed bytes; `None` is the beginning.
        clock: the wall clock, to tell files that are written from those that rest.
        is_read: whether the file of a name is read as well, by somebody else.

    Raises:
        SourceDataLost: when the file for which the offset was made is not there, or not what follows it.
    """

    def __init__(
        self, path: str, offset: Offset, clock: Clock, is_read: Callable[[str], bool] = lambda _: False
    ) -> None:
        self.ended = False
        self.position = 0
        """Where the next byte stands."""
        self.found = path
        """The name under which the file was found: that of the old one, if another has its name now."""
        self._path = path
        self._clock = clock
        self._bytes: ByteStream | None = None
        self._asleep: os.stat_result | None = None
        self._identity: Identity | None = None
        self._ended_identity: Identity | None = None
        if offset is not None:
            self._go_on_from(offset, is_read)

    def offset(self, position: int) -> Offset:
        """Where to go on from a position that has been read; `None` when no file is there in which to do so."""
        return None if self._identity is None or self.is_deleted else self._identity.offset(position)

    def offset_before(self, position: int) -> Offset:
        """Where to go on from a position in the file that has just `ended`."""
        return None if self._ended_identity is None else self._ended_identity.offset(position)

    @property
    def is_deleted(self) -> bool:
        """Whether the file has no name any more, so that it cannot be opened again."""
        return self._bytes is not None and os.fstat(self._bytes.file.fileno()).st_nlink == 0

    def read(self, size: int) -> bytes:
        """The next bytes. When one file has `ended`, those of the next one follow, from its beginning.

        Raises:
            ConnectorError: when the file cannot be read or became shorter.
        """
        self.ended = False
        status = self._status()  # before reading: what the old file got until the new one had bytes is read
        if self._bytes is None:
            self._bytes = self._open(status)
            if self._bytes is None:
                return b""
        data = self._bytes.read(size)
        self.position += len(data)
        read = self._bytes.file.tell()
        if self._identity is None or self._identity.head < min(read, HEAD_BYTES):
            self._identity = Identity.of(self._bytes.file.fileno(), read)
        if not data:
            self._go_on(self._bytes, status)
        if len(data) < size and self._bytes is not None:
            self._rest(self._bytes)
        return data

    def close(self) -> None:
        """Close the file, if it is open."""
        if self._bytes is not None:
            self._bytes.file.close()
            self._bytes = None

    def _status(self) -> os.stat_result | None:
        try:
            return Path(self._path).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise unreadable(self._path, error) from error

    def _go_on_from(self, offset: Any, is_read: Callable[[str], bool]) -> None:
        """Open the file for which an offset was made, wherever it is in its folder now."""
        self._identity, position = Identity.parsed(offset), int(offset["byte"])
        found = self._identity.found(self._path)
        if found is None:
            now = self._status()
            cut_off = (
                now is not None and now.st_ino == self._identity.inode and now.st_size < self._identity.head
            )
            raise (truncated if cut_off else replaced)(self._path, position)
        self.found, self.position = found, position
        self._bytes = _open(found, position)
        if self._bytes is not None and found != self._path:
            held = os.fstat(self._bytes.file.fileno())
            later = [path for path in _rotated_later(self._path, held) if not is_read(path)]
            if later:
                self.close()
                raise passed_over(self._path, later)

    def _open(self, status: os.stat_result | None) -> ByteStream | None:
        """Open the file that has the name now, if there is anything new in it."""
        last = self._asleep
        if last is None:
            return None if status is None else _open(self._path, self.position)
        if status is not None and _version(last) == _version(status):
            return None
        if status is None or not os.path.samestat(last, status):
            renamed = _renamed(self._path, last)
            if renamed is not None and renamed.stat().st_size > last.st_size:
                self._asleep = None
                return _open(renamed.path, self.position)
            if renamed is None or status is not None:
                self._begin_anew(status)
            return None
        if status.st_size < last.st_size:
            raise truncated(self._path, self.position)
        self._asleep = None
        return _open(self._path, self.position)

    def _go_on(self, stream: ByteStream, status: os.stat_result | None) -> None:
        """Nothing more is in the open file: if another has its name, turn to that one."""
        held = os.fstat(stream.file.fileno())
        if held.st_size < stream.file.tell():
            raise truncated(self._path, self.position)
        if status is not None and status.st_size and not os.path.samestat(status, held):
            stream.require_whole()
            self._begin_anew(status)

    def _rest(self, stream: ByteStream) -> None:
        """Close a file that has been read to its end and was not written for long."""
        held = os.fstat(stream.file.fileno())
        quiet_us = self._clock.now_us() - held.st_mtime_ns // 1000
        if quiet_us > AWAKE_US and stream.whole and stream.file.tell() == held.st_size:
            self.close()
            self._asleep = held

    def _begin_anew(self, status: os.stat_result | None) -> None:
        self.close()
        self.position, self._asleep, self.ended = 0, None, True
        self._ended_identity = self._identity
        self._identity = None if status is None else Identity(status.st_ino)


def _version(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _renamed(path: str, status: os.stat_result) -> "os.DirEntry[str] | None":
    """The other name in its directory that a file which had the name `path` has now."""
    place = Path(path)
    with os.scandir(place.parent) as entries:
        for entry in entries:
            if entry.inode() == status.st_ino and entry.name != place.name:
                return entry if entry.stat().st_dev == status.st_dev else None
    return None


def _rotated_later(path: str, status: os.stat_result) -> list[str]:
    """Files that seem to have had the name `path` after another one that has lost it."""
    place = Path(path)
    with os.scandir(place.parent) as entries:
        return [
            os.path.realpath(entry.path)
            for entry in entries
            if entry.name.startswith(place.name)
            and entry.name != place.name
            and entry.inode() != status.st_ino
            and entry.is_file()
            and entry.stat().st_mtime_ns > status.st_mtime_ns
        ]


def _open(path: str, position: int) -> ByteStream | None:
    """A file that grows; `None` while it is not there, or has too little in it to say what it is."""
    try:
        stream = open_bytes(path, growing=True)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, error) from error
    if stream is not None:
        _skip(stream, path, position)
    return stream


def _skip(stream: ByteStream, path: str, position: int) -> None:
    if not stream.skip(position):
        stream.file.close()
        raise truncated(path, position)


def unreadable(path: str, error: OSError) -> ConnectorError:
    """The error for a file that cannot be opened."""
    hint = "; raise the limit with ulimit -n" if error.errno == errno.EMFILE else ""
    return ConnectorError(
        f"{Path(path).absolute()}: cannot be read: {(error.strerror or str(error)).lower()}{hint}"
    )
