"""The row-wise steps of a chain: what each is to do, and which rows it fails for."""

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from streame.core.hidden import POSITION, hidden_of
from streame.core.positions import POSITION_DTYPE
from streame.errors import DataError

BatchFunction = Callable[[pl.DataFrame], pl.DataFrame]


@dataclass(frozen=True, slots=True)
class Output:
    """One column that a projection puts out.

    Args:
        name: its name.
        expr: how it is computed.
        column: the input column, where it is only that, perhaps renamed.
        constant: a series of height 1, where it is the same in every row.
        may_fail: whether some rows may have no result.
        roots: the input columns that the expression reads.
        failed: an expression that is true on the rows that have no result, where that can be said.
    """

    name: str
    expr: pl.Expr
    column: str | None = None
    constant: pl.Series | None = None
    may_fail: bool = True
    roots: frozenset[str] = frozenset()
    failed: pl.Expr | None = None

    @property
    def computed(self) -> bool:
        """Whether Polars has to compute it."""
        return self.column is None and self.constant is None


@dataclass(frozen=True, slots=True)
class FilterStep:
    """Keep the rows for which all predicates are true; null is not true."""

    name: str
    predicates: tuple[pl.Expr, ...]
    may_fail: bool = True
    roots: frozenset[str] = frozenset()
    failed: pl.Expr | None = None

    def failure(self) -> pl.Expr | None:
        """True on the rows for which the step fails; `None` where only trying tells."""
        return self.failed


@dataclass(frozen=True, slots=True)
class ProjectStep:
    """Put out these columns, in this order."""

    name: str
    outputs: tuple[Output, ...]

    def failure(self) -> pl.Expr | None:
        """True on the rows for which the step fails; `None` where only trying tells."""
        fallible = [output for output in self.outputs if output.may_fail]
        if any(output.failed is None for output in fallible):
            return None
        return pl.any_horizontal([output.failed for output in fallible if output.failed is not None])


@dataclass(frozen=True, slots=True)
class FrameStep:
    """A verb that Polars does on a whole frame and that takes every row by itself, such as `explode`.

    Args:
        name: the operator's name.
        function: the verb.
        carries: whether other columns stay beside their row, so that its position can travel with it.
    """

    name: str
    function: Callable[[pl.LazyFrame], pl.LazyFrame]
    carries: bool

    def apply(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame after the verb."""
        hidden = [] if self.carries else hidden_of(frame)
        result = self.function(frame.drop(hidden).lazy()).collect(engine="in-memory")
        return _without_positions(result) if POSITION in hidden else result

    def failure(self) -> pl.Expr | None:
        """Only trying tells."""
        return None


@dataclass(frozen=True, slots=True)
class MapStep:
    """Call the user's function with the frame.

    Args:
        name: the operator's name.
        function: takes a frame and returns one.
        schema: what it returns.
        row_wise: whether it returns one row for every row, whatever stands beside it.
    """

    name: str
    function: BatchFunction
    schema: pl.Schema
    row_wise: bool

    def apply(self, frame: pl.DataFrame) -> pl.DataFrame:
        """What the function makes of the frame, checked."""
        hidden = hidden_of(frame)
        result = self.function(frame.drop(hidden) if hidden else frame)
        self._check(result, frame.height)
        if self.row_wise and hidden:
            return result.hstack(frame.select(hidden))
        return _without_positions(result) if POSITION in hidden else result

    def failure(self) -> pl.Expr | None:
        """Only trying tells."""
        return None

    def _check(self, result: object, height: int) -> None:
        if not isinstance(result, pl.DataFrame):
            raise MapContractError(f"the function returned {type(result).__name__}, not a polars.DataFrame")
        if result.schema != self.schema:
            raise MapContractError(
                f"the function returned the columns {dict(result.schema)}, but schema= says {dict(self.schema)}"
            )
        if self.row_wise and result.height != height:
            raise MapContractError(
                f"the function returned {result.height} rows for {height}; row_wise=True promises one for each; "
                "leave it out if the function drops or adds rows"
            )


def _without_positions(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows of which nobody knows any more where they came from."""
    return frame.with_columns(pl.lit(None, dtype=POSITION_DTYPE).alias(POSITION))


class MapContractError(DataError):
    """A user's function broke its promise about what it returns: no row is to blame, so no row is set aside."""


Step = FilterStep | ProjectStep | FrameStep | MapStep
