"""Windows over event time: groups of the rows that happened in the same stretch of time."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal, Self

import polars as pl
from polars._typing import ClosedInterval, IntoExpr, Label

from streame.api.group_aggregates import Frame, GroupAggregates
from streame.api.grouping import with_key_columns
from streame.api.handle import Handle
from streame.api.now import Now
from streame.api.refused import RefusedVerbError
from streame.core.aggregate_arguments import parse_aggregates
from streame.core.aggregates import split_aggregates
from streame.core.durations import duration_ticks
from streame.core.emission import Emission, parse_emission
from streame.core.expressions import NamedExpr, is_column, parse_exprs
from streame.core.hashing import check_key_dtypes
from streame.core.time import EventTime
from streame.core.user_aggregates import IntoAggregate
from streame.core.windows import WINDOW_ENDS, WindowRule, window_rule
from streame.errors import PlanError
from streame.plan.clock_time import ClockTime
from streame.plan.windows import WindowAggregate

_VERB = "group_by_dynamic"


class WindowGroups(GroupAggregates[Frame]):
    """The rows of a stream by windows and keys; made by `StreamDataFrame.group_by_dynamic`.

    Each of its methods gives a stream with the key columns, the ends of the window if they were asked for, the
    window's label in the place of the time column, and the results: one row for each window and key that has rows.

    Example:
        >>> from datetime import datetime
        >>> import polars as pl, streame as st
        >>> times = [datetime(2024, 1, 1, 12, minute) for minute in (0, 1, 6)]
        >>> clicks = st.scan_frames([pl.DataFrame({"at": times, "page": ["a", "a", "b"]})], event_time="at")
        >>> clicks.group_by_dynamic("at", every="5m", group_by="page").len().collect()["len"].to_list()
        [2, 1]
    """

    __slots__ = ("_emission", "_frame", "_include_boundaries", "_keys", "_lateness", "_name", "_rule")

    def __init__(
        self,
        frame: Frame,
        keys: tuple[NamedExpr, ...],
        rule: WindowRule,
        emission: Emission,
        lateness: int,
        name: str | None,
        *,
        include_boundaries: bool,
    ) -> None:
        self._frame = frame
        self._keys = keys
        self._rule = rule
        self._emission = emission
        self._lateness = lateness
        self._name = name
        self._include_boundaries = include_boundaries

    def agg(self, *aggs: IntoAggregate | Iterable[IntoAggregate], **named_aggs: IntoAggregate) -> Frame:
        """Compute aggregates of each group.

        Args:
            *aggs: aggregation expressions, as in Polars; a string is a column name, and a selector leaves the keys and
                the time column out.
            **named_aggs: aggregation expressions with the name under which they come out.

        Returns:
            The keys, the ends of the window if they were asked for, its label, then the results. Event time is the
            label.

        Raises:
            PlanError: when a column does not exist, an expression cannot be computed, or two outputs have one name.

        Example:
            >>> from datetime import datetime
            >>> import polars as pl, streame as st
            >>> times = [datetime(2024, 1, 1, 12, minute) for minute in (0, 1, 6)]
            >>> orders = st.scan_frames([pl.DataFrame({"at": times, "qty": [2, 3, 5]})], event_time="at")
            >>> totals = orders.group_by_dynamic("at", every="5m").agg(pl.col("qty").sum(), n=pl.len())
            >>> totals.collect().select("qty", "n").rows()
            [(5, 2), (5, 1)]
        """
        return self._agg("agg", aggs, named_aggs)

    def __getattr__(self, name: str) -> Any:
        reason = _REFUSED.get(name)
        if reason is None:
            raise AttributeError(f"WindowGroups has no method {name!r}")
        raise RefusedVerbError(f"{name} of a group_by_dynamic is refused: {reason}")

    def _agg(self, verb: str, aggs: Sequence[Any], named_aggs: Mapping[str, Any]) -> Frame:
        frame, keys = with_key_columns(self._frame, self._keys)
        schema, time = self._frame.schema, self._rule.time
        names = [name for _, name in keys]
        taken = [*names, *(WINDOW_ENDS if self._include_boundaries else ()), time.column]
        parsed = parse_aggregates(aggs, named_aggs, schema, taken, where=verb)
        if not parsed:
            raise PlanError(f"{verb}: give at least one aggregate, such as pl.len()")
        computed: tuple[NamedExpr, ...] = parsed
        if self._rule.label == "datapoint":
            computed = (NamedExpr(time.column, pl.col(time.column).min(), time.dtype), *parsed)
        by = f" by {', '.join(names)}" if names else ""
        node = WindowAggregate(
            name=self._name or f"{_VERB} {time.column}, {self._rule.text()}{by}",
            input=frame.node,
            keys=keys,
            computed_keys=tuple(column for column, _ in keys if column not in schema),
            rule=self._rule,
            aggs=parsed,
            aggregation=split_aggregates(computed, schema, where=verb, taken_back=frame.node.is_changes),
            include_boundaries=self._include_boundaries,
            emission=self._emission,
            lateness=self._lateness,
        )
        return frame._with(node)


class WindowVerbs(Handle):
    """Grouping by windows over event time."""

    __slots__ = ()

    def group_by_dynamic(
        self,
        index_column: str | pl.Expr | Now,
        *,
        every: str | timedelta,
        period: str | timedelta | None = None,
        offset: str | timedelta | None = None,
        include_boundaries: bool = False,
        closed: ClosedInterval = "left",
        label: Label = "left",
        group_by: IntoExpr | Iterable[IntoExpr] | None = None,
        start_by: Literal["window"] = "window",
        cumulate: str | timedelta | None = None,
        emit: str | timedelta = "on_close",
        lateness: str | timedelta | int = "0s",
        name: str | None = None,
    ) -> WindowGroups[Self]:
        """Put the rows of the same window of event time together, to compute something of each window.

        The windows are those of Polars, with one difference where they overlap (`period` longer than `every`): a row
        belongs to every window that contains it, also to those that begin before the first row of its group. In a
        time zone windows start where `dt.truncate` puts its rows, also on days on which the clock is changed, and
        one that lasts until the next starts is longer or shorter then.

        A window closes when the watermark has passed its end; rows that come later still are in `.late`. In memory
        are the groups of the windows that are open, and of those that are kept for `lateness`.

        Args:
            index_column: the event time of the stream: a Datetime, a Date, an Int64 or an Int32. `st.now()` makes
                windows of the time in which rows come, which close by the wall clock.
            every: how far the starts of windows are apart: a duration as Polars writes it, with days and months of
                the calendar (`"1h"`, `"1d"`, `"1mo"`), a timedelta, or `"10i"` for an integer column.
            period: how long a window is; until the next one starts by default.
            offset: how far all starts are moved.
            include_boundaries: put `_lower_boundary` and `_upper_boundary` out, the ends of the window.
            closed: which of its ends belongs to a window.
            label: what stands in the place of the time column: the left or the right end of the window, or its
                first `datapoint`.
            group_by: column names or row-wise expressions; groups of each window.
            start_by: only `"window"`; other starts depend on the first row.
            cumulate: windows that grow: all start where a window of `cumulate` would, and one ends after every
                `every`. `every="1h", cumulate="1d"` is each day up to one o'clock, up to two, and so on. Needs
                `label="right"`, or `include_boundaries`: all windows of a day have the same left end.
            emit: when a result is said. `"on_close"`: once, when the window closes. `"changes"`: with every batch
                that changes it, the old row taken back and the new one said. `"10s"` or another duration: as often
                at most, by the wall clock, and when the window closes.
            lateness: for how long, in event time, a window that has closed is kept for late rows; with every batch
                of them the old row is taken back and the new one said.
            name: the name of the operator, unique in the job; derived from the windows by default.

        Returns:
            The groups; `.agg(...)` or another method says what is computed of each. With `emit` other than `on_close`
            or a `lateness` the result is a changes stream.

        Raises:
            PlanError: when `index_column` is not the event time of the stream, a duration cannot be read or does not
                fit the column, a row would be in more than 10,000 windows, or a key is not row-wise.

        Example:
            >>> from datetime import datetime
            >>> import polars as pl, streame as st
            >>> times = [datetime(2024, 1, 1, 12, minute) for minute in (0, 1, 6)]
            >>> clicks = st.scan_frames([pl.DataFrame({"at": times, "page": ["a", "a", "b"]})], event_time="at")
            >>> counts = clicks.group_by_dynamic("at", every="5m", group_by="page").agg(n=pl.len())
            >>> counts.collect().select("page", "n").rows()
            [('a', 2), ('b', 1)]
        """
        if start_by != "window":
            raise PlanError(
                f"{_VERB}: start_by={start_by!r} is not possible: it depends on the first row, and a stream may "
                "still get an earlier one; use offset"
            )
        time = self._time_of(index_column)
        rule = window_rule(
            time,
            every=every,
            period=period,
            offset=offset,
            closed=closed,
            label=label,
            cumulate=cumulate,
            where=_VERB,
        )
        if cumulate is not None and label == "left" and not include_boundaries:
            raise PlanError(
                f"{_VERB}: all windows of one {rule.text()} have the same left end, and could not be told apart; use "
                'label="right" or include_boundaries=True'
            )
        given = [] if group_by is None else [group_by]
        keys = parse_exprs(given, {}, self.schema, where=f"{_VERB}: group_by")
        check_key_dtypes(pl.Schema({key.name: key.dtype for key in keys}), _VERB)
        # Refuses what is not row-wise, before any method of the groups is called.
        with_key_columns(self, keys, _VERB)
        taken = [time.column, *(WINDOW_ENDS if include_boundaries else ())]
        for key in keys:
            if key.name in taken:
                raise PlanError(
                    f"{_VERB}: the key {key.name!r} has the name of a window's column; rename it with .alias"
                )
        scale = time.ns_per_tick // rule.calendar.ns_per_tick
        return WindowGroups(
            self._with(ClockTime(self._node, rule)) if isinstance(index_column, Now) else self,
            keys,
            rule,
            parse_emission(emit, where=_VERB),
            duration_ticks(lateness, time, where=f"{_VERB}: lateness") * scale,
            name,
            include_boundaries=include_boundaries,
        )

    def _time_of(self, index_column: str | pl.Expr | Now) -> EventTime:
        """The event time, if that is what the column is."""
        if isinstance(index_column, Now):
            return self._clock_time(index_column)
        column = is_column(index_column) if isinstance(index_column, pl.Expr) else index_column
        if not isinstance(column, str):
            raise PlanError(
                f"{_VERB}: index_column must be a column, or st.now(); compute it with with_columns before"
            )
        self._require([column], _VERB)
        time = self._node.event_time
        if time is None or time.column != column:
            found = "the stream has none" if time is None else f"that is {time.column!r}"
            raise PlanError(
                f"{_VERB}: windows close by event time, and {found}; declare {column!r} before with "
                f".with_event_time({column!r}, watermark=...), or at the source with event_time={column!r}"
            )
        if time.is_ticks and time.dtype not in {pl.Int64, pl.Int32}:
            raise PlanError(f"{_VERB}: {column!r} is of dtype {time.dtype}; cast it to Int64 before")
        return time

    def _clock_time(self, index_column: Now) -> EventTime:
        """The time of the wall clock, if it can stand beside the rows."""
        if self._node.is_changes:
            raise PlanError(
                f"{_VERB}: a row of a changes stream would be taken back in another window than it came in; use the "
                "event time of the stream"
            )
        if index_column.name in self.schema:
            raise PlanError(
                f"{_VERB}: there is a column {index_column.name!r} already; give the windows another name, as in "
                'st.now("at")'
            )
        return index_column.time


_REFUSED = {
    "having": "filter the result",
    "head": "which rows of a group are the first depends on the order in which splits are read; use top_k",
    "map_groups": "it needs all rows of a group at once; use agg",
    "tail": "which rows of a group are the last depends on the order in which splits are read; use top_k",
}
