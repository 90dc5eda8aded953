"""Table join: each stream row meets the table's latest row of its key."""

from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
import polars as pl

from streame.core.hidden import BEHIND, POSITION, WEIGHT
from streame.core.messages import BATCH_ROWS_MAX, Batch, Positions, SplitStatus
from streame.core.metrics import NO_STATE, StateSize
from streame.core.positions import POSITION_DTYPE
from streame.core.time import WATERMARK_MAX, WATERMARK_MIN, EventTime, Mask, Split
from streame.runtime.joining import any_null, shifted
from streame.runtime.operator import Collector, Operator, OperatorContext
from streame.state.rows import as_index, rows_at
from streame.state.snapshot import Mine
from streame.state.table import Table
from streame.state.waiting import WaitingRows

STREAM, TABLE = 0, 1


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
        wait: how long a stream row waits; `None` for ever. In microseconds of the wall clock, or in the engine's
            units of event time.
        time: the stream's event time, if `wait` goes by it.
        table_is_bounded: whether the table's rows end by themselves.
        table_changes: whether the table's rows are changes, so that they may be taken back.
    """

    timed_ports = (STREAM,)

    SAVED = ("_table", "_waiting", "_timer_us", "_watermark", "_stream_ended", "_table_ended")
    DERIVED = ("_holds",)

    def __init__(
        self,
        *,
        left_on: Sequence[str],
        right_on: Sequence[str],
        how: Literal["inner", "left"],
        right_outputs: Sequence[tuple[str, str]],
        table_schema: pl.Schema,
        nulls_equal: bool = False,
        wait: int | None = 0,
        time: EventTime | None = None,
        table_is_bounded: bool = False,
        table_changes: bool = False,
    ) -> None:
        self._left_on = left_on
        self._right_on = right_on
        self._keeps_unmatched = how == "left"
        self._right_outputs = right_outputs
        self._nulls_equal = nulls_equal
        self._wait = wait
        self._time = time
        self._table_is_bounded = table_is_bounded
        self._table_changes = table_changes
        # Keys are named by their place: the two sides have names of their own, and either may use a column twice.
        self._key_schema = pl.Schema({str(place): table_schema[name] for place, name in enumerate(right_on)})
        # A row that is taken back is known by all of its columns.
        outputs = [name for name, _ in right_outputs] or list(right_on[:1])
        self._kept = list(table_schema) if table_changes else list(dict.fromkeys(outputs))
        self._table = Table(self._key_schema, pl.Schema({name: table_schema[name] for name in self._kept}))
        self._waiting: WaitingRows | None = None
        self._timer_us: int | None = None
        self._watermark = WATERMARK_MIN
        self._stream_ended = False
        self._table_ended = False
        self._holds = False

    def open(self, context: OperatorContext) -> None:
        """Wait for the whole table, if it has an end."""
        self._context = context
        if self._table_is_bounded:
            context.hold(STREAM)
            self._holds = True

    def saved(self) -> dict[str, Any]:
        """See `Savable`."""
        none = None if self._waiting is None else pl.DataFrame(schema=self._waiting.schema)
        return {**super().saved(), "none": none}

    def restore(self, parts: dict[str, Any]) -> None:
        """See `Savable`."""
        if parts["none"] is not None:
            self._waiting = WaitingRows(self._key_schema, parts["none"].schema)
        super().restore(parts)
        self._let_in()

    def absorb(self, other: Self, mine: Mine) -> None:
        """See `Operator`."""
        self._table.absorb(other._table, mine)
        if other._waiting is not None:
            if self._waiting is None:
                self._waiting = WaitingRows(self._key_schema, other._waiting.schema)
            self._waiting.absorb(other._waiting, mine)
        self._watermark = other._watermark
        self._stream_ended, self._table_ended = other._stream_ended, other._table_ended
        self._let_in()
        self._settle()

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

    def on_watermark(self, time: int, out: Collector) -> None:
        """Let go the rows whose time is over; those that still wait hold the watermark back."""
        if time > self._watermark:  # else it is told again, after an idle time or a restart
            if self._waiting and self._time is not None and self._wait is not None:
                self._let_go(self._waiting.expire(time), out)
            self._watermark = time
        self._say(out)
        self._settle()

    def _say(self, out: Collector) -> None:
        """Say how far the stream has come, rows that wait included."""
        least = self._waiting.least_time if self._waiting and self._time is not None else None
        out.watermark(self._watermark if least is None else min(self._watermark, least))

    def on_split(self, port: int, status: SplitStatus, out: Collector) -> None:
        """Pass on what is said of the stream's splits, where no row that waits comes out of their order."""
        if port == STREAM and self._wait == 0:
            out.split_status(status)

    def state_size(self) -> StateSize:
        """The rows of the table, and those that wait."""
        table, waiting = self._table.size, self._waiting.size if self._waiting else NO_STATE
        return StateSize(table.rows + waiting.rows, table.bytes + waiting.bytes)

    def on_end(self, port: int, out: Collector) -> None:
        """After the stream's end only waiting rows matter; after the table's end none waits any more."""
        if port == STREAM:
            self._stream_ended = True
        else:
            self._table_ended = True
            self._let_in()
            if self._waiting:
                self._let_go(self._waiting.drain(), out)
                if self._time is not None and self._watermark > WATERMARK_MIN:
                    self._say(out)
        self._settle()

    def _let_in(self) -> None:
        """Read the stream, once a table that has an end has been read."""
        if self._holds and self._table_ended:
            self._context.release(STREAM)
            self._holds = False

    def _join(self, batch: Batch, out: Collector) -> None:
        """Emit the stream rows that met theirs, and decide about the others."""
        frame = batch.frame
        keys, joinable = self._stream_keys(frame)
        rows = self._table.lookup(keys)
        if joinable is not None:
            rows[~joinable] = -1
        found = rows >= 0
        leaving = found
        split = batch.split if self._wait == 0 else None
        if not found.all():
            waiting = ~found if joinable is None else ~found & joinable
            if self._wait == 0 or self._table_ended:
                waiting[:] = False
            if waiting.any():
                stays = as_index(np.flatnonzero(waiting))
                self._keep(keys[stays], frame[stays])
            leaving = ~waiting if self._keeps_unmatched else found
        if leaving.all():
            self._emit(frame, self._table.gather(rows), out, batch.positions, split)
        else:
            leaves = np.flatnonzero(leaving)
            self._emit(rows_at(frame, leaves), self._table.gather(rows[leaves]), out, split=split)

    def _update(self, frame: pl.DataFrame, out: Collector) -> None:
        """Take table rows, after the rows that waited for them have left."""
        keys = pl.DataFrame([frame[name].alias(str(place)) for place, name in enumerate(self._right_on)])
        if not self._nulls_equal and (null := any_null(keys)) is not None:
            keys, frame = keys.filter(~null), frame.filter(~null)
        rows = frame.select(self._kept)
        if self._waiting:
            self._expire(out)
        if not self._table_changes:
            self._meet(keys, rows, out)
            self._table.upsert(keys, rows)
            return
        weights = frame[WEIGHT].to_numpy()
        comes = pl.Series(weights > 0)
        self._meet(keys.filter(comes), rows.filter(comes), out)
        self._table.change(keys, rows, weights)

    def _meet(self, keys: pl.DataFrame, rows: pl.DataFrame, out: Collector) -> None:
        """Put out the stream rows that waited for one of these table rows, with the first one of their key."""
        if self._waiting:
            stream_rows, met = self._waiting.take(keys)
            if len(met):
                self._emit(_as_they_came(stream_rows), rows_at(rows, met), out)
                if self._watermark > WATERMARK_MIN:
                    self._say(out)

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
        if not self._nulls_equal and (null := any_null(keys)) is not None:
            joinable = ~null if joinable is None else joinable & ~null
        return keys, joinable

    def _keep(self, keys: pl.DataFrame, rows: pl.DataFrame) -> None:
        """Let stream rows wait."""
        # The hidden columns need not be in every batch.
        missing = {POSITION: POSITION_DTYPE, BEHIND: pl.Int64()}.items()
        rows = rows.with_columns(
            pl.lit(None, dtype).alias(name) for name, dtype in missing if name not in rows.columns
        )
        if self._waiting is None:
            self._waiting = WaitingRows(self._key_schema, rows.schema)
        if self._time is None:
            last = None if self._wait is None else self._context.clock.now_us() + self._wait - 1
            self._waiting.add(keys, rows, None if last is None else np.full(rows.height, last))
            return
        # A row without a time holds no watermark back, and none will let it go but the next.
        unknown = rows[self._time.column].is_null().to_numpy()
        times = np.where(unknown, WATERMARK_MAX, self._time.ticks(rows) * self._time.ns_per_tick)
        deadlines = None if self._wait is None else shifted(times, self._wait)
        if deadlines is not None:
            deadlines[unknown] = WATERMARK_MIN
        self._waiting.add(keys, rows, deadlines, times)

    def _expire(self, out: Collector) -> None:
        """Let go the rows whose time is over by the wall clock."""
        if self._waiting and self._time is None and self._wait is not None:
            self._let_go(self._waiting.expire(self._context.clock.now_us()), out)

    def _let_go(self, rows: pl.DataFrame, out: Collector) -> None:
        """The end of stream rows that met nothing."""
        if self._keeps_unmatched:
            self._emit(_as_they_came(rows), self._table.gather(np.full(rows.height, -1)), out)

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
        joined = left.hstack([right[name].alias(output) for name, output in self._right_outputs])
        if joined.height <= BATCH_ROWS_MAX:
            out.emit(Batch(joined, positions, split))
            return
        for part in joined.iter_slices(BATCH_ROWS_MAX):
            out.emit(Batch(part, split=split))

    def _settle(self) -> None:
        """Set the timer for what waits, and finish when nothing can come any more."""
        timer_us = None
        if self._waiting and self._time is None and (last := self._waiting.least_deadline) is not None:
            timer_us = last + 1
        if timer_us != self._timer_us:
            self._context.set_timer(timer_us)
            self._timer_us = timer_us
        self.finished = self._stream_ended and not self._waiting


def _as_they_came(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows that have waited, without the hidden columns in which there is nothing."""
    return rows.drop(name for name in (POSITION, BEHIND) if rows[name].null_count() == rows.height)
