"""Table join: each stream row meets the table's latest row of its key."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.core.messages import BATCH_ROWS_MAX, Batch, Positions, SplitStatus
from streame.core.time import Split
from streame.runtime.operator import Collector, Operator, OperatorContext
from streame.state.rows import as_index
from streame.state.table import Table
from streame.state.waiting import WaitingRows

STREAM, TABLE = 0, 1


Mask = npt.NDArray[np.bool_]


class TableJoinOperator(Operator):
    """Joins the rows of port 0 with a table made from the rows of port 1.

    A bounded table is read whole before the first stream row. Of an unbounded one a row meets what is there;
    if nothing is, it may wait for a time: until the first row of its key comes, until the time is over or
    until the table ends.

    Args:
        left_on: the key columns of the stream.
        right_on: the key columns of the table, in the same order.
        how: what becomes of a stream row that meets nothing: `inner` drops it, `left` lets it out with nulls.
        right_outputs: pairs of a table column and the name under which it comes out, behind the stream's columns.
        table_schema: the columns of the table.
        nulls_equal: whether null matches null.
        wait_us: how long a stream row waits, in microseconds of the wall clock; `None` for ever.
        table_is_bounded: whether the table's rows end by themselves.
    """

    def __init__(
        self,
        *,
        left_on: Sequence[str],
        right_on: Sequence[str],
        how: Literal["inner", "left"],
        right_outputs: Sequence[tuple[str, str]],
        table_schema: pl.Schema,
        nulls_equal: bool = False,
        wait_us: int | None = 0,
        table_is_bounded: bool = False,
    ) -> None:
        self._left_on = left_on
        self._right_on = right_on
        self._keeps_unmatched = how == "left"
        self._right_outputs = right_outputs
        self._nulls_equal = nulls_equal
        self._wait_us = wait_us
        self._table_is_bounded = table_is_bounded
        # Keys are named by their place: the two sides have names of their own, and either may use a column twice.
        self._key_schema = pl.Schema({str(place): table_schema[name] for place, name in enumerate(right_on)})
        outputs = pl.Schema({output: table_schema[name] for name, output in right_outputs})
        self._table = Table(self._key_schema, outputs or self._key_schema)
        self._waiting: WaitingRows | None = None
        self._timer_us: int | None = None
        self._stream_ended = False
        self._table_ended = False

    def open(self, context: OperatorContext) -> None:
        """Wait for the whole table, if it has an end."""
        self._context = context
        if self._table_is_bounded:
            context.hold(STREAM)

    def on_batch(self, port: int, batch: Batch, out: Collector) -> None:
        """Join stream rows, or take table rows and join what waited for them."""
        if port == STREAM:
            self._join(batch, out)
        else:
            self._update(batch.frame, out)
        self._settle()

    def on_timer(self, time_us: int, out: Collector) -> None:
        """Let go the rows whose time is over."""
        self._timer_us = None
        self._expire(out)
        self._settle()

    def on_split(self, port: int, status: SplitStatus, out: Collector) -> None:
        """Pass on what is said of the stream's splits, where no row that waits comes out of their order."""
        if port == STREAM and self._wait_us == 0:
            out.split_status(status)

    def on_end(self, port: int, out: Collector) -> None:
        """After the stream's end only waiting rows matter; after the table's end none waits any more."""
        if port == STREAM:
            self._stream_ended = True
        else:
            self._table_ended = True
            if self._table_is_bounded:
                self._context.release(STREAM)
            if self._waiting:
                self._let_go(self._waiting.drain(), out)
        self._settle()

    def _join(self, batch: Batch, out: Collector) -> None:
        """Emit the stream rows that met theirs, and decide about the others."""
        frame = batch.frame
        keys, joinable = self._stream_keys(frame)
        rows = self._table.lookup(keys)
        if joinable is not None:
            rows[~joinable] = -1
        found = rows >= 0
        leaving = found
        split = batch.split if self._wait_us == 0 else None
        if not found.all():
            waiting = ~found if joinable is None else ~found & joinable
            if self._wait_us == 0 or self._table_ended:
                waiting[:] = False
            if waiting.any():
                stays = as_index(np.flatnonzero(waiting))
                self._keep(keys[stays], frame[stays])
            leaving = ~waiting if self._keeps_unmatched else found
        if leaving.all():
            self._emit(frame, self._table.gather(rows), out, batch.positions, split)
        else:
            leaves = np.flatnonzero(leaving)
            self._emit(frame[as_index(leaves)], self._table.gather(rows[leaves]), out, split=split)

    def _update(self, frame: pl.DataFrame, out: Collector) -> None:
        """Take table rows, after the rows that waited for them have left."""
        keys = pl.DataFrame([frame[name].alias(str(place)) for place, name in enumerate(self._right_on)])
        rows = pl.DataFrame([frame[name].alias(output) for name, output in self._right_outputs] or keys)
        if not self._nulls_equal and (null := _any_null(keys)) is not None:
            keys, rows = keys.filter(~null), rows.filter(~null)
        if self._waiting:
            self._expire(out)
            stream_rows, met = self._waiting.take(keys)
            if len(met):
                self._emit(stream_rows, rows[as_index(met)], out)
        self._table.upsert(keys, rows)

    def _stream_keys(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, Mask | None]:
        """The keys of stream rows in the table's dtypes, and which can match at all (`None`: every one)."""
        columns = []
        joinable: Mask | None = None
        for (place, dtype), name in zip(self._key_schema.items(), self._left_on, strict=True):
            column = frame[name]
            key = column if column.dtype == dtype else column.cast(dtype, strict=False)
            columns.append(key.alias(place))
            if key is not column:
                # A number that the table's narrower dtype does not have is in no row of the table.
                same = key.cast(column.dtype).eq_missing(column).to_numpy()
                joinable = same if joinable is None else joinable & same
        keys = pl.DataFrame(columns)
        if not self._nulls_equal and (null := _any_null(keys)) is not None:
            joinable = ~null if joinable is None else joinable & ~null
        return keys, joinable

    def _keep(self, keys: pl.DataFrame, rows: pl.DataFrame) -> None:
        """Let stream rows wait."""
        if self._waiting is None:
            self._waiting = WaitingRows(self._key_schema, rows.schema)
        deadline = None if self._wait_us is None else self._context.clock.now_us() + self._wait_us
        self._waiting.add(keys, rows, deadline)

    def _expire(self, out: Collector) -> None:
        """Let go the rows whose time is over."""
        if self._waiting:
            self._let_go(self._waiting.expire(self._context.clock.now_us()), out)

    def _let_go(self, rows: pl.DataFrame, out: Collector) -> None:
        """The end of stream rows that met nothing."""
        if self._keeps_unmatched:
            self._emit(rows, self._table.gather(np.full(rows.height, -1)), out)

    def _emit(
        self,
        left: pl.DataFrame,
        right: pl.DataFrame,
        out: Collector,
        positions: Positions | None = None,
        split: Split | None = None,
    ) -> None:
        """Send joined rows on, if there are any, in batches of the usual size."""
        if not left.height:
            return
        joined = left.hstack(right) if self._right_outputs else left
        if joined.height <= BATCH_ROWS_MAX:
            out.emit(Batch(joined, positions, split))
            return
        for part in joined.iter_slices(BATCH_ROWS_MAX):
            out.emit(Batch(part, split=split))

    def _settle(self) -> None:
        """Set the timer for what waits, and finish when nothing can come any more."""
        deadline = self._waiting.next_deadline_us if self._waiting else None
        if deadline != self._timer_us:
            self._context.set_timer(deadline)
            self._timer_us = deadline
        self.finished = self._stream_ended and not self._waiting


def _any_null(keys: pl.DataFrame) -> Mask | None:
    """Which keys have a null in any column; `None` where no key has."""
    columns = [column for column in keys.get_columns() if column.null_count()]
    if not columns:
        return None
    null: Mask = np.logical_or.reduce([column.is_null().to_numpy() for column in columns])
    return null
