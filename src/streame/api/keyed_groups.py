"""Groups of rows of a key that follow each other in time: what sessions, rolling windows and counts have in common."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import polars as pl
from polars._typing import IntoExpr

from streame.api.group_aggregates import Frame, GroupAggregates
from streame.api.grouping import with_key_columns
from streame.api.handle import Handle
from streame.api.refused import RefusedVerbError
from streame.core.aggregate_arguments import parse_aggregates
from streame.core.aggregates import split_aggregates
from streame.core.expressions import NamedExpr, is_column, parse_exprs
from streame.core.hashing import check_key_dtypes
from streame.core.time import EventTime
from streame.core.user_aggregates import IntoAggregate
from streame.errors import PlanError
from streame.plan.nodes import Node


class KeyedGroups(GroupAggregates[Frame]):
    """Rows of a key that belong together; made by `group_by_session`, `group_by_count` and `rolling`.

    Each of its methods gives a stream with the key columns, the columns that the verb adds, and the results.

    Example:
        >>> from datetime import datetime
        >>> import polars as pl, streame as st
        >>> times = [datetime(2024, 1, 1, 12, minute) for minute in (0, 1, 40)]
        >>> clicks = st.scan_frames([pl.DataFrame({"at": times, "user": ["ann"] * 3})], event_time="at")
        >>> clicks.group_by_session("at", gap="30m", group_by="user").len().collect()["len"].to_list()
        [2, 1]
    """

    __slots__ = ("_frame", "_keys", "_make", "_taken", "_verb")

    def __init__(
        self,
        frame: Frame,
        verb: str,
        keys: tuple[NamedExpr, ...],
        taken: Collection[str],
        make: Callable[..., Node],
    ) -> None:
        self._frame = frame
        self._verb = verb
        self._keys = keys
        self._taken = taken
        self._make = make

    def agg(self, *aggs: IntoAggregate | Iterable[IntoAggregate], **named_aggs: IntoAggregate) -> Frame:
        """Compute aggregates of each group.

        Args:
            *aggs: aggregation expressions, as in Polars; a string is a column name, and a selector leaves out the keys
                and the columns that the verb adds.
            **named_aggs: aggregation expressions with the name under which they come out.

        Returns:
            The keys, the columns that the verb adds, then the results.

        Raises:
            PlanError: when a column does not exist, an expression cannot be computed, or two outputs have one name.

        Example:
            >>> from datetime import datetime
            >>> import polars as pl, streame as st
            >>> times = [datetime(2024, 1, 1, 12, minute) for minute in (0, 1, 40)]
            >>> orders = st.scan_frames([pl.DataFrame({"at": times, "qty": [2, 3, 5]})], event_time="at")
            >>> orders.group_by_session("at", gap="30m").agg(pl.col("qty").sum(), n=pl.len()).collect()["qty"].to_list()
            [5, 5]
        """
        return self._agg("agg", aggs, named_aggs)

    def __getattr__(self, name: str) -> Any:
        reason = _REFUSED.get(name)
        if reason is None:
            raise AttributeError(f"{type(self).__name__} has no method {name!r}")
        raise RefusedVerbError(f"{name} of a {self._verb} is refused: {reason}")

    def _agg(self, verb: str, aggs: Sequence[Any], named_aggs: Mapping[str, Any]) -> Frame:
        frame, keys = with_key_columns(self._frame, self._keys)
        schema = self._frame.schema
        taken = [*(name for _, name in keys), *self._taken]
        parsed = parse_aggregates(aggs, named_aggs, schema, taken, where=verb)
        if not parsed:
            raise PlanError(f"{verb}: give at least one aggregate, such as pl.len()")
        node = self._make(
            input=frame.node,
            keys=keys,
            computed_keys=tuple(column for column, _ in keys if column not in schema),
            aggs=parsed,
            aggregation=split_aggregates(parsed, schema, where=verb),
        )
        return frame._with(node)


def keys_of(
    frame: Handle, group_by: IntoExpr | Iterable[IntoExpr] | None, taken: Collection[str], *, where: str
) -> tuple[NamedExpr, ...]:
    """The keys that `group_by` means; none for `None`.

    Raises:
        PlanError: when one is not row-wise, of a dtype that cannot be a key, or has a name that is taken.
    """
    if frame.node.is_changes:
        raise PlanError(
            f"{where}: the rows of a changes stream may be taken back, which it cannot undo; use it before the verb that "
            "says changes, or let that say its results on_close"
        )
    given = [] if group_by is None else [group_by]
    keys = parse_exprs(given, {}, frame.schema, where=f"{where}: group_by")
    check_key_dtypes(pl.Schema({key.name: key.dtype for key in keys}), where)
    with_key_columns(frame, keys, where)  # refuses what is not row-wise
    for key in keys:
        if key.name in taken:
            raise PlanError(
                f"{where}: the key {key.name!r} has the name of a column that it adds; rename it with .alias"
            )
    return keys


def event_time_of(frame: Handle, column: str | pl.Expr, *, where: str) -> EventTime:
    """The event time of a stream, if that is what a column is.

    Raises:
        PlanError: when it is not.
    """
    name = is_column(column) if isinstance(column, pl.Expr) else column
    if not isinstance(name, str):
        raise PlanError(
            f"{where}: the time must be a column; compute it with with_columns before (only group_by_dynamic takes "
            "st.now())"
        )
    frame._require([name], where)
    time = frame.node.event_time
    if time is None or time.column != name:
        found = "the stream has none" if time is None else f"that is {time.column!r}"
        raise PlanError(
            f"{where}: it goes by event time, and {found}; declare {name!r} before with "
            f".with_event_time({name!r}, watermark=...), or at the source with event_time={name!r}"
        )
    return time


_REFUSED = {
    "having": "filter the result",
    "head": "use agg with pl.col(...).head(n)",
    "map_groups": "it needs all rows of a group at once; use agg or map_with_state",
    "tail": "use agg with pl.col(...).tail(n)",
}
