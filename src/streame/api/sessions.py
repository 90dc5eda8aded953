"""Sessions: rows of a key that follow each other closely."""

from collections.abc import Iterable
from datetime import timedelta
from functools import partial
from typing import Self

import polars as pl
from polars._typing import IntoExpr

from streame.api.handle import Handle
from streame.api.keyed_groups import KeyedGroups, event_time_of, keys_of
from streame.core.durations import duration_ticks
from streame.core.emission import parse_emission
from streame.core.sessions import END, START, SessionRule
from streame.errors import PlanError
from streame.plan.keyed import SessionAggregate

_VERB = "group_by_session"


class SessionVerbs(Handle):
    """Grouping by sessions."""

    __slots__ = ()

    def group_by_session(
        self,
        time: str | pl.Expr,
        *,
        gap: str | timedelta | int,
        group_by: IntoExpr | Iterable[IntoExpr] | None = None,
        emit: str | timedelta = "on_close",
        lateness: str | timedelta | int = "0s",
        name: str | None = None,
    ) -> KeyedGroups[Self]:
        """Put the rows of a key that follow each other closely together, to compute something of each session.

        A row that comes `gap` or more after the row before it begins a new session. Rows need not come in order: one
        that fits between two sessions makes them one. A session closes when the watermark is `gap` after its last row;
        in memory are the sessions that are open, and those that are kept for `lateness`.

        A row is late, and in `.late`, if a session of its own would have closed when its own split had come so far: if
        it is older than the watermark by `gap` or more. One that is older by less counts, but does not reach back to a
        session that had closed before it came.

        Args:
            time: the event time of the stream.
            gap: how long after a row the next one begins a new session; for an integer column a number of ticks.
            group_by: column names or row-wise expressions; every key has sessions of its own.
            emit: when a result is said. `"on_close"`: once, when the session closes. `"changes"`: with every batch
                that changes it, the old row taken back and the new one said. `"10s"` or another duration: as often
                at most, by the wall clock, and when the session closes.
            lateness: for how long, in event time, a session that has closed is kept for late rows; with every batch
                of them the old row is taken back and the new one said.
            name: the name of the operator, unique in the job; derived from the time and the keys by default.

        Returns:
            The groups; `.agg(...)` or another method says what is computed of each. The result has the keys, `start`
            and `end` (the times of the first and the last row), and the results. Its event time is `end`. With `emit`
            other than `on_close` or a `lateness` it is a changes stream.

        Raises:
            PlanError: when `time` is not the event time of the stream, a duration cannot be read, a key is not
                row-wise, or the stream is a changes stream.

        Example:
            >>> from datetime import datetime
            >>> import polars as pl, streame as st
            >>> times = [datetime(2024, 1, 1, 12, minute) for minute in (0, 10, 50)]
            >>> clicks = st.scan_frames([pl.DataFrame({"at": times, "user": ["ann"] * 3})], event_time="at")
            >>> visits = clicks.group_by_session("at", gap="30m", group_by="user").agg(clicks=pl.len())
            >>> visits.collect().select("user", pl.col("start", "end").dt.to_string("%H:%M"), "clicks").rows()
            [('ann', '12:00', '12:10', 2), ('ann', '12:50', '12:50', 1)]
        """
        event_time = event_time_of(self, time, where=_VERB)
        keys = keys_of(self, group_by, (START, END), where=_VERB)
        rule = SessionRule(
            event_time,
            gap=duration_ticks(gap, event_time, where=f"{_VERB}: gap"),
            lateness=duration_ticks(lateness, event_time, where=f"{_VERB}: lateness"),
            emission=parse_emission(emit, where=_VERB),
        )
        if not rule.gap:
            raise PlanError(f"{_VERB}: gap={gap!r} makes every row a session; give one above zero")
        by = f" by {', '.join(key.name for key in keys)}" if keys else ""
        make = partial(SessionAggregate, name=name or f"{_VERB} {event_time.column}{by}", rule=rule)
        return KeyedGroups(self, _VERB, keys, (START, END), make)
