"""The sources: `scan_*` makes a StreamDataFrame and reads nothing yet."""

import os
from asyncio import Queue as AsyncQueue
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from queue import Queue, SimpleQueue
from typing import Any

import polars as pl

from streame.api.dataframe import StreamDataFrame
from streame.core.deadletters import OnError
from streame.core.expressions import unknown_column
from streame.core.positions import POSITION
from streame.core.schemas import as_schema
from streame.errors import PlanError
from streame.io.files.columnar_source import IpcFiles, ParquetFiles
from streame.io.files.text_source import CsvFiles, NdjsonFiles
from streame.io.queues import QueueSource
from streame.io.rows import FramesSource, RowsSource
from streame.io.source import Source
from streame.plan.nodes import Scan

Schema = Mapping[str, Any]
Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
AnyQueue = Queue[Any] | SimpleQueue[Any] | AsyncQueue[Any]


def scan(source: Source, *, on_error: OnError = "fail", name: str | None = None) -> StreamDataFrame:
    """Read a source of your own.

    Args:
        source: an object with the attribute `bounded` and the methods of `st.Source`.
        on_error: what happens to the bad rows that it reports: `"fail"` ends the job there, `"dead_letter"`
            sends them to `.rejected` and the job's `errors`, `"drop"` counts them.
        name: the source's name in the job; the name of its class by default.

    Returns:
        A StreamDataFrame of the source's schema; nothing is read yet.

    Raises:
        PlanError: when a part of `st.Source` is missing, the schema has no columns, or `on_error` is unknown.

    Example:
        >>> import polars as pl, streame as st
        >>> class Ticks:
        ...     bounded = True
        ...     def schema(self):
        ...         return pl.Schema({"tick": pl.Int64()})
        ...     def splits(self):
        ...         return ["all"]
        ...     def read(self, split, offset):
        ...         for tick in range(offset or 0, 3):
        ...             yield st.Chunk(pl.DataFrame({"tick": [tick]}), next_offset=tick + 1)
        >>> st.scan(Ticks()).collect()["tick"].to_list()
        [0, 1, 2]
    """
    return _scanned(source, name or type(source).__name__, on_error, ())


def scan_rows(
    rows: Iterable[Any],
    schema: Schema,
    *,
    required: Collection[str] = (),
    on_error: OnError = "fail",
    name: str = "rows",
) -> StreamDataFrame:
    """Read any Python iterable of dicts, dataclasses or tuples.

    Args:
        rows: the rows. A generator is pulled in a thread of its own, so that rows that trickle go on at once; it
            can be read by one run only.
        schema: columns and dtypes; a missing key is null, an extra one is ignored. A value must fit as it is:
            `"5"` and `5.5` are no integers.
        required: columns that may not be null.
        on_error: what happens to bad rows: `"fail"`, `"dead_letter"` or `"drop"`.
        name: the source's name in the job.

    Returns:
        A StreamDataFrame of `schema`; nothing is read yet.

    Raises:
        PlanError: when `rows` is no iterable, the schema is wrong, or `required` or `on_error` is wrong.

    Example:
        >>> import polars as pl, streame as st
        >>> st.scan_rows([{"qty": 1}, {"qty": 2}], {"qty": pl.Int64}).collect()["qty"].sum()
        3
    """
    declared = as_schema(schema, where="scan_rows")
    return _scanned(RowsSource(rows, declared, required), name, on_error, required)


def scan_frames(
    frames: Iterable[Any],
    *,
    schema: Schema | None = None,
    required: Collection[str] = (),
    on_error: OnError = "fail",
    name: str = "frames",
) -> StreamDataFrame:
    """Read Polars frames, or anything with the Arrow C interface.

    Args:
        frames: the frames, each with the same columns and dtypes.
        schema: the columns; taken from the first frame of a list, needed for a generator.
        required: columns that may not be null.
        on_error: what happens to rows without a required value: `"fail"`, `"dead_letter"` or `"drop"`.
        name: the source's name in the job.

    Returns:
        A StreamDataFrame of the frames' schema; nothing is read yet, but the first frame's schema.

    Raises:
        PlanError: when `frames` is no iterable, the schema is not known, or `required` or `on_error` is wrong.
        DataError: when the schema is needed from the first item of a list, and that is no frame.

    Example:
        >>> import polars as pl, streame as st
        >>> st.scan_frames([pl.DataFrame({"qty": [1, 2]})]).collect().height
        2
    """
    declared = None if schema is None else as_schema(schema, where="scan_frames")
    return _scanned(FramesSource(frames, declared, required), name, on_error, required)


