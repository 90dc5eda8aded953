"""Which rows fail: the mask is true on exactly the rows that raise alone, and nothing raises without them."""

import random
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from streame.core.salvage import failure_mask, may_fail
from tests.core.expression_calls import raises
from tests.examples import examples

s, i, j, f, p, q, t, d, u = map(pl.col, ["s", "i", "j", "f", "p", "q", "t", "d", "u"])

_STRINGS = [
    *("1", "-1", "x", "", "300", "1.5", "2024-01-01", "2024-13-01", "2024-01-01 10:00:00", "10:00"),
    *("ff", "0g", "YQ==", "true", "inf", "9" * 25, "zz", " 5", "1e400"),
]
_INTEGERS = [0, 1, -1, 2, 127, 128, -129, 255, 256, 2**31, 2**40, -(2**63), 2**63 - 1, 86399]
_FLOATS = [0.0, -0.0, 1.5, float("nan"), float("inf"), -float("inf"), 1e300, -1.0, 3e9, 200.0, 1e19]
_DTYPES: dict[str, tuple[list[object], pl.DataType, pl.DataType]] = {
    "s": ([*_STRINGS], pl.String(), pl.String()),
    "i": ([*_INTEGERS], pl.Int64(), pl.Int64()),
    "j": ([0, 1, 2, 3, 4], pl.Int32(), pl.Int32()),
    "f": ([*_FLOATS], pl.Float64(), pl.Float64()),
    "p": ([True, False], pl.Boolean(), pl.Boolean()),
    "q": ([True, False], pl.Boolean(), pl.Boolean()),
    "t": ([0, 10**15, -(2**62), 2**63 - 1], pl.Int64(), pl.Datetime("us")),
    "d": ([0, 20000, -700000, 2**31 - 1, -(2**31)], pl.Int32(), pl.Date()),
    "u": ([0, 5, 2**63 - 1, -(2**62)], pl.Int64(), pl.Duration("us")),
    "dec": ([Decimal(0), Decimal("99999999.99")], pl.Decimal(10, 2), pl.Decimal(10, 2)),
    "e": (["1", "x"], pl.Enum(["1", "x"]), pl.Enum(["1", "x"])),
    "m": ([["1"], ["x"], []], pl.List(pl.String), pl.List(pl.String)),
    "st": ([{"y": "1"}, {"y": "x"}], pl.Struct({"y": pl.String}), pl.Struct({"y": pl.String})),
}
SCHEMA = pl.Schema({name: dtype for name, (_, _, dtype) in _DTYPES.items()})


def frame_of(seed: int, height: int) -> pl.DataFrame:
    draw = random.Random(seed)
    columns = []
    for name, (values, physical, dtype) in _DTYPES.items():
        drawn = [None if draw.random() < 0.15 else draw.choice(values) for _ in range(height)]
        columns.append(pl.Series(name, drawn, dtype=physical).cast(dtype))
    return pl.DataFrame(columns)


def _number(of: pl.Expr) -> pl.Expr:
    return of.cast(pl.Int64)


