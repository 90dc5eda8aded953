"""Parquet and Arrow IPC files as a source."""

import io
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
from polars.datatypes import DataType, DataTypeClass
from polars.selectors import by_name

from streame.core.deadletters import BadRow
from streame.errors import DataError, PlanError
from streame.io.files.discovery import FileSet, Paths
from streame.io.files.follow import unreadable
from streame.io.files.limits import rows_per_chunk
from streame.io.files.offsets import Version, gone
from streame.io.formats.rows import row_bytes
from streame.io.source import Chunk, Offset

GATHERED_ROWS = 8_192
GATHERED_BYTES = 1024 * 1024
"""Row groups and record batches below both sizes are put together."""

OPEN_MAX = 4
"""So many followed files are read at the same time: each one being read holds a few row groups in memory."""


@dataclass(frozen=True, slots=True)
class _Format:
    """What tells a whole file of a format: it begins and ends with a mark, and has a footer of a stated length."""

    name: str
    begins: bytes
    ends: bytes
    scan: Callable[[str], pl.LazyFrame]

    def is_whole(self, path: str) -> bool:
        """Whether the file is finished, as far as its ends say.

        Raises:
            DataError: when it is no file of this format at all.
            OSError: when it cannot be read.
        """
        with io.FileIO(path) as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(len(self.begins)) or b""
            if not self.begins.startswith(head):
                hint = " but an Arrow IPC stream; write it as a file" if head.startswith(b"\xff" * 4) else ""
                raise DataError(f"{path}: is no {self.name} file{hint}; it begins with {head!r}")
            footer = 4 + len(self.ends)
            if size < len(self.begins) + footer:
                return False
            file.seek(-footer, os.SEEK_END)
            tail = file.read(footer)
        length = int.from_bytes(tail[:4], "little", signed=True)
        return tail[4:] == self.ends and 0 < length <= size - len(self.begins) - footer


_PARQUET = _Format(
    "Parquet",
    b"PAR1",
    b"PAR1",
    lambda path: pl.scan_parquet(path, glob=False, hive_partitioning=False),
)
_IPC = _Format(
    "Arrow IPC",
    b"ARROW1\x00\x00",
    b"ARROW1",
    lambda path: pl.scan_ipc(path, glob=False, hive_partitioning=False),
)


