"""Emitting changes: from what groups were and what they are to rows that take back and rows that say anew.

Every verb that says changes decides here which of its groups have changed.
"""

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.core.frames import frame_of
from streame.core.hidden import WEIGHT

Mask = npt.NDArray[np.bool_]


def changes(
    keys: pl.DataFrame, old: pl.DataFrame | None, new: pl.DataFrame, was: Mask, now: Mask
) -> pl.DataFrame:
    """What a changes stream says of some groups: -1 of the rows that hold no longer, then +1 of those that hold now.

    Args:
        keys: what names each group, one row each; may have no columns.
        old: the result that was said of each group; what stands there for one that was never said is not read.
            `None` if none was said.
        new: the result of each group now; what stands there for one that is gone is not read.
        was: which groups were said.
        now: which groups are there now.

    Returns:
        The columns of `keys`, those of the results, and the weight. A group whose result is the same, null and
        NaN being equal to themselves, is left out.
    """
    if old is None:
        taken_back, said = np.zeros(len(now), np.bool_), now
    else:
        same = was & now
        if same.any():
            same &= ~_differs(old, new)
        taken_back, said = was & ~same, now & ~same
    after = _weighted(keys, new, said, 1)
    if old is None or not taken_back.any():
        return after
    return pl.concat([_weighted(keys, old, taken_back, -1), after])


def _weighted(keys: pl.DataFrame, results: pl.DataFrame, chosen: Mask, weight: int) -> pl.DataFrame:
    """The chosen rows with a weight beside them."""
    columns = [*keys.get_columns(), *results.get_columns()]
    if not chosen.all():
        mask = pl.Series(chosen)
        columns = [column.filter(mask) for column in columns]
    return frame_of([*columns, pl.Series(WEIGHT, np.full(np.count_nonzero(chosen), weight, np.int64))])


def _differs(old: pl.DataFrame, new: pl.DataFrame) -> Mask:
    """Which rows differ in any column."""
    differs = np.zeros(new.height, np.bool_)
    for before, after in zip(old.get_columns(), new.get_columns(), strict=True):
        # The plain comparison has far less overhead.
        has_null = before.null_count() or after.null_count()
        differs |= (before.ne_missing(after) if has_null else before != after).to_numpy()
    return differs
