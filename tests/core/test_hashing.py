"""The stable hash: golden values, and equality however a value is stored."""

import struct
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from streame.core.hashing import KEY_GROUPS, check_key_dtypes, key_group, stable_hash
from streame.errors import PlanError
from tests.examples import examples

NAN = float("nan")


def hashes(values: Sequence[Any], dtype: pl.DataType | type[pl.DataType]) -> list[int]:
    column = pl.Series("k", values, dtype=dtype, strict=False)
    found: list[int] = stable_hash(column.to_frame()).tolist()
    return found


GOLDEN: list[tuple[Any, pl.DataType | type[pl.DataType], int]] = [
    (None, pl.Int64, 0x4DC5B0CC826F6703),
    (0, pl.Int64, 0xD4EBD77823C7899A),
    (-1, pl.Int8, 0xA69296BE964DB6E3),
    (2**63, pl.UInt64, 0xF28467B172EDA834),
    (-(2**100), pl.Int128, 0x39BCFFDD557386CA),
    (0.0, pl.Float64, 0x3CAEC76B06319273),
    (1.5, pl.Float32, 0x4395E0DEA9AA5824),
    (NAN, pl.Float64, 0x6220533F9E363D2F),
    (True, pl.Boolean, 0x40EC3339838D6D11),
    (False, pl.Boolean, 0x13C3C355E8DED66A),
    ("", pl.String, 0x96737BF430448616),
    ("k\u00e9y", pl.String, 0x3AD3C11A0BA2E149),
    (b"\x00\xff", pl.Binary, 0x98B720BDC007D4CD),
    (Decimal("-12.50"), pl.Decimal(38, 2), 0x854B8AC372EA48C1),
    (Decimal(100), pl.Decimal(38, 0), 0x0AB26056292521EE),
    (date(1969, 12, 31), pl.Date, 0x39A7FD8713B3232A),
    (time(23, 59, 59, 999999), pl.Time, 0x86FA8DF1F2A8D3A5),
    (datetime(2013, 1, 1, 5, 15, 0, 1, tzinfo=UTC), pl.Datetime("us", "UTC"), 0x8242D825AD275561),
    (datetime(1969, 12, 31, 23, 59, 59, 999999), pl.Datetime("ns"), 0xBF77557C857BCE83),  # noqa: DTZ001
    (timedelta(microseconds=-1), pl.Duration("us"), 0x4B05BCFAE5278E1E),
]


@pytest.mark.parametrize(("value", "dtype", "expected"), GOLDEN)
def test_golden(value: Any, dtype: pl.DataType, expected: int) -> None:
    assert hashes([value], dtype) == [expected]


def test_golden_composite() -> None:
    keys = pl.DataFrame({"a": ["x", None, "x"], "b": [1, 1, None]})
    assert stable_hash(keys).tolist() == [0x2FAC8429B4A33873, 0x15FD9AECDD9B334F, 0x4F1AFA15B6C49B32]


def test_by_hand() -> None:
    text, integer, null = 10, 3, 1
    first = xxhash.xxh3_64_intdigest(b"x", text)
    assert hashes(["x"], pl.String) == [first]
    keys = pl.DataFrame({"a": ["x", "x"], "b": [-2, None]})
    assert stable_hash(keys).tolist() == [
        xxhash.xxh3_64_intdigest(struct.pack("<q", -2), first + integer),
        xxhash.xxh3_64_intdigest(b"", first + null),
    ]


def test_kinds_of_values_differ() -> None:
    found = [hash_ for value, dtype, _ in GOLDEN for hash_ in hashes([value], dtype)]
    assert len(set(found)) == len(found)


INTEGERS = (
    pl.Int8,
    pl.Int16,
    pl.Int32,
    pl.Int64,
    pl.Int128,
    pl.UInt8,
    pl.UInt16,
    pl.UInt32,
    pl.UInt64,
    pl.UInt128,
)


@settings(max_examples=examples(50))
@given(st.lists(st.one_of(st.none(), st.integers(0, 127), st.integers(0, 2**64 - 1))))
def test_integers_of_all_widths_alike(values: list[int | None]) -> None:
    expected = hashes(values, pl.Int128)
    for dtype in INTEGERS:
        column = pl.Series("k", values, dtype=pl.Int128).cast(dtype, strict=False)
        found = stable_hash(column.to_frame()).tolist()
        fits = (column.is_not_null() | pl.Series(values, dtype=pl.Int128).is_null()).to_list()
        assert [each for each, fit in zip(found, fits, strict=True) if fit] == [
            each for each, fit in zip(expected, fits, strict=True) if fit
        ]


