"""NDJSON and CSV files as a source."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import polars as pl
from polars.datatypes import DataType, DataTypeClass

from streame.core.clock import Clock, SystemClock
from streame.errors import DataError
from streame.io.files.ahead import decoded_ahead
from streame.io.files.csv_header import HeaderedCsvDecoder
from streame.io.files.discovery import FileSet, Paths
from streame.io.files.follow import EndingFile, FollowedFile
from streame.io.files.records import Block, RecordCutter
from streame.io.formats.csv import CsvDecoder, NullValues, read_header
from streame.io.formats.decoder import Decoder
from streame.io.formats.ndjson import NdjsonDecoder
from streame.io.source import Chunk, Offset

BLOCK_BYTES = 4 * 1024 * 1024
"""How many decompressed bytes are read and decoded in one go."""


HEAD_BYTES = 64 * 1024
"""How many of them are read to find a header."""


class _TextFiles:
    """What NDJSON and CSV files have in common: records in a stream of bytes."""

    block_bytes = BLOCK_BYTES
    splits_apart = True

    def __init__(self, path: Paths, schema: pl.Schema, *, follow: bool, clock: Clock) -> None:
        self.bounded = not follow
        self.grows = follow
        self._files = FileSet.of(path, follow=follow)
        self._schema = schema
        self._clock = clock

    def schema(self) -> pl.Schema:
        """Columns and dtypes of every frame."""
        return self._schema

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
        """The rows of one file from an offset on: a decompressed byte, and which file it is in.

        Raises:
            DataError: when a CSV file lacks a column.
            SourceDataLost: when the file is gone, or is not what was read before.
            ConnectorError: when the file cannot be read, its compressed data is corrupt or breaks off, or it
                became shorter than what was read of it.
        """
        if self.bounded:
            ending = EndingFile(split, offset)
            rows, close = self._whole(ending, split), ending.close
        else:
            followed = FollowedFile(split, offset, self._clock, self._files.covers)
            rows, close = self._followed(followed), followed.close
        try:
            yield from rows
        except DataError as error:
            raise DataError(f"{split}: {error}") from error
        finally:
            close()

    def _whole(self, file: EndingFile, path: str) -> Iterator[Chunk | None]:
        """The rows of a file that ends."""
        for chunk in decoded_ahead(self._blocks(file, path)):
            yield None if chunk is None else replace(chunk, next_offset=file.offset(chunk.next_offset))

    def _blocks(self, file: EndingFile, path: str) -> Iterator[Block | None]:
        """The blocks of a file that ends."""
        records = RecordCutter(self._decoder(path, file.position), self._schema, file.position)
        while data := file.read(self.block_bytes):
            blocks: list[Block | None] = [*records.feed(data)]
            # A record may be longer than many blocks, and a job stops only between two steps.
            yield from blocks or [None]
        yield from records.finish()

    def _followed(self, file: FollowedFile) -> Iterator[Chunk | None]:
        """The rows of a file that grows; when another took its place, those of that one."""
        records = RecordCutter(self._decoder(file.found, file.position), self._schema, file.position)
        deleted = False
        while True:
            data = file.read(self.block_bytes)
            chunks = [chunk for block in records.feed(data) for chunk in block()] if data else []
            for chunk in chunks:
                yield replace(chunk, next_offset=file.offset(chunk.next_offset))
            if file.ended:
                # What follows the last row of the old file is the beginning of the new one.
                *before, last = [chunk for block in records.finish() for chunk in block()] or [self._nothing]
                for chunk in before:
                    yield replace(chunk, next_offset=file.offset_before(chunk.next_offset))
                yield replace(last, next_offset=file.offset(0))
                records = RecordCutter(self._decoder(file.found, 0), self._schema, 0)
                deleted = False
            elif not data and file.is_deleted and not deleted:
                deleted = True
                yield self._nothing  # there is nothing to go on with but a new file
            elif not chunks:
                yield None

    @property
    def _nothing(self) -> Chunk:
        return Chunk(self._schema.to_frame(), None)

    def _decoder(self, path: str, position: int) -> Decoder:
        """The decoder for one file, of which reading begins at `position`."""
        raise NotImplementedError


class NdjsonFiles(_TextFiles):
    """Rows of files with one JSON object per line; one file is one split, and an offset is a byte.

    gzip and zstd are recognised by their first bytes; offsets count decompressed bytes. A followed file may be
    renamed and begun anew, as log rotation does; then `path` should match only one of the two names, or the
    rows of the renamed file come once more.

    Args:
        path: a file, a glob, a directory, or several of these.
        schema: columns and dtypes; a missing key is null, and other keys are ignored.
        required: columns that may not be null.
        follow: whether to go on watching for new files and appended lines.
        clock: the wall clock.

    Raises:
        PlanError: when nothing is there, or a dtype cannot be read from JSON.
    """

    def __init__(
        self,
        path: Paths,
        schema: Mapping[str, DataType | DataTypeClass],
        *,
        required: Sequence[str] = (),
        follow: bool = False,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(path, pl.Schema(schema), follow=follow, clock=clock or SystemClock())
        self._ndjson = NdjsonDecoder(self._schema, required)

    def _decoder(self, path: str, position: int) -> Decoder:
        return self._ndjson


class CsvFiles(_TextFiles):
    """Rows of CSV files; one file is one split, and an offset is a byte.

    gzip and zstd are recognised by their first bytes; offsets count decompressed bytes. Every file has its own
    header, so files may have their columns in different orders; a file without bytes has no rows.

    Args:
        path: a file, a glob, a directory, or several of these.
        schema: columns and dtypes; a file must have all of them, and other columns are ignored.
        required: columns that may not be null.
        follow: whether to go on watching for new files and appended lines.
        separator: what stands between two fields, one ASCII character.
        quote_char: what stands around a field, one ASCII character; `None` if nothing does.
        null_values: texts that mean null, as in `polars.read_csv`.
        has_header: whether the first record names the columns; without it they are those of `schema`.
        clock: the wall clock.

    Raises:
        PlanError: when nothing is there, a dtype cannot be read from CSV, or an option is wrong.
    """

    def __init__(
        self,
        path: Paths,
        schema: Mapping[str, DataType | DataTypeClass],
        *,
        required: Sequence[str] = (),
        follow: bool = False,
        separator: str = ",",
        quote_char: str | None = '"',
        null_values: NullValues | None = None,
        has_header: bool = True,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(path, pl.Schema(schema), follow=follow, clock=clock or SystemClock())
        self._has_header = has_header
        self._read_header = partial(read_header, separator=separator, quote_char=quote_char)
        self._decoder_of = partial(
            CsvDecoder,
            self._schema,
            required=required,
            separator=separator,
            quote_char=quote_char,
            null_values=null_values,
        )
        self._without_header = self._decoder_of(list(self._schema))

    def _decoder(self, path: str, position: int) -> Decoder:
        if not self._has_header:
            return self._without_header
        head = self._head(path) if position else None
        return HeaderedCsvDecoder(self._schema, self._read_header, self._decoder_of, head)

    def _head(self, path: str) -> bytes | None:
        """The first bytes of a file, up to its whole header."""
        file = EndingFile(path)
        try:
            head = b""
            while self._read_header(head, final=False) is None:
                data = file.read(HEAD_BYTES)
                if not data:
                    break
                head += data
            return head
        finally:
            file.close()
