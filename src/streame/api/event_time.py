"""Event time: which column says when a row happened, and how late rows may be."""

from datetime import timedelta
from typing import Self

from streame.api.handle import Handle
from streame.core.durations import duration_ticks, duration_us
from streame.core.time import EventTime, is_event_time
from streame.errors import PlanError
from streame.plan.nodes import SetEventTime
from streame.plan.splits import is_in_order


class EventTimeVerbs(Handle):
    """Declaring event time."""

    __slots__ = ()

    @property
    def event_time(self) -> str | None:
        """The column that says when a row happened; `None` where none was declared, or a verb has ended it."""
        time = self._node.event_time
        return None if time is None else time.column

    def with_event_time(
        self, column: str, *, watermark: str | timedelta | int = "0s", idle_timeout: str | timedelta = "30s"
    ) -> Self:
        """Say which column tells when a row happened, and how late a row may be.

        Verbs over time (windows, sessions, joins by time) go by this column, never by the wall clock. How far
        the stream has come is told by its watermark: of each split (a file, a partition) the largest time so far
        minus `watermark`, and of these the smallest. A row older than what its own split had reached just before it
        is late for the windows that have closed by then.

        Event time follows its column through `rename`, and ends where the column is dropped or computed anew.
        Declared behind sources, row-wise verbs, `concat` and joins with a table whose rows do not wait, each split
        counts for itself; behind any other verb all rows count as one split, and verbs above run in one task.

        Args:
            column: a Datetime, a Date, or an integer column whose ticks have no unit.
            watermark: how late a row may be: a duration such as `"10s"` or a timedelta; for an integer column a
                number of ticks, `10` or `"10i"`.
            idle_timeout: how long a split may give nothing, by the wall clock and while it is being read, before it
                is no longer waited for.

        Returns:
            The same rows. A row whose time is before 1700, after 2200 or more than 150 years ahead of 1970 and
            of all rows before it in its split is a bad row, treated as `on_error` of the source says; one without a time is
            bad only for the verbs that need one.

        Raises:
            PlanError: when the column does not exist or cannot be a time, a duration cannot be read, or rows stand
                behind each other by chance.

        Example:
            >>> from datetime import datetime
            >>> import polars as pl, streame as st
            >>> clicks = st.scan_frames([pl.DataFrame({"at": [datetime(2024, 1, 1, 12)], "user": ["ann"]})])
            >>> clicks.with_event_time("at", watermark="10s").rename({"at": "when"}).event_time
            'when'
        """
        self._require([column], "with_event_time")
        dtype = self.schema[column]
        if self._node.is_changes:
            raise PlanError(
                "with_event_time: rows of a changes stream are taken back and come again, in no order of time"
            )
        if not is_event_time(dtype):
            raise PlanError(
                f"with_event_time: {column} is of dtype {dtype}; event time is a Datetime, a Date or an integer "
                "column that fits into 64 bits; use cast, str.to_datetime or pl.from_epoch before"
            )
        if not is_in_order(self._node):
            raise PlanError(
                "with_event_time: behind concat the rows of a join, a grouping verb or twice the same source stand "
                "among others by chance, so it cannot be told which are late; declare event time on each part "
                "before concat"
            )
        delay = duration_ticks(watermark, EventTime(column, dtype), where="with_event_time: watermark")
        idle_us = duration_us(idle_timeout, where="with_event_time: idle_timeout")
        return self._with(SetEventTime(self._node, column, delay, idle_us))
