"""NDJSON: what each kind of line becomes, and that its neighbours do not matter."""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streame.errors import PlanError
from streame.io.formats.ndjson import NdjsonDecoder
from streame.io.formats.records import RAW_BYTES_MAX, ROW_BYTES_MAX, oversized
from tests.examples import examples

SCHEMA = pl.Schema(
    {
        "id": pl.Int64(),
        "name": pl.String(),
        "price": pl.Float64(),
        "ok": pl.Boolean(),
        "at": pl.Datetime("us"),
        "small": pl.Int8(),
        "tags": pl.List(pl.Int16()),
    }
)
DECODER = NdjsonDecoder(SCHEMA, required=["id"])


def naive(*parts: int) -> datetime:
    return datetime(*parts)  # type: ignore[arg-type] # noqa: DTZ001


GOOD: list[tuple[bytes, dict[str, object]]] = [
    (b'{"id":1}', {"id": 1}),
    (b' {"id":1}\t ', {"id": 1}),
    (b'{"id":1}\r', {"id": 1}),
    (b'{"id":1,"name":null,"other":[{"deep":true}]}', {"id": 1}),
    (b'{"id":1,"id":"first counts"}', {"id": 1}),
    (b'{"id":-9223372036854775808,"small":-128}', {"id": -(2**63), "small": -128}),
    (b'{"id":1,"name":"5"}', {"id": 1, "name": "5"}),
    (b'{"id":1,"name":"-1.5e3"}', {"id": 1, "name": "-1.5e3"}),
    (b'{"id":1,"name":"true"}', {"id": 1, "name": "true"}),
    (b'{"id":1,"name":"{}"}', {"id": 1, "name": "{}"}),
    (b'{"id":1,"name":"[1]"}', {"id": 1, "name": "[1]"}),
    (b'{"id":1,"name":"\\ud83d\\ude00 \\\\ud800"}', {"id": 1, "name": "😀 \\ud800"}),
    ('{"id":1,"name":"žluť\u2028"}'.encode(), {"id": 1, "name": "žluť\u2028"}),
    (b'{"id":1,"price":5}', {"id": 1, "price": 5.0}),
    (b'{"id":1,"price":1e-400}', {"id": 1, "price": 0.0}),
    (b'{"id":1,"ok":false}', {"id": 1, "ok": False}),
    (b'{"id":1,"at":"2024-02-29T10:20:30"}', {"id": 1, "at": naive(2024, 2, 29, 10, 20, 30)}),
    (b'{"id":1,"at":"2024-02-29 10:20:30.5"}', {"id": 1, "at": naive(2024, 2, 29, 10, 20, 30, 500_000)}),
    (
        b'{"id":1,"at":"2024-02-29T10:20:30.123456"}',
        {"id": 1, "at": naive(2024, 2, 29, 10, 20, 30, 123_456)},
    ),
    (
        b'{"id":1,"at":"2024-02-29T10:20:30.123+01:00"}',
        {"id": 1, "at": naive(2024, 2, 29, 9, 20, 30, 123_000)},
    ),
    (b'{"id":1,"at":"2024-02-29T10:20Z"}', {"id": 1, "at": naive(2024, 2, 29, 10, 20)}),
    (b'{"id":1,"at":"2024-02-29"}', {"id": 1, "at": naive(2024, 2, 29)}),
    (b'{"id":1,"tags":[1,null,3]}', {"id": 1, "tags": [1, None, 3]}),
    (b'{"id":1,"deep":' + b"[" * 200 + b"]" * 200 + b"}", {"id": 1}),
    (b'{"id":1,"deep":' + b"[" * 1000 + b"]" * 1000 + b"}", {"id": 1}),
]

