"""CSV: what each kind of record becomes, and that its neighbours do not matter."""

from datetime import UTC, datetime
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streame.errors import DataError, PlanError
from streame.io.formats.csv import CsvDecoder, read_header
from streame.io.formats.records import RAW_BYTES_MAX, ROW_BYTES_MAX
from tests.examples import examples

SCHEMA = pl.Schema({"id": pl.Int64(), "name": pl.String(), "price": pl.Float64(), "at": pl.Datetime("us")})
HEADER = ["name", "extra", "id", "price", "at"]
DECODER = CsvDecoder(SCHEMA, HEADER, required=["id"])


def naive(*parts: int) -> datetime:
    return datetime(*parts)  # type: ignore[arg-type] # noqa: DTZ001


GOOD: list[tuple[bytes, tuple[object, ...]]] = [
    (b"ann,,1,,", (1, "ann", None, None)),
    (b"ann,,1,,\r", (1, "ann", None, None)),
    (b",,+1,.5,", (1, None, 0.5, None)),
    (b" ann ,, 1 , 2.5 , 2024-01-02 ", (1, " ann ", 2.5, naive(2024, 1, 2))),
    (b'"",,007,5,', (7, "", 5.0, None)),
    (b'"a ""b"", c",,"1",,', (1, 'a "b", c', None, None)),
    (b'"one\ntwo\r\n\nthree",,1,,', (1, "one\ntwo\r\n\nthree", None, None)),
    (b'"x",,1,,"2024-01-02T03:04:05Z"\r', (1, "x", None, naive(2024, 1, 2, 3, 4, 5))),
    (b"#ann,,1,,", (1, "#ann", None, None)),
    (b'12" disc,,1,,', (1, '12" disc', None, None)),
    (b'the "best" one,,1,,', (1, 'the "best" one', None, None)),
    (b' "a",,1,,', (1, ' "a"', None, None)),
    (b"x^,,1,,", (1, "x^", None, None)),  # how a zlib stream begins
    (b"x\x01,,1,,", (1, "x\x01", None, None)),
    (b"a\rb,,1,,", (1, "a\rb", None, None)),
    ("žluť\u2028,,1,inf,".encode(), (1, "žluť\u2028", float("inf"), None)),
]

BAD: list[tuple[bytes, str]] = [
    (b"ann", "columns"),
    (b"ann,,1,", "columns"),
    (b"ann,,1,,,", "columns"),
    (b'"ann",,1', "columns"),
    (b"ann,,5.5,,", "type"),
    (b"ann,,5.0,,", "type"),
    (b"ann,,1_000,,", "type"),
    (b"ann,,9223372036854775808,,", "type"),
    (b"ann,,true,,", "type"),
    (b'ann,,"",,', "type"),
    (b"ann,,1,1e400,", "type"),
    (b"ann,,1,x,", "type"),
    (b"ann,,1,,yesterday", "type"),
    (b"ann,,1,,2023-02-29", "type"),
    (b"ann,,,,", "null"),
    (b",,,,", "null"),
    (b"\xff,,1,,", "encoding"),
    (b"ann,\xff,1,,", "encoding"),
    (b'"ann"x,,1,,', "syntax"),
    (b'"ann" ,,1,,', "syntax"),
]

BLANK = [b"", b"  ", b"\t\r", b"\r"]


def verdict(
    lines: list[bytes], start: int = 1
) -> tuple[list[tuple[object, ...]], list[tuple[str, str, bytes]]]:
    found = DECODER.decode(b"".join(line + b"\n" for line in lines), start)
    return found.frame.rows(), [(row.kind, row.message, row.raw) for row in found.rejected]


@pytest.mark.parametrize(("record", "row"), GOOD)
def test_good_record(record: bytes, row: tuple[object, ...]) -> None:
    assert verdict([record]) == ([row], [])
    assert DECODER.decode(record, 1).frame.rows() == [row]


@pytest.mark.parametrize(("record", "kind"), BAD)
def test_bad_record(record: bytes, kind: str) -> None:
    found = DECODER.decode(record, 7)
    assert found.frame.is_empty()
    assert found.frame.schema == SCHEMA
    assert [(row.offset, row.kind, row.raw) for row in found.rejected] == [(7, kind, record)]


@pytest.mark.parametrize("line", BLANK)
def test_blank_line_is_no_row(line: bytes) -> None:
    assert verdict([line]) == ([], [])


RECORDS = [record for record, _ in GOOD] + [record for record, _ in BAD] + BLANK


