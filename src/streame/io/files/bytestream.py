"""The bytes of one file, decompressed as they are read if it is gzip or zstd."""

import io
import os
import sys
import zlib
from collections.abc import Callable
from typing import Protocol

from streame.errors import ConnectorError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

RAW_BYTES = 256 * 1024
"""How much of a compressed file is read in one go."""

_LOOK_BACK = 16 * 1024
"""How far before the end of a large read a line end is looked for."""

_MAGIC = {"gzip": b"\x1f\x8b\x08", "zstd": b"\x28\xb5\x2f\xfd"}


class _Decompressor(Protocol):
    """One gzip member or one zstd frame."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _GzipMember:
    """`zlib` with the interface of the other decompressors: it keeps the input that it has not used."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)


class ByteStream:
    """What a file holds, from a position on.

    Args:
        path: the file, for messages.
        file: its bytes, at their beginning.
        compression: `"gzip"`, `"zstd"` or `None`.
    """

    def __init__(self, path: str, file: io.FileIO, compression: str | None) -> None:
        self.file = file
        self._path = path
        self._compression = compression
        self._begin: Callable[[], _Decompressor] = (
            _GzipMember if compression == "gzip" else zstd.ZstdDecompressor
        )
        self._member: _Decompressor | None = None
        self._unused = b""
        self._given = 0

    @property
    def whole(self) -> bool:
        """Whether the file could end here: not in the middle of compressed data."""
        return self._member is None and not self._unused

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none when there are no more at the moment.

        Raises:
            ConnectorError: when the file cannot be read or its compressed data is corrupt.
        """
        try:
            data = self._decompressed(size) if self._compression else self._whole_lines(size)
        except (zlib.error, zstd.ZstdError) as error:
            raise ConnectorError(f"{self.place()}: corrupt {self._compression} data: {error}") from error
        except OSError as error:
            raise ConnectorError(f"{self.place()}: cannot be read: {error.strerror or error}") from error
        self._given += len(data)
        return data

    def skip(self, count: int) -> bool:
        """Pass over `count` bytes; says whether there were as many."""
        if not self._compression:
            self._given = self.file.seek(count)
            return count <= os.fstat(self.file.fileno()).st_size
        while self._given < count:
            if not self.read(min(count - self._given, RAW_BYTES)):
                return False
        return True

    def require_whole(self) -> None:
        """Raise a `ConnectorError` if the file ends in the middle of compressed data."""
        if not self.whole:
            raise ConnectorError(
                f"{self.place()}: the {self._compression} data breaks off; the rows before were read. "
                "Write the file again, or follow it if it is still being written"
            )

    def place(self) -> str:
        """The file and how far it was read, for messages."""
        read = f"{self._path}: after {self.file.tell()} bytes"
        return f"{read} ({self._given} bytes decompressed)" if self._compression else read

    def _whole_lines(self, size: int) -> bytes:
        """At most `size` bytes, up to a line end if there is one near their end: then nobody has to cut them."""
        ahead = self.file.tell() + size - _LOOK_BACK
        window = os.pread(self.file.fileno(), _LOOK_BACK, ahead) if size > _LOOK_BACK else b""
        lines = window.rfind(b"\n") + 1
        return self.file.read(size - _LOOK_BACK + lines if lines else size) or b""

    def _decompressed(self, size: int) -> bytes:
        while True:
            if self._member is None and self._compression == "gzip":
                self._unused = self._unused.lstrip(b"\x00")  # tapes and some tools pad with zeros
            if self._member is None and self._unused:
                self._member = self._begin()
            if self._member is not None:
                data, self._unused = self._unused, b""
                out = self._member.decompress(data, size)
                if self._member.eof:
                    self._unused, self._member = self._member.unused_data, None
                if out:
                    return out
                if self._unused:
                    continue
            self._unused = self.file.read(RAW_BYTES) or b""
            if not self._unused:
                return b""


def open_bytes(path: str, *, growing: bool = False) -> ByteStream | None:
    """The bytes of the file at `path`; `None` if too little of a growing file is there to tell what it is.

    Raises:
        OSError: when it cannot be opened.
    """
    file = io.FileIO(path)
    try:
        head = file.read(4) or b""
        file.seek(0)
    except BaseException:
        file.close()
        raise
    for compression, magic in _MAGIC.items():
        if head.startswith(magic):
            return ByteStream(path, file, compression)
        if growing and magic.startswith(head):
            file.close()
            return None
    return ByteStream(path, file, None)