MASKED = [
    _number(s),
    s.cast(pl.Float64),
    s.cast(pl.Decimal(10, 2)),
    s.cast(pl.Enum(["1", "x"])),
    i.cast(pl.Int8),
    i.cast(pl.UInt64),
    i.cast(pl.Date),
    i.cast(pl.Time),
    i.cast(pl.Decimal(10, 2)),
    f.cast(pl.Int32),
    f.cast(pl.UInt8),
    s.str.to_integer(),
    s.str.to_integer(base=16),
    s.str.to_date("%Y-%m-%d"),
    s.str.to_datetime("%Y-%m-%d %H:%M:%S"),
    s.str.to_time("%H:%M"),
    s.str.to_date("%Y-%m-%d", exact=False),
    s.str.decode("hex"),
    s.str.decode("base64"),
    _number(s).alias("z"),
    _number(s) + f.cast(pl.Int32),
    s.cast(pl.Float64).cast(pl.Int8),
    i.cast(pl.Int8).cast(pl.String) + s,
    _number(s).is_null(),
    _number(s).fill_null(0),
    j.fill_null(_number(s)),
    pl.coalesce(j, _number(s)),
    p & (_number(s) > 0),
    p | (_number(s) > 0),
    pl.struct("i", a=_number(s)),
    pl.col("st").struct.field("y").cast(pl.Int64),
    _number(s).is_between(1, i.cast(pl.Int8)),
    pl.all_horizontal(p, _number(s) > 0),
    pl.max_horizontal(_number(s), i),
    _number(s).abs().sqrt(),
    s.str.strip_chars().cast(pl.Int8),
    pl.when(p).then(_number(s)).otherwise(i.cast(pl.Int8)),
    pl.when(_number(s) > 0).then(i.cast(pl.Int8)).otherwise(f.cast(pl.Int64)),
    pl.when(p).then(0).when(q).then(_number(s)).otherwise(i),
    pl.when(p).then(pl.when(q).then(_number(s)).otherwise(i.cast(pl.UInt8))).otherwise(5),
    pl.when(p).then(s.str.to_integer() + f.cast(pl.Int64)).otherwise(None),
    pl.when(s.str.len_chars() < 3).then(s.cast(pl.Int8)),
    pl.when(s.is_in(["1"])).then(s.cast(pl.Int8)).otherwise(3),
]
NEVER_FAILING = [
    s,
    i.alias("x"),
    i + j * 2,
    i // j,
    i % j,
    i / j,
    f // f,
    t + u,
    t - t,
    d - d,
    u + u,
    s + s,
    t > d,
    p & ~q,
    i.abs(),
    -i,
    f.round(2),
    f.floor(),
    i.clip(1, 5),
    i.sqrt().log().exp(),
    i.is_in([1, 2]),
    i.fill_null(0),
    pl.coalesce(i, j),
    pl.when(p).then(i).otherwise(j),
    s.cast(pl.Int64, strict=False),
    f.cast(pl.Int8, strict=False),
    j.cast(pl.Int64),
    j.cast(pl.Float64),
    i.cast(pl.Float32),
    i.cast(pl.String),
    f.cast(pl.String),
    p.cast(pl.Int8),
    i.cast(pl.Int128),
    t.cast(pl.Int64),
    d.cast(pl.Int32),
    pl.col("e").cast(pl.String),
    s.str.to_uppercase().str.len_bytes(),
    s.str.contains("1|x"),
    s.str.replace("x", "y"),
    s.str.to_date("%Y-%m-%d", strict=False),
    t.dt.year() + d.dt.month(),
    pl.struct("i", "s"),
]
UNDECIDED = [
    s.cast(pl.List(pl.String)),
    pl.col("m").cast(pl.List(pl.Int64)),
    pl.col("m").list.get(0),
    i.replace_strict({1: 2}),
    t.dt.replace_time_zone("Europe/Berlin"),
    d.cast(pl.String),
    pl.date(2024, j, 1),
    pl.col("dec") * pl.col("dec"),
    _number(s) + pl.col("m").list.get(0).cast(pl.Int64),
    i.map_elements(abs, return_dtype=pl.Int64),
]


@pytest.mark.parametrize("expr", MASKED, ids=str)
@settings(max_examples=examples(4))
@given(seed=some.integers(0, 2**32))
def test_the_mask_is_the_rows_that_raise_alone(expr: pl.Expr, seed: int) -> None:
    mask = failure_mask(expr, SCHEMA)
    assert mask is not None
    assert may_fail(expr, SCHEMA)
    frame = frame_of(seed, 30)
    failed = frame.select(mask.alias("failed")).to_series()
    assert failed.to_list() == [raises(frame[row : row + 1], expr) for row in range(frame.height)]
    assert not raises(frame.filter(~failed), expr)


@pytest.mark.parametrize("expr", NEVER_FAILING, ids=str)
@settings(max_examples=examples(4))
@given(seed=some.integers(0, 2**32))
def test_what_is_said_never_to_fail_never_fails(expr: pl.Expr, seed: int) -> None:
    assert not may_fail(expr, SCHEMA)
    frame = frame_of(seed, 40)
    assert not raises(frame, expr)
    assert not any(raises(frame[row : row + 1], expr) for row in range(0, frame.height, 8))


_TARGETS: list[pl.DataType] = [
    *(pl.Int8(), pl.Int32(), pl.Int64(), pl.Int128(), pl.UInt8(), pl.UInt64(), pl.Float32(), pl.Float64()),
    *(
        pl.Boolean(),
        pl.String(),
        pl.Date(),
        pl.Datetime("us"),
        pl.Datetime("ns"),
        pl.Duration("us"),
        pl.Time(),
    ),
    *(pl.Decimal(10, 2), pl.Decimal(38, 0), pl.Enum(["1", "x"])),
]


@pytest.mark.parametrize("column", [name for name in SCHEMA if name not in {"m", "st", "q"}])
def test_every_cast_is_judged_right(column: str) -> None:
    frame = frame_of(5, 30)
    for target in _TARGETS:
        for strict in (True, False):
            expr = pl.col(column).cast(target, strict=strict)
            mask = failure_mask(expr, SCHEMA)
            if not may_fail(expr, SCHEMA):
                assert not raises(frame, expr), expr
            elif mask is not None:
                failed = frame.select(mask.alias("failed")).to_series()
                assert failed.to_list() == [raises(frame[k : k + 1], expr) for k in range(30)], expr


@pytest.mark.parametrize("expr", UNDECIDED, ids=str)
def test_where_nothing_is_known_there_is_no_mask(expr: pl.Expr) -> None:
    assert may_fail(expr, SCHEMA)
    assert failure_mask(expr, SCHEMA) is None
