"""The verbs that make several rows or columns of one."""

from collections.abc import Collection, Iterable
from typing import Self

import polars as pl
from polars._typing import ColumnNameOrSelector

from streame.api.handle import Columns, Handle
from streame.errors import PlanError


class ReshapeVerbs(Handle):
    """Several rows or columns of one. One row at a time, like all verbs of this kind."""

    __slots__ = ()

    def explode(
        self,
        columns: Columns,
        *more_columns: ColumnNameOrSelector,
        empty_as_null: bool = False,
        keep_nulls: bool = True,
    ) -> Self:
        """Make a row of every element of a list column; the other columns are repeated.

        Args:
            columns: the list columns; if several, their lists must be of equal length in every row.
            *more_columns: more of them.
            empty_as_null: whether an empty list gives a row with null, or none.
            keep_nulls: whether a null list gives a row with null, or none.

        Returns:
            One row for each element, in order; the positions of rows stay known.

        Raises:
            PlanError: when a column does not exist or is no list.

        Example:
            >>> import polars as pl, streame as st
            >>> orders = st.scan_frames([pl.DataFrame({"id": [1], "items": [["a", "b"]]})])
            >>> orders.explode("items").collect().to_dicts()
            [{'id': 1, 'items': 'a'}, {'id': 1, 'items': 'b'}]
        """
        for each in self._columns_of("explode", columns, more_columns):
            if not isinstance(each.dtype, pl.List | pl.Array):
                raise PlanError(
                    f"explode: column {each.name!r} is of dtype {each.dtype}; only lists can be exploded"
                )
        return self._reshaped(
            "explode",
            lambda frame: frame.explode(
                columns, *more_columns, empty_as_null=empty_as_null, keep_nulls=keep_nulls
            ),
            _names(columns, more_columns),
            carries=True,
        )

    def unnest(
        self,
        columns: Columns | None = None,
        *more_columns: ColumnNameOrSelector,
        separator: str | None = None,
    ) -> Self:
        """Put the fields of struct columns in their place.

        Args:
            columns: the struct columns; all of them by default.
            *more_columns: more of them.
            separator: joins the column's name and the field's; without it the field's name is used.

        Returns:
            The other columns and the fields.

        Raises:
            PlanError: when a column does not exist or is no struct, or two columns would have the same name.

        Example:
            >>> import polars as pl, streame as st
            >>> orders = st.scan_frames([pl.DataFrame({"at": [{"x": 1, "y": 2}]})])
            >>> orders.unnest("at").collect().to_dicts()
            [{'x': 1, 'y': 2}]
        """
        if columns is None:
            columns = [name for name, dtype in self.schema.items() if isinstance(dtype, pl.Struct)]
        return self._reshaped(
            "unnest",
            lambda frame: frame.unnest(columns, *more_columns, separator=separator),
            _names(columns, more_columns),
            carries=True,
        )

    def unpivot(
        self,
        on: Columns | None = None,
        *,
        index: Columns | None = None,
        variable_name: str | None = None,
        value_name: str | None = None,
    ) -> Self:
        """Make a row of each of several columns. The order of the rows is not that of Polars.

        Rows behind it have no position of their own: a dead letter of a later verb has no source, split or offset.

        Args:
            on: the columns that become rows; all but `index` by default.
            index: the columns that are repeated.
            variable_name: the column that gets the old names (`"variable"`).
            value_name: the column that gets the values (`"value"`).

        Returns:
            The index columns, the names and the values: one row for each column and row.

        Raises:
            PlanError: when a column does not exist, or the values of `on` have no dtype in common.

        Example:
            >>> import polars as pl, streame as st
            >>> counts = st.scan_frames([pl.DataFrame({"day": [1], "sold": [5], "lost": [2]})])
            >>> counts.unpivot(index="day").collect().rows()
            [(1, 'sold', 5), (1, 'lost', 2)]
        """
        return self._reshaped(
            "unpivot",
            lambda frame: frame.unpivot(on, index=index, variable_name=variable_name, value_name=value_name),  # type: ignore[arg-type]
            _names(on if on is not None else "all", ()),
        )


def _names(columns: Columns, more: Collection[ColumnNameOrSelector]) -> str:
    listed = [columns] if isinstance(columns, str) or not isinstance(columns, Iterable) else list(columns)
    return ", ".join(str(column) for column in [*listed, *more])
