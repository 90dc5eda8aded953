"""One output file while it is being written: appended to, or gathered and written in one go."""

import io
import os
import shutil
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import polars as pl

from streame.errors import ConnectorError
from streame.io.formats.encoders import Encoder, LineEncoder, WholeEncoder
from streame.storage.disk import Disk

ENCODE_ROWS = 16_384
"""Rows below this are encoded together: a call costs 50 us and more, however few rows it is for."""
_MEMORY_BYTES = 32 * 2**20
"""What a file that is written in one go may hold in memory before it goes to disk."""


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn the errors of the operating system and of Polars' writers into one that names the path."""
    try:
        yield
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise ConnectorError(f"cannot write {path}: {reason}") from error


def synced(disk: Disk, path: str, *, directory: bool = False) -> None:
    """Make the bytes of a file, or the names in a directory, last through a power cut.

    Raises:
        ConnectorError: when that fails, and then for good: after the first failure the system may have dropped what
            was to be written, so a second call proves nothing. The cause is left out, as it must not look like a
            full disk, after which one tries again.
    """
    try:
        if directory:
            disk.sync_directory(path)
        else:
            disk.sync(path)
    except OSError as error:
        raise ConnectorError(
            f"{path or 'the directory'} could not be brought to the disk: {error.strerror or error}; "
            "what it holds now is not known, so the job has to be started again"
        ) from None


class OutputFile(Protocol):
    """Rows on their way into one file. Whatever fails because the disk is full can be called again."""

    rows: int
    """How many rows it was given."""

    @property
    def size(self) -> int:
        """Bytes: on disk, or in memory if that is where the rows are until the end."""

    @abstractmethod
    def append(self, frame: pl.DataFrame) -> None:
        """Take some rows into memory."""

    @abstractmethod
    def spill(self) -> None:
        """Bring rows to disk if they are too many for memory, or enough to be encoded together."""

    @abstractmethod
    def flush(self) -> None:
        """Bring what can be appended into the file."""

    @abstractmethod
    def finish(self) -> None:
        """Write what is left. The bytes last once the caller has synced the file."""

    @abstractmethod
    def discard(self) -> None:
        """Give up: close what is open. The file itself is the caller's."""


class Lines:
    """Rows that wait to be encoded together, and their bytes.

    Args:
        encoder: how rows become bytes.
        schema: the columns.
    """

    def __init__(self, encoder: LineEncoder, schema: pl.Schema) -> None:
        self.encoder = encoder
        self.schema = schema
        self.rows = 0
        self._waiting: list[pl.DataFrame] = []

    def append(self, frame: pl.DataFrame) -> None:
        """Take some rows."""
        self._waiting.append(frame)
        self.rows += frame.height

    def header(self) -> memoryview:
        """The bytes before the first row."""
        file = io.BytesIO()
        self.encoder.begin(self.schema, file)
        return file.getbuffer()

    def encoded(self) -> memoryview:
        """The bytes of the rows that wait; they go on waiting until `clear`."""
        file = io.BytesIO()
        if self.rows:
            self.encoder.append(pl.concat(self._waiting), file)
        return file.getbuffer()

    def clear(self) -> None:
        """The rows have been written, or given up."""
        self._waiting = []
        self.rows = 0


class LineFile(OutputFile):
    """A file to which rows are appended.

    Args:
        path: the file; an existing one is replaced.
        encoder: how rows become bytes.
        schema: the columns.
    """

    def __init__(self, path: Path, encoder: LineEncoder, schema: pl.Schema) -> None:
        self.rows = 0
        self._lines = Lines(encoder, schema)
        self._size = 0
        self._file = io.FileIO(path, "wb", opener=_opened_to_append)
        try:
            self._write(self._lines.header())
        except BaseException:
            self._file.close()
            raise

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self._size

    def append(self, frame: pl.DataFrame) -> None:
        """Take some rows into memory."""
        self.rows += frame.height
        self._lines.append(frame)

    def spill(self) -> None:
        """Write the rows if they are enough to be encoded together."""
        if self._lines.rows >= ENCODE_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write the rows that were taken."""
        if self._lines.rows:
            self._write(self._lines.encoded())
            self._lines.clear()

    def finish(self) -> None:
        """Write the last rows and close."""
        self.flush()
        self._file.close()

    def discard(self) -> None:
        """Close; the rows that wait are lost."""
        self._lines.clear()
        self._file.close()

    def _write(self, data: memoryview) -> None:
        """Write all of it, or none."""
        rest = data
        try:
            while len(rest):
                rest = rest[self._file.write(rest) :]
        except OSError:
            with suppress(OSError):  # a pipe or a device
                self._file.truncate(self._size)
            raise
        self._size += len(data)


def _opened_to_append(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_APPEND, 0o666)


class GatheredFile(OutputFile):
    """A file that is written in one go at the end; until then its rows are in memory or in pieces on disk.

    Args:
        path: the file; it does not exist before `finish`.
        encoder: how rows become a file.
        schema: the columns.
    """

    def __init__(self, path: Path, encoder: WholeEncoder, schema: pl.Schema) -> None:
        self.rows = 0
        self._path = path
        self._encoder = encoder
        self._frames = [pl.DataFrame(schema=schema)]
        self._memory_bytes = 0
        self._spilled_bytes = 0
        self._pieces: list[Path] = []
        self._spill = path.with_name(path.name + ".pieces")

    @property
    def size(self) -> int:
        """Bytes in memory, and what the spilled rows took there."""
        return self._memory_bytes + self._spilled_bytes

    def append(self, frame: pl.DataFrame) -> None:
        """Take some rows into memory."""
        self.rows += frame.height
        self._frames.append(frame)
        self._memory_bytes += int(frame.estimated_size())

    def spill(self) -> None:
        """Write the rows to disk if they are too many for memory."""
        if self._memory_bytes < _MEMORY_BYTES:
            return
        self._spill.mkdir(exist_ok=True)
        piece = self._spill / f"{len(self._pieces):06}.tmp"
        with _removed_if_it_fails(piece):
            pl.concat(self._frames).write_ipc(piece)
        self._pieces.append(piece)
        self._frames = [self._frames[0]]
        self._spilled_bytes += self._memory_bytes
        self._memory_bytes = 0

    def flush(self) -> None:
        """Nothing: such a file cannot be read before it is whole."""

    def finish(self) -> None:
        """Write the file from all rows."""
        parts = [pl.scan_ipc(piece) for piece in self._pieces]
        with _removed_if_it_fails(self._path):
            self._encoder.write(pl.concat([*parts, pl.concat(self._frames).lazy()]), self._path)
        self.discard()

    def discard(self) -> None:
        """Forget the rows and remove the pieces."""
        self._frames = []
        shutil.rmtree(self._spill, ignore_errors=True)


@contextmanager
def _removed_if_it_fails(path: Path) -> Iterator[None]:
    """Half a file takes room that somebody else may need."""
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def open_file(path: Path, encoder: Encoder, schema: pl.Schema) -> OutputFile:
    """Begin a file in the way that its format needs."""
    if isinstance(encoder, LineEncoder):
        return LineFile(path, encoder, schema)
    return GatheredFile(path, encoder, schema)
