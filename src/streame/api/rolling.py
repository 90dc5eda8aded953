"""Rolling windows: what the rows around each row come to."""

from collections.abc import Iterable
from datetime import timedelta
from functools import partial
from typing import Self

import polars as pl
from polars._typing import ClosedInterval, IntoExpr

from streame.api.handle import Handle
from streame.api.keyed_groups import KeyedGroups, event_time_of, keys_of
from streame.core.rolling import rolling_rule
from streame.errors import PlanError
from streame.plan.keyed import RollingAggregate

_VERB = "rolling"


class RollingVerbs(Handle):
    """Windows around each row."""

    __slots__ = ()

    def rolling(
        self,
        index_column: str | pl.Expr,
        *,
        period: str | timedelta,
        offset: str | timedelta | None = None,
        closed: ClosedInterval = "right",
        group_by: IntoExpr | Iterable[IntoExpr] | None = None,
        name: str | None = None,
    ) -> KeyedGroups[Self]:
        """Compute something of the rows in a stretch of time around each row: one row of results for each row.

        The window of a row at `t` is `(t - period, t]`, or `(t + offset, t + offset + period]`; `closed` says which of
        its ends belongs to it. Rows of equal time see each other, so a row is answered when the watermark has passed
        its time, and its window. One that is older than the watermark of its own split is in `.late`. In memory are the
        rows that a window may still hold.

        Args:
            index_column: the event time of the stream: a Datetime, a Date, an Int64 or an Int32.
            period: how long a window is: a duration as Polars writes it, with days and months of the calendar (`"1h"`,
                `"1mo"`), a timedelta, or `"10i"` for an integer column.
            offset: where a window begins, seen from its row; by default so that it ends at the row.
            closed: which of its ends belongs to a window.
            group_by: column names or row-wise expressions; the windows of every key hold its own rows.
            name: the name of the operator, unique in the job; derived from the time and the keys by default.

        Returns:
            The windows; `.agg(...)` or another method says what is computed of each. The result has the keys, the time
            column, and the results; its event time is the same.

        Raises:
            PlanError: when `index_column` is not the event time of the stream, a duration cannot be read or does not
                fit the column, a key is not row-wise, or the stream is a changes stream.

        Example:
            >>> from datetime import datetime
            >>> import polars as pl, streame as st
            >>> times = [datetime(2024, 1, 1, 12, minute) for minute in (0, 3, 6)]
            >>> orders = st.scan_frames([pl.DataFrame({"at": times, "qty": [2, 3, 5]})], event_time="at")
            >>> orders.rolling("at", period="5m").agg(pl.col("qty").sum()).collect()["qty"].to_list()
            [2, 5, 8]
        """
        time = event_time_of(self, index_column, where=_VERB)
        if time.is_ticks and time.dtype not in {pl.Int64, pl.Int32}:
            raise PlanError(f"{_VERB}: {time.column!r} is of dtype {time.dtype}; cast it to Int64 before")
        rule = rolling_rule(time, period=period, offset=offset, closed=closed, where=_VERB)
        keys = keys_of(self, group_by, (time.column,), where=_VERB)
        by = f" by {', '.join(key.name for key in keys)}" if keys else ""
        make = partial(RollingAggregate, name=name or f"{_VERB} {time.column}, {rule.text()}{by}", rule=rule)
        return KeyedGroups(self, _VERB, keys, (time.column,), make)
