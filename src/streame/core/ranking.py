"""Ranking: which of two rows comes first in a top k.

As Polars sorts: NaN is the largest number, -0.0 equals 0.0, and null comes last whichever way. Rows that are equal
otherwise stand in the order of their event time, then of their position; where there is none, of their values, or in
the order in which they came.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.core.hidden import POSITION


@dataclass(frozen=True, slots=True)
class Ranking:
    """An order of rows.

    Args:
        by: the columns that say which row is better, the first one first.
        smallest: for each of them whether the smallest value is the best.
        time: the event time, which tells the rows of a tie apart.
        ties: columns whose values settle what is still a tie, for rows that come in no fixed order.
    """

    by: tuple[str, ...]
    smallest: tuple[bool, ...]
    time: str | None = None
    ties: tuple[str, ...] = ()

    def order(self, frame: pl.DataFrame, group: pl.Series) -> pl.Series:
        """The numbers of the rows, group after group and in each the best row first.

        Args:
            frame: the rows; those that came earlier stand before those that came later.
            group: the group of each row.
        """
        columns = [group.alias("__group"), *(frame[name].alias(f"__by{n}") for n, name in enumerate(self.by))]
        best = len(columns)
        if self.time is not None:
            columns.append(frame[self.time].alias("__time"))
        if POSITION in frame.columns:
            place = frame[POSITION].struct
            columns += [place.field(name).alias(f"__{name}") for name in ("source", "split", "offset")]
        columns += [frame[name].alias(f"__tie{n}") for n, name in enumerate(self.ties)]
        others = len(columns) - best
        descending = [False, *(not smallest for smallest in self.smallest), *[False] * others]
        nulls_last = [False, *[True] * len(self.by), *[False] * others]
        names = [column.name for column in columns]
        rows = pl.DataFrame(columns).with_row_index("__row")
        # The sort is stable: what is equal in all of them stays in the order in which it came.
        return rows.sort(names, descending=descending, nulls_last=nulls_last, maintain_order=True)["__row"]

    def may_enter(self, new: pl.DataFrame, worst: pl.DataFrame) -> pl.Series:
        """Whether each new row may stand before, or beside, another one by its first column alone."""
        name = self.by[0]
        mine, other = new[name], worst[name]
        better = mine <= other if self.smallest[0] else mine >= other
        return better.fill_null(value=False) | other.is_null()

    def scores(self, frame: pl.DataFrame) -> npt.NDArray[np.float64]:
        """A number for each row, of which a better row by the first column has no smaller one; the column is a number."""
        column = frame[self.by[0]].to_physical().cast(pl.Float64)
        scores = column.to_numpy() if not column.null_count() else column.fill_null(np.nan).to_numpy()
        scores = np.where(np.isnan(scores), np.inf, scores)
        scores = -scores if self.smallest[0] else scores
        return np.where(column.is_null().to_numpy(), -np.inf, scores) if column.null_count() else scores
