"""Grouping by key: one row for each key, said anew whenever it has changed."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from functools import reduce
from operator import and_
from typing import Any, Self

import polars as pl
from polars._typing import IntoExpr

from streame.api.group_aggregates import Frame, GroupAggregates
from streame.api.handle import Handle
from streame.api.map_with_state import StatefulFunctions
from streame.api.refused import RefusedVerbError
from streame.api.top_k import TopKGroups
from streame.core.aggregate_arguments import parse_aggregates
from streame.core.aggregates import split_aggregates
from streame.core.emission import Emission, parse_emission
from streame.core.expressions import NamedExpr, parse_exprs, to_text
from streame.core.hashing import check_key_dtypes
from streame.core.hidden import unused
from streame.core.row_wise import require_row_wise
from streame.core.user_aggregates import IntoAggregate
from streame.errors import PlanError
from streame.plan.grouping import GroupBy as GroupByNode
from streame.plan.nodes import Project


class GroupBy(GroupAggregates[Frame], StatefulFunctions[Frame], TopKGroups[Frame]):
    """The rows of a stream by their keys; made by `StreamDataFrame.group_by`.

    Each of its methods gives a stream with the key columns and the results: one row for each key that rows have come
    for. Of a key with new rows the old row is taken back and the new one said, with every batch: a changes stream.

    Example:
        >>> import polars as pl, streame as st
        >>> orders = st.scan_frames([pl.DataFrame({"item": ["tea", "cup", "tea"], "qty": [2, 3, 5]})])
        >>> orders.group_by("item").sum().collect().sort("item").rows()
        [('cup', 3), ('tea', 7)]
    """

    __slots__ = ("_emission", "_frame", "_having", "_keys", "_name")

    def __init__(
        self,
        frame: Frame,
        keys: tuple[NamedExpr, ...],
        emission: Emission,
        name: str | None,
        having: tuple[str | pl.Expr, ...] = (),
    ) -> None:
        self._frame = frame
        self._keys = keys
        self._emission = emission
        self._name = name
        self._having = having

    def agg(self, *aggs: IntoAggregate | Iterable[IntoAggregate], **named_aggs: IntoAggregate) -> Frame:
        """Compute aggregates of each group.

        Args:
            *aggs: aggregation expressions, as in Polars; a string is a column name, and a selector leaves the keys out.
            **named_aggs: aggregation expressions with the name under which they come out.

        Returns:
            The keys, then the results.

        Raises:
            PlanError: when a column does not exist, an expression cannot be computed, or two outputs have one name.

        Example:
            >>> import polars as pl, streame as st
            >>> orders = st.scan_frames([pl.DataFrame({"item": ["tea", "cup", "tea"], "qty": [2, 3, 5]})])
            >>> totals = orders.group_by("item").agg(pl.col("qty").sum(), most=pl.col("qty").max())
            >>> totals.collect().sort("item").rows()
            [('cup', 3, 3), ('tea', 7, 5)]
        """
        return self._agg("agg", aggs, named_aggs)

    def having(self, *predicates: str | pl.Expr | Iterable[str | pl.Expr]) -> Self:
        """Keep only the groups for which all predicates are true.

        Args:
            *predicates: Boolean aggregation expressions.

        Returns:
            The groups; a group is there as long as the predicates are true for it.

        Raises:
            PlanError: by the method that follows, when a predicate cannot be computed or is not Boolean.

        Example:
            >>> import polars as pl, streame as st
            >>> orders = st.scan_frames([pl.DataFrame({"item": ["tea", "cup", "tea"], "qty": [2, 3, 5]})])
            >>> orders.group_by("item").having(pl.len() > 1).sum().collect().rows()
            [('tea', 7)]
        """
        listed = [each for one in predicates for each in ([one] if isinstance(one, str | pl.Expr) else one)]
        return type(self)(self._frame, self._keys, self._emission, self._name, (*self._having, *listed))

    def __getattr__(self, name: str) -> Any:
        reason = _REFUSED.get(name)
        if reason is None:
            raise AttributeError(f"GroupBy has no method {name!r}")
        raise RefusedVerbError(f"{name} of a group_by is refused: {reason}")

    def _keyed(self, verb: str) -> tuple[Frame, tuple[tuple[str, str], ...]]:
        if self._having or self._emission != "changes":
            raise PlanError(
                f"{verb}: emit= and having(...) are about the results of aggregates; leave them out"
            )
        return with_key_columns(self._frame, self._keys)

    def _agg(self, verb: str, aggs: Sequence[Any], named_aggs: Mapping[str, Any]) -> Frame:
        frame, keys = with_key_columns(self._frame, self._keys)
        schema, names = self._frame.schema, [name for _, name in keys]
        parsed = parse_aggregates(aggs, named_aggs, schema, names, where=verb)
        if not parsed:
            raise PlanError(f"{verb}: there is nothing to compute; for the keys alone use unique({names})")
        tests = [
            each for one in self._having for each in parse_aggregates([one], {}, schema, (), where="having")
        ]
        taken = {*names, *(each.name for each in parsed)}
        having = [
            NamedExpr(name, test.expr.alias(name), test.dtype)
            for number, test in enumerate(tests)
            for name in [unused(f"__having{number}", taken)]
        ]
        node = GroupByNode(
            name=self._name or f"group_by {', '.join(names)}",
            input=frame.node,
            keys=keys,
            aggs=(*parsed, *having),
            aggregation=split_aggregates(
                [*parsed, *having], schema, where=verb, taken_back=frame.node.is_changes
            ),
            emission=self._emission,
        )
        return _having(frame._with(node), having) if having else frame._with(node)


class GroupByVerbs(Handle):
    """Grouping by key."""

    __slots__ = ()

    def group_by(
        self,
        *by: IntoExpr | Iterable[IntoExpr],
        maintain_order: bool = False,
        emit: str | timedelta = "changes",
        name: str | None = None,
        **named_by: IntoExpr,
    ) -> GroupBy[Self]:
        """Put the rows with equal keys together, to compute something of each group.

        As in Polars null is a key like any other, NaN equals NaN and -0.0 equals 0.0. The values of every key are kept
        in memory: one row for each key, or all its rows for aggregates that need them (`explain()` says which).

        Args:
            *by: column names or row-wise expressions.
            maintain_order: only `False`: groups come when they change, in no order.
            emit: when a result is said. `"changes"`: with every batch that changes it, the old row is taken back and
                the new one said. `"10s"` or another duration: as often at most, by the wall clock. `"on_close"`: once,
                at the end of the input, and never taken back.
            name: the name of the operator, unique in the job; derived from the keys by default.
            **named_by: key expressions with the name under which they come out.

        Returns:
            The groups; `.agg(...)` or another method says what is computed of each.

        Raises:
            PlanError: when there is no key, one is not row-wise or of a dtype that cannot be a key, or `emit` cannot be
                read.

        Example:
            >>> import polars as pl, streame as st
            >>> orders = st.scan_frames([pl.DataFrame({"item": ["tea", "cup", "tea"], "qty": [2, 3, 5]})])
            >>> totals = orders.group_by("item").agg(qty=pl.col("qty").sum())
            >>> totals.collect().sort("item").rows()
            [('cup', 3), ('tea', 7)]
        """
        keys = parse_exprs(by, named_by, self.schema, where="group_by")
        if not keys:
            raise PlanError(
                "group_by: give at least one key; for one group of all rows a constant, such as all_rows=pl.lit(True)"
            )
        if maintain_order:
            raise PlanError(
                "group_by: maintain_order=True is not possible: a group comes whenever it changes; sort the result"
            )
        check_key_dtypes(pl.Schema({key.name: key.dtype for key in keys}), "group_by")
        with_key_columns(
            self, keys
        )  # refuses what is not row-wise, before any method of the groups is called
        return GroupBy(self, keys, parse_emission(emit, where="group_by"), name)


def with_key_columns(
    frame: Frame, keys: Sequence[NamedExpr], where: str = "group_by"
) -> tuple[Frame, tuple[tuple[str, str], ...]]:
    """The frame with a column for each key that is computed.

    Returns:
        The frame, and for each key its column and the name under which it comes out.

    Raises:
        PlanError: when one is not row-wise.
    """
    columns: list[str] = []
    computed = {}
    for number, key in enumerate(keys):
        is_new = key.column is None or key.column in columns
        columns.append(unused(f"__key{number}", frame.schema) if is_new else str(key.column))
        if is_new:
            require_row_wise(key.expr, frame.schema, where=where)
            computed[columns[-1]] = key.expr
    pairs = tuple((column, key.name) for column, key in zip(columns, keys, strict=True))
    return (frame._with_columns(where, [], computed) if computed else frame), pairs


def _having(grouped: Frame, tests: Sequence[NamedExpr]) -> Frame:
    """The groups for which all tests, computed beside the results, are true."""
    schema = grouped.schema
    for test in tests:
        if schema[test.name] != pl.Boolean:
            raise PlanError(
                f"having: {to_text(test.expr.meta.undo_aliases())} is of dtype {schema[test.name]}; a predicate must be "
                "Boolean, for example a comparison"
            )
    hidden = {test.name for test in tests}
    kept = grouped._filter("having", reduce(and_, [pl.col(name) for name in schema if name in hidden]))
    outputs = tuple(
        NamedExpr(name, pl.col(name), dtype) for name, dtype in schema.items() if name not in hidden
    )
    return kept._with(Project(kept.node, outputs, "having"))


_REFUSED = {
    "head": "which rows of a group are the first depends on the order in which splits are read; use top_k",
    "map_groups": "it needs all rows of a group at once; use agg or map_with_state",
    "tail": "a stream that goes on has no last rows; use top_k",
}
