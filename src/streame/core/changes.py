"""Changes: rows that say by their weight whether they hold from now on or hold no longer."""

import numpy as np
import polars as pl

DIFF = "_diff"
"""The column in which users see the weight: +1 for a row that holds from now on, -1 for one that holds no longer."""


def net(changes: pl.DataFrame) -> pl.DataFrame:
    """The same changes in fewer rows: each row once with the sum of its weights, left out where that is 0.

    Args:
        changes: rows with the column `_diff`.
    """
    columns = [name for name in changes.columns if name != DIFF]
    summed = changes.group_by(columns, maintain_order=True).agg(pl.col(DIFF).sum())
    return summed.filter(pl.col(DIFF) != 0)


def fold(changes: pl.DataFrame) -> pl.DataFrame:
    """The table that changes lead to, from nothing.

    Args:
        changes: all changes, with the column `_diff`, in any order.

    Returns:
        The rows that hold, without `_diff`, as often as they hold; in the order in which they were first said.
    """
    left = net(changes)
    times = left[DIFF].to_numpy()
    assert (times > 0).all(), left.filter(pl.col(DIFF) < 0)
    rows = left.drop(DIFF)
    return rows if (times == 1).all() else rows[np.repeat(np.arange(len(times)), times)]