BAD: list[tuple[bytes, str]] = [
    (b'{"id":1,"name":"tru', "syntax"),
    (b'{"id":', "syntax"),
    (b"1}", "syntax"),
    (b'{"id":1} trailing', "syntax"),
    (b'{"id":1}{"id":2}', "syntax"),
    (b'{"id":1},', "syntax"),
    (b'{"id":01}', "syntax"),
    (b'{"id":1,}', "syntax"),
    (b"{'id':1}", "syntax"),
    (b'{"id":1,"price":NaN}', "syntax"),
    (b'{"id":1,"price":-Infinity}', "syntax"),
    (b'{"id":1,"price":1e400}', "syntax"),
    (b'{"id":1,"other":1e400}', "syntax"),
    (b'{"id":1,"name":"tab\there"}', "syntax"),
    (b'{"id":1,"name":"\\x"}', "syntax"),
    (b'{"id":1}\x00', "syntax"),
    (b"\x0c", "syntax"),
    (b"x^", "syntax"),
    (b"x\x9c\x03\x00\x00\x00\x00\x01", "encoding"),  # an empty zlib stream
    (b"[1]", "syntax"),
    (b'[{"id":1}]', "syntax"),
    (b"null", "syntax"),
    (b"5", "syntax"),
    (b'"id"', "syntax"),
    (b'\xef\xbb\xbf{"id":1}', "syntax"),
    (b'{"id":1,"deep":' + b"[" * 2000 + b"]" * 2000 + b"}", "syntax"),
    (b'{"id":1,"deep":' + b'{"k":' * 100_000 + b"1" + b"}" * 100_001, "syntax"),
    (b"[" * 100_000, "syntax"),
    (b'{"id":1,"name":"\xff"}', "encoding"),
    (b'{"id":1,"name":"\xed\xa0\x80"}', "encoding"),
    (b'{"id":1,"other\xc3":1}', "encoding"),
    (b'{"id":1,"name":"\\ud800"}', "encoding"),
    (b'{"id":1,"other":"\\uDC00\\uD800"}', "encoding"),
    (b'{"id":5.5}', "type"),
    (b'{"id":5.0}', "type"),
    (b'{"id":1e3}', "type"),
    (b'{"id":"5"}', "type"),
    (b'{"id":true}', "type"),
    (b'{"id":[1]}', "type"),
    (b'{"id":{}}', "type"),
    (b'{"id":9223372036854775808}', "type"),
    (b'{"id":99999999999999999999999999}', "type"),
    (b'{"id":1,"small":128}', "type"),
    (b'{"id":1,"name":5}', "type"),
    (b'{"id":1,"name":-5.5}', "type"),
    (b'{"id":1,"name":true}', "type"),
    (b'{"id":1,"name":{"a":1}}', "type"),
    (b'{"id":1,"name":{}}', "type"),
    (b'{"id":1,"name":[]}', "type"),
    (b'{"id":1,"name":[{"a":[1]}, 5]}', "type"),
    (b'{"id":1,"price":"5"}', "type"),
    (b'{"id":1,"price":false}', "type"),
    (b'{"id":1,"ok":1}', "type"),
    (b'{"id":1,"ok":"true"}', "type"),
    (b'{"id":1,"at":"yesterday"}', "type"),
    (b'{"id":1,"at":""}', "type"),
    (b'{"id":1,"at":"2023-02-29T10:20:30"}', "type"),
    (b'{"id":1,"at":"+12024-01-01T00:00:00"}', "type"),
    (b'{"id":1,"at":"2024-01-01T00:00:00.123456x"}', "type"),
    (b'{"id":1,"at":1700000000}', "type"),
    (b'{"id":1,"tags":5}', "type"),
    (b'{"id":1,"tags":["1"]}', "type"),
    (b'{"id":1,"tags":[1.5]}', "type"),
    (b'{"id":1,"tags":[40000]}', "type"),
    (b'{"name":"x"}', "null"),
    (b'{"id":null}', "null"),
    (b"{}", "null"),
]

BLANK = [b"", b" ", b"\t \r", b"\r"]


def alone(line: bytes) -> tuple[list[dict[str, object]], list[tuple[str, str]]]:
    found = DECODER.decode(line + b"\n", 1)
    return found.frame.to_dicts(), [(row.kind, row.message) for row in found.rejected]


@pytest.mark.parametrize(("line", "row"), GOOD)
def test_good_line(line: bytes, row: dict[str, object]) -> None:
    assert alone(line) == ([dict.fromkeys(SCHEMA) | row], [])