class _ColumnarFiles:
    """What Parquet and Arrow IPC files have in common: a file knows its own schema and is written once.

    Args:
        path: a file, a glob, a directory, or several of these.
        schema: the columns to read and their dtypes; those of the first file unless given.
        required: columns that may not be null; rows in which one is are refused.
        follow: whether to go on watching for new files, which are read when they are whole.

    Raises:
        PlanError: when nothing is there, or `required` names a column that the schema has not.
        DataError: when no schema is given and the first file has none that can be read.
    """

    _format: _Format

    splits_apart = True

    def __init__(
        self,
        path: Paths,
        schema: Mapping[str, DataType | DataTypeClass] | None = None,
        *,
        required: Sequence[str] = (),
        follow: bool = False,
    ) -> None:
        self.bounded = not follow
        self.grows = follow
        self._files = FileSet.of(path, follow=follow)
        self._declared = self._schema_of_first() if schema is None else pl.Schema(schema)
        self._required = tuple(required)
        for name in self._required:
            if name not in self._declared:
                raise PlanError(
                    f"the required column {name!r} is not in the schema; it has {', '.join(self._declared)}"
                )
        self.columns = list(self._declared)
        self._open = threading.BoundedSemaphore(OPEN_MAX)

    def with_columns_only(self, columns: Sequence[str]) -> Self:
        """The same files with only these columns, at least one; the others are not read.

        Every file must still have all declared columns, and a row without a `required` value is still refused.
        """
        assert columns, "a frame without columns has no rows"
        wanted = set(columns)
        assert wanted <= set(self._declared), (wanted, self._declared)
        narrowed = copy(self)
        narrowed.columns = [name for name in self._declared if name in wanted]
        return narrowed

    def schema(self) -> pl.Schema:
        """Columns and dtypes of every frame."""
        return pl.Schema({name: self._declared[name] for name in self.columns})

    def covers(self, path: str) -> bool:
        """Whether what is written to an absolute path would be read."""
        return self._files.covers(path)

    @property
    def one_split(self) -> bool:
        """Whether there is one file, so that all rows have one order."""
        return self._files.is_one

    def splits(self) -> Sequence[str]:
        """The files there are now, in name order."""
        return self._files.names()

    def read(self, split: str, offset: Offset) -> Iterator[Chunk | None]:
        """The rows of one file from an offset on: a row, and which version of the file it is in.

        A followed file is read when it is whole; once it has been read it has ended, since such files are
        not appended to.

        Raises:
            DataError: when the file is corrupt, or a column is missing or has another dtype.
            SourceDataLost: when the file is gone, or is not what was read before.
            ConnectorError: when it cannot be read.
        """
        if offset is not None and not Path(split).exists():
            raise gone(split, "row", offset)
        while not self._is_ready(split):
            yield None
        if self.bounded:
            yield from self._read(split, offset)
            return
        while not self._open.acquire(blocking=False):
            yield None
        try:
            yield from self._read(split, offset)
        finally:
            self._open.release()

    def _is_ready(self, path: str) -> bool:
        try:
            whole = self._format.is_whole(path)
        except FileNotFoundError as error:
            if self.bounded:
                raise unreadable(path, error) from error
            return False
        except OSError as error:
            raise unreadable(path, error) from error
        if not whole and self.bounded:
            raise DataError(
                f"{path}: is no whole {self._format.name} file: its end is missing or corrupt; write it again"
            )
        return whole

    def _read(self, path: str, offset: Offset) -> Iterator[Chunk]:
        with self._explained(path, "cannot be read"):
            version = Version.of(Path(path).stat())
        position = 0 if offset is None else version.require(path, "row", offset)
        for chunk in self._chunks(path, position):
            yield replace(chunk, next_offset=version.offset("row", chunk.next_offset))

    def _chunks(self, path: str, start: int) -> Iterator[Chunk]:
        read = [name for name in self._declared if name in self.columns or name in self._required]
        with self._explained(path, "cannot be read"):
            rows = self._checked(path).select(by_name(read))
            frames = _gathered(rows.slice(start).collect_batches(lazy=True, engine="streaming"))
        position = start
        while True:
            with self._explained(path, f"cannot be read after row {position}"):
                frame = next(frames, None)
            if frame is None:
                return
            step = rows_per_chunk(frame)
            for first in range(0, frame.height, step):
                chunk = self._chunk(frame[first : first + step], position)
                position = chunk.next_offset
                yield chunk

    def _checked(self, path: str) -> pl.LazyFrame:
        """The file as a scan, if it has the declared columns."""
        scan = self._format.scan(path)
        found = scan.collect_schema()
        for name, dtype in self._declared.items():
            if name not in found:
                raise DataError(f"{path}: column {name!r} is missing; the file has {', '.join(found)}")
            if found[name] != dtype:
                raise DataError(
                    f"{path}: column {name!r} is {found[name]} in the file, but the schema says {dtype}"
                )
        return scan

    def _chunk(self, frame: pl.DataFrame, start: int) -> Chunk:
        """The rows whose required columns have a value, and the others as bad rows."""
        end = start + frame.height
        reasons: dict[int, str] = {}
        for name in self._required:
            if frame[name].null_count():
                for index in frame[name].is_null().arg_true():
                    reasons.setdefault(index, f"column {name!r} is required and has no value")
        good = frame[self.columns]
        if not reasons:
            return Chunk(good, end, lambda: np.arange(start, end, dtype=np.int64))
        keep = np.ones(frame.height, dtype=np.bool_)
        keep[list(reasons)] = False
        rejected = [
            BadRow(start + index, "null", reason, row_bytes(frame.row(index, named=True)))
            for index, reason in sorted(reasons.items())
        ]
        return Chunk(good.filter(pl.Series(keep)), end, lambda: start + np.flatnonzero(keep), rejected)

    def _schema_of_first(self) -> pl.Schema:
        names = self._files.names()
        if not names:
            raise PlanError(
                f"no {self._format.name} file is there yet, so its schema is not known; give one with schema="
            )
        with self._explained(names[0], "cannot be read"):
            if self._format.is_whole(names[0]):
                return self._format.scan(names[0]).collect_schema()
        raise DataError(f"{names[0]}: is no whole {self._format.name} file; give a schema with schema=")

    @contextmanager
    def _explained(self, path: str, what: str) -> Iterator[None]:
        try:
            yield
        except (OSError, pl.exceptions.PolarsError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise unreadable(path, error) from error
            reason = str(error).partition("\n")[0]
            raise DataError(f"{path}: corrupt {self._format.name} file: {what}: {reason}") from error
        except pl.exceptions.PanicException as error:  # no `Exception`, and its text is about Polars' code
            raise DataError(f"{path}: corrupt {self._format.name} file: {what}") from error


def _gathered(frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The frames, small ones put together: each frame has its price in every step after this one."""
    waiting: list[pl.DataFrame] = []
    rows = size = 0
    while True:
        try:
            frame = next(frames, None)
        except BaseException:  # also Polars' panics; the rows before them are good
            if waiting:
                yield pl.concat(waiting)
            raise
        if frame is not None:
            waiting.append(frame)
            rows += frame.height
            size += int(frame.estimated_size()) if rows < GATHERED_ROWS else 0
        if waiting and (frame is None or rows >= GATHERED_ROWS or size >= GATHERED_BYTES):
            yield pl.concat(waiting, rechunk=len(waiting) > 1)
            waiting, rows, size = [], 0, 0
        if frame is None:
            return


class ParquetFiles(_ColumnarFiles):
    """Rows of Parquet files; one file is one split, and an offset is a row number.

    A file is read one row group at a time, and only the columns that are needed. Only regular columns count:
    the names of directories (`year=2026/`) are no data. Files are mapped into memory, so nobody may change one
    in place while it is read; write a new file and rename it.
    """

    _format = _PARQUET


class IpcFiles(_ColumnarFiles):
    """Rows of Arrow IPC files (also called Feather); one file is one split, and an offset is a row number.

    A file is read one record batch at a time, and only the columns that are needed. Files are mapped into memory,
    so nobody may change one in place while it is read; write a new file and rename it.
    """

    _format = _IPC
