"""Which Python value fits which dtype, alone and among others."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_series_equal

from streame.errors import PlanError
from streame.io.formats.rows import RowDecoder
from streame.io.formats.values import describe
from tests.examples import examples

BERLIN = ZoneInfo("Europe/Berlin")
INDIA = timezone(timedelta(hours=5, minutes=30))
NOON = datetime(2024, 7, 1, 12)  # noqa: DTZ001
POINT = pl.Struct({"x": pl.Int64, "y": pl.String})


class Colour(StrEnum):
    RED = "red"


class Mute:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


@dataclass
class Order:
    user: str
    qty: int | None


ORDERS = pl.Schema({"user": pl.String, "qty": pl.Int64})

FITS: list[tuple[Any, Any, Any]] = [
    (pl.Int64, 5, 5),
    (pl.Int64, np.int8(5), 5),
    (pl.Int64, -(2**63), -(2**63)),
    (pl.UInt64, 2**64 - 1, 2**64 - 1),
    (pl.Int128, -(2**127), -(2**127)),
    (pl.Float64, 5, 5.0),
    (pl.Float64, 2**200, float(2**200)),
    (pl.Float64, np.float32(1.5), 1.5),
    (pl.Float64, float("inf"), float("inf")),
    (pl.Float32, float("-inf"), float("-inf")),
    (pl.Boolean, np.bool_(True), True),
    (pl.String, Colour.RED, "red"),
    (pl.Categorical(), "a", "a"),
    (pl.Enum(["a"]), "a", "a"),
    (pl.Binary, bytearray(b"\xff"), b"\xff"),
    (pl.Date, date(2024, 1, 1), date(2024, 1, 1)),
    (pl.Datetime("us"), NOON, NOON),
    (pl.Datetime("ms"), NOON, NOON),
    (pl.Datetime("ns"), NOON, NOON),
    (pl.Datetime("us", "UTC"), NOON.replace(tzinfo=INDIA), datetime(2024, 7, 1, 6, 30, tzinfo=UTC)),
    (pl.Datetime("ms", "Europe/Berlin"), NOON.replace(tzinfo=UTC), NOON.replace(hour=14, tzinfo=BERLIN)),
    (pl.Duration("us"), timedelta(days=-1), timedelta(days=-1)),
    (pl.Time, time(1, 2, 3, 4), time(1, 2, 3, 4)),
    (pl.Decimal(10, 2), Decimal("1.500"), Decimal("1.50")),
    (pl.Decimal(10, 2), 5, Decimal("5.00")),
    (pl.Decimal(38, 0), 10**38 - 1, Decimal(10**38 - 1)),
    (pl.List(pl.Int64), (1, None), [1, None]),
    (pl.List(pl.Float64), [1, 1.5], [1.0, 1.5]),
    (pl.List(pl.Int64), np.array([1, 2]), [1, 2]),
    (pl.List(pl.Int64), pl.Series([1, 2]), [1, 2]),
    (pl.List(pl.List(pl.Int8)), [[], None, [1]], [[], None, [1]]),
    (pl.List(POINT), [{"y": "a"}, None], [{"x": None, "y": "a"}, None]),
    (pl.Array(pl.Int64, 2), [1, 2], [1, 2]),
    (pl.Array(pl.Int64, (1, 2)), [[1, 2]], [[1, 2]]),
    (POINT, {"x": 1, "z": 2}, {"x": 1, "y": None}),
    (pl.Struct({"user": pl.String}), Order("ann", 1), {"user": "ann"}),
]

UNFIT: list[tuple[Any, Any, str]] = [
    (pl.Int64, True, "found True"),
    (pl.Int64, 5.0, "found 5.0"),
    (pl.Int64, "5", "found '5'"),
    (pl.Int64, Decimal(5), "found Decimal"),
    (pl.Int64, 2**63, "out of range"),
    (pl.Int8, np.int64(200), "out of range"),
    (pl.UInt8, -1, "out of range"),
    (pl.Float64, True, "found True"),
    (pl.Float64, "1.5", "found '1.5'"),
    (pl.Float64, 10**400, "out of range"),
    (pl.Float32, 1e300, "out of range"),
    (pl.Float16, 70_000, "out of range"),
    (pl.Boolean, 1, "found 1"),
    (pl.String, 5, "found 5"),
    (pl.String, b"a", "found b'a'"),
    (pl.String, "\ud800", "half a surrogate pair"),
    (pl.Enum(["a"]), "b", "not among the categories"),
    (pl.Binary, "a", "found 'a'"),
    (pl.Date, NOON, "found datetime"),
    (pl.Date, 5, "found 5"),
    (pl.Datetime("us"), date(2024, 1, 1), "found datetime.date"),
    (pl.Datetime("us"), "2024-01-01", "found '2024-01-01'"),
    (pl.Datetime("us"), NOON.replace(tzinfo=UTC), "with a time zone"),
    (pl.Datetime("us", "UTC"), NOON, "without a time zone"),
    (pl.Datetime("ms"), NOON.replace(microsecond=1), "microseconds"),
    (pl.Datetime("ns"), NOON.replace(year=9999), "out of range"),
    (pl.Duration("ms"), timedelta(microseconds=1), "microseconds"),
    (pl.Duration("us"), timedelta.max, "out of range"),
    (pl.Duration("us"), 5, "found 5"),
    (pl.Time, 5, "found 5"),
    (pl.Time, time(1, tzinfo=UTC), "with a time zone"),
    (pl.Decimal(10, 2), Decimal("1.555"), "decimal places"),
    (pl.Decimal(10, 2), Decimal("NaN"), "out of range"),
    (pl.Decimal(10, 2), Decimal("1e8"), "out of range"),
    (pl.Decimal(10, 2), 1.5, "found 1.5"),
    (pl.Decimal(10, 2), "1.5", "found '1.5'"),
    (pl.Null, 5, "found 5"),
    (pl.List(pl.Int64), 5, "found 5"),
    (pl.List(pl.String), "ab", "found 'ab'"),
    (pl.List(pl.Int64), [1, True], "found True"),
    (pl.List(pl.Int64), np.array([1.5]), "found"),
    (pl.Array(pl.Int64, 2), [1], "found 1 items"),
    (POINT, {"x": 1.5}, "field 'x'"),
    (POINT, [1, "a"], "found"),
    (pl.List(POINT), [{"x": True}], "field 'x'"),
]


@pytest.mark.parametrize(("dtype", "value", "expected"), FITS, ids=str)
def test_value_that_fits(dtype: Any, value: Any, expected: Any) -> None:
    decoded = RowDecoder(pl.Schema({"a": dtype})).decode([{"a": value}, {"a": None}, {}], 0)
    assert not decoded.rejected
    assert decoded.frame.schema == {"a": dtype}
    assert decoded.frame["a"].to_list() == [expected, None, None]


@pytest.mark.parametrize(("dtype", "value", "reason"), UNFIT, ids=ascii)
def test_value_that_does_not_fit(dtype: Any, value: Any, reason: str) -> None:
    decoded = RowDecoder(pl.Schema({"a": dtype})).decode([{"a": None}, {"a": value}], 7)
    (bad,) = decoded.rejected
    assert bad.offset == 8
    assert bad.kind == ("encoding" if "surrogate" in reason else "type")
    assert reason in bad.message
    assert "column 'a'" in bad.message
    assert decoded.frame["a"].to_list() == [None]
    assert decoded.offsets().tolist() == [7]


@settings(max_examples=examples(150))
@given(data=st.data())
def test_verdict_does_not_depend_on_neighbours(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from([dtype for dtype, *_ in FITS]))
    known = [value for _, value, _ in FITS + UNFIT]
    values = st.one_of(
        st.sampled_from(known),
        st.none(),
        st.booleans(),
        st.integers(-(2**130), 2**130),
        st.integers(-200, 300),
        st.floats(),
        st.text(max_size=3),
        st.datetimes(timezones=st.sampled_from([None, UTC, BERLIN, INDIA])),
        st.timedeltas(),
        st.decimals(places=2),
        st.lists(st.integers() | st.none(), max_size=3),
        st.fixed_dictionaries({}, optional={"x": st.integers(0, 9) | st.floats(), "y": st.text(max_size=2)}),
    )
    rows = [{"a": value} for value in data.draw(st.lists(values, max_size=8))]
    decoder = RowDecoder(pl.Schema({"a": dtype}))
    together = decoder.decode(rows, 0)
    alone = [decoder.decode([row], index) for index, row in enumerate(rows)]
    assert_series_equal(
        together.frame["a"], pl.concat([pl.Series("a", [], dtype), *(one.frame["a"] for one in alone)])
    )
    assert list(together.rejected) == [bad for one in alone for bad in one.rejected]
    assert together.offsets().tolist() == [i for one in alone for i in one.offsets().tolist()]


@settings(max_examples=examples(150))
@given(data=st.data())
def test_values_of_the_exact_type_come_out_unchanged(data: st.DataObject) -> None:
    dtype, values = data.draw(
        st.sampled_from(
            [
                (pl.Int64(), st.integers(-(2**63), 2**63 - 1)),
                (pl.UInt64(), st.integers(0, 2**64 - 1)),
                (pl.Float64(), st.floats(allow_nan=False)),
                (pl.Float64(), st.integers(-(2**130), 2**130)),
                (pl.String(), st.text()),
                (pl.Date(), st.dates()),
                (pl.Datetime("us"), st.datetimes()),
                (pl.Datetime("us", "UTC"), st.datetimes(timezones=st.sampled_from([UTC, BERLIN, INDIA]))),
                (pl.Duration("us"), st.timedeltas(timedelta(days=-100_000_000), timedelta(days=100_000_000))),
                (pl.Time(), st.times()),
                (pl.Decimal(20, 3), st.decimals(-(10**16), 10**16, places=3)),
                (
                    pl.List(POINT),
                    st.lists(st.fixed_dictionaries({"x": st.integers(0, 9), "y": st.text()}), max_size=3),
                ),
            ]
        )
    )
    given_values: list[Any] = data.draw(st.lists(values | st.none(), max_size=6))
    decoded = RowDecoder(pl.Schema({"a": dtype})).decode([(value,) for value in given_values], 0)
    assert not decoded.rejected
    expected = list(given_values)
    if dtype == pl.Float64:
        expected = [None if value is None else float(value) for value in given_values]
    if dtype == pl.Datetime("us", "UTC"):  # times that a clock skips or repeats are equal only in UTC
        expected = [None if value is None else value.astimezone(UTC) for value in given_values]
    assert decoded.frame["a"].to_list() == expected


def test_kinds_of_rows() -> None:
    rows = [{"user": "ann", "qty": 1, "extra": 0}, ("bob", 2), ["cid", 3], Order("dan", 4), {"qty": 5}]
    decoded = RowDecoder(ORDERS).decode(rows, 0)
    assert decoded.frame.rows() == [("ann", 1), ("bob", 2), ("cid", 3), ("dan", 4), (None, 5)]
    for kind in (rows[:1], rows[1:2], rows[2:3], rows[3:4], rows[4:]):
        assert RowDecoder(ORDERS).decode(kind, 0).frame.height == 1


def test_things_that_are_no_rows() -> None:
    decoded = RowDecoder(ORDERS).decode([5, ("ann",), None, "ann", Mute(), Order, ("ann", 1)], 10)
    assert [(bad.offset, bad.kind) for bad in decoded.rejected] == [
        (10, "type"),
        (11, "columns"),
        (12, "type"),
        (13, "type"),
        (14, "type"),
        (15, "type"),
    ]
    assert decoded.frame.rows() == [("ann", 1)]
    assert decoded.rejected[1].raw == b'["ann"]'
    assert decoded.rejected[4].raw == b"<Mute without repr>"


def test_methods_of_a_dataclass_are_no_columns() -> None:
    @dataclass
    class Basket:
        user: str

        def qty(self) -> int:
            return 1

    for rows in ([Basket("ann")], [Basket("ann"), ("bob", 2)]):
        assert RowDecoder(ORDERS).decode(rows, 0).frame.row(0) == ("ann", None)


def test_a_mapping_that_fails_is_no_row() -> None:
    class Broken(dict[str, int]):
        def keys(self) -> Any:
            raise OSError("closed")

    (bad,) = RowDecoder(ORDERS).decode([Broken(user=1)], 0).rejected
    assert bad.kind == "type"


def test_required_columns() -> None:
    decoded = RowDecoder(ORDERS, ["qty"]).decode(
        [{"user": "ann"}, {"user": "bob", "qty": 2}, {"qty": None}], 0
    )
    assert [(bad.offset, bad.kind, bad.raw) for bad in decoded.rejected] == [
        (0, "null", b'{"user":"ann"}'),
        (2, "null", b'{"qty":null}'),
    ]
    assert decoded.frame.rows() == [("bob", 2)]


def test_a_wrong_value_in_a_required_column_is_named_as_wrong() -> None:
    (bad,) = RowDecoder(ORDERS, ["qty"]).decode([{"user": "ann", "qty": "x"}], 0).rejected
    assert bad.kind == "type"


@pytest.mark.parametrize(
    ("schema", "required", "match"),
    [
        ({"a": pl.Object}, [], "column 'a'"),
        ({"a": pl.Struct({})}, [], "column 'a'"),
        ({}, [], "no columns"),
        ({"a": pl.Int64}, ["b"], "required column 'b'"),
    ],
)
def test_schemas_that_cannot_be_read(schema: Any, required: list[str], match: str) -> None:
    with pytest.raises(PlanError, match=match):
        RowDecoder(pl.Schema(schema), required)


def test_no_rows() -> None:
    assert RowDecoder(ORDERS).decode([], 0).frame.schema == ORDERS


def test_column_names_that_are_no_identifiers() -> None:
    schema = pl.Schema({"a b": pl.Int64, "class": pl.Int64})
    assert RowDecoder(schema).decode([{"a b": 1, "class": 2}], 0).frame.rows() == [(1, 2)]
    (bad,) = RowDecoder(schema, ["a b"]).decode([Order("ann", 1)], 0).rejected
    assert bad.kind == "null"


def test_a_repr_that_is_no_text_can_be_said() -> None:
    class Odd:
        def __repr__(self) -> str:
            return "\ud800"

    assert describe(Odd()) == "\\ud800 (Odd)"