@pytest.mark.parametrize(("line", "kind"), BAD, ids=lambda value: str(value)[:40])
def test_bad_line(line: bytes, kind: str) -> None:
    found = DECODER.decode(line, 7)
    assert found.frame.is_empty()
    assert found.frame.schema == SCHEMA
    assert [(row.offset, row.kind, row.raw) for row in found.rejected] == [(7, kind, line)]


@pytest.mark.parametrize("line", BLANK)
def test_blank_line_is_no_row(line: bytes) -> None:
    assert alone(line) == ([], [])


LINES = [line for line, _ in GOOD] + [line for line, _ in BAD if len(line) < 5000] + BLANK


@settings(max_examples=examples(60))
@given(st.lists(st.sampled_from(LINES), max_size=40), st.data())
def test_neighbours_and_cuts_do_not_matter(lines: list[bytes], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(lines)), max_size=4)) | {0, len(lines)})
    rows: list[dict[str, object]] = []
    rejected: list[tuple[str, str]] = []
    offsets: list[int] = []
    start = 1
    for first, end in pairwise(cuts):
        block = b"\n".join(lines[first:end]) + b"\n"
        found = DECODER.decode(block, start)
        rows += found.frame.to_dicts()
        rejected += [(row.kind, row.message) for row in found.rejected]
        offsets += sorted(found.offsets().tolist() + [row.offset for row in found.rejected])
        start += len(block)
    verdicts = [alone(line) for line in lines]
    assert rows == [row for good, _ in verdicts for row in good]
    assert rejected == [fault for _, bad in verdicts for fault in bad]
    places, position = [], 1
    for line in lines:
        if line.strip(b" \t\r"):
            places.append(position)
        position += len(line) + 1
    assert offsets == places


@settings(max_examples=examples(60))
@given(
    st.lists(
        st.tuples(
            st.sampled_from([line for line, _ in GOOD if len(line) < 100]),
            st.integers(0, 99),
            st.sampled_from(
                [b"", b'"', b"\\", b"{", b"}", b"[", b",", b"0", b"e", b"\x00", b"\xff", b"\\ud8"]
            ),
        ),
        max_size=12,
    )
)
def test_damage_does_not_spread(damages: list[tuple[bytes, int, bytes]]) -> None:
    lines = [line[: at % len(line)] + patch + line[at % len(line) + 1 :] for line, at, patch in damages]
    found = DECODER.decode(b"\n".join(lines), 1)
    verdicts = [alone(line) for line in lines]
    assert found.frame.to_dicts() == [row for good, _ in verdicts for row in good]
    assert [(row.kind, row.message) for row in found.rejected] == [
        fault for _, bad in verdicts for fault in bad
    ]


def test_message_names_column_value_and_dtype() -> None:
    long = "x" * 200
    found = DECODER.decode(f'{{"id":"5"}}\n{{"id":1,"ok":"{long}"}}\n'.encode(), 1)
    assert found.rejected[0].message == "column 'id': \"5\" is no Int64"
    assert found.rejected[1].message == f"column 'ok': \"{'x' * 78}… is no Boolean"


def test_byte_order_mark_only_at_the_start_of_the_split() -> None:
    found = DECODER.decode(b'\xef\xbb\xbf{"id":1}\n{"id":2}', 0)
    assert found.frame["id"].to_list() == [1, 2]
    assert found.offsets().tolist() == [3, 12]


def test_empty_block() -> None:
    for block in (b"", b"\n", b"\n \r\n", b" " * (ROW_BYTES_MAX + 1)):
        found = DECODER.decode(block, 0)
        assert found.frame.schema == SCHEMA
        assert found.frame.height == 0
        assert found.offsets().tolist() == []


