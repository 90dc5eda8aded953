"""Joins: with a table, by equal keys, by an interval of event time, and as of a time."""

from datetime import timedelta
from enum import Enum
from typing import Literal, Self

from polars._typing import JoinBuildSide, JoinValidation, MaintainOrderJoin

from streame.api.handle import Handle
from streame.api.join_keys import Keys, both_keys, both_times, check_same_clock, source_names
from streame.api.table import StreamTable, table_join
from streame.core.durations import countable, difference, duration_us
from streame.core.joining import JOIN_HOWS, JoinHow, asof_columns, join_columns, join_keys
from streame.core.time import EventTime
from streame.errors import PlanError
from streame.plan.joins import AsofJoin, AsofStrategy, IntervalJoin, StreamJoin
from streame.plan.nodes import Node


class Missing(Enum):
    """Stands for an argument that was not given, where `None` means something."""

    MISSING = "not given"


Ttl = str | timedelta | int | None | Literal[Missing.MISSING]
Names = tuple[tuple[str, ...], tuple[str, ...]]


class JoinVerbs(Handle):
    """Joining a stream with a table or with another stream."""

    __slots__ = ()

    def join(
        self,
        other: "StreamTable | JoinVerbs",
        on: Keys | None = None,
        how: JoinHow = "inner",
        *,
        left_on: Keys | None = None,
        right_on: Keys | None = None,
        suffix: str = "_right",
        validate: JoinValidation = "m:m",
        nulls_equal: bool = False,
        coalesce: bool | None = None,
        maintain_order: MaintainOrderJoin | None = None,
        build_side: JoinBuildSide = "auto",
        allow_parallel: bool = True,
        force_parallel: bool = False,
        wait: str | timedelta | int | None = "0s",
        ttl: Ttl = Missing.MISSING,
        name: str | None = None,
    ) -> Self:
        """Join every row with the rows of the same key of a table or of another stream.

        With a table (`as_table`) each row meets the table's latest row of its key. A bounded table is read whole
        before the first row of the stream. Otherwise a row meets what the table holds at that moment, so the
        result depends on the order in which the two sides arrive.

        With a stream each row meets all rows of its key, whenever they come; both sides are kept in memory for
        `ttl`. Either side may be a changes stream: then what a row was joined with is taken back with it. Unless
        `how` is `"inner"`, the result is a changes stream too: a row without a match is said at once, and taken
        back when one comes. Where the event time of both sides is among the keys, as when two windowed streams are
        joined on window and key, the watermark says when a row can find no match any more; `ttl` is not needed then,
        and a row without a match comes out when that is known, so the result is no changes stream.

        Args:
            other: the table or the stream; may be this stream itself.
            on: the key columns where both sides call them the same; by default the table's key.
            how: `"inner"` or `"left"`; with a stream also `"right"`, `"full"`, `"semi"` or `"anti"`.
            left_on: the key columns of this stream.
            right_on: the key columns of the other side; of a table its key.
            suffix: added to a column of the other side whose name the stream has too.
            validate: only `"m:m"`: whether a key comes once is not known while rows keep coming.
            nulls_equal: whether a null key matches a null key; a null event time never matches.
            coalesce: as in Polars; `False` keeps the key columns of both sides.
            maintain_order: only `None` and `"none"`: rows come out when both sides are there.
            build_side: has no effect, as `allow_parallel` and `force_parallel`.
            allow_parallel: has no effect.
            force_parallel: has no effect.
            wait: for a table: how long a row waits for a table row that has not come yet, in event time if the
                stream has one, else by the wall clock; `None` for as long as the job runs. Then it is dropped
                (`inner`) or put out with nulls (`left`). Waiting rows are kept in memory.
            ttl: for a stream: how long a row is kept. If both sides have an event time, rows meet only if their
                times differ by no more than that; otherwise it goes by the wall clock, from when a row came. `None`
                keeps all rows for ever, and must be spelt out.
            name: the name of the operator, unique in the job; derived from the keys by default.

        Returns:
            The columns of Polars' join. With a table, rows of one key keep their order, but for those that waited.

        Raises:
            PlanError: when columns are missing, dtypes differ, an argument does not fit, or `ttl` is missing.

        Example:
            >>> import polars as pl, streame as st
            >>> flights = st.scan_frames([pl.DataFrame({"carrier": ["UA", "XX"], "delay": [5, 7]})])
            >>> airlines = st.scan_frames([pl.DataFrame({"carrier": ["UA"], "name": ["United"]})], name="airlines")
            >>> flights.join(airlines.as_table("carrier"), on="carrier").collect().to_dicts()
            [{'carrier': 'UA', 'delay': 5, 'name': 'United'}]
            >>> flights.join(airlines, on="carrier", how="anti", ttl=None).collect().to_dicts()
            [{'carrier': 'XX', 'delay': 7}]
        """
        if validate != "m:m":
            raise PlanError(
                f"join: validate={validate!r} is not possible: whether a key comes once is not known while rows keep "
                "coming; use unique(key) before, or other.as_table(key) for the latest row of each key"
            )
        if maintain_order not in {None, "none"}:
            raise PlanError(
                f"join: maintain_order={maintain_order!r} is not possible: rows come out when both sides are there; sort "
                "the result"
            )
        if isinstance(other, StreamTable):
            if ttl is not Missing.MISSING:
                raise PlanError("join: ttl is for two streams; of a table the latest row of each key is kept")
            node = table_join(
                self._node, other, (on, left_on, right_on), how,
                suffix=suffix, nulls_equal=nulls_equal, coalesce=coalesce, wait=wait, name=name,
            )  # fmt: skip
            return self._with(node)
        right = _stream(other, "join")
        _check_how(how, "join")
        if wait != "0s":
            raise PlanError(
                "join: wait is for a table; with a stream give ttl, the time for which rows are kept"
            )
        names = both_keys(on, left_on, right_on, (self.schema, right.schema), verb="join")
        if not names[0]:
            raise PlanError("join: give the key columns with on, or with left_on and right_on")
        columns = join_columns(
            self.schema, right.schema, names, how, suffix=suffix, coalesce=coalesce, verb="join"
        )
        keys = join_keys(self.schema, right.schema, names, nulls_equal=nulls_equal, verb="join")
        name = name or _join_name("join", right, names)
        within = _without_times(self._node, right, names)
        if within is None:
            kept = _ttl(ttl, self._node, right)
            return self._with(StreamJoin(name, self._node, right, keys, columns, how, kept))
        if ttl is not Missing.MISSING:
            raise PlanError(
                "join: event time is among the keys, so the watermark says how long rows are kept; leave ttl out"
            )
        if self._node.is_changes or right.is_changes:
            return self._with(StreamJoin(name, self._node, right, keys, columns, how, 0))
        if within[0]:
            keys = join_keys(self.schema, right.schema, within, nulls_equal=nulls_equal, verb="join")
        return self._with(IntervalJoin(name, self._node, right, keys, columns, how, 0, 0, "join"))

    def join_interval(
        self,
        other: "JoinVerbs",
        on: Keys | None = None,
        how: JoinHow = "inner",
        *,
        left_on: Keys | None = None,
        right_on: Keys | None = None,
        lower: str | timedelta | int,
        upper: str | timedelta | int,
        suffix: str = "_right",
        nulls_equal: bool = False,
        coalesce: bool | None = None,
        name: str | None = None,
    ) -> Self:
        """Join rows of two streams whose event times lie within a bound of each other.

        A left and a right row meet if their keys are equal and the right row's time is from `lower` to `upper`
        after the left row's, both included: `lower <= right time - left time <= upper`. A pair comes out as soon as
        both rows are there; a row without a match, where such rows count, as soon as the watermark says that
        none can come. In memory are the rows that may still find a match.

        A row that is older than the watermark of its own split is late: it is joined with nothing and goes to
        `.late`. A row without a time matches nothing.

        Args:
            other: the right side; may be this stream itself.
            on: the key columns where both sides call them the same; without keys only the times count.
            how: `"inner"`, `"left"`, `"right"`, `"full"`, `"semi"` or `"anti"`.
            left_on: the key columns of this stream.
            right_on: the key columns of the other stream.
            lower: the least time from a left row to a right row: a duration such as `"-5m"`, or a timedelta; for
                integer event times a number of ticks.
            upper: the largest time from a left row to a right row.
            suffix: added to a column of the other stream whose name this stream has too.
            nulls_equal: whether a null key matches a null key.
            coalesce: whether the key columns become one, as in `join`.
            name: the name of the operator, unique in the job; derived from the keys by default.

        Returns:
            The columns of Polars' join on the keys. Event time is that of the left side, for `how="right"` that
            of the right side; behind `how="full"` there is none.

        Raises:
            PlanError: when a side has no event time or is a changes stream, columns are missing, or arguments do
                not fit.

        Example:
            >>> from datetime import datetime
            >>> import polars as pl, streame as st
            >>> def at(minute: int) -> datetime:
            ...     return datetime(2024, 1, 1, 12, minute)
            >>> ads = pl.DataFrame({"seen": [at(0), at(5)], "user": ["ann", "bob"]})
            >>> buys = pl.DataFrame({"at": [at(7), at(20)], "user": ["bob", "ann"], "cents": [5, 8]})
            >>> seen, bought = (
            ...     st.scan_frames([rows], name=name).with_event_time(time)
            ...     for rows, name, time in ((ads, "ads", "seen"), (buys, "buys", "at"))
            ... )
            >>> joined = seen.join_interval(bought, on="user", lower="0s", upper="10m", how="left")
            >>> joined.collect().select("user", "cents").sort("user").rows()
            [('ann', None), ('bob', 5)]
        """
        right = _stream(other, "join_interval")
        _check_how(how, "join_interval")
        times = both_times(self._node, right, verb="join_interval")
        names = both_keys(on, left_on, right_on, (self.schema, right.schema), verb="join_interval")
        keys = join_keys(self.schema, right.schema, names, nulls_equal=nulls_equal, verb="join_interval")
        columns = join_columns(
            self.schema, right.schema, names, how, suffix=suffix, coalesce=coalesce, verb="join_interval"
        )
        low, high = (
            difference(bound, times[0], where=f"join_interval: {word}")
            for bound, word in ((lower, "lower"), (upper, "upper"))
        )
        if low > high:
            raise PlanError(
                f"join_interval: no time is from lower={lower!r} to upper={upper!r}; lower is the lesser one"
            )
        unit = min(time.ns_per_tick for time in times)
        bounds = (
            countable(-(-low // unit), where="join_interval: lower"),
            countable(high // unit, where="join_interval: upper"),
        )
        name = name or _join_name("join_interval", right, names)
        return self._with(IntervalJoin(name, self._node, right, keys, columns, how, *bounds, "join_interval"))

    def join_asof(
        self,
        other: "JoinVerbs",
        *,
        left_on: str | None = None,
        right_on: str | None = None,
        on: str | None = None,
        by_left: Keys | None = None,
        by_right: Keys | None = None,
        by: Keys | None = None,
        strategy: AsofStrategy = "backward",
        suffix: str = "_right",
        tolerance: str | timedelta | int | None = None,
        allow_parallel: bool = True,
        force_parallel: bool = False,
        coalesce: bool = True,
        allow_exact_matches: bool = True,
        check_sortedness: bool = True,
        name: str | None = None,
    ) -> Self:
        """Join each row with the row of another stream that is nearest in event time.

        Rows of both sides wait until the watermark has passed them, so the answer does not depend on the order in
        which they arrive. A row that looks forward waits until a right row has come that is not followed by a
        nearer one; without `tolerance` that may last until the end. In memory are these rows, and of the right side
        the latest row of each key (not for `"forward"`).

        Of right rows of equal time `"backward"` and `"nearest"` take the last, `"forward"` the first, in the order
        of their source, split and position. Of two rows equally far `"nearest"` takes the later. A null in `by`
        matches nothing; left rows without a time come out without a match. Late rows of either side go to `.late`.

        Args:
            other: the right side.
            left_on: the event time of this stream; by default what it has been declared to be.
            right_on: the event time of the other stream.
            on: the event time, where both sides call it the same.
            by_left: columns of this stream that must equal `by_right`.
            by_right: columns of the other stream.
            by: columns that must be equal, where both sides call them the same.
            strategy: `"backward"`: the last right row that is not later; `"forward"`: the first that is not
                earlier; `"nearest"`: the nearer one of both.
            suffix: added to a column of the other stream whose name this stream has too.
            tolerance: how far away the right row may be: a duration such as `"10m"` or a timedelta; for integer
                event times a number of ticks.
            allow_parallel: has no effect.
            force_parallel: has no effect.
            coalesce: as in Polars; `False` keeps the event time of both sides where they have one name.
            allow_exact_matches: whether a right row of the same time counts.
            check_sortedness: has no effect; rows are put in order here.
            name: the name of the operator, unique in the job; derived from the keys by default.

        Returns:
            This stream's rows, each once, with the columns of Polars' `join_asof`.

        Raises:
            PlanError: when a side has no event time or is a changes stream, columns are missing, or arguments do
                not fit.

        Example:
            >>> import polars as pl, streame as st
            >>> trades, quotes = (
            ...     st.scan_frames([rows], name=name).with_event_time("at")
            ...     for name, rows in (
            ...         ("trades", pl.DataFrame({"at": [3, 9], "qty": [10, 20]})),
            ...         ("quotes", pl.DataFrame({"at": [1, 3, 5], "price": [1.0, 1.5, 1.25]})),
            ...     )
            ... )
            >>> trades.join_asof(quotes, on="at").collect().rows()
            [(3, 10, 1.5), (9, 20, 1.25)]
        """
        right = _stream(other, "join_asof")
        times = both_times(self._node, right, verb="join_asof")
        given = both_keys(on, left_on, right_on, (self.schema, right.schema), verb="join_asof")
        _check_asof_times(given, times)
        if strategy not in {"backward", "forward", "nearest"}:
            raise PlanError(f"join_asof: strategy={strategy!r} is none of 'backward', 'forward', 'nearest'")
        names = both_keys(
            by, by_left, by_right, (self.schema, right.schema), verb="join_asof", words=("by", "by_left", "by_right")
        )  # fmt: skip
        keys = join_keys(self.schema, right.schema, names, nulls_equal=False, verb="join_asof")
        left_time, right_time = (time.column for time in times)
        one_time = [right_time] if coalesce and left_time == right_time else []
        columns = asof_columns(
            self.schema, right.schema, [*names[1], *one_time], suffix=suffix, verb="join_asof"
        )
        far = None if tolerance is None else difference(tolerance, times[0], where="join_asof: tolerance")
        if far is not None and far < 0:
            raise PlanError(f"join_asof: tolerance={tolerance!r} is negative; give one of zero or more")
        if far is not None:
            far = countable(far // min(time.ns_per_tick for time in times), where="join_asof: tolerance")
        name = name or _join_name("join_asof", right, names)
        node = AsofJoin(name, self._node, right, keys, columns, "left", strategy, far, allow_exact_matches)
        return self._with(node)


def _stream(other: object, verb: str) -> Node:
    if not isinstance(other, JoinVerbs):
        table = " or, read as a table, with .as_table(key)" if verb == "join" else ""
        raise PlanError(f"{verb}: the other side is a {type(other).__name__}; give a StreamDataFrame{table}")
    return other.node


def _check_how(how: str, verb: str) -> None:
    if how not in JOIN_HOWS:
        raise PlanError(f"{verb}: how={how!r} is not possible; use {', '.join(map(repr, JOIN_HOWS))}")


def _check_asof_times(given: Names, times: tuple[EventTime, EventTime]) -> None:
    for names, time, side in zip(given, times, ("left", "right"), strict=True):
        if names and names != (time.column,):
            raise PlanError(
                f"join_asof: rows are matched by event time, which is {time.column!r} on the {side} side; declare "
                f"{', '.join(names)} with with_event_time to join by it"
            )


def _without_times(left: Node, right: Node, names: Names) -> Names | None:
    """The keys without the event times of both sides; `None` if these are not among them."""
    if left.event_time is None or right.event_time is None:
        return None
    times = left.event_time.column, right.event_time.column
    pairs = list(zip(*names, strict=True))
    if times not in pairs:
        return None
    check_same_clock(left.event_time, right.event_time, verb="join")
    rest = [pair for pair in pairs if pair != times]
    return tuple(one for one, _ in rest), tuple(other for _, other in rest)


def _ttl(ttl: Ttl, left: Node, right: Node) -> int | None:
    """How long rows are kept: in the join's unit of event time if both sides have one, else in microseconds."""
    if ttl is Missing.MISSING:
        raise PlanError(
            "join: say with ttl how long rows of two streams are kept, for example ttl='1d' (rows whose event times "
            "differ by more never meet), or ttl=None to keep all of them for ever; to meet the latest row of each key "
            "only, join with other.as_table(key)"
        )
    if ttl is None:
        return None
    if left.event_time is None or right.event_time is None:
        if isinstance(ttl, int):
            raise PlanError(
                "join: ttl is a number, but the streams have no event time; write a duration such as '1d'"
            )
        return duration_us(ttl, where="join: ttl")
    check_same_clock(left.event_time, right.event_time, verb="join")
    units = difference(ttl, left.event_time, where="join: ttl")
    if units < 0:
        raise PlanError(f"join: ttl={ttl!r} is negative; give one of zero or more")
    return countable(
        units // min(left.event_time.ns_per_tick, right.event_time.ns_per_tick), where="join: ttl"
    )


def _join_name(verb: str, right: Node, names: Names) -> str:
    on = f" on {', '.join(names[0])}" if names[0] else ""
    return f"{verb} {source_names(right)}{on}"
