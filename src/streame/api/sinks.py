"""The sinks: where the rows of a StreamDataFrame go. Each makes a job and runs nothing."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from streame.api.handle import Handle
from streame.api.job import Job, write_job
from streame.errors import PlanError
from streame.io.console import ConsoleSink
from streame.io.file_sinks import FileOutput, line_compression
from streame.io.formats.encoders import CsvEncoder, Encoder, IpcEncoder, NdjsonEncoder, ParquetEncoder
from streame.io.queues import QueueSink
from streame.io.sink import Sink
from streame.plan.nodes import Node

FilePath = str | os.PathLike[str]
Lines = Literal["uncompressed", "gzip", "zstd"]


class SinkVerbs(Handle):
    """Where rows go.

    A path without a suffix, or with a slash at its end, is a directory of part files: each appears under its name
    when it is whole, and a second run adds to them; one job at a time may write there. A path with a suffix is one
    file; it is replaced. Rows are written in the order in which they come.

    A job that fails leaves the parts that were whole; of one NDJSON or CSV file what came so far, as
    `<name>.partial`; and no Parquet or IPC file. In memory a Parquet or IPC file or part takes about 32 MiB while
    rows come: the others wait in pieces on the same disk until it is written, which is to have room for both.

    With checkpoints a directory of parts, and a file of lines, get every row exactly once: rows appear when their
    checkpoint is decided, and a directory has a commit log, by which it belongs to one job. One Parquet or IPC file
    cannot be written in steps and is refused. Queues and the console get every row at least once.

    Of a changes stream, queues and the console get every change, with the weight as column `_diff`: -1 for a row that
    holds no longer, +1 for one that holds from now on. A file takes it only if it is asked to.
    """

    __slots__ = ()

    def sink_ndjson(
        self,
        path: FilePath,
        *,
        compression: Lines | None = None,
        compression_level: int | None = None,
        part_rows: int | None = None,
        part_bytes: int | None = None,
        part_interval: str | timedelta | None = None,
        changes: bool = False,
        name: str | None = None,
    ) -> Job:
        """Write one JSON object per line.

        Args:
            path: a directory of parts if it has no suffix or ends in `/`; otherwise one file, which is replaced, and
                can be read while it grows.
            compression: `"uncompressed"`, `"gzip"` or `"zstd"`; by default what the suffix says (`.gz`, `.zst`).
            compression_level: gzip 0-9, zstd 1-22.
            part_rows: the most rows in a part (1,000,000).
            part_bytes: about the most bytes in a part (128 MiB).
            part_interval: how long a part may wait for more rows (`"1m"`).
            changes: whether a changes stream may come, whose weight is written as the column `_diff`.
            name: the name of the sink in the job.

        Returns:
            A job that writes the lines; nothing runs yet.

        Raises:
            PlanError: when JSON has no word for a dtype, an option does not fit the path, the rows are a changes
                stream and `changes` is not set, or two sources above have the same name.

        Example:
            >>> import pathlib, polars as pl, streame as st
            >>> orders = st.scan_frames([pl.DataFrame({"item": ["tea", "cup"], "qty": [2, 3]})])
            >>> orders.filter(pl.col("qty") > 2).sink_ndjson("big.ndjson").run().rows_out
            1
            >>> pathlib.Path("big.ndjson").read_text().strip()
            '{"item":"cup","qty":3}'
        """
        encoder = NdjsonEncoder(line_compression(path, compression), compression_level)
        return self._file_job(path, encoder, part_rows, part_bytes, part_interval, name, changes=changes)

    def sink_csv(
        self,
        path: FilePath,
        *,
        compression: Lines | None = None,
        compression_level: int | None = None,
        include_header: bool = True,
        separator: str = ",",
        quote_char: str = '"',
        quote_style: Literal["necessary", "always", "non_numeric", "never"] = "necessary",
        null_value: str | None = None,
        datetime_format: str | None = None,
        date_format: str | None = None,
        time_format: str | None = None,
        float_precision: int | None = None,
        part_rows: int | None = None,
        part_bytes: int | None = None,
        part_interval: str | timedelta | None = None,
        changes: bool = False,
        name: str | None = None,
    ) -> Job:
        """Write CSV, with the main arguments of Polars.

        Args:
            path: a directory of parts if it has no suffix or ends in `/`; otherwise one file, which is replaced, and
                can be read while it grows.
            compression: `"uncompressed"`, `"gzip"` or `"zstd"`; by default what the suffix says (`.gz`, `.zst`).
            compression_level: gzip 0-9, zstd 1-22.
            include_header: write the names of the columns at the beginning of each file.
            separator: one ASCII character.
            quote_char: one ASCII character.
            quote_style: which fields are quoted.
            null_value: what is written for null.
            datetime_format: how datetimes are written, in chrono's format.
            date_format: how dates are written.
            time_format: how times are written.
            float_precision: decimal places of floats.
            part_rows: the most rows in a part (1,000,000).
            part_bytes: about the most bytes in a part (128 MiB).
            part_interval: how long a part may wait for more rows (`"1m"`).
            changes: whether a changes stream may come, whose weight is written as the column `_diff`.
            name: the name of the sink in the job.

        Returns:
            A job that writes the lines; nothing runs yet.

        Raises:
            PlanError: when CSV cannot hold a dtype, an option is wrong or does not fit the path, the rows are a
                changes stream and `changes` is not set, or two sources above have the same name.

        Example:
            >>> import pathlib, polars as pl, streame as st
            >>> orders = st.scan_frames([pl.DataFrame({"item": ["tea"], "qty": [2]})])
            >>> orders.sink_csv("orders.csv", separator=";").run().state
            'finished'
            >>> pathlib.Path("orders.csv").read_text().split()
            ['item;qty', 'tea;2']
        """
        encoder = CsvEncoder(
            line_compression(path, compression),
            compression_level,
            include_header,
            separator,
            quote_char,
            quote_style,
            null_value,
            datetime_format,
            date_format,
            time_format,
            float_precision,
        )
        return self._file_job(path, encoder, part_rows, part_bytes, part_interval, name, changes=changes)

    def sink_parquet(
        self,
        path: FilePath,
        *,
        compression: Literal["lz4", "uncompressed", "snappy", "gzip", "brotli", "zstd"] = "zstd",
        compression_level: int | None = None,
        statistics: bool = True,
        row_group_size: int | None = None,
        part_rows: int | None = None,
        part_bytes: int | None = None,
        part_interval: str | timedelta | None = None,
        changes: bool = False,
        name: str | None = None,
    ) -> Job:
        """Write Parquet; of an unfinished file about 32 MiB are in memory, the rest in pieces on the same disk.

        Args:
            path: a directory of parts if it has no suffix or ends in `/`; otherwise one file, which appears,
                or is replaced, when the job has ended.
            compression: of the pages.
            compression_level: gzip 0-9, brotli 0-11, zstd 1-22.
            statistics: write minimum, maximum and null count of each row group.
            row_group_size: rows in a group.
            part_rows: the most rows in a part (1,000,000).
            part_bytes: about the most bytes in a part (128 MiB).
            part_interval: how long a part may wait for more rows (`"1m"`).
            changes: whether a changes stream may come, whose weight is written as the column `_diff`.
            name: the name of the sink in the job.

        Returns:
            A job that writes the rows; nothing runs yet.

        Raises:
            PlanError: when Parquet cannot hold a dtype, an option does not fit the path, the rows are a changes stream
                and `changes` is not set, or two sources above have the same name.

        Example:
            >>> import polars as pl, streame as st
            >>> orders = st.scan_frames([pl.DataFrame({"item": ["tea", "cup"], "qty": [2, 3]})])
            >>> orders.sink_parquet("orders/", part_rows=1).run().rows_out
            2
            >>> pl.read_parquet("orders/part-00001.parquet").to_dicts()
            [{'item': 'cup', 'qty': 3}]
        """
        encoder = ParquetEncoder(compression, compression_level, statistics, row_group_size)
        return self._file_job(path, encoder, part_rows, part_bytes, part_interval, name, changes=changes)

    def sink_ipc(
        self,
        path: FilePath,
        *,
        compression: Literal["uncompressed", "lz4", "zstd"] = "uncompressed",
        part_rows: int | None = None,
        part_bytes: int | None = None,
        part_interval: str | timedelta | None = None,
        changes: bool = False,
        name: str | None = None,
    ) -> Job:
        """Write Arrow IPC files (Feather); memory and disk as for `sink_parquet`.

        Args:
            path: a directory of parts if it has no suffix or ends in `/`; otherwise one file, which appears,
                or is replaced, when the job has ended.
            compression: of the buffers.
            part_rows: the most rows in a part (1,000,000).
            part_bytes: about the most bytes in a part (128 MiB).
            part_interval: how long a part may wait for more rows (`"1m"`).
            changes: whether a changes stream may come, whose weight is written as the column `_diff`.
            name: the name of the sink in the job.

        Returns:
            A job that writes the rows; nothing runs yet.

        Raises:
            PlanError: when Arrow IPC cannot hold a dtype, an option does not fit the path, the rows are a changes
                stream and `changes` is not set, or two sources above have the same name.

        Example:
            >>> import polars as pl, streame as st
            >>> orders = st.scan_frames([pl.DataFrame({"item": ["tea", "cup"], "qty": [2, 3]})])
            >>> orders.sink_ipc("orders.arrow", compression="lz4").run().rows_out
            2
            >>> pl.read_ipc("orders.arrow")["qty"].sum()
            5
        """
        return self._file_job(
            path, IpcEncoder(compression), part_rows, part_bytes, part_interval, name, changes=changes
        )

    def sink_queue(
        self, queue: Any, *, as_frames: bool = False, end: bool = True, name: str | None = None
    ) -> Job:
        """Put rows into a queue of this program, as dicts; a full queue holds the pipeline up.

        Args:
            queue: a `queue.Queue`, `queue.SimpleQueue` or, from within its loop, an `asyncio.Queue`.
            as_frames: put Polars frames instead: many times faster where many rows come.
            end: put `st.END` behind the last row.
            name: the name of the sink in the job.

        Returns:
            A job that writes to the queue; nothing runs yet.

        Raises:
            PlanError: when it is no queue, or an `asyncio.Queue` without a running loop, or two sources above have
                the same name.

        Example:
            >>> import queue, polars as pl, streame as st
            >>> results = queue.Queue()
            >>> orders = st.scan_frames([pl.DataFrame({"item": ["tea"], "qty": [2]})])
            >>> _ = orders.sink_queue(results).run()
            >>> results.get(), results.get()
            ({'item': 'tea', 'qty': 2}, streame.END)
        """
        sink = QueueSink(queue, as_frames=as_frames, end=end)
        text = "whole frames" if as_frames else "a dict per row: Python runs for every row"
        return write_job(
            self._node,
            lambda: sink,
            name or "queue",
            text=text,
            separate=False,
            loop=sink.loop,
            delivery=sink.delivery,
        )

    def sink_console(self, *, limit: int | None = None, name: str | None = None) -> Job:
        """Print rows as they come.

        Args:
            limit: rows to print of one batch; the others are counted.
            name: the name of the sink in the job.

        Returns:
            A job that prints; nothing runs yet.

        Raises:
            PlanError: when `limit` is negative, or two sources above have the same name.

        Example:
            >>> import polars as pl, streame as st
            >>> orders = st.scan_frames([pl.DataFrame({"item": ["tea", "cup"], "qty": [2, 3]})])
            >>> _ = orders.sink_console(limit=1).run()
            item  qty
            tea     2
            ... 1 more rows
        """
        sink = ConsoleSink(limit)
        return write_job(self._node, lambda: sink, name or "console", separate=False, delivery=sink.delivery)

    def _file_job(
        self,
        path: FilePath,
        encoder: Encoder,
        part_rows: int | None,
        part_bytes: int | None,
        part_interval: str | timedelta | None,
        name: str | None,
        *,
        changes: bool,
    ) -> Job:
        _require_asked(Path(path).name, self._node, changes=changes)
        encoder.check_schema(self.schema)

        file = FileOutput(os.fspath(path), encoder, part_rows, part_bytes, part_interval)
        file.sink()  # to refuse wrong limits now
        return write_job(
            self._node,
            file.sink,
            name or Path(path).name,
            text=file.path,
            target=str(Path(path).resolve()),
            file=file,
        )


def _require_asked(sink: str, node: Node, *, changes: bool) -> None:
    """Refuse changes where they would be taken for rows."""
    if node.is_changes and not changes:
        raise PlanError(
            f"{sink}: the rows are a changes stream: an update takes the old row back and says the new one; give "
            "changes=True to get that as the column _diff (-1, +1), or let the verb above say only final results "
            'with emit="on_close"'
        )


def sink(frame: Handle, target: Sink, *, changes: bool = False, name: str | None = None) -> Job:
    """Give rows to a sink of your own.

    Args:
        frame: the rows.
        target: an object with the methods of `st.Sink`.
        changes: whether it takes a changes stream, whose weight comes as the column `_diff`.
        name: the name of the sink in the job; the name of its class by default.

    Returns:
        A job that calls its methods; nothing runs yet. A second run opens the same object again.

    Raises:
        PlanError: when `frame` is no StreamDataFrame, `target` does not inherit from `st.Sink`, the rows are a changes
            stream and `changes` is not set, or two sources above have the same name.

    Example:
        >>> import polars as pl, streame as st
        >>> class Total(st.Sink):
        ...     rows = 0
        ...     def write(self, frame):
        ...         self.rows += frame.height
        >>> total = Total()
        >>> _ = st.sink(st.scan_frames([pl.DataFrame({"qty": [2, 3]})]), total).run()
        >>> total.rows
        2
    """
    for given, kind in ((frame, Handle), (target, Sink)):
        if not isinstance(given, kind):
            raise PlanError(
                f"sink: found a {type(given).__name__}; give a StreamDataFrame and an object that inherits from st.Sink"
            )
    _require_asked("sink", frame.node, changes=changes)
    return write_job(
        frame.node,
        lambda: target,
        name or type(target).__name__,
        separate=target.separate,
        delivery=target.delivery,
    )
