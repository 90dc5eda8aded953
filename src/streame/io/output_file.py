"""One output file while it is being written: appended to, or gathered and written in one go."""

import os
import shutil
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import polars as pl

from streame.errors import ConnectorError
from streame.io.formats.encoders import Encoder, LineEncoder, WholeEncoder

_ENCODE_ROWS = 16_384
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


def sync(path: Path) -> None:
    """Make the bytes of a file, or the names in a directory, last through a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class OutputFile(Protocol):
    """Rows on their way into one file."""

    rows: int
    """How many rows it was given."""

    @property
    def size(self) -> int:
        """Bytes: on disk, or in memory if that is where the rows are until the end."""

    @abstractmethod
    def append(self, frame: pl.DataFrame) -> None:
        """Take some rows."""

    @abstractmethod
    def flush(self) -> None:
        """Bring what can be appended into the file."""

    @abstractmethod
    def finish(self) -> None:
        """Write what is left and make sure that it is on the disk."""

    @abstractmethod
    def discard(self) -> None:
        """Give up: close what is open. The file itself is the caller's."""


class LineFile(OutputFile):
    """A file to which rows are appended.

    Args:
        path: the file; an existing one is replaced.
        encoder: how rows become bytes.
        schema: the columns.
    """

    def __init__(self, path: Path, encoder: LineEncoder, schema: pl.Schema) -> None:
        self.rows = 0
        self._encoder = encoder
        self._waiting: list[pl.DataFrame] = []
        self._waiting_rows = 0
        self._file = path.open("wb", buffering=0)
        try:
            encoder.begin(schema, self._file)
        except BaseException:
            self._file.close()
            raise

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return os.fstat(self._file.fileno()).st_size

    def append(self, frame: pl.DataFrame) -> None:
        """Take some rows."""
        self.rows += frame.height
        self._waiting.append(frame)
        self._waiting_rows += frame.height
        if self._waiting_rows >= _ENCODE_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write the rows that were taken."""
        if self._waiting_rows:
            self._encoder.append(pl.concat(self._waiting), self._file)
        self._waiting = []
        self._waiting_rows = 0

    def finish(self) -> None:
        """Write the last rows and close."""
        self.flush()
        self._file.close()

    def discard(self) -> None:
        """Close; the rows that wait are lost."""
        self._waiting = []
        self._file.close()


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
        """Take some rows."""
        self.rows += frame.height
        self._frames.append(frame)
        self._memory_bytes += int(frame.estimated_size())
        if self._memory_bytes >= _MEMORY_BYTES:
            self._write_piece()

    def flush(self) -> None:
        """Nothing: such a file cannot be read before it is whole."""

    def finish(self) -> None:
        """Write the file from all rows."""
        parts = [pl.scan_ipc(piece) for piece in self._pieces]
        self._encoder.write(pl.concat([*parts, pl.concat(self._frames).lazy()]), self._path)
        self.discard()

    def discard(self) -> None:
        """Forget the rows and remove the pieces."""
        self._frames = []
        shutil.rmtree(self._spill, ignore_errors=True)

    def _write_piece(self) -> None:
        self._spill.mkdir(exist_ok=True)
        piece = self._spill / f"{len(self._pieces):06}.tmp"
        pl.concat(self._frames).write_ipc(piece)
        self._pieces.append(piece)
        self._frames = [self._frames[0]]
        self._spilled_bytes += self._memory_bytes
        self._memory_bytes = 0


def open_file(path: Path, encoder: Encoder, schema: pl.Schema) -> OutputFile:
    """Begin a file in the way that its format needs."""
    if isinstance(encoder, LineEncoder):
        return LineFile(path, encoder, schema)
    return GatheredFile(path, encoder, schema)