def test_every_dtype() -> None:
    line = (
        b'{"i8":-128,"u8":255,"i16":1,"u16":65535,"i32":1,"u32":4294967295,"u64":18446744073709551615,'
        b'"i128":-5,"f32":1.5,"day":"2024-01-02","clock":"10:20","zoned":"2024-01-02T00:00:00Z",'
        b'"ns":"2024-01-02T00:00:00.123456789","price":"1.25","kind":"b","word":"w",'
        b'"point":{"x":1,"names":["n"]}}'
    )
    schema = pl.Schema(
        {
            "i8": pl.Int8(),
            "u8": pl.UInt8(),
            "i16": pl.Int16(),
            "u16": pl.UInt16(),
            "i32": pl.Int32(),
            "u32": pl.UInt32(),
            "u64": pl.UInt64(),
            "i128": pl.Int128(),
            "f32": pl.Float32(),
            "day": pl.Date(),
            "clock": pl.Time(),
            "zoned": pl.Datetime("ms", "Europe/Prague"),
            "ns": pl.Datetime("ns"),
            "price": pl.Decimal(10, 2),
            "kind": pl.Enum(["a", "b"]),
            "word": pl.Categorical(),
            "point": pl.Struct({"x": pl.Int64(), "names": pl.List(pl.String())}),
        }
    )
    decoder = NdjsonDecoder(schema)
    found = decoder.decode(line + b'\n{"i8":1}\n', 0)
    assert found.rejected == []
    assert found.frame.schema == schema
    row = found.frame.row(0, named=True)
    assert row["u64"] == 2**64 - 1
    assert row["day"] == date(2024, 1, 2)
    assert row["clock"] == time(10, 20)
    assert row["zoned"] == datetime(2024, 1, 2, tzinfo=UTC)
    assert row["price"] == Decimal("1.25")
    assert found.frame["ns"].dt.nanosecond().to_list() == [123_456_789, None]
    assert row["point"] == {"x": 1, "names": ["n"]}


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        (pl.UInt8(), "-1"),
        (pl.UInt8(), "256"),
        (pl.Int32(), "2147483648"),
        (pl.UInt64(), "18446744073709551616"),
        (pl.UInt64(), "-1"),
        (pl.Float32(), "1e39"),
        (pl.Date(), '"2024-01-01T00:00:00"'),
        (pl.Time(), '"25:00:00"'),
        (pl.Datetime("ns"), '"9999-01-01T00:00:00"'),
        (pl.Decimal(4, 2), '"123.45"'),
        (pl.Decimal(4, 2), "true"),
        (pl.Enum(["a"]), '"b"'),
        (pl.Enum(["5"]), "5"),
        (pl.Categorical(), "5"),
        (pl.Struct({"x": pl.Int64()}), '{"x":"1"}'),
        (pl.Struct({"x": pl.Int64()}), "[1]"),
    ],
)
def test_value_that_does_not_fit(dtype: pl.DataType, value: str) -> None:
    decoder = NdjsonDecoder(pl.Schema({"a": dtype}))
    found = decoder.decode(f'{{"a":null}}\n{{"a":{value}}}\n{{}}\n'.encode(), 1)
    assert found.frame.height == 2
    assert [(row.offset, row.kind) for row in found.rejected] == [(12, "type")]


@pytest.mark.parametrize(
    "dtype",
    [
        pl.Binary(),
        pl.Duration(),
        pl.Object(),
        pl.Null(),
        pl.Array(pl.Int64(), 2),
        pl.List(pl.Date()),
        pl.Struct({"at": pl.Datetime()}),
    ],
)
def test_dtype_that_json_cannot_give(dtype: pl.DataType) -> None:
    with pytest.raises(PlanError, match="column 'a' cannot be read"):
        NdjsonDecoder(pl.Schema({"a": dtype}))


def test_required_column_must_exist() -> None:
    with pytest.raises(PlanError, match="'b'"):
        NdjsonDecoder(pl.Schema({"a": pl.Int64()}), required=["b"])


def test_line_that_is_too_long() -> None:
    line = b'{"id":1,"name":"' + b"x" * ROW_BYTES_MAX + b'"}'
    found = DECODER.decode(b'{"id":1}\n' + line + b'\n{"id":2}\n', 1)
    assert found.frame["id"].to_list() == [1, 2]
    assert found.offsets().tolist() == [1, 11 + len(line)]
    assert found.rejected == [oversized(line, len(line), 10)]
    assert found.rejected[0].kind == "size"
    assert len(found.rejected[0].raw) == RAW_BYTES_MAX
    assert f"{len(line):,}" in found.rejected[0].message


def test_complete() -> None:
    assert DECODER.complete(b"") == 0
    assert DECODER.complete(b'{"id":1') == 0
    assert DECODER.complete(b'{"id":1}\n{"id"') == 9
