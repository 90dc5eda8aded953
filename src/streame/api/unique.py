"""Rows without repetition."""

from collections.abc import Collection
from datetime import timedelta
from typing import Literal, Self

import polars as pl
from polars._typing import IntoExpr

from streame.api.grouping import GroupBy, with_key_columns
from streame.api.handle import Handle
from streame.core.durations import duration_ticks
from streame.core.expressions import parse_exprs
from streame.core.hashing import check_key_dtypes
from streame.errors import PlanError
from streame.plan.nodes import Project
from streame.plan.unique import Unique

_KEEPS = ("any", "first", "last", "none")
_THERE = "__there"


class UniqueVerbs(Handle):
    """Leaving out rows that repeat others."""

    __slots__ = ()

    def unique(
        self,
        subset: IntoExpr | Collection[IntoExpr] | None = None,
        *,
        keep: Literal["any", "first", "last", "none"] = "any",
        within: str | timedelta | int | None = None,
        maintain_order: bool = False,
        name: str | None = None,
    ) -> Self:
        """Of the rows that are equal in some columns keep one, or none.

        Which one is the first or the last is told by event time, then by the order in the sources; so the first goes on
        when the watermark has passed its time, and a row that is older than the watermark of its own split is in
        `.late`. Without event time the first is the one that comes first.

        Every key is kept in memory for ever, unless `within` says for how long.

        Args:
            subset: column names, selectors or row-wise expressions; all columns by default. As in Polars null equals
                null, NaN equals NaN and -0.0 equals 0.0.
            keep: `"any"` and `"first"` are the same here: the first row. `"last"`: the last row so far, the one before
                it taken back. `"none"`: rows that have no equal so far, taken back when one comes.
            within: for how long, in event time, after a row that was kept others are repeats of it; the first row
                after that is kept again. Only with `"any"` and `"first"`.
            maintain_order: let rows come out in the order of event time, or as they came; everything runs in one task
                then.
            name: the name of the operator, unique in the job; derived from the columns by default.

        Returns:
            The rows as they are; with `keep="last"` or `"none"`, or of a changes stream, a changes stream.

        Raises:
            PlanError: when a column does not exist or cannot be compared, `within` is used without event time or with
                another `keep`; or `subset` with a changes stream, whose rows can only be compared as a whole.

        Example:
            >>> import polars as pl, streame as st
            >>> orders = st.scan_frames([pl.DataFrame({"item": ["tea", "cup", "tea"], "qty": [2, 3, 5]})])
            >>> orders.unique("item", maintain_order=True).collect().rows()
            [('tea', 2), ('cup', 3)]
            >>> orders.unique("item", keep="last").collect().sort("item").rows()
            [('cup', 3), ('tea', 5)]
        """
        if keep not in _KEEPS:
            raise PlanError(f"unique: keep={keep!r} does not exist; use {', '.join(map(repr, _KEEPS))}")
        given = [pl.all()] if subset is None else [subset]
        keys = parse_exprs(given, {}, self.schema, where="unique")
        if not keys:
            raise PlanError("unique: subset names no column")
        check_key_dtypes(pl.Schema({key.name: key.dtype for key in keys}), "unique")
        words = ["unique", *([] if subset is None else [", ".join(key.name for key in keys)])]
        word = " ".join(words if keep == "any" else [*words, keep])
        if self._node.is_changes:
            return self._unique_of_changes({key.column for key in keys}, keep, within, name or word)
        frame, columns = with_key_columns(self, keys, "unique")
        subset_names = tuple(column for column, _ in columns)
        node = Unique(
            name=name or word,
            input=frame.node,
            subset=subset_names,
            computed=tuple(column for column in subset_names if column not in self.schema),
            keep="first" if keep == "any" else keep,
            within=self._within(within, keep),
            in_order=maintain_order,
        )
        return self._with(node)

    def _unique_of_changes(self, columns: set[str | None], keep: str, within: object, name: str) -> Self:
        """The rows of a changes stream that are there at all, or once."""
        if columns != set(self.columns) or within is not None:
            raise PlanError(
                "unique: the rows of a changes stream may be taken back, so they can only be compared as a whole; leave "
                "subset and within out, or use group_by(...).agg(...), or unique before the verb that says changes"
            )
        rows = parse_exprs([pl.all()], {}, self.schema, where="unique")
        there = pl.len() == 1 if keep == "none" else pl.len() > 0
        counted = GroupBy(self, rows, "changes", name).agg(there.alias(_THERE))
        kept = counted._filter("unique", pl.col(_THERE))
        return kept._with(Project(kept.node, rows, "unique"))

    def _within(self, within: str | timedelta | int | None, keep: str) -> int | None:
        """The duration in ticks of event time."""
        if within is None:
            return None
        time = self._node.event_time
        if time is None:
            raise PlanError(
                "unique: within counts event time, and the stream has none; declare it before with .with_event_time(...), "
                "or at the source with event_time="
            )
        if keep not in {"any", "first"}:
            raise PlanError(
                f"unique: within is not possible with keep={keep!r}: its rows hold for ever; leave one out"
            )
        ticks = duration_ticks(within, time, where="unique: within")
        if not ticks:
            raise PlanError(
                f"unique: within={within!r} finds no repeats; give a duration above zero, or leave unique out"
            )
        return ticks
