"""An append-only log: records that last before they are acknowledged, in segments that are removed as a whole."""

import errno
import os
import struct
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn, Self

from xxhash import xxh3_64_intdigest

from streame.core.failpoints import failpoint, torn
from streame.errors import CheckpointDamaged, CheckpointError, NotAccepted
from streame.storage.disk import Bytes, Disk

FORMAT_VERSION = 1

SEGMENT_BYTES = 8 * 1024 * 1024
"""A segment that is longer is not appended to: another one is begun."""

_BEGIN = b"streame log\n"
_HEADER = struct.Struct("<12sIQQ")
_RECORD, _MARK = b"\x93rec", b"\x93mrk"
_FRAME = struct.Struct("<4sQQ")
_DIGEST = struct.Struct("<Q")
_HEAD = _FRAME.size + 2 * _DIGEST.size
_FULL = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True, slots=True)
class _Segment:
    """One file of the log.

    Args:
        first: the position of its first record; its name.
        salt: what its digests begin with, so that no payload looks like a frame.
    """

    path: str
    first: int
    salt: int

    def header(self) -> bytes:
        fields = _HEADER.pack(_BEGIN, FORMAT_VERSION, self.first, self.salt)
        return fields + _DIGEST.pack(xxh3_64_intdigest(fields))

    def frame(self, kind: bytes, position: int, payload: Bytes) -> bytes:
        """A record, or a mark: what stands before a mark had been synced when it was written."""
        fields = _FRAME.pack(kind, position, len(payload))
        head = _DIGEST.pack(xxh3_64_intdigest(fields, self.salt))
        return b"".join((fields, head, _DIGEST.pack(xxh3_64_intdigest(payload, self.salt)), payload))


_HEADER_BYTES = _HEADER.size + _DIGEST.size


@dataclass(frozen=True, slots=True)
class _Frame:
    kind: bytes
    position: int
    payload: bytes
    end: int