def test_one_zero_and_one_nan() -> None:
    assert hashes([0.0, -0.0], pl.Float64) == hashes([-0.0, 0.0], pl.Float32)
    other_nan = pl.Series([0x7FF8000000000001, -1], dtype=pl.Int64).reinterpret(signed=False)
    bits = pl.Series(other_nan.to_numpy().view("f8"))
    assert set(stable_hash(bits.to_frame()).tolist()) == set(hashes([NAN, -NAN], pl.Float32))


@given(st.lists(st.floats(width=32), max_size=20))
@settings(max_examples=examples(30))
def test_floats_of_both_widths_alike(values: list[float]) -> None:
    assert hashes(values, pl.Float32) == hashes(values, pl.Float64)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), min_size=1, max_size=20))
@settings(max_examples=examples(30))
def test_plain_and_dictionary_texts_alike(values: list[str]) -> None:
    plain = hashes(values, pl.String)
    assert hashes(values, pl.Categorical) == plain
    assert hashes(values, pl.Enum(sorted(set(values)))) == plain


@given(st.lists(st.decimals(-(10**6), 10**6, places=2), max_size=20))
@settings(max_examples=examples(30))
def test_decimals_of_all_scales_alike(values: list[Decimal]) -> None:
    assert hashes(values, pl.Decimal(38, 2)) == hashes(values, pl.Decimal(20, 6))


def test_whole_decimals_keep_their_zeros() -> None:
    tens = [Decimal(10), Decimal(100), Decimal(0), None]
    assert hashes(tens, pl.Decimal(38, 0)) == hashes(tens, pl.Decimal(38, 4))
    assert len(set(hashes(tens, pl.Decimal(38, 0)))) == 4


MOMENTS = st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1))  # noqa: DTZ001


@given(st.lists(MOMENTS, max_size=20))
@settings(max_examples=examples(30))
def test_moments_in_all_units_and_zones_alike(values: list[datetime]) -> None:
    moments = pl.Series("k", values, dtype=pl.Datetime("us")).dt.truncate("1ms")
    utc = moments.dt.replace_time_zone("UTC")
    expected = stable_hash(moments.to_frame()).tolist()
    for unit in ("ms", "us", "ns"):
        for column in (moments, utc, utc.dt.convert_time_zone("Asia/Kathmandu")):
            assert stable_hash(column.dt.cast_time_unit(unit).to_frame()).tolist() == expected


def test_extreme_moments_have_hashes() -> None:
    ticks = pl.Series("k", [-(2**63), 2**63 - 1, None], dtype=pl.Int64)
    found = [
        each
        for unit in ("ms", "us", "ns")
        for each in stable_hash(ticks.cast(pl.Datetime(unit)).to_frame()).tolist()
    ]
    assert len(set(found)) == 7


@given(st.data())
@settings(max_examples=examples(30))
def test_each_row_alone_hashes_as_in_a_frame(data: st.DataObject) -> None:
    row = st.tuples(
        st.none() | st.integers(0, 3), st.none() | st.text("ab", max_size=2), st.none() | st.booleans()
    )
    rows = data.draw(st.lists(row, min_size=1, max_size=20))
    schema = {"a": pl.Int64, "b": pl.String, "c": pl.Boolean}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    together = stable_hash(frame).tolist()
    chunked = pl.concat([frame[:3], frame[3:]], rechunk=False)
    assert stable_hash(chunked).tolist() == together
    assert [stable_hash(frame[number]).item() for number in range(frame.height)] == together
    assert len(set(together)) == len(set(rows))


def test_a_column_of_the_null_dtype() -> None:
    assert hashes([None, None], pl.Null) == hashes([None, None], pl.String)


def test_groups_are_even() -> None:
    groups = key_group(stable_hash(pl.DataFrame({"k": range(128_000)})))
    counts = pl.Series(groups).value_counts()["count"]
    assert counts.len() == KEY_GROUPS
    assert counts.is_between(850, 1150).all()


@pytest.mark.parametrize(
    "dtype", [pl.List(pl.Int8), pl.Array(pl.Int8, 2), pl.Struct({"a": pl.Int8}), pl.Object()]
)
def test_nested_keys_are_refused(dtype: pl.DataType) -> None:
    with pytest.raises(PlanError, match=r"join: column 'k' of dtype .* cannot be a key"):
        check_key_dtypes(pl.Schema({"a": pl.Int8(), "k": dtype}), "join")


def test_flat_keys_are_accepted() -> None:
    check_key_dtypes(pl.Schema({str(n): dtype for n, (_, dtype, _) in enumerate(GOLDEN)}), "join")
