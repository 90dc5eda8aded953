"""In time: rows wait until no older one can come, and then come out in the order of time."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import polars as pl

from streame.core.hidden import BEHIND, POSITION
from streame.core.metrics import NO_STATE, StateSize
from streame.core.positions import POSITION_DTYPE
from streame.core.time import WATERMARK_MAX, EventTime, Ticks
from streame.state.rows import as_index, rows_at
from streame.state.snapshot import Mine, Savable
from streame.state.timeline import Timeline


class InTime(Savable):
    """Rows that wait for event time, in order of it; those of equal time stand in the order of their sources.

    Args:
        time: the event time of the rows.
    """

    SAVED = ("_waiting",)
    DERIVED = ("_columns",)

    def __init__(self, time: EventTime) -> None:
        self._time = time
        self._columns: list[str] = []
        self._waiting: Timeline | None = None

    def saved(self) -> dict[str, Any]:
        """See `Savable`."""
        none = None if self._waiting is None else pl.DataFrame(schema=self._waiting.schema)
        return {"_waiting": self._waiting, "none": none}

    def restore(self, parts: dict[str, Any]) -> None:
        """See `Savable`."""
        if parts["none"] is not None:
            self._begin(parts["none"]).restore(parts["_waiting"])

    def absorb(self, other: Self, keys: Sequence[str], mine: Mine) -> None:
        """Take the rows that wait elsewhere, as far as their keys are owned here.

        Args:
            other: where they wait.
            keys: the key columns.
            mine: says which keys are owned.
        """
        if other._waiting is None:
            return
        _, rows = other._waiting.whole()
        self.add(rows.filter(pl.Series(mine(rows.select(keys)))))

    @property
    def size(self) -> StateSize:
        """How many rows wait, and about how much memory they take."""
        return NO_STATE if self._waiting is None else self._waiting.size

    def add(self, frame: pl.DataFrame) -> None:
        """Let rows wait.

        Args:
            frame: rows that have a time; if the first ones carry positions, all may.
        """
        if BEHIND in frame.columns:
            frame = frame.drop(BEHIND)
        waiting = self._begin(frame) if self._waiting is None else self._waiting
        if frame.columns != self._columns:
            if POSITION not in frame.columns:
                frame = frame.with_columns(pl.lit(None, POSITION_DTYPE).alias(POSITION))
            frame = frame.select(self._columns)
        # The last of all times would never come.
        waiting.add(np.minimum(self._time.ticks(frame), WATERMARK_MAX - 1), frame)

    def _begin(self, frame: pl.DataFrame) -> Timeline:
        """Let rows of these columns wait from now on."""
        self._columns = frame.columns
        self._waiting = Timeline(frame.schema)
        return self._waiting

    def take(self, before: int) -> tuple[Ticks, pl.DataFrame]:
        """Take out the rows of earlier times than `before` in ticks, in order; and their times."""
        if self._waiting is None:
            return np.empty(0, np.int64), pl.DataFrame()
        times, rows = self._waiting.take(before)
        if POSITION not in rows.columns:
            return times, rows
        same = times[1:] == times[:-1]
        tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
        if not len(tied):
            return times, rows
        among = pl.DataFrame([pl.Series("time", times[tied]), rows[POSITION][as_index(tied)]])
        order = np.arange(len(times))
        order[tied] = tied[
            among.select(pl.arg_sort_by("time", POSITION, maintain_order=True)).to_series().to_numpy()
        ]
        return times, rows_at(rows, order)