@settings(max_examples=examples(80))
@given(st.lists(st.sampled_from(RECORDS), max_size=40), st.data())
def test_neighbours_and_cuts_do_not_matter(records: list[bytes], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(records)), max_size=4)) | {0, len(records)})
    rows: list[tuple[object, ...]] = []
    rejected: list[tuple[str, str, bytes]] = []
    offsets: list[int] = []
    start = 1
    for first, end in pairwise(cuts):
        block = b"".join(record + b"\n" for record in records[first:end])
        assert DECODER.complete(block) == len(block)
        found = DECODER.decode(block, start)
        rows += found.frame.rows()
        rejected += [(row.kind, row.message, row.raw) for row in found.rejected]
        offsets += sorted(found.offsets().tolist() + [row.offset for row in found.rejected])
        start += len(block)
    verdicts = [verdict([record]) for record in records]
    assert rows == [row for good, _ in verdicts for row in good]
    assert rejected == [fault for _, bad in verdicts for fault in bad]
    places, position = [], 1
    for record in records:
        if record.strip():
            places.append(position)
        position += len(record) + 1
    assert offsets == places


@settings(max_examples=examples(80))
@given(st.lists(st.sampled_from(RECORDS), max_size=12), st.integers(0, 300))
def test_complete_ends_at_a_record(records: list[bytes], cut: int) -> None:
    data = b"".join(record + b"\n" for record in records)
    ends, position = {0}, 0
    for record in records:
        position += len(record) + 1
        ends.add(position)
    cut = min(cut, len(data))
    done = DECODER.complete(data[:cut])
    assert done == max(end for end in ends if end <= cut)


TOKENS = [
    b",",
    b",",
    b'"',
    b'""',
    b"\n",
    b"\n",
    b"\r\n",
    b"\r",
    b"a",
    b"1",
    b" ",
    b"\xff",
    b"n,,1,,\n",
    b'"q",,1,,\n',
]


@settings(max_examples=examples(200))
@given(st.lists(st.sampled_from(TOKENS), max_size=40), st.integers(0, 200))
@example([b",", b'""', b"\xff", b"a", b"\n"], 4)
def test_any_bytes_can_be_cut_where_complete_says(tokens: list[bytes], cut: int) -> None:
    data = b"".join(tokens)
    done = DECODER.complete(data[:cut])
    whole, head, tail = (
        DECODER.decode(block, start)
        for block, start in ((data, 1), (data[:done], 1), (data[done:], 1 + done))
    )
    assert whole.frame.rows() == head.frame.rows() + tail.frame.rows()
    assert list(whole.rejected) == [*head.rejected, *tail.rejected]
    assert whole.offsets().tolist() == head.offsets().tolist() + tail.offsets().tolist()


def test_open_quote_costs_one_line() -> None:
    block = b'a,,1,,\n"open,,2,,\nb,,3,,\n"c",,4,,\nd,,5,,\n'
    assert DECODER.complete(block) == len(block)
    rows, rejected = verdict(block.split(b"\n"))
    assert [row[0] for row in rows] == [1, 3, 4, 5]
    assert [(kind, raw) for kind, _, raw in rejected] == [("syntax", b'"open,,2,,')]


def test_open_quote_at_the_end() -> None:
    block = b'a,,1,,\n"open,,2,,\nb,,3,,\n'
    assert DECODER.complete(block) == 7
    found = DECODER.decode(block[7:], 7)
    assert found.frame["id"].to_list() == [3]
    assert [(row.offset, row.kind) for row in found.rejected] == [(7, "syntax")]


