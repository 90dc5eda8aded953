"""Text tables: what they mean, that they come back, and what is said of a wrong one."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from streame.errors import PlanError
from streame.testing import batch, to_text

EVERY_DTYPE: dict[str, tuple[Any, list[Any]]] = {
    "string": (pl.String, ["ann", "", ".", "a b", '"', "#", "a#b", "[x", "\n", "ü", None]),
    "integer": (pl.Int64, [-(2**63), 2**63 - 1, None]),
    "float": (pl.Float64, [0.1, -0.0, float("inf"), 1e300, None]),
    "boolean": (pl.Boolean, [True, False, None]),
    "date": (pl.Date, [date(2024, 2, 29), None]),
    "datetime": (pl.Datetime("us"), [datetime(2024, 1, 1, 10, 0, 0, 5), None]),  # noqa: DTZ001
    "datetime in UTC": (pl.Datetime("us", "UTC"), [datetime(2024, 1, 1, tzinfo=UTC), None]),
    "time": (pl.Time, [time(1, 2, 3), None]),
    "duration": (pl.Duration("us"), [timedelta(hours=1), timedelta(seconds=-1), None]),
    "narrow": (pl.UInt8, [0, 255, None]),
    "decimal": (pl.Decimal(10, 2), [Decimal("1.50"), None]),
    "binary": (pl.Binary, [b"ab", b"", None]),
    "enum": (pl.Enum(["a", "b c"]), ["a", "b c", None]),
    "categorical": (pl.Categorical, ["x", None]),
    "list": (pl.List(pl.String), [["a", None, "b c"], [], None]),
    "array": (pl.Array(pl.Int8, 2), [[1, 2], None]),
    "struct": (pl.Struct({"at": pl.Date, "n": pl.Int64}), [{"at": date(2024, 1, 1), "n": None}, None]),
    "deep": (pl.List(pl.Struct({"x y": pl.List(pl.Float64)})), [[{"x y": [1.5]}], [None], None]),
    "null": (pl.Null, [None]),
}


@pytest.mark.parametrize("name", EVERY_DTYPE)
def test_a_table_comes_back(name: str) -> None:
    dtype, values = EVERY_DTYPE[name]
    frame = pl.DataFrame({name: values, "n": range(len(values))}, schema_overrides={name: dtype}, strict=True)
    assert_frame_equal(batch(to_text(frame)), frame)


def test_a_table_reads_like_one() -> None:
    frame = batch("""
        # the orders of a day
        user:s      amount:i   "paid at":z
        ann         5          2024-01-01T10:00:00Z
        "bob #1"    .          .                      # he never paid
    """)
    assert frame.rows() == [("ann", 5, datetime(2024, 1, 1, 10, tzinfo=UTC)), ("bob #1", None, None)]
    assert frame.columns == ["user", "amount", "paid at"]


def test_a_header_alone_is_an_empty_frame() -> None:
    assert_frame_equal(batch("n:i"), pl.DataFrame(schema={"n": pl.Int64}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the text is empty"),
        ("user", "line 1: cannot read a column such as 'user:s' at 'user'"),
        ("user:s user:i", "line 1: column 'user' stands there twice"),
        ("n:q", r"line 1: 'q' is no type; there are s String, .*\[List\(Int64\)\]"),
        ("n:[Int65]", r"line 1: '\[Int65\]' is no type"),
        ("n:[read_csv('x')]", "is no type"),
        ("n:i\n5 6", "line 2 has 2 cells for 1 columns"),
        ("n:i\n\n x", "line 3, column 'n': x is no Int64"),
        ("n:[Int8]\n300", "line 2, column 'n': 300 is no Int8"),
        ("n:b\nyes", "line 2, column 'n': yes is no Boolean"),
        ('s:s\n"open', "line 2: cannot read a cell at '\"open'"),
        ("x:[List(Int64)]\n5", "line 2, column 'x': 5 is no List"),
        ("x:[List(Int64)]\n[5", r"line 2: cannot read a cell at '\[5'"),
        ("x:[Enum(['a'])]\nb", "line 2, column 'x': b is no Enum"),
    ],
)
def test_a_wrong_table_is_explained(text: str, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        batch(text)
