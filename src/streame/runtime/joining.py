"""What the operators that join two streams have in common."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl

from streame.core.frames import frame_of, picked
from streame.core.hidden import BEHIND, user_frame
from streame.core.joining import JoinKeys, late_columns
from streame.core.messages import BATCH_ROWS_MAX, Batch
from streame.core.time import WATERMARK_MAX, WATERMARK_MIN, EventTime, Mask, Ticks
from streame.runtime.operator import Collector
from streame.state.shared_keys import OneKey, SharedKeys, Store
from streame.state.snapshot import Savable

LEFT, RIGHT = 0, 1


@dataclass(frozen=True, slots=True)
class JoinSide:
    """One input of a join.

    Args:
        schema: its columns.
        kept: those that come out, or that stand for the row where none does.
        time: its event time, if the join goes by it.
        unit: how many of the engine's units of time the join's unit is.
    """

    schema: pl.Schema
    kept: tuple[str, ...]
    time: EventTime | None = None
    unit: int = 1

    @property
    def kept_schema(self) -> pl.Schema:
        """The dtypes of what is kept."""
        return pl.Schema({name: self.schema[name] for name in self.kept})

    def times(self, frame: pl.DataFrame) -> Ticks:
        """The times of rows in the join's unit; of an unknown time 0."""
        if self.time is None:
            return np.zeros(frame.height, np.int64)
        ticks = self.time.ticks(frame)
        scale = self.time.ns_per_tick // self.unit
        return ticks if scale == 1 else ticks * scale

    def unknown(self, frame: pl.DataFrame) -> Mask | None:
        """Which rows have no time, although the join goes by it; `None` where none has none."""
        if self.time is None or not frame[self.time.column].null_count():
            return None
        return frame[self.time.column].is_null().to_numpy()


class Arrived(NamedTuple):
    """Rows of one side that have come.

    Args:
        frame: those that may find a match, with their hidden columns.
        times: their times in the join's unit; 0 where the join does not go by time.
        keys: their keys.
        alone: those that can match nothing: they have no time, or a null in their key.
    """

    frame: pl.DataFrame
    times: Ticks
    keys: pl.DataFrame
    alone: pl.DataFrame


class Intake(Savable):
    """Takes the rows of both sides, and puts aside those that are late or can match nothing.

    Args:
        sides: both sides.
        keys: what must be equal.
    """

    SAVED = ("watermark",)

    def __init__(self, sides: tuple[JoinSide, JoinSide], keys: JoinKeys) -> None:
        self._sides = sides
        self._keys = keys
        self._kept = [list(side.kept) for side in sides]
        self._late = late_columns(sides[LEFT].schema, sides[RIGHT].schema)
        self.watermark = WATERMARK_MIN

    def take(self, port: int, frame: pl.DataFrame, out: Collector) -> Arrived:
        """Sort out rows.

        Args:
            port: the side that they are of.
            frame: the rows.
            out: where late rows go.
        """
        side = self._sides[port]
        times, unknown = side.times(frame), side.unknown(frame)
        late = self._are_late(frame, times, unknown) if side.time is not None else None
        if late is not None:
            rows = user_frame(rows_where(frame, late))
            out.late(self._late.frame(rows, None) if port == LEFT else self._late.frame(None, rows))
            frame, times = rows_where(frame, ~late), times[~late]
            unknown = None if unknown is None else unknown[~late]
        keys = self.keys(port, frame)
        alone = None if self._keys.nulls_equal or not self._keys.left else any_null(keys)
        if unknown is not None:
            alone = unknown if alone is None else alone | unknown
        if alone is None:
            return Arrived(frame, times, keys, frame.clear())
        kept = ~alone
        return Arrived(rows_where(frame, kept), times[kept], rows_where(keys, kept), rows_where(frame, alone))

    def keys(self, port: int, frame: pl.DataFrame) -> pl.DataFrame:
        """The keys of rows, in the dtypes that both sides have in common and with names by their place.

        Where there are no key columns, the rows themselves.
        """
        names = self._keys.left if port == LEFT else self._keys.right
        if not names:
            return frame
        pairs = zip(self._keys.schema.items(), map(frame.get_column, names), strict=True)
        return frame_of(
            [
                (column if column.dtype == dtype else column.cast(dtype)).alias(place)
                for (place, dtype), column in pairs
            ]
        )

    def rows(self, port: int, frame: pl.DataFrame) -> pl.DataFrame:
        """What is kept of rows."""
        return picked(frame, self._kept[port])

    def _are_late(self, frame: pl.DataFrame, times: Ticks, unknown: Mask | None) -> Mask | None:
        """Which rows are behind their own split's watermark, or behind that of all; `None` where none is."""
        late: Mask | None = None
        if BEHIND in frame.columns:
            late = frame[BEHIND].is_not_null().to_numpy()
        if len(times) and int(times.min()) < self.watermark:
            older = times < self.watermark
            late = older if late is None else late | older
        if late is not None and unknown is not None:
            late &= ~unknown
        return None if late is None or not late.any() else late


def shared_keys(keys: JoinKeys, stores: Sequence[Store]) -> SharedKeys:
    """The slots of the keys of a join, for what it keeps."""
    return SharedKeys(keys.schema, stores) if keys.left else OneKey(stores)


def shifted(times: Ticks, by: int) -> Ticks:
    """Times moved by a duration; those beyond 64 bits stay at the end, still before the end of the stream."""
    if by >= 0:
        return np.minimum(times, WATERMARK_MAX - 1 - by) + by
    return np.maximum(times, WATERMARK_MIN + 1 - by) + by


def rows_where(frame: pl.DataFrame, mask: Mask) -> pl.DataFrame:
    """The rows for which a mask is true."""
    return frame.filter(pl.Series(mask))


def send(frame: pl.DataFrame, out: Collector) -> None:
    """Put rows out, if there are any, in batches of the usual size."""
    if frame.height <= BATCH_ROWS_MAX:
        if frame.height:
            out.emit(Batch(frame))
        return
    for part in frame.iter_slices(BATCH_ROWS_MAX):
        out.emit(Batch(part))


def any_null(keys: pl.DataFrame) -> Mask | None:
    """Which keys have a null in any column; `None` where no key has."""
    columns = [column for column in keys.get_columns() if column.null_count()]
    if not columns:
        return None
    null: Mask = np.logical_or.reduce([column.is_null().to_numpy() for column in columns])
    return null
