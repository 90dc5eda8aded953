"""Tables: a stream read as the latest row per key, and the join with one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, Self

import polars as pl
from polars.exceptions import PanicException, PolarsError

from streame.api.handle import Handle
from streame.core.durations import duration_us
from streame.core.expressions import is_column, unknown_column
from streame.core.foreign_errors import first_paragraph
from streame.core.hashing import check_key_dtypes
from streame.errors import PlanError
from streame.plan.nodes import Node, Scan, TableJoin, walk


@dataclass(frozen=True, slots=True)
class StreamTable:
    """A stream read as a table: the latest row of every key.

    Made by `StreamDataFrame.as_table`, used as the right side of `StreamDataFrame.join`. The join keeps,
    for as long as the job runs, the latest row of every key in memory (at most two rows per key on the way), of the
    columns that are needed; nothing is ever removed. Every join with a table has a copy of its own.

    Attributes:
        key: the key columns.

    Example:
        >>> import polars as pl, streame as st
        >>> prices = st.scan_frames([pl.DataFrame({"item": ["tea", "tea"], "price": [1.5, 2.0]})], name="prices")
        >>> orders = st.scan_frames([pl.DataFrame({"item": ["tea"], "qty": [2]})])
        >>> orders.join(prices.as_table("item")).collect().to_dicts()
        [{'item': 'tea', 'qty': 2, 'price': 2.0}]
    """

    _node: Node
    key: tuple[str, ...]

    @property
    def schema(self) -> pl.Schema:
        """Columns and dtypes."""
        return self._node.schema


class TableVerbs(Handle):
    """Reading a stream as a table, and joining with one."""

    __slots__ = ()

    def as_table(self, key: str | Sequence[str]) -> StreamTable:
        """Read the stream as a table: the latest row per key.

        Args:
            key: one column or several. A later row replaces an earlier one of the same key.

        Returns:
            A table for the right side of `join`. It runs nothing, and costs memory only there: about one row per key.

        Raises:
            PlanError: when a column does not exist or its dtype cannot be a key.

        Example:
            >>> import polars as pl, streame as st
            >>> airlines = st.scan_frames([pl.DataFrame({"carrier": ["UA"], "name": ["United"]})])
            >>> airlines.as_table("carrier").key
            ('carrier',)
        """
        names = (key,) if isinstance(key, str) else tuple(key)
        if not names:
            raise PlanError("as_table: give at least one key column")
        if len(set(names)) < len(names):
            raise PlanError(f"as_table: the key {', '.join(names)} names a column twice")
        self._require(names, "as_table")
        check_key_dtypes(pl.Schema({name: self.schema[name] for name in names}), where="as_table")
        return StreamTable(self._node, names)

    def join(
        self,
        other: StreamTable,
        on: str | pl.Expr | Sequence[str | pl.Expr] | None = None,
        how: Literal["inner", "left"] = "inner",
        *,
        left_on: str | pl.Expr | Sequence[str | pl.Expr] | None = None,
        right_on: str | pl.Expr | Sequence[str | pl.Expr] | None = None,
        suffix: str = "_right",
        nulls_equal: bool = False,
        coalesce: bool | None = None,
        wait: str | timedelta | None = "0s",
        name: str | None = None,
    ) -> Self:
        """Join every row with the table's row of the same key.

        A bounded table is read whole before the first row of the stream. Otherwise a row meets what the table
        holds at that moment, so the result depends on the order in which the two sides arrive. In memory
        are the table, one row per key, and the rows that wait.

        Args:
            other: the table, from `as_table`.
            on: the key columns where both sides call them the same; by default the table's key.
            how: `"inner"` drops rows without a match, `"left"` puts them out with nulls.
            left_on: the key columns of the stream.
            right_on: the key columns of the table: its key.
            suffix: added to a table column whose name the stream has too.
            nulls_equal: whether a null key matches a null key.
            coalesce: as in Polars; `False` keeps the table's key columns too.
            wait: how long, by the wall clock, a row waits for a table row that has not come yet; `None` for as
                long as the job runs. Then it is dropped (`inner`) or put out with nulls (`left`). Waiting rows
                are kept in memory.
            name: the name of the operator, unique in the job; derived from the key by default.

        Returns:
            The stream's columns, then the table's without its key. Rows of one key keep their order, but for those
            that waited; with `parallelism` above 1 those of different keys may change places.

        Raises:
            PlanError: when `other` is no table, columns are missing, dtypes differ, `right_on` is not the table's
                key, or `how`, `suffix` or `wait` does not fit.

        Example:
            >>> import polars as pl, streame as st
            >>> flights = st.scan_frames([pl.DataFrame({"carrier": ["UA", "XX"], "delay": [5, 7]})])
            >>> airlines = st.scan_frames([pl.DataFrame({"carrier": ["UA"], "name": ["United"]})], name="airlines")
            >>> flights.join(airlines.as_table("carrier"), on="carrier").collect().to_dicts()
            [{'carrier': 'UA', 'delay': 5, 'name': 'United'}]
        """
        if not isinstance(other, StreamTable):
            raise PlanError(
                f"join: the other side is a {type(other).__name__}; read it as a table with .as_table(key)"
            )
        if how not in {"inner", "left"}:
            raise PlanError(f"join: how={how!r} is not possible with a table; use 'inner' or 'left'")
        left = _key_names(left_on if on is None else on, other.key, "left_on")
        right = _key_names(right_on if on is None else on, other.key, "right_on")
        self._require(left, "join")
        left = _in_key_order(left, right, other)
        output, right_outputs = self._join_schema(other, left, how, suffix, coalesce)
        node = TableJoin(
            self._node,
            other._node,
            left_on=left,
            right_on=other.key,
            how=how,
            right_outputs=right_outputs,
            output=output,
            nulls_equal=nulls_equal,
            wait_us=None if wait is None else duration_us(wait, where="join: wait"),
            name=name or f"join {_source_names(other._node)} on {', '.join(left)}",
        )
        return self._with(node)

    def _join_schema(
        self, other: StreamTable, left: tuple[str, ...], how: str, suffix: str, coalesce: bool | None
    ) -> tuple[pl.Schema, tuple[tuple[str, str], ...]]:
        """What Polars says that the join puts out, and which table columns are in it under which names."""
        try:
            output = (
                pl.LazyFrame(schema=self.schema)
                .join(
                    pl.LazyFrame(schema=other.schema),
                    left_on=left,
                    right_on=other.key,
                    how=how,  # type: ignore[arg-type]
                    suffix=suffix,
                    coalesce=coalesce,
                )
                .collect_schema()
            )
        except (PolarsError, PanicException) as error:
            raise PlanError(f"join: {first_paragraph(error)}") from error
        named = (
            (column, column + suffix if column in self.schema else column)
            for column in other.schema
            if coalesce is False or column not in other.key
        )
        right = tuple((column, name) for column, name in named if name in output and name not in self.schema)
        assert list(output) == [*self.schema, *(name for _, name in right)], (output, right)
        return output, right


def _source_names(node: Node) -> str:
    return "+".join(each.name for each in walk(node) if isinstance(each, Scan))


def _key_names(
    keys: str | pl.Expr | Sequence[str | pl.Expr] | None, default: tuple[str, ...], where: str
) -> tuple[str, ...]:
    if keys is None:
        return default
    listed = [keys] if isinstance(keys, str | pl.Expr) else list(keys)
    names = [is_column(key) if isinstance(key, pl.Expr) else key for key in listed]
    if any(name is None for name in names):
        raise PlanError(f"join: {where} must name columns; compute the key with with_columns before the join")
    return tuple(name for name in names if name is not None)


def _in_key_order(left: tuple[str, ...], right: tuple[str, ...], other: StreamTable) -> tuple[str, ...]:
    """The stream's key columns in the order of the table's key."""
    for name in right:
        if name not in other.schema:
            raise unknown_column(name, other.schema, where="join: the table")
    if set(right) != set(other.key) or len(right) != len(left):
        raise PlanError(
            f"join: the stream's columns ({', '.join(left)}) are matched with {', '.join(right)}, but the table's "
            f"key is {', '.join(other.key)}; join on exactly that, or read the table by another key"
        )
    return tuple(left[right.index(name)] for name in other.key)
