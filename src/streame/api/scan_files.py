"""The sources that are files: each makes a StreamDataFrame and reads nothing yet."""

import os
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from streame.api.dataframe import StreamDataFrame
from streame.api.scanned import scanned, timed
from streame.core.deadletters import OnError
from streame.core.schemas import as_schema
from streame.io.files.columnar_source import IpcFiles, ParquetFiles
from streame.io.files.text_source import CsvFiles, NdjsonFiles

Schema = Mapping[str, Any]
Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def scan_ndjson(
    path: Paths,
    schema: Schema,
    *,
    follow: bool = False,
    required: Collection[str] = (),
    event_time: str | None = None,
    watermark: str | timedelta | int = "0s",
    idle_timeout: str | timedelta = "30s",
    on_error: OnError = "fail",
    name: str | None = None,
) -> StreamDataFrame:
    r"""Read files with one JSON object per line; gzip and zstd are recognised.

    Args:
        path: a file, a glob, a directory, or several of these.
        schema: columns and dtypes; a missing key is null, an extra one is ignored.
        follow: go on watching for new files and appended lines; the stream never ends.
        required: columns that may not be null.
        event_time: the column that says when a row happened, see `StreamDataFrame.with_event_time`.
        watermark: how late a row may be, as there.
        idle_timeout: how long a split may be silent before it is not waited for, as there.
        on_error: what happens to bad lines: `"fail"` ends the job there, `"dead_letter"` sends them to `.rejected`
            and the job's `errors`, `"drop"` counts them. Their good neighbours go on.
        name: the source's name in the job; the name of the file or folder by default.

    Returns:
        A StreamDataFrame of `schema`; nothing is read yet.

    Raises:
        PlanError: when nothing is there to read, a dtype cannot be read from JSON, or `required` or `on_error` is
            wrong.

    Example:
        >>> import pathlib, polars as pl, streame as st
        >>> lines = '{"item": "tea", "qty": 2}\n{"item": "cup", "qty": "two"}\n'
        >>> _ = pathlib.Path("orders.ndjson").write_text(lines)
        >>> orders = st.scan_ndjson("orders.ndjson", {"item": pl.String, "qty": pl.Int64}, on_error="drop")
        >>> orders.collect().to_dicts()
        [{'item': 'tea', 'qty': 2}]
    """
    declared = as_schema(schema, where="scan_ndjson")
    source = NdjsonFiles(path, declared, required=tuple(required), follow=follow)
    return timed(
        scanned(source, name or _name_of(path), on_error, required), event_time, watermark, idle_timeout
    )


def scan_csv(
    path: Paths,
    schema: Schema,
    *,
    follow: bool = False,
    has_header: bool = True,
    separator: str = ",",
    quote_char: str | None = '"',
    null_values: str | Sequence[str] | None = None,
    required: Collection[str] = (),
    event_time: str | None = None,
    watermark: str | timedelta | int = "0s",
    idle_timeout: str | timedelta = "30s",
    on_error: OnError = "fail",
    name: str | None = None,
) -> StreamDataFrame:
    r"""Read CSV files; gzip and zstd are recognised.

    Args:
        path: a file, a glob, a directory, or several of these.
        schema: columns and dtypes. With a header they are found by name, a file without one of them ends the job,
            and other columns are ignored; without a header they are the columns of the file, in order.
        follow: go on watching for new files and appended lines; the stream never ends.
        has_header: whether the first line names the columns.
        separator: one ASCII character.
        quote_char: one ASCII character; `None` where quotes mean nothing.
        null_values: texts that mean null, beside the empty field.
        required: columns that may not be null.
        event_time: the column that says when a row happened, see `StreamDataFrame.with_event_time`.
        watermark: how late a row may be, as there.
        idle_timeout: how long a split may be silent before it is not waited for, as there.
        on_error: what happens to bad lines: `"fail"` ends the job there, `"dead_letter"` sends them to `.rejected`
            and the job's `errors`, `"drop"` counts them. Their good neighbours go on.
        name: the source's name in the job; the name of the file or folder by default.

    Returns:
        A StreamDataFrame of `schema`; nothing is read yet.

    Raises:
        PlanError: when nothing is there to read, a dtype cannot be read from text, or another argument is wrong.

    Example:
        >>> import pathlib, polars as pl, streame as st
        >>> _ = pathlib.Path("orders.csv").write_text("item;qty\ntea;2\ncup;-\n")
        >>> orders = st.scan_csv("orders.csv", {"qty": pl.Int64}, separator=";", null_values="-")
        >>> orders.collect()["qty"].to_list()
        [2, None]
    """
    declared = as_schema(schema, where="scan_csv")
    source = CsvFiles(
        path,
        declared,
        required=tuple(required),
        follow=follow,
        has_header=has_header,
        separator=separator,
        quote_char=quote_char,
        null_values=null_values,
    )
    return timed(
        scanned(source, name or _name_of(path), on_error, required), event_time, watermark, idle_timeout
    )


