"""The row-wise verbs: every row by itself, so that the answer does not depend on how rows are cut into batches."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

import polars as pl
from polars._typing import ColumnNameOrSelector, IntoExpr, PolarsDataType, PythonDataType

from streame.api.handle import Handle
from streame.core.expressions import parse_exprs
from streame.core.row_wise import require_row_wise_selection
from streame.errors import PlanError
from streame.plan.nodes import Project


class RowWiseVerbs(Handle):
    """Verbs that take one row at a time. Neighbours run as one call per batch.

    Each returns a new frame and runs nothing; rows keep their order in a split, and need no memory between batches.
    """

    __slots__ = ()

    def filter(self, *predicates: Any, **constraints: Any) -> Self:
        """Keep the rows for which all predicates are true; null is not true.

        Args:
            *predicates: Boolean expressions.
            **constraints: `column=value` keeps the rows where they are equal.

        Returns:
            The rows that stay, in order.

        Raises:
            PlanError: when a predicate is not Boolean, not row-wise, or names an unknown column.

        Example:
            >>> import polars as pl, streame as st
            >>> orders = st.scan_frames([pl.DataFrame({"item": ["a", "b"], "qty": [1, 3]})])
            >>> orders.filter(pl.col("qty") > 2).collect().to_dicts()
            [{'item': 'b', 'qty': 3}]
        """
        return self._filter("filter", self._all_of("filter", predicates, constraints))

    def remove(self, *predicates: Any, **constraints: Any) -> Self:
        """Drop the rows for which all predicates are true; rows where they are null stay.

        Args:
            *predicates: Boolean expressions.
            **constraints: `column=value` drops the rows where they are equal.

        Returns:
            The rows that stay, in order.

        Raises:
            PlanError: when no predicate is given, or one is not row-wise or names an unknown column.

        Example:
            >>> import polars as pl, streame as st
            >>> orders = st.scan_frames([pl.DataFrame({"qty": [1, None, 3]})])
            >>> orders.remove(pl.col("qty") > 2).collect()["qty"].to_list()
            [1, None]
        """
        predicate = self._all_of("remove", predicates, constraints)
        return self._filter("remove", predicate.ne_missing(pl.lit(True)))

    def select(self, *exprs: IntoExpr | Iterable[IntoExpr], **named_exprs: IntoExpr) -> Self:
        """Put out exactly these columns.

        Args:
            *exprs: column names, expressions or selectors. A string is a column name.
            **named_exprs: expressions with the name under which they come out.

        Returns:
            Exactly these columns; the rows in order.

        Raises:
            PlanError: when an expression is not row-wise, cannot be computed on this schema, or all are literals.

        Example:
            >>> import polars as pl, streame as st
            >>> orders = st.scan_frames([pl.DataFrame({"price": [2.0], "qty": [3]})])
            >>> orders.select("qty", total=pl.col("price") * pl.col("qty")).collect().to_dicts()
            [{'qty': 3, 'total': 6.0}]
        """
        outputs = parse_exprs(exprs, named_exprs, self.schema, where="select")
        if require_row_wise_selection(outputs, self.schema, where="select"):
            return self._with(Project(self._node, outputs, "select"))
        exprs_alone = [output.expr for output in outputs]
        return self._reshaped("select", lambda frame: frame.select(exprs_alone), str(exprs_alone[0]))

    def with_columns(self, *exprs: IntoExpr | Iterable[IntoExpr], **named_exprs: IntoExpr) -> Self:
        """Add columns, or replace those of the same name.

        Args:
            *exprs: expressions or selectors.
            **named_exprs: expressions with the name under which they come out.

        Returns:
            All columns, the new ones last; the rows in order.

        Raises:
            PlanError: when an expression is not row-wise or cannot be computed on this schema.

        Example:
            >>> import polars as pl, streame as st
            >>> orders = st.scan_frames([pl.DataFrame({"price": [2.0], "qty": [3]})])
            >>> orders.with_columns(total=pl.col("price") * pl.col("qty")).collect().to_dicts()
            [{'price': 2.0, 'qty': 3, 'total': 6.0}]
        """
        return self._with_columns("with_columns", exprs, named_exprs)

    def add_static_column(self, name: str, value: Any) -> Self:
        """Add a column that has the same value in every row.

        Args:
            name: a name that no column has yet.
            value: a Python value or a literal expression.

        Returns:
            All columns and the new one.

        Raises:
            PlanError: when the column exists; use `with_columns` to replace it.

        Example:
            >>> import polars as pl, streame as st
            >>> st.scan_frames([pl.DataFrame({"qty": [3]})]).add_static_column("origin", "web").collect().to_dicts()
            [{'qty': 3, 'origin': 'web'}]
        """
        if name in self.schema:
            raise PlanError(
                f"add_static_column: column {name!r} exists already; use with_columns to replace it"
            )
        try:
            literal = value if isinstance(value, pl.Expr) else pl.lit(value)
        except TypeError as error:
            raise PlanError(
                f"add_static_column: {type(value).__name__} is no value that a column can hold"
            ) from error
        return self._with_columns("add_static_column", [literal.alias(name)], {})

    def rename(self, mapping: Mapping[str, str] | Callable[[str], str], *, strict: bool = True) -> Self:
        """Give columns other names.

        Args:
            mapping: new names by old ones, or a function that makes a new name of an old one.
            strict: whether an old name that does not exist is an error.

        Returns:
            The same columns under the new names.

        Raises:
            PlanError: when a column does not exist, or two would have the same name.

        Example:
            >>> import polars as pl, streame as st
            >>> st.scan_frames([pl.DataFrame({"qty": [3]})]).rename({"qty": "quantity"}).columns
            ['quantity']
        """
        names = {name: mapping(name) for name in self.schema} if callable(mapping) else dict(mapping)
        if strict:
            self._require(names, "rename")
        renamed = [pl.col(name).alias(names.get(name, name)) for name in self.schema]
        return self._with(
            Project(self._node, parse_exprs(renamed, {}, self.schema, where="rename"), "rename")
        )

    def drop(
        self, *columns: ColumnNameOrSelector | Iterable[ColumnNameOrSelector], strict: bool = True
    ) -> Self:
        """Leave columns out.

        Args:
            *columns: names or selectors.
            strict: whether a name that does not exist is an error.

        Returns:
            The columns that are left.

        Raises:
            PlanError: when a column does not exist, or none would be left.

        Example:
            >>> import polars as pl, streame as st
            >>> st.scan_frames([pl.DataFrame({"qty": [3], "note": ["x"]})]).drop("note").columns
            ['qty']
        """
        kept = self._schema_after("drop", lambda frame: frame.drop(*columns, strict=strict))
        if not kept:
            raise PlanError("drop: no column would be left, and rows without columns cannot be counted")
        return self._with(Project(self._node, parse_exprs(list(kept), {}, self.schema, where="drop"), "drop"))

    def cast(
        self,
        dtypes: Mapping[ColumnNameOrSelector | PolarsDataType, PolarsDataType | PythonDataType]
        | PolarsDataType,
        *,
        strict: bool = True,
    ) -> Self:
        """Change the dtype of columns.

        Args:
            dtypes: dtypes by column name, selector or old dtype; or one dtype for all columns.
            strict: a value that does not fit makes its row a bad one; otherwise it becomes null.

        Returns:
            The same columns in the new dtypes.

        Raises:
            PlanError: when a column does not exist, or its dtype cannot become the other.

        Example:
            >>> import polars as pl, streame as st
            >>> st.scan_frames([pl.DataFrame({"qty": ["3"]})]).cast({"qty": pl.Int64}).collect().to_dicts()
            [{'qty': 3}]
        """
        after = self._schema_after("cast", lambda frame: frame.cast(dtypes, strict=strict))
        changed = [
            pl.col(name).cast(dtype, strict=strict)
            for name, dtype in after.items()
            if dtype != self.schema[name]
        ]
        return self._with_columns("cast", changed, {})