def test_open_quote_does_not_wait_for_ever() -> None:
    data = b'"open,,2,,\n' + b"b,,3,,\n" * (ROW_BYTES_MAX // 7)
    assert DECODER.complete(data[:-100]) == 0
    assert DECODER.complete(data) == 11
    assert DECODER.complete(b"x" * (ROW_BYTES_MAX + 100)) == 0
    assert DECODER.complete(b'"' + b"x" * (ROW_BYTES_MAX + 100)) == 0


def test_record_that_is_too_long() -> None:
    record = b"x" * ROW_BYTES_MAX + b",,2,,"
    found = DECODER.decode(b"a,,1,,\n" + record + b"\nb,,3,,\n", 1)
    assert found.frame["id"].to_list() == [1, 3]
    assert [(row.offset, row.kind, len(row.raw)) for row in found.rejected] == [(8, "size", RAW_BYTES_MAX)]


@pytest.mark.parametrize(
    ("block", "rows"),
    [
        (b"x\n\n  \ny", [("x",), ("y",)]),
        (b'x\n""\n\ny\n', [("x",), ("",), ("y",)]),
        (b"x,y\nz\n", [("z",)]),
        (b"", []),
        (b"x^\ny", [("x^",), ("y",)]),
        (b"\r\n", []),
        (b'"a\n\nb"\n', [("a\n\nb",)]),
    ],
)
def test_single_column(block: bytes, rows: list[tuple[object, ...]]) -> None:
    assert CsvDecoder(pl.Schema({"a": pl.String()}), ["a"]).decode(block, 1).frame.rows() == rows


def test_white_space_that_separates_is_no_blank_line() -> None:
    decoder = CsvDecoder(pl.Schema({"a": pl.Int64(), "b": pl.Int64()}), ["a", "b"], separator="\t")
    found = decoder.decode(b"1\t2\n\t\n\n3\t\n", 1)
    assert found.frame.rows() == [(1, 2), (None, None), (3, None)]
    assert found.offsets().tolist() == [1, 5, 8]


def test_options() -> None:
    schema = pl.Schema({"a": pl.String(), "b": pl.Boolean()})
    decoder = CsvDecoder(schema, ["a", "b"], separator=";", quote_char="'", null_values=["NA", "-"])
    found = decoder.decode(b"'x;''y''';TRUE\nNA;-\n\"q;False\n", 1)
    assert found.frame.rows() == [("x;'y'", True), (None, None), ('"q', False)]
    plain = CsvDecoder(schema, ["a", "b"], quote_char=None, null_values={"a": "NA"})
    assert plain.decode(b'"NA,true\nNA,\n', 1).frame.rows() == [('"NA', True), (None, None)]


@pytest.mark.parametrize(
    ("dtype", "good", "value", "bad"),
    [
        (pl.Int8(), b"-128", -128, b"128"),
        (pl.UInt64(), b"18446744073709551615", 2**64 - 1, b"-1"),
        (pl.Int128(), b"18446744073709551616", 2**64, b"1.5"),
        (pl.Float32(), b"1.5", 1.5, b"1e39"),
        (pl.Boolean(), b"True", True, b"1"),
        (pl.Enum(["x"]), b"x", "x", b"y"),
        (
            pl.Datetime("ms", "UTC"),
            b"2024-01-02 03:04",
            datetime(2024, 1, 2, 3, 4, tzinfo=UTC),
            b"2024-01-02 3h",
        ),
        (pl.Datetime("ns"), b"", None, b"9999-01-01"),
    ],
)
def test_dtype(dtype: pl.DataType, good: bytes, value: object, bad: bytes) -> None:
    schema = pl.Schema({"a": dtype, "b": pl.String()})
    found = CsvDecoder(schema, ["a", "b"]).decode(good + b",\n" + bad + b",\n", 1)
    assert found.frame.schema == schema
    assert found.frame["a"].to_list() == [value]
    assert [(row.offset, row.kind) for row in found.rejected] == [(len(good) + 3, "type")]


@pytest.mark.parametrize(
    "dtype", [pl.List(pl.Int64()), pl.Struct({"x": pl.Int64()}), pl.Binary(), pl.Duration()]
)
def test_dtype_that_csv_cannot_give(dtype: pl.DataType) -> None:
    with pytest.raises(PlanError, match="column 'a' cannot be read"):
        CsvDecoder(pl.Schema({"a": dtype}), ["a"])


def test_missing_column_names_what_is_there() -> None:
    with pytest.raises(DataError, match=r"no column \['id'\]; it has \['name', 'ID'\]"):
        CsvDecoder(pl.Schema({"id": pl.Int64(), "name": pl.String()}), ["name", "ID"])


@pytest.mark.parametrize("option", [{"separator": "ab"}, {"separator": '"'}, {"quote_char": "é"}])
def test_wrong_option(option: dict[str, str]) -> None:
    with pytest.raises(PlanError, match="CSV"):
        CsvDecoder(pl.Schema({"a": pl.Int64()}), ["a"], **option)


def test_byte_order_mark_where_there_is_no_header() -> None:
    found = CsvDecoder(pl.Schema({"a": pl.Int64()}), ["a"]).decode(b"\xef\xbb\xbf1\n2\n", 0)
    assert found.frame["a"].to_list() == [1, 2]
    assert found.offsets().tolist() == [3, 5]


@pytest.mark.parametrize(
    ("data", "final", "header"),
    [
        (b"a,b\n1,2\n", False, (["a", "b"], 4)),
        (b"\xef\xbb\xbfa,b\r\n1,2\n", False, (["a", "b"], 8)),
        (b"\n \na,b\n", False, (["a", "b"], 7)),
        (b'"a ""x"" ,\n",b\n', False, (['a "x" ,\n', "b"], 15)),
        (b"a,a,b,a\n", False, (["a", "a_duplicated_0", "b", "a_duplicated_1"], 8)),
        (b"a,b", False, None),
        (b'"a,b\n1,2\n', False, None),
        (b"", False, None),
        (b"a,b", True, (["a", "b"], 3)),
        (b"", True, ([], 0)),
        (b"\xef\xbb\xbf", True, ([], 3)),
    ],
)
def test_header(data: bytes, *, final: bool, header: tuple[list[str], int] | None) -> None:
    assert read_header(data, final=final) == header


@pytest.mark.parametrize("data", [b'"a"x,b\n', b"\xff,b\n"])
def test_header_that_is_none(data: bytes) -> None:
    with pytest.raises(DataError, match="header"):
        read_header(data)