class Log:
    """Records in the order in which they were appended, each with a position: 0, 1, 2 and so on.

    `append` returns when the record lasts. One process at a time may have a log open, which whoever owns the folder
    sees to; within it any thread may call any method.

    Args:
        disk: where the log is.
        folder: its folder on that disk; made if it is not there.
        segment_bytes: how long a segment becomes.

    Raises:
        CheckpointDamaged: when what is there is not what was written.
        CheckpointError: when it was written by a newer version.
    """

    def __init__(self, disk: Disk, folder: str, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._disk = disk
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._lock = threading.Lock()
        self._dead: str | None = None
        self._firsts: list[int] = []
        self._older_bytes = 0
        self.torn_bytes = 0
        """How much of a record that was never acknowledged was cut off at the end when the log was opened."""
        disk.make_directory(folder)
        names = disk.names(folder)
        for name in names:
            if name.endswith(".tmp"):  # a segment that was not begun
                disk.remove(self._path(name))
        self._firsts = [_first_of(name) for name in names if name.endswith(".log")]
        self._older_bytes = sum(self._size(first) for first in self._firsts[:-1])
        if self._firsts:
            self._reopen()
        else:
            self.next = 0
            self._begin()

    @property
    def first(self) -> int:
        """The position of the oldest record that is kept, or will be."""
        return self._firsts[0]

    @property
    def length(self) -> int:
        """How many bytes its segments have, all together. May be asked while another thread appends."""
        return self._older_bytes + self._length

    def append(self, payload: Bytes) -> int:
        """Add a record; it lasts when this returns.

        Returns:
            Its position.

        Raises:
            NotAccepted: when the disk is full; nothing was added, and the log can be used.
            CheckpointError: when the disk failed: whether the record lasts is not known, and the log takes no other.
        """
        with self._lock:
            if self._dead is not None:
                raise CheckpointError(self._dead)
            if self._length > self._segment_bytes and self.next > self._segment.first:
                self._begin()
            position = self.next
            self._write(torn("W1.write", [self._segment.frame(_RECORD, position, payload)]))  # W1
            try:
                failpoint("W1.after")
                self._disk.sync(self._segment.path)  # W2: from here on the record lasts
                failpoint("W2.after")
            except OSError as error:
                self._die(error)
            self.next += 1
            with suppress(
                NotAccepted, CheckpointError
            ):  # this record lasts, whatever becomes of the next one
                # Not synced: it tells a record that was damaged from one that was not written to its end.
                self._write([self._segment.frame(_MARK, self.next, b"")])
            return position

    def find_room(self, length: int) -> None:
        """Find out whether a record would be accepted now, and add nothing.

        Args:
            length: how many bytes it has.

        Raises:
            NotAccepted: when the disk is full.
        """
        probe = self._path("room.tmp")
        with self._lock:
            try:
                self._disk.reserve(probe, length + _HEAD)
            except OSError as error:
                raise self._full(error) from error
            finally:
                self._disk.remove(probe)

    def read(self, position: int) -> Iterator[tuple[int, bytes]]:
        """The records from a position on, each with its own, up to the last one there is now.

        Raises:
            CheckpointDamaged: when records are missing or are not what was written.
        """
        with self._lock:
            firsts, end = list(self._firsts), self.next
        if not firsts[0] <= position <= end:
            raise CheckpointDamaged(
                f"the log in {self._place()} has the records {firsts[0]} up to {end}, but reading is to go on at "
                f"{position}: files of it were removed or are those of another job; put them back"
            )
        for first, until in zip(firsts, [*firsts[1:], end], strict=True):
            if until > position:
                segment, data = self._load(first)
                for frame in self._frames(segment, data, until):
                    if frame.position >= position:
                        yield frame.position, frame.payload

    def truncate_before(self, position: int) -> None:
        """Remove the segments all of whose records stand before a position."""
        with self._lock:
            while len(self._firsts) > 1 and self._firsts[1] <= position:
                # One by one and the oldest first, so that no crash leaves a gap.
                size = self._size(self._firsts[0])
                self._disk.remove(self._path(_name_of(self._firsts[0])))
                self._older_bytes -= size
                del self._firsts[0]
                self._disk.sync_directory(self._folder)

    def close(self) -> None:
        """Make the last mark last too; the log takes nothing more."""
        with self._lock:
            if self._dead is None:
                self._sync(self._segment.path)
                self._dead = f"the log in {self._place()} is closed"

    def _reopen(self) -> None:
        """Find the end, once it is on the disk for certain: what a process has written may still be lost with power."""
        path = self._path(_name_of(self._firsts[-1]))
        self._sync(path)
        self._sync(self._folder, directory=True)
        self._segment, data = self._load(self._firsts[-1])
        self.next, self._length = self._segment.first, _HEADER_BYTES
        for frame in self._frames(self._segment, data, None):
            self.next, self._length = frame.position + (frame.kind == _RECORD), frame.end
        if self._length < len(data):
            self.torn_bytes = len(data) - self._length
            self._disk.truncate(path, self._length)
            self._sync(path)

    def _begin(self) -> None:
        """Begin a segment; its name is made only once, and after its header."""
        segment = _Segment(
            self._path(_name_of(self.next)), self.next, int.from_bytes(os.urandom(8), "little")
        )
        draft = f"{segment.path}.tmp"
        try:
            length = self._disk.write(draft, (segment.header(),))
            self._sync(draft)
            self._disk.link(draft, segment.path)
            self._disk.remove(draft)
        except OSError as error:
            if error.errno not in _FULL:
                self._die(error)
            self._disk.remove(draft)
            raise self._full(error) from error
        self._sync(self._folder, directory=True)
        if self._firsts:
            self._older_bytes += self._length
        self._segment, self._length = segment, length
        self._firsts.append(segment.first)

    def _write(self, frame: Iterable[Bytes]) -> None:
        try:
            for part in frame:
                self._length = self._disk.append(self._segment.path, part)
        except OSError as error:
            if error.errno not in _FULL or self._disk.size(self._segment.path) != self._length:
                self._die(error)
            raise self._full(error) from error

    def _sync(self, path: str, *, directory: bool = False) -> None:
        try:
            (self._disk.sync_directory if directory else self._disk.sync)(path)
        except OSError as error:
            self._die(error)

    def _full(self, error: OSError) -> NotAccepted:
        return NotAccepted(
            f"the log in {self._place()} takes nothing now: the disk is full ({error.strerror or error})"
        )

    def _die(self, error: OSError) -> NoReturn:
        self._dead = (
            f"the log in {self._place()} cannot be written: {error.strerror or error}; what was being written may be "
            "there or not. Start the job again once the disk is well: it goes on with what is there"
        )
        raise CheckpointError(self._dead) from error

    def _size(self, first: int) -> int:
        return self._disk.size(self._path(_name_of(first))) or 0

    def _load(self, first: int) -> tuple[_Segment, bytes]:
        """A segment and its bytes, once its header is known to be right."""
        path = self._path(_name_of(first))
        try:
            data = self._disk.read(path)
        except FileNotFoundError as error:
            raise CheckpointDamaged(
                f"{self._place()}: the segment {_name_of(first)} is gone; put it back"
            ) from error
        fields, digest = data[: _HEADER.size], data[_HEADER.size : _HEADER_BYTES]
        if len(digest) < _DIGEST.size or _DIGEST.unpack(digest)[0] != xxh3_64_intdigest(fields):
            self._damaged(path, "its header is not what was written")
        begin, version, position, salt = _HEADER.unpack(fields)
        if begin != _BEGIN or position != first:
            self._damaged(path, "it is no segment of this place in the log")
        if version > FORMAT_VERSION:
            raise CheckpointError(
                f"{path} has format {version}, and this version reads {FORMAT_VERSION}; use the version that wrote it"
            )
        return _Segment(path, first, salt), data

    def _frames(self, segment: _Segment, data: bytes, until: int | None) -> Iterator[_Frame]:
        """The records, and in the last segment (`until` is `None`) the marks too, up to where it may be torn."""
        at, position = _HEADER_BYTES, segment.first
        while at < len(data) and position != until:
            frame = _frame_at(data, at, segment.salt)
            if frame is None:
                # A mark is synced with the record behind it, of which a crash may leave more than of the mark.
                frame = _frame_at(data, at + _HEAD, segment.salt)
            if frame is None or frame.position != position:
                if until is not None:
                    self._damaged(segment.path, f"record {position}, at byte {at}, is not what was written")
                if _has_frame(data, at + 1, segment.salt):
                    self._damaged(
                        segment.path,
                        f"record {position}, at byte {at}, is not what was written, but others follow",
                    )
                return
            at = frame.end
            if frame.kind == _RECORD:
                position += 1
            if until is None or frame.kind == _RECORD:
                yield frame
        if until is not None and position != until:
            self._damaged(segment.path, f"it ends before record {position}, but had {until - position} more")

    def _damaged(self, path: str, what: str) -> NoReturn:
        raise CheckpointDamaged(
            f"{path}: damaged: {what}. Rows that were acknowledged would be lost: bring the file back from a copy, or "
            "move the whole folder away to begin anew without them"
        )

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name}"

    def _place(self) -> str:
        return self._folder

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _name_of(first: int) -> str:
    return f"{first:020}.log"


def _first_of(name: str) -> int:
    digits = name.removesuffix(".log")
    if not digits.isdecimal():
        raise CheckpointDamaged(f"{name} is no segment of a log; move it away")
    return int(digits)


def _frame_at(data: bytes, at: int, salt: int) -> _Frame | None:
    """The frame that begins at a byte, if it is whole and as it was written."""
    if len(data) - at < _HEAD:
        return None
    kind, position, length = _FRAME.unpack_from(data, at)
    head, digest = struct.unpack_from("<QQ", data, at + _FRAME.size)
    begin, end = at + _HEAD, at + _HEAD + length
    if xxh3_64_intdigest(data[at : at + _FRAME.size], salt) != head or end > len(data):
        return None
    payload = data[begin:end]
    return _Frame(kind, position, payload, end) if xxh3_64_intdigest(payload, salt) == digest else None


def _has_frame(data: bytes, at: int, salt: int) -> bool:
    """Whether a whole frame stands anywhere behind a byte."""
    for kind in (_RECORD, _MARK):
        found = data.find(kind, at)
        while found >= 0:
            if _frame_at(data, found, salt) is not None:
                return True
            found = data.find(kind, found + 1)
    return False