def scan_queue(
    queue: AnyQueue,
    schema: Schema,
    *,
    required: Collection[str] = (),
    on_error: OnError = "fail",
    name: str = "queue",
) -> StreamDataFrame:
    """Read a queue that this program itself fills with dicts, dataclasses or tuples.

    Args:
        queue: a `queue.Queue`, `queue.SimpleQueue` or, from within its loop, an `asyncio.Queue`. `st.END` ends it.
        schema: columns and dtypes; a missing key is null, an extra one is ignored.
        required: columns that may not be null.
        on_error: what happens to bad rows: `"fail"`, `"dead_letter"` or `"drop"`.
        name: the source's name in the job.

    Returns:
        A StreamDataFrame of `schema`, which never ends by itself.

    Raises:
        PlanError: when it is no queue, the schema is wrong, or `required` or `on_error` is wrong.

    Example:
        >>> import queue, polars as pl, streame as st
        >>> orders, big = queue.Queue(), queue.Queue()
        >>> job = st.scan_queue(orders, {"qty": pl.Int64}).filter(pl.col("qty") > 1).sink_queue(big)
        >>> with job.start() as handle:
        ...     for row in ({"qty": 1}, {"qty": 2}, st.END):
        ...         orders.put(row)
        ...     assert handle.wait()
        >>> big.get()
        {'qty': 2}
    """
    declared = as_schema(schema, where="scan_queue")
    return _scanned(QueueSource(queue, declared, required), name, on_error, required)


def scan_ndjson(
    path: Paths,
    schema: Schema,
    *,
    follow: bool = False,
    required: Collection[str] = (),
    on_error: OnError = "fail",
    name: str | None = None,
) -> StreamDataFrame:
    r"""Read files with one JSON object per line; gzip and zstd are recognised.

    Args:
        path: a file, a glob, a directory, or several of these.
        schema: columns and dtypes; a missing key is null, an extra one is ignored.
        follow: go on watching for new files and appended lines; the stream never ends.
        required: columns that may not be null.
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
    return _scanned(source, name or _name_of(path), on_error, required)


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
    return _scanned(source, name or _name_of(path), on_error, required)


def scan_parquet(
    path: Paths,
    schema: Schema | None = None,
    *,
    follow: bool = False,
    required: Collection[str] = (),
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
    return _scanned(source, name or _name_of(path), on_error, required)


def scan_ipc(
    path: Paths,
    schema: Schema | None = None,
    *,
    follow: bool = False,
    required: Collection[str] = (),
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
    return _scanned(source, name or _name_of(path), on_error, required)


def _scanned(source: Source, name: str, on_error: OnError, required: Collection[str]) -> StreamDataFrame:
    if on_error not in {"fail", "dead_letter", "drop"}:
        raise PlanError(f"source {name!r}: on_error={on_error!r}; use 'fail', 'dead_letter' or 'drop'")
    if isinstance(source, type):
        raise PlanError(f"source {name!r}: give an object of the class {source.__name__}, not the class")
    missing = [part for part in ("bounded", "schema", "splits", "read") if not hasattr(source, part)]
    if missing:
        raise PlanError(
            f"source {name!r} is a {type(source).__name__} without {', '.join(missing)}; see st.Source"
        )
    schema = pl.Schema(source.schema())
    if not schema:
        raise PlanError(f"source {name!r} has no columns, and rows without columns cannot be counted")
    if POSITION in schema:
        raise PlanError(f"source {name!r}: the column name {POSITION!r} is taken by the engine; rename it")
    for column in required:
        if column not in schema:
            raise unknown_column(column, schema, where=f"source {name!r}: required")
    return StreamDataFrame(Scan(source, name, on_error, schema, tuple(required)))


def _name_of(path: Paths) -> str:
    """The file's name without its suffixes, the folder's name, or that of the first of several."""
    first = path if isinstance(path, str | os.PathLike) else next(iter(path), "files")
    parts = [part for part in Path(first).parts if not any(sign in part for sign in "*?[")]
    return Path(parts[-1]).name.split(".")[0] if parts else "files"
