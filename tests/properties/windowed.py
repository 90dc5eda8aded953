"""Windows by their definition: every row beside each window that contains it, then a plain group_by.

Nothing here knows slices, watermarks of operators or states: it is what the results of windows are measured by.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

AT = "at"
_ROW, _MARK = "__row", "__mark"


@dataclass(frozen=True)
class Shape:
    """The arguments of a `group_by_dynamic` that say which windows there are, and how they come out."""

    every: str
    period: str | None = None
    offset: str | None = None
    closed: Any = "left"
    label: Any = "left"
    include_boundaries: bool = False

    @property
    def arguments(self) -> dict[str, Any]:
        return dict(vars(self))

    @property
    def is_polars(self) -> bool:
        """Whether Polars has the same windows: those that do not overlap."""
        return self.period is None and self.closed in {"left", "right"}


def expected(
    rows: pl.DataFrame,
    shape: Shape,
    keys: Sequence[str],
    aggs: dict[str, pl.Expr],
    *,
    keep: pl.Expr | None = None,
) -> pl.DataFrame:
    """The result over all rows.

    Args:
        rows: the rows in the order of their split.
        shape: which windows.
        keys: the key columns.
        aggs: the aggregates by name.
        keep: a condition on `__behind` and the columns of the rows, for a row to count in a window.
    """
    pairs = in_windows(rows, shape)
    if keep is not None:
        pairs = pairs.filter(keep)
    label = {"left": pl.col("__start"), "right": pl.col("__end"), "datapoint": pl.col(AT).min()}[shape.label]
    grouped = pairs.sort(AT, _ROW).group_by(*keys, "__start", "__end").agg(__label=label.first(), **aggs)
    dtype = rows.schema[AT]
    ends = [pl.col("__start").alias("_lower_boundary"), pl.col("__end").alias("_upper_boundary")]
    columns = [
        *keys,
        *(ends if shape.include_boundaries else []),
        pl.col("__label").cast(dtype).alias(AT),
        *aggs,
    ]
    return grouped.select(columns)


def in_windows(rows: pl.DataFrame, shape: Shape) -> pl.DataFrame:
    """Every row beside each window that contains it; `__behind` is the first tick behind the window."""
    dtype = rows.schema[AT]
    time = pl.col(AT).cast(pl.Datetime("us")) if dtype == pl.Date else pl.col(AT)
    starts = pl.concat_list(_starts(time, dtype, shape)).list.unique().list.sort()
    pairs = rows.with_row_index(_ROW).with_columns(__start=starts).explode("__start")
    pairs = pairs.with_columns(__end=_end(dtype, shape)).drop_nulls("__end")
    tick, at = pl.col("__start").to_physical().cast(pl.Int64), time.to_physical().cast(pl.Int64)
    pairs = pairs.with_columns(
        __first=tick + (shape.closed in {"right", "none"}),
        __behind=pl.col("__end").to_physical().cast(pl.Int64) + (shape.closed in {"right", "both"}),
    )
    return pairs.filter(pl.col("__first") <= at, at < pl.col("__behind"))


_AROUND = range(-14, 9)
_HALF = {"s": "500ms", "m": "30s", "h": "30m", "d": "12h", "w": "84h", "mo": "15d", "q": "45d", "y": "180d"}


def _starts(time: pl.Expr, dtype: Any, shape: Shape) -> list[pl.Expr]:
    """For each row all starts around it, found in steps of half of what lies between two."""
    number = shape.every.rstrip("abcdefghijklmnopqrstuvwxyz")
    if dtype.is_integer():
        every, offset = int(number), int((shape.offset or "0i")[:-1])
        first = (time.cast(pl.Int64) - offset) // every * every + offset
        return [(first + every * step).cast(dtype) for step in _AROUND]
    half = _HALF[shape.every.removeprefix(number)]
    size, unit = half.rstrip("abcdefghijklmnopqrstuvwxyz"), half.lstrip("0123456789")
    near = [time.dt.offset_by(f"{step * int(number) * int(size)}{unit}") for step in _AROUND]
    return [each.dt.truncate(shape.every).dt.offset_by(shape.offset or "0s") for each in near]


def _end(dtype: Any, shape: Shape) -> pl.Expr:
    if shape.period is None:
        return pl.col("__start").shift(-1).over(_ROW)
    if dtype.is_integer():
        return (pl.col("__start").cast(pl.Int64) + int(shape.period[:-1])).cast(dtype)
    return pl.col("__start").dt.offset_by(shape.period)


def marks(rows: pl.DataFrame, delay: int) -> pl.Series:
    """The watermark, in ticks, that the split of these rows had reached before each; null before the first."""
    ticks = rows[AT].cast(pl.Datetime("us")) if rows.schema[AT] == pl.Date else rows[AT]
    return (ticks.to_physical().cast(pl.Int64).cum_max().shift() - delay).alias(_MARK)
