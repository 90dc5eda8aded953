"""Frames to the bytes of a file: NDJSON, CSV, Parquet and Arrow IPC, as Polars writes them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Literal, Protocol, runtime_checkable

import polars as pl
from polars import selectors
from polars.datatypes import DataTypeClass

from streame.errors import PlanError

_OFFSETS_ARE_WHOLE_MINUTES = datetime(1973, 1, 1, tzinfo=UTC)
"""Since then no zone has been seconds off UTC; Liberia was the last."""

LineCompression = Literal["uncompressed", "gzip", "zstd"]
_SUFFIX = {"uncompressed": "", "gzip": ".gz", "zstd": ".zst"}


@runtime_checkable
class LineEncoder(Protocol):
    """A format to which rows can be appended."""

    @property
    def suffix(self) -> str:
        """How file names end."""

    def check_schema(self, schema: pl.Schema) -> None:
        """Raise `PlanError` for a column that the format cannot hold, with the way out."""

    def begin(self, schema: pl.Schema, file: BinaryIO) -> None:
        """Write what comes before the rows."""

    def append(self, frame: pl.DataFrame, file: BinaryIO) -> None:
        """Write the rows."""


class WholeEncoder(Protocol):
    """A format whose files are written in one go, because their index comes last."""

    @property
    def suffix(self) -> str:
        """How file names end."""

    def check_schema(self, schema: pl.Schema) -> None:
        """Raise `PlanError` for a column that the format cannot hold, with the way out."""

    def write(self, rows: pl.LazyFrame, path: Path) -> None:
        """Write all rows, in order, without holding them all in memory."""


@dataclass(frozen=True, slots=True)
class NdjsonEncoder:
    """One JSON object per line. JSON knows no NaN and no infinity: they are written as null, as Polars does.

    Args:
        compression: of the whole file.
        compression_level: gzip 0-9, zstd 1-22; the library's default if it is not given.
    """

    compression: LineCompression = "uncompressed"
    compression_level: int | None = None

    @property
    def suffix(self) -> str:
        """How file names end."""
        return ".ndjson" + _SUFFIX[self.compression]

    def check_schema(self, schema: pl.Schema) -> None:
        """Refuse bytes and Python objects."""
        _check(schema, "JSON", _fits_json)

    def begin(self, schema: pl.Schema, file: BinaryIO) -> None:
        """Nothing comes before the rows."""

    def append(self, frame: pl.DataFrame, file: BinaryIO) -> None:
        """Write the rows."""
        _with_whole_minutes(frame).write_ndjson(
            file,
            compression=self.compression,
            compression_level=self.compression_level,
            check_extension=False,
        )


@dataclass(frozen=True, slots=True)
class CsvEncoder:
    """Values between separators, with Polars' arguments. Null is nothing, an empty text is `""`.

    Args:
        compression: of the whole file.
        compression_level: gzip 0-9, zstd 1-22; the library's default if it is not given.
        include_header: write the names of the columns at the beginning of each file.
        separator: one ASCII character.
        quote_char: one ASCII character.
        quote_style: which fields are quoted.
        null_value: what is written for null.
        datetime_format: how datetimes are written (chrono's format), likewise for dates and times.
        float_precision: decimal places of floats.
    """

    compression: LineCompression = "uncompressed"
    compression_level: int | None = None
    include_header: bool = True
    separator: str = ","
    quote_char: str = '"'
    quote_style: Literal["necessary", "always", "non_numeric", "never"] = "necessary"
    null_value: str | None = None
    datetime_format: str | None = None
    date_format: str | None = None
    time_format: str | None = None
    float_precision: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("separator", self.separator), ("quote_char", self.quote_char)):
            if len(value) != 1 or not value.isascii():
                raise PlanError(f"{name}={value!r}: give one ASCII character")

    @property
    def suffix(self) -> str:
        """How file names end."""
        return ".csv" + _SUFFIX[self.compression]

    def check_schema(self, schema: pl.Schema) -> None:
        """Refuse what has no place in one field."""
        _check(schema, "CSV", _fits_csv)

    def begin(self, schema: pl.Schema, file: BinaryIO) -> None:
        """Write the names of the columns."""
        if self.include_header:
            self._write(pl.DataFrame(schema=schema), file, header=True)

    def append(self, frame: pl.DataFrame, file: BinaryIO) -> None:
        """Write the rows."""
        self._write(frame, file, header=False)

    def _write(self, frame: pl.DataFrame, file: BinaryIO, *, header: bool) -> None:
        _with_whole_minutes(frame).write_csv(
            file,
            compression=self.compression,
            compression_level=self.compression_level,
            check_extension=False,
            include_header=header,
            separator=self.separator,
            quote_char=self.quote_char,
            quote_style=self.quote_style,
            null_value=self.null_value,
            datetime_format=self.datetime_format,
            date_format=self.date_format,
            time_format=self.time_format,
            float_precision=self.float_precision,
        )


@dataclass(frozen=True, slots=True)
class ParquetEncoder:
    """Parquet, with Polars' arguments.

    Args:
        compression: of the pages.
        compression_level: gzip 0-9, brotli 0-11, zstd 1-22; the library's default if it is not given.
        statistics: write minimum, maximum and null count of each row group.
        row_group_size: rows in a group; Polars' choice if it is not given.
    """

    compression: Literal["lz4", "uncompressed", "snappy", "gzip", "brotli", "zstd"] = "zstd"
    compression_level: int | None = None
    statistics: bool = True
    row_group_size: int | None = None

    @property
    def suffix(self) -> str:
        """How file names end."""
        return ".parquet"

    def check_schema(self, schema: pl.Schema) -> None:
        """Refuse Python objects and structs without fields."""
        _check(schema, "Parquet", _fits_parquet)

    def write(self, rows: pl.LazyFrame, path: Path) -> None:
        """Write all rows, in order, without holding them all in memory."""
        rows.sink_parquet(
            path,
            compression=self.compression,
            compression_level=self.compression_level,
            statistics=self.statistics,
            row_group_size=self.row_group_size,
        )


@dataclass(frozen=True, slots=True)
class IpcEncoder:
    """Arrow IPC files (Feather).

    Args:
        compression: of the buffers.
    """

    compression: Literal["uncompressed", "lz4", "zstd"] = "uncompressed"

    @property
    def suffix(self) -> str:
        """How file names end."""
        return ".arrow"

    def check_schema(self, schema: pl.Schema) -> None:
        """Refuse Python objects and lists of length zero."""
        _check(schema, "Arrow IPC", _fits_ipc)

    def write(self, rows: pl.LazyFrame, path: Path) -> None:
        """Write all rows, in order, without holding them all in memory."""
        rows.sink_ipc(path, compression=self.compression)


Encoder = LineEncoder | WholeEncoder


def _with_whole_minutes(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with old times in UTC, where their zone was seconds off: text says an offset in minutes only."""
    old = [
        column.dt.convert_time_zone("UTC")
        for column in frame.select(selectors.datetime(time_zone="*")).get_columns()
        if (column.dt.convert_time_zone("UTC") < _OFFSETS_ARE_WHOLE_MINUTES).any()
    ]
    return frame.with_columns(old) if old else frame


def _check(schema: pl.Schema, form: str, way_out: Callable[[pl.DataType], str | None]) -> None:
    for name, dtype in schema.items():
        for part in _parts(dtype):
            if advice := way_out(part):
                raise PlanError(f"column {name!r} is {dtype}, which {form} cannot hold; {advice}")


def _parts(dtype: pl.DataType | DataTypeClass) -> Iterator[pl.DataType]:
    """The dtype and all that it is made of."""
    whole = dtype() if isinstance(dtype, type) else dtype
    yield whole
    match whole:
        case pl.List() | pl.Array():
            yield from _parts(whole.inner)
        case pl.Struct():
            for field in whole.fields:
                yield from _parts(field.dtype)


def _fits_json(dtype: pl.DataType) -> str | None:
    match dtype:
        case pl.Binary():
            return "encode it first, for example with .bin.encode('base64')"
        case pl.Object():
            return "drop it, or give it a dtype"
    return None


def _fits_csv(dtype: pl.DataType) -> str | None:
    match dtype:
        case pl.Binary():
            return "encode it first, for example with .bin.encode('base64')"
        case pl.Duration():
            return "turn it into a number first, for example with .dt.total_microseconds()"
        case pl.Object():
            return "drop it, or give it a dtype"
        case pl.List() | pl.Array():
            return "explode it, join it with .list.join(), or write NDJSON or Parquet"
        case pl.Struct():
            return "unnest it, encode it with .struct.json_encode(), or write NDJSON or Parquet"
    return None


def _fits_parquet(dtype: pl.DataType) -> str | None:
    match dtype:
        case pl.Object():
            return "drop it, or give it a dtype"
        case pl.Struct() if not dtype.fields:
            return "drop it, or give it a field"
    return None


def _fits_ipc(dtype: pl.DataType) -> str | None:
    match dtype:
        case pl.Object():
            return "drop it, or give it a dtype"
        case pl.Array() if dtype.size == 0:
            return "drop it, or make it a list"
    return None
