"""The sources: `scan_*` makes a StreamDataFrame and reads nothing yet."""

import os
from asyncio import Queue as AsyncQueue
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from queue import Queue, SimpleQueue
from typing import Any

from streame.api.dataframe import StreamDataFrame
from streame.api.scanned import scanned, timed
from streame.core.deadletters import OnError
from streame.core.schemas import as_schema
from streame.io.durable_queue import Queue as DurableQueue
from streame.io.queues import QueueSource
from streame.io.rows import FramesSource, RowsSource
from streame.io.source import Source

Schema = Mapping[str, Any]
Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
AnyQueue = DurableQueue | Queue[Any] | SimpleQueue[Any] | AsyncQueue[Any]


def scan(
    source: Source,
    *,
    event_time: str | None = None,
    watermark: str | timedelta | int = "0s",
    idle_timeout: str | timedelta = "30s",
    on_error: OnError = "fail",
    name: str | None = None,
) -> StreamDataFrame:
    """Read a source of your own.

    Args:
        source: an object with the attribute `bounded` and the methods of `st.Source`.
        event_time: the column that says when a row happened, see `StreamDataFrame.with_event_time`.
        watermark: how late a row may be, as there.
        idle_timeout: how long a split may be silent before it is not waited for, as there.
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
    return timed(
        scanned(source, name or type(source).__name__, on_error, ()), event_time, watermark, idle_timeout
    )


def scan_rows(
    rows: Iterable[Any],
    schema: Schema,
    *,
    required: Collection[str] = (),
    event_time: str | None = None,
    watermark: str | timedelta | int = "0s",
    idle_timeout: str | timedelta = "30s",
    on_error: OnError = "fail",
    name: str = "rows",
) -> StreamDataFrame:
    """Read any Python iterable of dicts, dataclasses or tuples.

    Args:
        rows: the rows. A generator is pulled in a thread of its own, so that rows that trickle go on at once; it
            can be read by one run only. In a job with checkpoints its rows are written to a log before they are
            processed; after a restart they come first, and what the new iterator gives stands behind them.
        schema: columns and dtypes; a missing key is null, an extra one is ignored. A value must fit as it is:
            `"5"` and `5.5` are no integers.
        required: columns that may not be null.
        event_time: the column that says when a row happened, see `StreamDataFrame.with_event_time`.
        watermark: how late a row may be, as there.
        idle_timeout: how long a split may be silent before it is not waited for, as there.
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
    return timed(
        scanned(RowsSource(rows, declared, required), name, on_error, required),
        event_time,
        watermark,
        idle_timeout,
    )


def scan_frames(
    frames: Iterable[Any],
    *,
    schema: Schema | None = None,
    required: Collection[str] = (),
    event_time: str | None = None,
    watermark: str | timedelta | int = "0s",
    idle_timeout: str | timedelta = "30s",
    on_error: OnError = "fail",
    name: str = "frames",
) -> StreamDataFrame:
    """Read Polars frames, or anything with the Arrow C interface.

    Args:
        frames: the frames, each with the same columns and dtypes. A generator is read as by `scan_rows`.
        schema: the columns; taken from the first frame of a list, needed for a generator.
        required: columns that may not be null.
        event_time: the column that says when a row happened, see `StreamDataFrame.with_event_time`.
        watermark: how late a row may be, as there.
        idle_timeout: how long a split may be silent before it is not waited for, as there.
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
    return timed(
        scanned(FramesSource(frames, declared, required), name, on_error, required),
        event_time,
        watermark,
        idle_timeout,
    )


def scan_queue(
    queue: AnyQueue,
    schema: Schema,
    *,
    required: Collection[str] = (),
    event_time: str | None = None,
    watermark: str | timedelta | int = "0s",
    idle_timeout: str | timedelta = "30s",
    on_error: OnError = "fail",
    name: str = "queue",
) -> StreamDataFrame:
    """Read a queue that this program itself fills with dicts, dataclasses or tuples.

    Args:
        queue: an `st.Queue`, which a job with checkpoints needs: its `put` returns when the row is durable. Else also a
            `queue.Queue`, `queue.SimpleQueue` or, from within its loop, an `asyncio.Queue`. `st.END` ends it.
        schema: columns and dtypes; a missing key is null, an extra one is ignored.
        required: columns that may not be null.
        event_time: the column that says when a row happened, see `StreamDataFrame.with_event_time`.
        watermark: how late a row may be, as there.
        idle_timeout: how long a split may be silent before it is not waited for, as there.
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
    return timed(
        scanned(QueueSource(queue, declared, required), name, on_error, required),
        event_time,
        watermark,
        idle_timeout,
    )
