"""The best rows: `top_k` and `bottom_k`, of all rows or of each group."""

from collections.abc import Iterable, Sequence
from typing import Any, Generic, Self

import polars as pl
from polars._typing import IntoExpr
from polars.exceptions import PanicException, PolarsError

from streame.api.group_aggregates import Frame
from streame.api.handle import Handle
from streame.core.expressions import parse_exprs
from streame.core.foreign_errors import first_paragraph
from streame.core.hidden import unused
from streame.core.row_wise import require_row_wise
from streame.errors import PlanError
from streame.plan.top_k import TopK


class TopKVerbs(Handle):
    """The best of all rows."""

    __slots__ = ()

    def top_k(
        self,
        k: int,
        *,
        by: IntoExpr | Iterable[IntoExpr],
        reverse: bool | Sequence[bool] = False,
        name: str | None = None,
    ) -> Self:
        """The k rows with the largest values.

        As in Polars NaN is the largest number, and null comes last whichever way. Of rows that are equal the one with
        the earliest event time stays, then the one that stands first in its source; of a changes stream, whose rows
        have no order, the one with the smallest values, from the first column on.

        Args:
            k: how many rows, at least one.
            by: what is compared: column names or row-wise expressions, the first one first.
            reverse: look for the smallest values instead; one answer, or one for each of `by`.
            name: the name of the operator, unique in the job; derived from `by` by default.

        Returns:
            A changes stream: a row that is no longer among the best is taken back. In memory are k rows; if the
            input is a changes stream itself, all of its rows.

        Raises:
            PlanError: when `by` cannot be computed or compared, or `k` or `reverse` does not fit.

        Example:
            >>> import polars as pl, streame as st
            >>> orders = st.scan_frames([pl.DataFrame({"item": ["tea", "cup", "pot"], "qty": [2, 9, 5]})])
            >>> orders.top_k(2, by="qty").collect()["item"].sort().to_list()
            ['cup', 'pot']
        """
        return _top_k(self, "top_k", k, by, reverse, (), name)

    def bottom_k(
        self,
        k: int,
        *,
        by: IntoExpr | Iterable[IntoExpr],
        reverse: bool | Sequence[bool] = False,
        name: str | None = None,
    ) -> Self:
        """The k rows with the smallest values; null comes last here too.

        Args:
            k: how many rows, at least one.
            by: what is compared: column names or row-wise expressions, the first one first.
            reverse: look for the largest values instead; one answer, or one for each of `by`.
            name: the name of the operator, unique in the job; derived from `by` by default.

        Returns:
            A changes stream, as for `top_k`.

        Raises:
            PlanError: as `top_k` does.

        Example:
            >>> import polars as pl, streame as st
            >>> orders = st.scan_frames([pl.DataFrame({"item": ["tea", "cup", "pot"], "qty": [2, 9, 5]})])
            >>> orders.bottom_k(1, by="qty").collect()["item"].to_list()
            ['tea']
        """
        return _top_k(self, "bottom_k", k, by, reverse, (), name)


class TopKGroups(Generic[Frame]):
    """The best rows of each group."""

    __slots__ = ()

    _frame: Frame

    def _keyed(self, verb: str) -> tuple[Frame, tuple[tuple[str, str], ...]]:
        raise NotImplementedError

    def top_k(
        self,
        k: int,
        *,
        by: IntoExpr | Iterable[IntoExpr],
        reverse: bool | Sequence[bool] = False,
        name: str | None = None,
    ) -> Frame:
        """The k rows of each group with the largest values.

        Args:
            k: how many rows, at least one.
            by: what is compared: column names or row-wise expressions, the first one first.
            reverse: look for the smallest values instead; one answer, or one for each of `by`.
            name: the name of the operator, unique in the job; derived from keys and `by` by default.

        Returns:
            The rows as they are, as a changes stream: a row that is no longer among the best of its group is taken
            back. In memory are k rows of each group; if the input is a changes stream itself, all of its rows.

        Raises:
            PlanError: as `StreamDataFrame.top_k` does, and when a key is computed under another name.

        Example:
            >>> import polars as pl, streame as st
            >>> orders = st.scan_frames([pl.DataFrame({"item": ["tea", "cup", "tea"], "qty": [2, 9, 5]})])
            >>> orders.group_by("item").top_k(1, by="qty").collect().sort("item").rows()
            [('cup', 9), ('tea', 5)]
        """
        frame, keys = self._keyed("top_k")
        columns = tuple(column for column, _ in keys)
        return _top_k(frame, "top_k", k, by, reverse, columns, name, self._frame.schema)


def _top_k(
    frame: Frame,
    verb: str,
    k: int,
    by: Any,
    reverse: bool | Sequence[bool],
    keys: tuple[str, ...],
    name: str | None,
    output: pl.Schema | None = None,
) -> Frame:
    if type(k) is not int or k < 1:
        raise PlanError(f"{verb}: k is {k!r}; give how many rows, at least 1")
    listed = [by] if isinstance(by, str | pl.Expr) or not isinstance(by, Iterable) else list(by)
    # One by one: two expressions on a column have the same name, and that is no mistake here.
    parsed = [one for each in listed for one in parse_exprs([each], {}, frame.schema, where=verb)]
    if not parsed:
        raise PlanError(f"{verb}: say by what rows are compared, with by=")
    reversed_ = [reverse] * len(parsed) if isinstance(reverse, bool) else list(reverse)
    if len(reversed_) != len(parsed) or not all(isinstance(each, bool) for each in reversed_):
        raise PlanError(
            f"{verb}: reverse={reverse!r}; give one bool, or one for each of the {len(parsed)} in by"
        )
    smallest = tuple(each != (verb == "bottom_k") for each in reversed_)
    try:
        pl.LazyFrame(schema={str(number): each.dtype for number, each in enumerate(parsed)}).sort(
            pl.all()
        ).collect()
    except (PolarsError, PanicException) as error:
        raise PlanError(f"{verb}: rows cannot be compared by that: {first_paragraph(error)}") from error
    output = frame.schema if output is None else output
    columns = tuple(
        each.column or unused(f"__by{number}", frame.schema) for number, each in enumerate(parsed)
    )
    computed = {name: each.expr for name, each in zip(columns, parsed, strict=True) if each.column is None}
    for each in parsed:
        require_row_wise(each.expr, frame.schema, where=verb)
    widened = frame._with_columns(verb, [], computed) if computed else frame
    words = f"by {', '.join(each.name for each in parsed)}" + (f" of each {', '.join(keys)}" if keys else "")
    node = TopK(
        name=name or f"{verb} {k} {words}",
        input=widened.node,
        k=k,
        by=columns,
        smallest=smallest,
        keys=keys,
        output=output,
    )
    return frame._with(node)
