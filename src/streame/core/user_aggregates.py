"""A user's own aggregates: what they implement, and how they stand among the expressions of `agg`."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import polars as pl
from polars._typing import IntoExpr

from streame.core.encoding import ValueCodec
from streame.core.expressions import NamedExpr, parse_exprs
from streame.core.row_wise import require_row_wise
from streame.errors import PlanError


class Aggregate(ABC):
    """An aggregate of your own, in Python: subclass it, and use it among the expressions of `agg`.

    A state is made by `create` for every group, takes rows by `add`, a whole column of one group and batch at a time,
    meets the state of another part of the group in `merge`, and gives the result by `finish`. Rows come to it in no
    fixed order and in no fixed batches, so neither may matter. With a method `retract` it also works on changes
    streams, whose rows may be taken back. Several threads use one object, so it must not change itself. The first error ends the job: which rows a state has taken is not known then.

    Args:
        *columns: what `add` gets: names of columns, or row-wise expressions.

    Attributes:
        dtype: the dtype of what `finish` returns; to be set by the subclass.
        name: the name that it was given with `alias`.
        columns: what `add` gets.

    Example:
        >>> import polars as pl, streame as st
        >>> class Spread(st.Aggregate):
        ...     dtype = pl.Int64
        ...     def create(self):
        ...         return []
        ...     def add(self, state, values):
        ...         return [min([*state[:1], values.min()]), max([*state[1:], values.max()])]
        ...     def merge(self, state, other):
        ...         return [min(state[0], other[0]), max(state[1], other[1])] if state and other else state or other
        ...     def finish(self, state):
        ...         return state[1] - state[0]
        >>> orders = st.scan_frames([pl.DataFrame({"item": ["a", "a", "b"], "qty": [2, 9, 1]})])
        >>> orders.group_by("item").agg(spread=Spread("qty")).collect().sort("item").rows()
        [('a', 7), ('b', 0)]
    """

    dtype: Any
    name: str | None = None

    def __init__(self, *columns: str | pl.Expr) -> None:
        self.columns = columns

    @abstractmethod
    def create(self) -> Any:
        """The state of a group without rows.

        Returns:
            Anything; a new object each time, as `add` and `merge` may change it.
        """

    @abstractmethod
    def add(self, state: Any, *columns: Any, **nothing: Any) -> Any:
        """Take rows of a group.

        Args:
            state: the state of the group; it may be changed.
            *columns: the columns, Polars series of at least one row.
            **nothing: never given; with it type checkers let a subclass name its columns one by one.

        Returns:
            The state with the rows.
        """

    @abstractmethod
    def merge(self, state: Any, other: Any) -> Any:
        """Put the rows of two states together.

        Args:
            state: a state; it may be changed.
            other: another one, which must stay as it is: overlapping windows share what they have in common.

        Returns:
            The state of all rows.
        """

    @abstractmethod
    def finish(self, state: Any) -> Any:
        """The result.

        Args:
            state: the state, which must stay as it is: more rows may come.

        Returns:
            A value of `dtype`, or `None`.
        """

    def encode(self, state: Any) -> bytes:
        """The bytes of a state, from which it can be made again elsewhere and after a restart.

        Args:
            state: a state, which must stay as it is.

        Returns:
            The bytes; by default those of MessagePack, for states that are numbers, texts, lists, dicts, Polars frames,
            or of a class that msgspec knows.

        Raises:
            ValueError: when the state is something else; then this method and `decode` are the subclass's to write.
        """
        return ValueCodec(type(self.create())).encode(state)

    def decode(self, data: bytes) -> Any:
        """The state of some bytes.

        Args:
            data: what `encode` gave.

        Returns:
            A state.
        """
        return ValueCodec(type(self.create())).decode(data)

    def output_dtype(self, *dtypes: pl.DataType) -> Any:
        """The dtype of the result.

        Args:
            *dtypes: those of the columns.

        Returns:
            `dtype`, unless a subclass knows better.

        Raises:
            PlanError: by a subclass, when the columns do not fit.
        """
        return self.dtype

    def alias(self, name: str) -> Self:
        """The same aggregate under another name.

        Args:
            name: the name of the result.

        Returns:
            A copy.
        """
        other = copy.copy(self)
        other.name = name
        return other


IntoAggregate = IntoExpr | Aggregate
"""What `agg` takes: what Polars takes there, or a user's own aggregate."""


@dataclass(frozen=True, slots=True)
class UserAggregate(NamedExpr):
    """A user's aggregate as one output of `agg`; the expression computes it from all rows of a group.

    Args:
        aggregate: what computes it from some rows at a time.
        inputs: what it reads, row by row.
    """

    aggregate: Aggregate
    inputs: tuple[NamedExpr, ...]

    @property
    def text(self) -> str:
        """What it is, for `explain()`."""
        inputs = ", ".join(each.text for each in self.inputs)
        return f"{type(self.aggregate).__name__}({inputs}), Python once per group and batch"


def user_aggregate(aggregate: Aggregate, name: str | None, schema: pl.Schema, where: str) -> UserAggregate:
    """The output of `agg` that an aggregate gives.

    Args:
        aggregate: the aggregate.
        name: the name that the user gave it by a keyword.
        schema: the columns that it may read.
        where: the verb, named in errors.

    Raises:
        PlanError: when a column does not exist, an input is not row-wise, or the aggregate is not complete.
    """
    label = f"{where}: {type(aggregate).__name__}"
    inputs = [parse_exprs([column], {}, schema, where=label) for column in getattr(aggregate, "columns", ())]
    if not inputs or any(len(each) != 1 or not each[0].roots for each in inputs):
        raise PlanError(
            f"{label} reads {len(inputs)} columns; give super().__init__ at least one, each "
            "a name or an expression of one column"
        )
    read = tuple(each for (each,) in inputs)
    for each in read:
        require_row_wise(each.expr, schema, where=label)
    output = name or aggregate.name or read[0].name
    dtype = _checked_dtype(aggregate, read, label)
    expr = pl.map_groups(
        [each.expr for each in read],
        lambda columns: _computed(aggregate, columns),
        return_dtype=dtype,
        returns_scalar=True,
    )
    return UserAggregate(output, expr.alias(output), dtype, aggregate, read)


def require_retract(named: UserAggregate, where: str) -> None:
    """Refuse an aggregate that rows cannot be taken back from.

    Raises:
        PlanError: when it has no method for that.
    """
    if not callable(getattr(named.aggregate, "retract", None)):
        kind = type(named.aggregate).__name__
        raise PlanError(
            f"{where}: {named.name!r} is a {kind}: the rows of a changes stream may be taken back; give it a "
            "method retract(state, *columns) that does so, or use it in front of the verb that makes the changes"
        )


def _checked_dtype(aggregate: Aggregate, read: Sequence[NamedExpr], label: str) -> pl.DataType:
    """The dtype of the result."""
    try:
        dtype = aggregate.output_dtype(*(each.dtype for each in read))
        resolved = pl.Series(dtype=dtype).dtype
        aggregate.encode(aggregate.create())
    except AttributeError as error:
        raise PlanError(f"{label}: say what finish returns, as in dtype = pl.Float64 ({error})") from error
    except (PlanError, TypeError, ValueError) as error:
        raise PlanError(f"{label}: {error}") from error
    return resolved


def _computed(aggregate: Aggregate, columns: Sequence[pl.Series]) -> Any:
    """The result of all rows of a group."""
    state = aggregate.create()
    return aggregate.finish(aggregate.add(state, *columns) if len(columns[0]) else state)
