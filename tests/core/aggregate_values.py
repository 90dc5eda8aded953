"""Rows for the table of aggregations: a few values of every column, those among them that are easily mistaken."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.core.aggregate_table import SCHEMA

VALUES: dict[str, list[Any]] = {
    "t": [0, 1, 2, 3],
    "i": [0, 1, -1, 100, 2**61, None],
    "i8": [1, -128, 127, None],
    "i16": [1, -3, 7, None],
    "i32": [1, -3, 10_000, None],
    "u8": [0, 3, 255, None],
    "u16": [0, 65_535, None],
    "u32": [0, 7, 9, None],
    "u64": [0, 5, 2**60, None],
    "i128": [0, -1, 2**100, -(2**64), None],
    "f": [0.0, -0.0, 1.5, -2.25, 1e10, float("nan"), float("inf"), float("-inf"), None],
    "f32": [0.5, 1.25, float("nan"), None],
    "f16": [0.5, -1.25, float("nan"), None],
    "b": [True, False, None],
    "m": [True, False, None],
    "s": ["", "a", "b", "ü", "a much longer text than twelve bytes", None],
    "bin": [b"", b"a", b"a\0", None],
    "date": [date(2020, 1, 1), date(1960, 1, 1), None],
    "at": [datetime(2020, 1, 1, 5), datetime(1960, 1, 1), None],  # noqa: DTZ001
    "zoned": [datetime(2020, 3, 29, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC), None],
    "took": [timedelta(1), timedelta(microseconds=-3), None],
    "clock": [time(0), time(1), time(23, 59), None],
    "price": [Decimal("1.25"), Decimal("-3.50"), None],
    "wide": [Decimal("1.2500"), Decimal("-99999999999999999999.1234"), None],
    "cat": ["z", "a", None],
    "enum": ["c", "a", "b", None],
    "list": [[1], [], [1, None], None],
    "struct": [{"x": 1, "y": "a"}, {"x": None, "y": None}, None],
}


def rows(columns: Iterable[str], *, max_size: int = 24) -> SearchStrategy[pl.DataFrame]:
    """Frames of some of the columns, and of their group `g`, from 0 to 3."""
    names = sorted(set(columns) | {"t"})

    def frame(drawn: list[tuple[Any, ...]]) -> pl.DataFrame:
        series = [
            pl.Series(name, [row[i] for row in drawn], dtype=SCHEMA[name]) for i, name in enumerate(names)
        ]
        return pl.DataFrame([*series, pl.Series("g", [row[-1] for row in drawn], dtype=pl.Int64)])

    row = st.tuples(*(st.sampled_from(VALUES[name]) for name in names), st.integers(0, 3))
    return st.lists(row, min_size=1, max_size=max_size).map(frame)
