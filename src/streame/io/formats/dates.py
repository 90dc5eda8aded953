"""Dates and times as text, in ISO 8601, turned into Polars' dtypes.

Polars infers a format from the first values of a column, so that a text could be good in one block and bad in
the next. Here the formats are fixed, and which of them is tried first changes the speed and nothing else.
"""

import re
from typing import Literal

import polars as pl

TimeUnit = Literal["ns", "us", "ms"]

_GAPS = ("T", " ")
_CLOCKS = ("%H:%M:%S%.f", "%H:%M")
_FORMATS = (
    *(f"%Y-%m-%d{gap}{clock}{zone}" for zone in ("", "%#z") for clock in _CLOCKS for gap in _GAPS),
    "%Y-%m-%d",
)

# Polars parses formats of fixed width six times faster than those above; each accepts less than one of them.
_FIXED_WIDTH = re.compile(r"\d{4}-\d\d-\d\d([T ])\d\d:\d\d:\d\d(?:\.(\d{3}|\d{6}|\d{9}))?(Z?)")


def to_datetime(text: pl.Series, dtype: pl.Datetime) -> pl.Series:
    """Points in time, null where a text is none.

    Args:
        text: a date, or a date and a time with `T` or a space between; seconds, a fraction of them and a zone
            (`Z`, `+01:00`) may follow. Without a zone the text is UTC, as in Polars' own readers.
        dtype: the dtype of the result; without a time zone it holds UTC.
    """
    unit = dtype.time_unit
    first = text.first(ignore_nulls=True)
    fast = _fixed_width(first) if isinstance(first, str) else None
    value = _parse(text, fast, unit) if fast else text.clear(len(text)).cast(pl.Datetime(unit))
    for form in _FORMATS:
        if value.null_count() == text.null_count():
            break
        left = (value.is_null() & text.is_not_null()).arg_true()
        value = value.scatter(left, _parse(text.gather(left), form, unit))
    if dtype.time_zone is not None:
        return value.dt.replace_time_zone("UTC").dt.convert_time_zone(dtype.time_zone)
    return value


def to_date(text: pl.Series) -> pl.Series:
    """Days, null where a text is no `2024-12-31`."""
    return _in_calendar(text.str.to_date("%Y-%m-%d", strict=False, cache=False))


def to_time(text: pl.Series) -> pl.Series:
    """Times of day, null where a text is no `23:59`, `23:59:59` or `23:59:59.5`."""
    value = text.str.to_time(_CLOCKS[0], strict=False, cache=False)
    if value.null_count() == text.null_count():
        return value
    return value.zip_with(value.is_not_null(), text.str.to_time(_CLOCKS[1], strict=False, cache=False))


def _fixed_width(text: str) -> str | None:
    shape = _FIXED_WIDTH.fullmatch(text)
    if shape is None:
        return None
    gap, fraction, zone = shape.groups()
    return f"%Y-%m-%d{gap}%H:%M:%S{f'.%{len(fraction)}f' if fraction else ''}{zone}"


def _parse(text: pl.Series, form: str, unit: TimeUnit) -> pl.Series:
    value = text.str.to_datetime(form, time_unit=unit, strict=False, cache=False)
    if isinstance(value.dtype, pl.Datetime) and value.dtype.time_zone is not None:
        value = value.dt.replace_time_zone(None)
    if unit == "ns":
        # Nanoseconds reach from 1677 to 2262 and Polars wraps what lies outside; microseconds tell.
        wide = _parse(text, form, "us")
        value = _only(value, value.dt.year() == wide.dt.year())
    return _in_calendar(value)


def _in_calendar(value: pl.Series) -> pl.Series:
    """Null outside the years 1 to 9999, which Python's own datetimes cannot hold."""
    ticks = value.to_physical()
    ends = pl.Series([ticks.min(), ticks.max()], dtype=ticks.dtype).cast(value.dtype)
    if ends.dt.year().is_between(1, 9999).all():
        return value
    return _only(value, value.dt.year().is_between(1, 9999))


def _only(value: pl.Series, keep: pl.Series) -> pl.Series:
    return value if keep.all() else pl.select(pl.when(keep).then(value)).to_series()
