"""The verbs about what is missing: null, and NaN where a column has it."""

from datetime import date, datetime, time, timedelta
from typing import Any, Self

import polars as pl
from polars import selectors

from streame.api.handle import Columns, Handle
from streame.errors import PlanError


class NullVerbs(Handle):
    """Dropping rows without a value, and filling values in. One row at a time, like all verbs of this kind."""

    __slots__ = ()

    def drop_nulls(self, subset: Columns | None = None) -> Self:
        """Drop the rows in which any of the columns is null.

        Args:
            subset: the columns to look at; all by default.

        Returns:
            The rows that stay, in order.

        Raises:
            PlanError: when a column does not exist.

        Example:
            >>> import polars as pl, streame as st
            >>> st.scan_frames([pl.DataFrame({"qty": [3, None]})]).drop_nulls("qty").collect().height
            1
        """
        return self._keep_where("drop_nulls", subset, lambda column: column.is_not_null())

    def drop_nans(self, subset: Columns | None = None) -> Self:
        """Drop the rows in which any of the float columns is NaN; null is not NaN.

        Args:
            subset: the columns to look at; all float columns by default.

        Returns:
            The rows that stay, in order.

        Raises:
            PlanError: when a column does not exist or is no number.

        Example:
            >>> import polars as pl, streame as st
            >>> rates = st.scan_frames([pl.DataFrame({"rate": [0.5, float("nan"), None]})])
            >>> rates.drop_nans().collect()["rate"].to_list()
            [0.5, None]
        """
        floats = pl.selectors.float() if subset is None else subset
        return self._keep_where("drop_nans", floats, lambda column: column.is_not_nan().fill_null(value=True))

    def fill_null(
        self,
        value: Any = None,
        strategy: str | None = None,
        limit: int | None = None,
        *,
        matches_supertype: bool = True,
    ) -> Self:
        """Put a value where there is none.

        Args:
            value: a literal, which fills the columns of a dtype that it fits as in Polars, or an expression.
            strategy: `"zero"` or `"one"`; the others of Polars need other rows and are refused.
            limit: refused: it counts neighbouring rows.
            matches_supertype: whether a number fills columns of every numeric dtype.

        Returns:
            The same columns; a dtype widens where Polars widens it.

        Raises:
            PlanError: when not exactly one of value and strategy is given, or other rows would be needed.

        Example:
            >>> import polars as pl, streame as st
            >>> st.scan_frames([pl.DataFrame({"qty": [3, None]})]).fill_null(0).collect()["qty"].to_list()
            [3, 0]
        """
        if limit is not None or strategy not in {None, "zero", "one"}:
            raise PlanError(
                f"fill_null: strategy={strategy!r}, limit={limit!r} need the rows before or after a row, which may be "
                'in another batch; give a value, an expression, or strategy="zero" or "one"'
            )
        if (value is None) == (strategy is None):
            raise PlanError("fill_null: give either a value or a strategy")
        columns = null_columns(value, matches_supertype=matches_supertype)
        filled = columns.fill_null(value) if strategy is None else columns.fill_null(strategy=strategy)  # type: ignore[arg-type]
        return self._with_columns("fill_null", [filled], {})

    def fill_nan(self, value: float | pl.Expr | None) -> Self:
        """Put a value where a float column has NaN.

        Args:
            value: a number, an expression, or `None` for null.

        Returns:
            The same columns.

        Raises:
            PlanError: when an expression is not row-wise or names an unknown column.

        Example:
            >>> import polars as pl, streame as st
            >>> st.scan_frames([pl.DataFrame({"rate": [0.5, float("nan")]})]).fill_nan(None).collect()["rate"].to_list()
            [0.5, None]
        """
        return self._with_columns("fill_nan", [pl.selectors.float().fill_nan(value)], {})


def null_columns(value: Any, *, matches_supertype: bool) -> pl.Expr:
    """The columns whose nulls a value replaces.

    Args:
        value: what is to be filled in; an expression, or a value of a type not listed here, fills all columns.
        matches_supertype: whether a number fits every numeric dtype, or only the one it would have by itself.
    """
    null = selectors.by_dtype(pl.Null)
    match value:
        case pl.Expr() | None:
            return pl.all()
        case bool():
            return (selectors.boolean() | null).as_expr()
        case int() | float() if matches_supertype:
            return (selectors.numeric() | null).as_expr()
        case int():
            return (selectors.by_dtype(pl.Int64) | null).as_expr()
        case float():
            return (selectors.by_dtype(pl.Float64) | null).as_expr()
        case datetime():
            return (selectors.datetime() | null).as_expr()
        case timedelta():
            return (selectors.duration() | null).as_expr()
        case date():
            return (selectors.date() | null).as_expr()
        case time():
            return (selectors.time() | null).as_expr()
        case str():
            return (selectors.string(include_categorical=True) | null).as_expr()
        case _:
            return pl.all()
