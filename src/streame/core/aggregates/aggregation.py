"""An aggregation, taken apart: columns prepared row by row, accumulators of them, and the results of those."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import polars as pl
from polars.exceptions import PanicException, PolarsError

from streame.core.aggregates.accumulators import Accumulator, Edge, Own
from streame.core.arithmetic import Arithmetic, as_arithmetic, as_cast
from streame.core.frames import frame_of
from streame.core.hidden import POSITION
from streame.errors import DataError

GROUP = "__group"
"""The number of the group that a row belongs to."""

TIME = "__time"
"""The hidden column of prepared rows that orders them: event time in ticks."""


@dataclass(frozen=True, slots=True)
class Aggregation:
    """What is computed for each group, and what must be known of its rows for that.

    Args:
        where: the verb, named in errors.
        schema: the columns of the input.
        outputs: names and dtypes of the results.
        prepared: the columns that accumulators read: row-wise expressions, by name.
        accumulators: what is kept of each group.
        finals: the results that are made of accumulators: expressions of their values, by output.
        rowful: the other results: expressions that Polars computes from all rows of a group, by output.
        columns: the columns of the input that are read.
        rowful_columns: those among them that the rows must have.
        needs_order: whether a result may depend on the order of the rows in a group.
    """

    where: str
    schema: pl.Schema
    outputs: pl.Schema
    prepared: dict[str, pl.Expr]
    accumulators: tuple[Accumulator, ...]
    finals: dict[str, pl.Expr]
    rowful: dict[str, pl.Expr]
    columns: frozenset[str]
    rowful_columns: tuple[str, ...]
    needs_order: bool
    _plain: list[str] = field(init=False)
    _direct: list[Arithmetic] = field(init=False)
    _computed: list[pl.Expr] = field(init=False)
    _finals: list[pl.Expr] = field(init=False)
    _casts: list[Arithmetic | None] = field(init=False)

    def __post_init__(self) -> None:
        """Sort out once what every batch asks for."""
        plain = [name for name in self.prepared if name in self.schema]
        plain += [name for name in self.rowful_columns if name not in plain]
        object.__setattr__(self, "_plain", plain)
        computed = [expr for name, expr in self.prepared.items() if name not in self.schema]
        direct = [as_arithmetic(expr, self.schema) for expr in computed]
        object.__setattr__(self, "_direct", [each for each in direct if each is not None])
        others = [expr for expr, each in zip(computed, direct, strict=True) if each is None]
        object.__setattr__(self, "_computed", others)
        object.__setattr__(self, "_finals", list(self.finals.values()))
        casts = [as_cast(expr, self.outputs[name]) for name, expr in self.finals.items()]
        object.__setattr__(self, "_casts", casts)

    @property
    def kept(self) -> tuple[str, ...]:
        """The results for which all rows of a group are kept, and not a few values."""
        return tuple(self.rowful)

    @property
    def has_partials(self) -> bool:
        """Whether the values of a group can be sent and merged in the place of its rows."""
        return not self.rowful and not any(isinstance(each, Own) for each in self.accumulators)

    def prepare(self, frame: pl.DataFrame, time: pl.Series | None = None) -> pl.DataFrame:
        """What must be known of each row; to be computed once for each batch.

        Args:
            frame: the rows; hidden columns may stand among them.
            time: the event time of each row in ticks; `None` where rows are ordered by arrival alone.

        Returns:
            One row for each row of the frame (where there is a column at all), for an `AggregateState`.

        Raises:
            PolarsError: when an expression cannot be computed for a row.
        """
        columns = [frame.get_column(name) for name in self._plain]
        columns += [compute(frame) for compute in self._direct]
        if self._computed:
            columns += as_among_others(frame, self._computed).get_columns()
        if self.needs_order:
            if time is not None:
                columns.append(time.alias(TIME))
            if POSITION in frame.columns:
                columns.append(frame.get_column(POSITION))
        return frame_of(columns)

    def finish(self, values: Sequence[pl.Series], rowful: pl.DataFrame | None) -> pl.DataFrame:
        """The results of groups, one in each row.

        Args:
            values: the values of the accumulators, and how many rows there are (`ROWS`).
            rowful: the results that needed rows, if there are any.

        Raises:
            DataError: when a value does not fit its dtype.
        """
        if not self.finals:
            assert rowful is not None
            return rowful
        frame = frame_of(list(values))
        try:
            made = self._made(frame)
        except (PolarsError, PanicException):
            self._blame(frame)
            raise
        return made if rowful is None else made.hstack(rowful).select(self.outputs.names())

    def _made(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The results that are made of accumulators."""
        casts = [cast for cast in self._casts if cast is not None]
        if len(casts) < len(self._casts):
            return as_among_others(frame, self._finals)
        return frame_of([cast(frame) for cast in casts])

    def _blame(self, frame: pl.DataFrame) -> None:
        """Raise an error that names the result that cannot be computed."""
        for name, expr in self.finals.items():
            try:
                as_among_others(frame, [expr])
            except (PolarsError, PanicException) as error:
                raise self.failed(name, str(error)) from error

    def failed(self, name: str, reason: str) -> DataError:
        """The error for a result that cannot be computed, or does not fit its dtype."""
        short = reason.strip().split("\n\n")[0]
        hint = (
            "; a wider dtype may help, as in pl.col(...).sum().cast(pl.Int128)" if name in self.finals else ""
        )
        return DataError(
            f"{self.where}: the value of {name!r} cannot be computed as {self.outputs[name]}: {short}{hint}"
        )

    def too_large(self, accumulator: Accumulator) -> DataError:
        """The error for a sum beyond 128 bits."""
        name = next(
            (name for name, expr in self.finals.items() if accumulator.name in expr.meta.root_names()), "?"
        )
        return self.failed(name, "its sum needs more than 128 bits")


def orders_rows(accumulators: Sequence[Accumulator]) -> bool:
    """Whether an accumulator depends on the order of rows."""
    return any(isinstance(each, Edge) for each in accumulators)


def as_among_others(frame: pl.DataFrame, exprs: list[pl.Expr]) -> pl.DataFrame:
    """What row-wise expressions give, the same whether a row stands alone or among others.

    For a single row Polars computes some things differently (it divides by a literal where it otherwise multiplies
    by the reciprocal), so such a row is computed twice and taken once.
    """
    if frame.height == 1 and frame.width:
        # An error is said of the row alone: "1 out of 1 values".
        with suppress(PolarsError):
            twice = [column.new_from_index(0, 2) for column in frame.get_columns()]
            return frame_of(twice).select(exprs).head(1)
    return frame.select(exprs)
