"""Accumulators: the few values kept for each group from which the results of aggregates are computed.

Each says which prepared column it reads and what it keeps of it. How that is kept for many groups at once is the
business of `state/aggregates/`; its values come back as columns under `name`. A new kind is a class here and one
there.
"""

from dataclasses import dataclass, field

import polars as pl

from streame.core.user_aggregates import Aggregate


@dataclass(frozen=True, slots=True)
class Nulls:
    """How many values of a column are null: an Int64."""

    column: str

    @property
    def name(self) -> str:
        """The column of its values."""
        return f"nulls of {self.column}"


@dataclass(frozen=True, slots=True)
class Total:
    """The sum of a column, nulls left out.

    Of integers, durations and the unscaled values of decimals it is an Int64, or an Int128 where that does not do;
    of floats it is a Float64; of a Boolean column it counts the true ones.
    """

    column: str
    dtype: pl.DataType

    @property
    def name(self) -> str:
        """The column of its values."""
        return f"total of {self.column}"


@dataclass(frozen=True, slots=True)
class Deviation:
    """The sum of the squared distances of the values of a numeric column from their mean: a Float64."""

    column: str

    @property
    def name(self) -> str:
        """The column of its values."""
        return f"deviation of {self.column}"


@dataclass(frozen=True, slots=True)
class Extreme:
    """The smallest or largest value of a column; of no values, any.

    Args:
        column: the column.
        dtype: its dtype.
        largest: whether it is the largest.
        nan_wins: whether NaN beats every value, and not every value NaN.
    """

    column: str
    dtype: pl.DataType
    largest: bool
    nan_wins: bool

    @property
    def name(self) -> str:
        """The column of its values."""
        return f"{'nan_' * self.nan_wins}{'max' if self.largest else 'min'} of {self.column}"


@dataclass(frozen=True, slots=True)
class Edge:
    """The value of a column in the first or last row of a group; of no rows, null.

    Args:
        column: the column.
        dtype: its dtype.
        last: whether it is the last row.
        mask: a Boolean column; only rows where it is true count.
    """

    column: str
    dtype: pl.DataType
    last: bool
    mask: str | None

    @property
    def name(self) -> str:
        """The column of its values."""
        return f"{'last' if self.last else 'first'} of {self.column} where {self.mask}"


@dataclass(frozen=True, slots=True)
class Distinct:
    """How many different values a column has, null being one: an Int64.

    Args:
        column: the column.
        dtype: its dtype.
        mask: a Boolean column; only rows where it is true count.
    """

    column: str
    dtype: pl.DataType
    mask: str | None

    @property
    def name(self) -> str:
        """The column of its values."""
        return f"distinct of {self.column} where {self.mask}"


@dataclass(frozen=True, slots=True)
class Own:
    """The result of a user's own aggregate.

    Args:
        output: the output that it is.
        columns: the columns that it reads.
        labels: the names that they have for the user.
        dtype: the dtype of the result.
        aggregate: what keeps a state for each group.
    """

    output: str
    columns: tuple[str, ...]
    labels: tuple[str, ...]
    dtype: pl.DataType
    aggregate: Aggregate = field(compare=False)

    @property
    def name(self) -> str:
        """The column of its values."""
        return f"own {self.output}"


Accumulator = Nulls | Total | Deviation | Extreme | Edge | Distinct | Own
