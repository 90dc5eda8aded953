"""The state of an aggregation over many groups."""

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.core.aggregates import ROWS, Aggregation
from streame.core.metrics import StateSize
from streame.state.aggregates.accumulator import GroupValues
from streame.state.aggregates.batch import Batch, Groups, Weights, grown
from streame.state.aggregates.kinds import group_values
from streame.state.aggregates.rowful import RowfulResults
from streame.state.aggregates.totals import TooLargeError
from streame.state.aggregates.touched import ByGroup, Touched

GroupNumbers = npt.NDArray[np.int32] | npt.NDArray[np.int64]


class AggregateState(ByGroup):
    """The values of an aggregation for the groups 0 to n-1; the caller gives groups their numbers.

    Args:
        aggregation: what is computed for each group.
        retractable: whether rows may be taken back, with a weight of -1. A row is taken back by one that is equal
            in all columns that are read, its time and its position included. Rows of equal time and position then
            stand in the order of their values, not of arrival.
    """

    BY_GROUP = ("_counts",)
    SAVED = ("_counts", "_kept", "_rowful")
    DERIVED = ("_groups",)

    def __init__(self, aggregation: Aggregation, *, retractable: bool = False) -> None:
        self._aggregation = aggregation
        self._retractable = retractable
        self._counts: Weights = np.zeros(0, np.int64)
        self._groups = Touched()
        self._kept = group_values(aggregation.accumulators, retractable=retractable)
        self._rowful = RowfulResults(aggregation, retractable=retractable) if aggregation.rowful else None
        self.share(self._groups)

    def restore(self, parts: dict[str, Any]) -> None:
        """See `Savable`."""
        self._counts = parts["_counts"]
        for kept, part in zip(self._kept, parts["_kept"], strict=True):
            kept.restore(part)
        if self._rowful is not None:
            self._rowful.restore(parts["_rowful"])
        self._groups = Touched()
        self._groups.reach(len(self._counts))
        self.share(self._groups)

    def saved_up_to_here(self) -> None:
        """See `Savable`."""
        self._groups.nothing()

    @property
    def has_partials(self) -> bool:
        """Whether `partials` can take the place of the rows of a group."""
        return self._aggregation.has_partials and all(each.has_parts for each in self._kept)

    def add(self, groups: GroupNumbers, rows: pl.DataFrame, weights: Weights | None = None) -> None:
        """Take new rows.

        Args:
            groups: the group of each row; numbers that are new make the state grow.
            rows: what `Aggregation.prepare` gave for them.
            weights: +1 for a row that is there, -1 for one that is taken back; `None` for +1 everywhere.
        """
        if not len(groups):
            return
        assert weights is None or self._retractable
        numbers = groups.astype(np.intp, copy=False)
        self._touch(numbers)
        batch = Batch(numbers, rows, weights)
        np.add.at(self._counts, numbers, 1 if weights is None else weights)
        with np.errstate(all="ignore"):
            for kept in self._kept:
                kept.add(batch)
        if self._rowful is not None:
            self._rowful.add(batch)
        if weights is not None:
            self._forget_empty(numbers[weights < 0])

    def absorb(self, other: "AggregateState", groups: GroupNumbers) -> None:
        """Merge the groups of another state into groups of this one.

        Args:
            other: a state of the same aggregation, which stays as it is. Where rows are ordered by arrival,
                its rows came later.
            groups: for each group of `other` the group here, -1 to leave it out.
        """
        chosen = np.flatnonzero(groups >= 0)
        if not len(chosen):
            return
        targets = groups[chosen].astype(np.intp, copy=False)
        self._touch(targets)
        counts, others, rowful = other.contents(len(groups))
        np.add.at(self._counts, targets, counts[chosen])
        with np.errstate(all="ignore"):
            for kept, other_kept in zip(self._kept, others, strict=True):
                kept.absorb(other_kept, chosen, targets)
        if self._rowful is not None and rowful is not None:
            self._rowful.absorb(rowful, groups.astype(np.intp, copy=False))
        if self._retractable:
            self._forget_empty(targets)

    def contents(self, count: int) -> tuple[Weights, list[GroupValues], RowfulResults | None]:
        """All there is, with room for `count` groups, for the state that absorbs this one."""
        assert self._groups.count <= count, (self._groups.count, count)
        self._reserve(count)
        return self._counts, self._kept, self._rowful

    def partials(self, groups: GroupNumbers) -> pl.DataFrame:
        """The values of each of these groups, in their order, for `add_partials` of another state.

        Raises:
            DataError: when a sum needs more than 128 bits.
        """
        assert self.has_partials
        numbers = self._numbers(groups)
        columns = [pl.Series(ROWS, self._counts[numbers])]
        try:
            for index, kept in enumerate(self._kept):
                parts = kept.parts(numbers)
                columns += [part.alias(f"{index}.{place}") for place, part in enumerate(parts)]
        except TooLargeError as error:
            raise self._aggregation.too_large(error.total) from error
        return pl.DataFrame(columns)

    def add_partials(self, groups: GroupNumbers, partials: pl.DataFrame) -> None:
        """Merge values that another state has given.

        Args:
            groups: the group of each row of values.
            partials: what `partials` of a state of the same aggregation gave.
        """
        if not len(groups):
            return
        numbers = groups.astype(np.intp, copy=False)
        self._touch(numbers)
        np.add.at(self._counts, numbers, partials[ROWS].to_numpy())
        columns = partials.get_columns()[1:]
        owners = [int(column.name.partition(".")[0]) for column in columns]
        with np.errstate(all="ignore"):
            for index, kept in enumerate(self._kept):
                parts = [column for column, owner in zip(columns, owners, strict=True) if owner == index]
                kept.merge(numbers, parts)
        if self._retractable:
            self._forget_empty(numbers)

    def results(self, groups: GroupNumbers) -> pl.DataFrame:
        """The result of each of these groups, in their order; a group without rows gives that of no rows.

        Raises:
            DataError: when a value does not fit its dtype or cannot be computed.
        """
        numbers = self._numbers(groups)
        aggregation = self._aggregation
        if self._retractable and len(numbers):
            self._touch(numbers)  # extremes that were taken back are looked for now
        values = [pl.Series(ROWS, self._counts[numbers])]
        try:
            with np.errstate(all="ignore"):
                for kept in self._kept:
                    values += kept.values(numbers)
        except TooLargeError as error:
            raise aggregation.too_large(error.total) from error
        rowful = None if self._rowful is None else self._rowful.results(numbers, len(self._counts))
        return aggregation.finish(values, rowful)

    def counts(self, groups: GroupNumbers) -> Weights:
        """How many rows each of these groups holds."""
        numbers = self._numbers(groups)
        return self._counts[numbers]

    def filled(self) -> Groups:
        """The groups that hold rows, in order."""
        return np.flatnonzero(self._counts)

    def size(self) -> StateSize:
        """How many rows or groups are kept, and about how much memory they take."""
        rows = sum(each.rows for each in self._kept)
        nbytes = self._counts.nbytes + sum(each.nbytes for each in self._kept)
        if self._rowful is not None:
            rows, nbytes = rows + self._rowful.height, nbytes + self._rowful.nbytes
        return StateSize(max(rows, self._groups.count), nbytes)

    def _touch(self, groups: Groups) -> None:
        """Make room for groups, at least one, that change."""
        last = int(groups.max())
        self._reserve(last + 1)
        self._groups.touch(groups, last)

    def _numbers(self, groups: GroupNumbers) -> Groups:
        """Group numbers as indices of arrays that are long enough."""
        numbers = groups.astype(np.intp, copy=False)
        self._reserve(int(numbers.max(initial=-1)) + 1)
        return numbers

    def _reserve(self, count: int) -> None:
        """Make room for so many groups."""
        self._groups.reach(count)
        if count > len(self._counts):
            size = max(count, 2 * len(self._counts))
            self._counts = grown(self._counts, size, 0)
            for kept in self._kept:
                kept.resize(size)

    def _forget_empty(self, groups: Groups) -> None:
        """Let groups that have no rows any more be as if they had never been seen."""
        empty = groups[self._counts[groups] == 0]
        if len(empty):
            for kept in self._kept:
                kept.forget(empty)
