"""Session aggregation: the rows of each key that follow each other closely, said when a session closes or before."""

from collections.abc import Sequence
from typing import Self

import numpy as np
import polars as pl

from streame.core.aggregates import Aggregation
from streame.core.frames import frame_of
from streame.core.messages import BATCH_ROWS_MAX, Batch
from streame.core.metrics import StateSize
from streame.core.ordering import Slots
from streame.core.sessions import SessionRule
from streame.core.time import WATERMARK_MAX, WATERMARK_MIN, Ticks
from streame.runtime.admission import Admission, floors_of
from streame.runtime.emit import changes
from streame.runtime.operator import Collector, Operator, OperatorContext
from streame.runtime.preparation import Preparation
from streame.state.sessions import Sessions
from streame.state.shared_keys import SharedKeys
from streame.state.snapshot import Mine


class SessionOperator(Operator):
    """Adds rows to the sessions of their keys, which merge where a row bridges them.

    Args:
        rule: what sessions are, and when they are said.
        keys: the key columns.
        key_schema: the names and dtypes under which they come out.
        aggregation: what is computed for each session.
        admission: which rows are taken.
        preparation: prepares them for the aggregation.
    """

    SAVED = ("_sessions", "_index", "_watermark", "_timer_is_set")

    def __init__(
        self,
        rule: SessionRule,
        *,
        keys: Sequence[str],
        key_schema: pl.Schema,
        aggregation: Aggregation,
        admission: Admission,
        preparation: Preparation,
    ) -> None:
        self._rule = rule
        self._keys = keys
        self._admission = admission
        self._preparation = preparation
        self._sessions = Sessions(rule, aggregation)
        self._index = SharedKeys(key_schema, [self._sessions]) if keys else None
        self._watermark = WATERMARK_MIN
        self._timer_is_set = False

    def open(self, context: OperatorContext) -> None:
        """Remember the name and the clock."""
        self._context = context

    def absorb(self, other: Self, mine: Mine) -> None:
        """Take the sessions of the keys that are owned."""
        assert self._index is not None
        assert other._index is not None
        self._index.absorb(other._index, mine)
        self._watermark = max(self._watermark, other._watermark)
        self._timer_is_set |= other._timer_is_set

    def on_batch(self, port: int, batch: Batch, out: Collector) -> None:
        """Take rows, and say what has changed if that is wanted."""
        admitted = self._admission.run(batch, self._watermark, self._context, out)
        frame, rows = self._preparation.run(admitted, self._context, out)
        if not frame.height:
            return
        slots: Slots = np.zeros(frame.height, np.int32)
        if self._index is not None:
            slots = self._index.slots(frame.select(self._keys))
        times = self._rule.time.ticks(frame)
        self._sessions.add(slots, times, self._seen(frame, times), rows)
        match self._rule.emission:
            case "changes":
                self._say_changed(out)
            case "on_close" if self._rule.lateness:
                self._sessions.close(self._watermark)
                self._say_changed(out)
            case int(every_us) if not self._timer_is_set:
                self._timer_is_set = True
                self._context.set_timer(self._context.clock.now_us() + every_us)

    def on_timer(self, time_us: int, out: Collector) -> None:
        """Say what has changed since the last time."""
        self._timer_is_set = False
        self._say_changed(out)

    def on_watermark(self, time: int, out: Collector) -> None:
        """Close sessions, let those go that were kept, and say from when on sessions may come."""
        rule = self._rule
        watermark = rule.time.to_ticks(time)
        if watermark != self._watermark:
            self._advance(watermark, out)
        out.watermark(WATERMARK_MAX if time == WATERMARK_MAX else rule.time.from_ticks(self._least))

    def state_size(self) -> StateSize:
        """Sessions and their keys."""
        return self._sessions.size if self._index is None else self._index.size

    @property
    def _least(self) -> int:
        """The least end that may still be said or taken back.

        The next session to close ends later than a gap ago, and none is taken back that ended a lateness earlier.
        """
        return self._watermark - self._rule.gap - self._rule.lateness + 1

    def _advance(self, watermark: int, out: Collector) -> None:
        """Close sessions, and let those go that were kept."""
        rule = self._rule
        self._watermark = watermark
        closed = self._sessions.close(self._watermark)
        if not rule.is_changes:
            for start in range(0, len(closed), BATCH_ROWS_MAX):
                slots, rows = self._sessions.results(closed[start : start + BATCH_ROWS_MAX])
                _emit(frame_of([*self._keys_of(slots).get_columns(), *rows.get_columns()]), out)
        elif isinstance(rule.emission, int):  # an earlier end cannot wait for the timer to be taken back
            self._say_changed(out, self._least)
        elif len(closed):
            self._say_changed(out)
        self._sessions.expire(self._watermark)
        if self._index is not None:
            self._index.settle()
        else:
            self._sessions.settle()

    def _seen(self, frame: pl.DataFrame, times: Ticks) -> Ticks:
        """When the rows were seen: at their times, or when sessions of their times began to close."""
        floors = floors_of(frame, self._rule.time, self._watermark, self._rule.lateness)
        return times if floors is None else np.maximum(times, floors)

    def _say_changed(self, out: Collector, said_before: int | None = None) -> None:
        """Take back what was said of sessions, and say what they are now; see `Sessions.take_changed`."""
        changed = self._sessions.take_changed(said_before)
        keys = self._keys_of(changed.slots)
        _emit(changes(keys, changed.old, changed.new, changed.was, changed.now), out)

    def _keys_of(self, slots: Slots) -> pl.DataFrame:
        """The keys of these slots."""
        return pl.DataFrame() if self._index is None else self._index.keys(slots)


def _emit(rows: pl.DataFrame, out: Collector) -> None:
    for part in rows.iter_slices(BATCH_ROWS_MAX):
        if part.height:
            out.emit(Batch(part))
