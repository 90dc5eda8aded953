"""Tables: a stream read as the latest row per key, and the join with one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import polars as pl
from polars.exceptions import PanicException, PolarsError

from streame.api.handle import Handle
from streame.api.join_keys import Keys, key_names, source_names
from streame.core.durations import countable, difference, duration_us
from streame.core.expressions import unknown_column
from streame.core.foreign_errors import first_paragraph
from streame.core.hashing import check_key_dtypes
from streame.core.time import EventTime
from streame.errors import PlanError
from streame.plan.nodes import Node, TableJoin, is_bounded


@dataclass(frozen=True, slots=True)
class StreamTable:
    """A stream read as a table: the latest row of every key.

    Made by `StreamDataFrame.as_table`, used as the right side of `StreamDataFrame.join`. The join keeps,
    for as long as the job runs, the latest row of every key in memory (at most two rows per key on the way), of the
    columns that are needed. A row leaves only if it is taken back, in a table made of a changes stream. Every join
    with a table has a copy of its own.

    Attributes:
        key: the key columns.
        state: where the table is kept in a cluster, if not with the checkpoints.

    Example:
        >>> import polars as pl, streame as st
        >>> prices = st.scan_frames([pl.DataFrame({"item": ["tea", "tea"], "price": [1.5, 2.0]})], name="prices")
        >>> orders = st.scan_frames([pl.DataFrame({"item": ["tea"], "qty": [2]})])
        >>> orders.join(prices.as_table("item")).collect().to_dicts()
        [{'item': 'tea', 'qty': 2, 'price': 2.0}]
    """

    _node: Node
    key: tuple[str, ...]
    state: Literal["etcd"] | None = None

    @property
    def node(self) -> Node:
        """The plan of the stream."""
        return self._node

    @property
    def schema(self) -> pl.Schema:
        """Columns and dtypes."""
        return self._node.schema


class TableVerbs(Handle):
    """Reading a stream as a table."""

    __slots__ = ()

    def as_table(self, key: str | Sequence[str], *, state: Literal["etcd"] | None = None) -> StreamTable:
        """Read the stream as a table: the latest row per key.

        Args:
            key: one column or several. A later row replaces an earlier one of the same key.
            state: `"etcd"` to keep a small table in etcd instead of with the checkpoints, in a job that runs in a
                cluster. All such tables of a job may take 256 KiB together; a job with more fails with an error that
                says so. Otherwise a table is in memory, and on disk beyond `memory_limit`.

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
        if state not in {None, "etcd"}:
            raise PlanError(f'as_table: state={state!r} does not exist; give "etcd", or leave it out')
        return StreamTable(self._node, names, state)


def table_join(
    stream: Node,
    table: StreamTable,
    on: tuple[Keys | None, Keys | None, Keys | None],
    how: str,
    *,
    suffix: str,
    nulls_equal: bool,
    coalesce: bool | None,
    wait: str | timedelta | int | None,
    name: str | None,
) -> TableJoin:
    """The node of a join with a table; its arguments are those of `join`.

    Raises:
        PlanError: when they do not fit.
    """
    if how not in {"inner", "left"}:
        raise PlanError(
            f"join: how={how!r} is not possible with a table; use 'inner' or 'left', or join the two streams with "
            "join(other, ..., ttl=...)"
        )
    if stream.is_changes and not is_bounded(table.node):
        raise PlanError(
            "join: the stream is a changes stream, and a row that is taken back could meet another row of the table "
            "than when it came; join the two streams instead: join(other, ..., ttl=None)"
        )
    both_sides, left_on, right_on = on
    left = _given(left_on if both_sides is None else both_sides, table.key, "left_on")
    right = _given(right_on if both_sides is None else both_sides, table.key, "right_on")
    for key in left:
        if key not in stream.schema:
            raise unknown_column(key, stream.schema, where="join")
    left = _in_key_order(left, right, table)
    output, right_outputs = _join_schema(stream, table, left, how, suffix, coalesce)
    return TableJoin(
        stream,
        table.node,
        left_on=left,
        right_on=table.key,
        how="inner" if how == "inner" else "left",
        right_outputs=right_outputs,
        output=output,
        nulls_equal=nulls_equal,
        wait=None if wait is None else _wait(wait, stream.event_time),
        name=name or f"join {source_names(table.node)} on {', '.join(left)}",
        keeps_in=table.state,
    )


def _join_schema(
    stream: Node, other: StreamTable, left: tuple[str, ...], how: str, suffix: str, coalesce: bool | None
) -> tuple[pl.Schema, tuple[tuple[str, str], ...]]:
    """What Polars says that the join puts out, and which table columns are in it under which names."""
    try:
        output = (
            pl.LazyFrame(schema=stream.schema)
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
        (column, column + suffix if column in stream.schema else column)
        for column in other.schema
        if coalesce is False or column not in other.key
    )
    right = tuple((column, name) for column, name in named if name in output and name not in stream.schema)
    assert list(output) == [*stream.schema, *(name for _, name in right)], (output, right)
    return output, right


def _wait(wait: str | timedelta | int, time: EventTime | None) -> int:
    """How long rows wait: in the engine's units of event time, or in microseconds."""
    if time is None:
        if isinstance(wait, int):
            raise PlanError(f"join: wait={wait!r} is a number, but the stream has no event time; write '10s'")
        return duration_us(wait, where="join: wait")
    units = difference(wait, time, where="join: wait")
    if units < 0:
        raise PlanError(f"join: wait={wait!r} is negative; give one of zero or more")
    return countable(units, where="join: wait")


def _given(keys: Keys | None, default: tuple[str, ...], word: str) -> tuple[str, ...]:
    return default if keys is None else key_names(keys, where=f"join: {word}")


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
