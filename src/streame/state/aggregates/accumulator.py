"""What every accumulator of many groups can do."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import polars as pl

from streame.state.aggregates.batch import Batch, Groups
from streame.state.aggregates.touched import ByGroup


class GroupValues(ByGroup, ABC):
    """The values of one accumulator for the groups 0 to n-1."""

    @abstractmethod
    def resize(self, size: int) -> None:
        """Make room for so many groups; there are never fewer than before."""

    @abstractmethod
    def add(self, batch: Batch) -> None:
        """Take rows; there is room for their groups."""

    @abstractmethod
    def values(self, groups: Groups) -> Sequence[pl.Series]:
        """What results are made of: columns under the names of accumulators, a row for each of these groups."""

    @abstractmethod
    def parts(self, groups: Groups) -> Sequence[pl.Series]:
        """All that is known of each of these groups, for `merge`; the dtypes are always the same."""

    @abstractmethod
    def merge(self, groups: Groups, parts: Sequence[pl.Series]) -> None:
        """Take the parts of groups that were kept elsewhere; several may go to the same group."""

    def absorb(self, other: Any, chosen: Groups, groups: Groups) -> None:
        """Take the groups `chosen` of another one of the same class as `groups`; it is not used any more."""
        self.merge(groups, other.parts(chosen))

    def forget(self, groups: Groups) -> None:
        """Set right what groups without rows still show of rows that were taken back."""
        del groups

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """About the memory that is used."""

    @property
    def rows(self) -> int:
        """How many rows are kept."""
        return 0

    @property
    def has_parts(self) -> bool:
        """Whether `parts` and `merge` can be called, and not `absorb` alone."""
        return True


class GroupRows(GroupValues):
    """Values for which rows are kept, so that there is no part of a group that is smaller than its rows."""

    def parts(self, groups: Groups) -> Sequence[pl.Series]:
        """See `has_parts`."""
        raise NotImplementedError

    def merge(self, groups: Groups, parts: Sequence[pl.Series]) -> None:
        """See `has_parts`."""
        raise NotImplementedError

    @abstractmethod
    def absorb(self, other: Any, chosen: Groups, groups: Groups) -> None:
        """See `GroupValues`."""

    @property
    def has_parts(self) -> bool:
        """There are none."""
        return False
