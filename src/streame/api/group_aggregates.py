"""One aggregate of every column: `group_by(...).sum()` and the like, said with `agg`."""

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

import polars as pl
from polars._typing import QuantileMethod

from streame.api.handle import Handle

Frame = TypeVar("Frame", bound=Handle)


class GroupAggregates(Generic[Frame]):
    """The methods of a `group_by` that are short for an `agg`."""

    __slots__ = ()

    def _agg(self, verb: str, aggs: Sequence[Any], named_aggs: Mapping[str, Any]) -> Frame:
        """The keys and these aggregates, for a verb that is named in errors."""
        raise NotImplementedError

    def len(self, name: str | None = None) -> Frame:
        """The number of rows of each group.

        Args:
            name: the name of the column (`"len"`).

        Returns:
            The keys and the numbers.

        Raises:
            PlanError: when a key has that name.

        Example:
            >>> import polars as pl, streame as st
            >>> orders = st.scan_frames([pl.DataFrame({"item": ["tea", "cup", "tea"]})])
            >>> orders.group_by("item").len().collect().sort("item").rows()
            [('cup', 1), ('tea', 2)]
        """
        return self._agg("len", [pl.len() if name is None else pl.len().alias(name)], {})

    def all(self) -> Frame:
        """The values of each group as lists.

        Returns:
            The keys, then all other columns.

        Raises:
            PlanError: when that cannot be computed for a column.

        Example:
            >>> import polars as pl, streame as st
            >>> orders = st.scan_frames([pl.DataFrame({"item": ["tea", "tea"], "qty": [2, 5]})])
            >>> orders.group_by("item").all().collect().rows()
            [('tea', [2, 5])]
        """
        return self._agg("all", [pl.all()], {})

    def first(self, *, ignore_nulls: bool = False) -> Frame:
        """The first value of each column in each group.

        Args:
            ignore_nulls: pass over nulls.

        Returns:
            The keys, then all other columns.

        Raises:
            PlanError: when that cannot be computed for a column.

        Example:
            >>> import polars as pl, streame as st
            >>> orders = st.scan_frames([pl.DataFrame({"item": ["tea", "tea"], "qty": [2, 5]})])
            >>> orders.group_by("item").first().collect().rows()
            [('tea', 2)]
        """
        return self._agg("first", [pl.all().first(ignore_nulls=ignore_nulls)], {})

    def last(self, *, ignore_nulls: bool = False) -> Frame:
        """The last value of each column in each group.

        Args:
            ignore_nulls: pass over nulls.

        Returns:
            The keys, then all other columns.

        Raises:
            PlanError: when that cannot be computed for a column.

        Example:
            >>> import polars as pl, streame as st
            >>> orders = st.scan_frames([pl.DataFrame({"item": ["tea", "tea"], "qty": [2, 5]})])
            >>> orders.group_by("item").last().collect().rows()
            [('tea', 5)]
        """
        return self._agg("last", [pl.all().last(ignore_nulls=ignore_nulls)], {})

    def max(self) -> Frame:
        """The largest value of each column in each group.

        Returns:
            The keys, then all other columns.

        Raises:
            PlanError: when that cannot be computed for a column.

        Example:
            >>> import polars as pl, streame as st
            >>> orders = st.scan_frames([pl.DataFrame({"item": ["tea", "tea"], "qty": [2, 5]})])
            >>> orders.group_by("item").max().collect().rows()
            [('tea', 5)]
        """
        return self._agg("max", [pl.all().max()], {})

    def mean(self) -> Frame:
        """The mean of each column in each group.

        Returns:
            The keys, then all other columns.

        Raises:
            PlanError: when that cannot be computed for a column.

        Example:
            >>> import polars as pl, streame as st
            >>> orders = st.scan_frames([pl.DataFrame({"item": ["tea", "tea"], "qty": [2, 5]})])
            >>> orders.group_by("item").mean().collect().rows()
            [('tea', 3.5)]
        """
        return self._agg("mean", [pl.all().mean()], {})

    def median(self) -> Frame:
        """The median of each column in each group; all rows are kept for it.

        Returns:
            The keys, then all other columns.

        Raises:
            PlanError: when that cannot be computed for a column.

        Example:
            >>> import polars as pl, streame as st
            >>> orders = st.scan_frames([pl.DataFrame({"item": ["tea", "tea"], "qty": [2, 5]})])
            >>> orders.group_by("item").median().collect().rows()
            [('tea', 3.5)]
        """
        return self._agg("median", [pl.all().median()], {})

    def min(self) -> Frame:
        """The smallest value of each column in each group.

        Returns:
            The keys, then all other columns.

        Raises:
            PlanError: when that cannot be computed for a column.

        Example:
            >>> import polars as pl, streame as st
            >>> orders = st.scan_frames([pl.DataFrame({"item": ["tea", "tea"], "qty": [2, 5]})])
            >>> orders.group_by("item").min().collect().rows()
            [('tea', 2)]
        """
        return self._agg("min", [pl.all().min()], {})

    def n_unique(self) -> Frame:
        """The number of different values of each column in each group.

        Returns:
            The keys, then all other columns.

        Raises:
            PlanError: when that cannot be computed for a column.

        Example:
            >>> import polars as pl, streame as st
            >>> orders = st.scan_frames([pl.DataFrame({"item": ["tea", "tea"], "qty": [2, 5]})])
            >>> orders.group_by("item").n_unique().collect().rows()
            [('tea', 2)]
        """
        return self._agg("n_unique", [pl.all().n_unique()], {})

    def quantile(self, quantile: float, interpolation: QuantileMethod = "nearest") -> Frame:
        """A quantile of each column in each group; all rows are kept for it.

        Args:
            quantile: between 0 and 1.
            interpolation: what is between two values.

        Returns:
            The keys, then all other columns.

        Raises:
            PlanError: when that cannot be computed for a column.

        Example:
            >>> import polars as pl, streame as st
            >>> orders = st.scan_frames([pl.DataFrame({"item": ["tea", "tea"], "qty": [2, 5]})])
            >>> orders.group_by("item").quantile(0.5).collect().rows()
            [('tea', 5.0)]
        """
        return self._agg("quantile", [pl.all().quantile(quantile, interpolation=interpolation)], {})

    def sum(self) -> Frame:
        """The sum of each column in each group.

        Returns:
            The keys, then all other columns.

        Raises:
            PlanError: when that cannot be computed for a column.

        Example:
            >>> import polars as pl, streame as st
            >>> orders = st.scan_frames([pl.DataFrame({"item": ["tea", "tea"], "qty": [2, 5]})])
            >>> orders.group_by("item").sum().collect().rows()
            [('tea', 7)]
        """
        return self._agg("sum", [pl.all().sum()], {})
