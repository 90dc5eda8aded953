"""A file as its readers see it: one that ends, or one that is followed like `tail -F` does."""

import errno
import os
from pathlib import Path

from streame.core.clock import Clock
from streame.errors import ConnectorError
from streame.io.files.bytestream import ByteStream, open_bytes

AWAKE_US = 60_000_000
"""A followed file that was not written for so long is closed until it changes, so that many may be followed."""


class EndingFile:
    """A file that is read once, to its end.

    Args:
        path: the file.
        position: where to begin, in its decompressed bytes.

    Raises:
        ConnectorError: when it cannot be opened, or is shorter than that.
    """

    def __init__(self, path: str, position: int) -> None:
        self.ended = False
        stream = _open(path, position)
        assert stream is not None
        self._bytes = stream

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
        position: where to begin, in its decompressed bytes.
        clock: the wall clock, to tell files that are written from those that rest.
    """

    def __init__(self, path: str, position: int, clock: Clock) -> None:
        self.ended = False
        self._path = path
        self._clock = clock
        self._position = position
        self._bytes: ByteStream | None = None
        self._asleep: os.stat_result | None = None
        self._gone = False

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
        self._position += len(data)
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

    def _open(self, status: os.stat_result | None) -> ByteStream | None:
        """Open the file that has the name now, if there is anything new in it."""
        last = self._asleep
        if status is None:
            self._gone = True
            return None
        if last is not None and _version(last) == _version(status):
            return None
        if self._gone or (last is not None and not os.path.samestat(last, status)):
            renamed = _renamed(self._path, last) if last is not None else None
            if renamed is None:
                self._begin_anew()
                return None
            self._asleep, self._gone = None, False
            return _open(renamed, self._position, growing=True)
        if last is not None and status.st_size < last.st_size:
            raise truncated(self._path, self._position)
        self._asleep = None
        return _open(self._path, self._position, growing=True)

    def _go_on(self, stream: ByteStream, status: os.stat_result | None) -> None:
        """Nothing more is in the open file: if another has its name, turn to that one."""
        held = os.fstat(stream.file.fileno())
        if held.st_size < stream.file.tell():
            raise truncated(self._path, self._position)
        if status is not None and status.st_size and not os.path.samestat(status, held):
            stream.require_whole()
            self._begin_anew()

    def _rest(self, stream: ByteStream) -> None:
        """Close a file that has been read to its end and was not written for long."""
        held = os.fstat(stream.file.fileno())
        quiet_us = self._clock.now_us() - held.st_mtime_ns // 1000
        if quiet_us > AWAKE_US and stream.whole and stream.file.tell() == held.st_size:
            self.close()
            self._asleep = held

    def _begin_anew(self) -> None:
        self.close()
        self._position, self._asleep, self._gone, self.ended = 0, None, False, True


def _version(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _renamed(path: str, status: os.stat_result) -> str | None:
    """Where a file that had the name `path` is now, if it got more since and is still in its directory."""
    place = Path(path)
    with os.scandir(place.parent) as entries:
        for entry in entries:
            if entry.inode() == status.st_ino and entry.name != place.name:
                found = entry.stat()
                return (
                    entry.path if found.st_dev == status.st_dev and found.st_size > status.st_size else None
                )
    return None


def _open(path: str, position: int, *, growing: bool = False) -> ByteStream | None:
    try:
        stream = open_bytes(path, growing=growing)
    except FileNotFoundError as error:
        if growing:
            return None
        raise unreadable(path, error) from error
    except OSError as error:
        raise unreadable(path, error) from error
    if stream is not None and not stream.skip(position):
        stream.file.close()
        raise truncated(path, position)
    return stream


def unreadable(path: str, error: OSError) -> ConnectorError:
    """The error for a file that cannot be opened."""
    hint = "; raise the limit with ulimit -n" if error.errno == errno.EMFILE else ""
    return ConnectorError(
        f"{Path(path).absolute()}: cannot be read: {(error.strerror or str(error)).lower()}{hint}"
    )


def truncated(path: str, position: int) -> ConnectorError:
    """The error for a file that became shorter than what was read of it."""
    return ConnectorError(
        f"{Path(path).absolute()}: was truncated below {position}, up to where it has been read; "
        "begin a new file instead of overwriting the old one"
    )