def scan_parquet(
    path: Paths,
    schema: Schema | None = None,
    *,
    follow: bool = False,
    required: Collection[str] = (),
    event_time: str | None = None,
    watermark: str | timedelta | int = "0s",
    idle_timeout: str | timedelta = "30s",
    on_error: OnError = "fail",
    name: str | None = None,
) -> StreamDataFrame:
    """Read Parquet files; only the columns that the plan needs.

    A file is read one row group at a time, and a few of those are in memory. Nobody may change a file in place
    while it is read; write a new one and rename it.

    Args:
        path: a file, a glob, a directory, or several of these.
        schema: the columns to read; all those of the first file by default. A file without one of them, or with
            another dtype, is an error.
        follow: go on watching for new files; the stream never ends.
        required: columns that may not be null.
        event_time: the column that says when a row happened, see `StreamDataFrame.with_event_time`.
        watermark: how late a row may be, as there.
        idle_timeout: how long a split may be silent before it is not waited for, as there.
        on_error: what happens to rows without a required value: `"fail"`, `"dead_letter"` or `"drop"`.
        name: the source's name in the job; the name of the file or folder by default.

    Returns:
        A StreamDataFrame of `schema`, or of that of the first file.

    Raises:
        PlanError: when nothing is there to read, or `required` or `on_error` is wrong.
        DataError: when no schema is given and the first file cannot be read.

    Example:
        >>> import polars as pl, streame as st
        >>> pl.DataFrame({"item": ["tea", "cup"], "qty": [2, 3]}).write_parquet("orders.parquet")
        >>> st.scan_parquet("orders.parquet").select("qty").collect()["qty"].to_list()
        [2, 3]
    """
    declared = None if schema is None else as_schema(schema, where="scan_parquet")
    source = ParquetFiles(path, declared, required=tuple(required), follow=follow)
    return timed(
        scanned(source, name or _name_of(path), on_error, required), event_time, watermark, idle_timeout
    )


def scan_ipc(
    path: Paths,
    schema: Schema | None = None,
    *,
    follow: bool = False,
    required: Collection[str] = (),
    event_time: str | None = None,
    watermark: str | timedelta | int = "0s",
    idle_timeout: str | timedelta = "30s",
    on_error: OnError = "fail",
    name: str | None = None,
) -> StreamDataFrame:
    """Read Arrow IPC files (Feather); only the columns that the plan needs.

    A file is read one record batch at a time, and a few of those are in memory. Nobody may change a file in place
    while it is read; write a new one and rename it.

    Args:
        path: a file, a glob, a directory, or several of these.
        schema: the columns to read; all those of the first file by default. A file without one of them, or with
            another dtype, is an error.
        follow: go on watching for new files; the stream never ends.
        required: columns that may not be null.
        event_time: the column that says when a row happened, see `StreamDataFrame.with_event_time`.
        watermark: how late a row may be, as there.
        idle_timeout: how long a split may be silent before it is not waited for, as there.
        on_error: what happens to rows without a required value: `"fail"`, `"dead_letter"` or `"drop"`.
        name: the source's name in the job; the name of the file or folder by default.

    Returns:
        A StreamDataFrame of `schema`, or of that of the first file.

    Raises:
        PlanError: when nothing is there to read, or `required` or `on_error` is wrong.
        DataError: when no schema is given and the first file cannot be read.

    Example:
        >>> import polars as pl, streame as st
        >>> pl.DataFrame({"item": ["tea", "cup"], "qty": [2, 3]}).write_ipc("orders.arrow")
        >>> st.scan_ipc("orders.arrow").select("qty").collect()["qty"].to_list()
        [2, 3]
    """
    declared = None if schema is None else as_schema(schema, where="scan_ipc")
    source = IpcFiles(path, declared, required=tuple(required), follow=follow)
    return timed(
        scanned(source, name or _name_of(path), on_error, required), event_time, watermark, idle_timeout
    )


def _name_of(path: Paths) -> str:
    """The file's name without its suffixes, the folder's name, or that of the first of several."""
    first = path if isinstance(path, str | os.PathLike) else next(iter(path), "files")
    parts = [part for part in Path(first).parts if not any(sign in part for sign in "*?[")]
    return Path(parts[-1]).name.split(".")[0] if parts else "files"
