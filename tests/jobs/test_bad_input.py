"""Bad input through whole jobs: every kind has one outcome, which depends on nothing but the policy.

With `dead_letter` each bad row is set aside once, with its place; with `drop` it is counted; with `fail` the job ends
with one error that names it. The good rows around it always go on. What concerns the whole file is one error always.
"""

import gzip
import queue
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import streame as st
from streame.core.deadletters import OnError
from streame.errors import StreameError
from tests.jobs.fakes import HANG_S, Gate

SCHEMA = {"id": pl.Int64, "name": pl.String, "x": pl.Float64, "tags": pl.List(pl.Int64)}
FLAT = {"id": pl.Int64, "name": pl.String, "x": pl.Float64}
LONG = b"y" * 20_000_000
DEEP = b"[" * 200 + b"]" * 200


@dataclass
class Rows:
    """A file of which some rows are bad: the ids of the good ones, and offset and kind of the bad ones."""

    data: bytes
    good: list[int]
    bad: list[tuple[int, str]] = field(default_factory=list)
    suffix: str = "ndjson"


ROWS = {
    "truncated JSON": Rows(b'{"id":1}\n{"id":2,\n{"id":3}\n', [1, 3], [(9, "syntax")]),
    "truncated JSON in the last line": Rows(b'{"id":1}\n{"id":', [1], [(9, "syntax")]),
    "wrong type": Rows(b'{"id":1}\n{"id":"2"}\n{"id":5.5}\n{"id":true}\n{"id":3}', [1, 3], [(9, "type"), (20, "type"), (31, "type")]),
    "wrong type within a list": Rows(b'{"id":1,"tags":[1,"a"]}\n{"id":2,"tags":[null]}\n', [2], [(0, "type")]),
    "missing column": Rows(b'{"id":1}\n{"name":"b"}\n{"id":3}\n', [1, 3], [(9, "null")]),
    "extra column": Rows(b'{"id":1,"more":{"a":[1]}}\n{"id":2}\n', [1, 2]),
    "null in a required column": Rows(b'{"id":1}\n{"id":null}\n{"id":3}\n', [1, 3], [(9, "null")]),
    "integer overflow": Rows(b'{"id":9223372036854775807}\n{"id":9223372036854775808}\n', [2**63 - 1], [(27, "type")]),
    "NaN and Infinity": Rows(b'{"id":1,"x":NaN}\n{"id":2,"x":Infinity}\n{"id":3}\n', [3], [(0, "syntax"), (17, "syntax")]),
    "invalid UTF-8": Rows(b'{"id":1}\n{"id":2,"name":"\xff"}\n{"id":3}\n', [1, 3], [(9, "encoding")]),
    "half a surrogate pair": Rows(b'{"id":1}\n{"id":2,"name":"\\ud800"}\n', [1], [(9, "encoding")]),
    "a byte-order mark": Rows(b'\xef\xbb\xbf{"id":1}\n{"id":2}\n', [1, 2]),
    "CRLF": Rows(b'{"id":1}\r\nx\r\n{"id":3}\r\n', [1, 3], [(10, "syntax")]),
    "blank lines": Rows(b'\n\n{"id":1}\n \n\n{"id":2}\n\n', [1, 2]),
    "a line of 20 MB": Rows(b'{"id":1}\n{"id":2,"name":"' + LONG + b'"}\n{"id":3}\n', [1, 3], [(9, "size")]),
    "arrays 200 deep": Rows(b'{"id":1,"tags":' + DEEP + b'}\n{"id":2,"more":' + DEEP + b'}\n{"id":3}\n', [2, 3], [(0, "type")]),
    "duplicate keys": Rows(b'{"id":1,"id":2}\n{"id":3}\n', [1, 3]),
    "an empty file": Rows(b"", []),
    "gzip": Rows(gzip.compress(b'{"id":1}\nx\n{"id":3}\n'), [1, 3], [(9, "syntax")]),
    "CSV: quotes and newlines in fields": Rows(b'id,name,x\n1,"a ""b"",\n\nc",\nx,,\n"3",,\n', [1, 3], [(27, "type")], "csv"),
    "CSV: too few and too many fields": Rows(b"id,name,x\n1,a\n2,a,,\n3,,\n", [3], [(10, "columns"), (14, "columns")], "csv"),
    "CSV: wrong type": Rows(b"id,name,x\n1,,\n5.5,,\n 5,,\n3,,x\n", [1, 5], [(14, "type"), (25, "type")], "csv"),
    "CSV: an open quote": Rows(b'id,name,x\n1,"a,\n2,,\n3,,\n', [2, 3], [(10, "syntax")], "csv"),
    "CSV: invalid UTF-8": Rows(b"id,name,x\n1,\xff,\n2,,\n", [2], [(10, "encoding")], "csv"),
    "CSV: null in a required column": Rows(b"id,name,x\n,a,\n2,,\n", [2], [(10, "null")], "csv"),
    "CSV: integer overflow": Rows(b"id,name,x\n9223372036854775808,,\n2,,\n", [2], [(10, "type")], "csv"),
    "CSV: byte-order mark, CRLF, blank lines": Rows(b"\xef\xbb\xbfid,name,x\r\n\r\n1,,\r\n\r\nx,,\r\n", [1], [(23, "type")], "csv"),
    "CSV: a line of 20 MB": Rows(b"id,name,x\n1,,\n2," + LONG + b",\n3,,\n", [1, 3], [(14, "size")], "csv"),
    "CSV: an empty file": Rows(b"", [], [], "csv"),
}  # fmt: skip

POLICIES: list[OnError] = ["dead_letter", "drop", "fail"]


def scan(path: Path, on_error: OnError) -> st.StreamDataFrame:
    if path.suffix == ".csv":
        return st.scan_csv(path, FLAT, on_error=on_error, required=["id"], name="input")
    return st.scan_ndjson(path, SCHEMA, on_error=on_error, required=["id"], name="input")


@pytest.mark.parametrize("on_error", POLICIES)
@pytest.mark.parametrize("name", ROWS)
def test_a_bad_row_has_one_outcome(name: str, on_error: OnError, tmp_path: Path) -> None:
    case = ROWS[name]
    path = tmp_path / f"a.{case.suffix}"
    path.write_bytes(case.data)
    frame = scan(path, on_error).filter(pl.col("id") >= 0).select(key="id")
    out, letters = Gate(is_open=True), Gate(is_open=True)
    sinks = [st.sink(frame, out)]
    if on_error == "dead_letter":
        sinks.append(st.sink(frame.rejected, letters, name="letters"))
    if on_error == "fail" and case.bad:
        place = re.escape(f"split {str(path)!r}, offset {case.bad[0][0]}:")
        with pytest.raises(st.DataError, match=f"^source 'input', {place}"):
            st.job(sinks).run()
        return
    handle = st.job(sinks).start()
    assert handle.wait(HANG_S)
    assert [key for each in out.frames for key in each["key"]] == case.good
    assert handle.status().rejected == len(case.bad)
    found = pl.concat([pl.DataFrame(schema=st.DEAD_LETTER_SCHEMA), *letters.frames])
    if on_error == "dead_letter":
        assert found.select("offset", "kind").rows() == case.bad
        assert set(found["split"]) <= {str(path)}
        assert found.select(pl.col("message", "raw", "at").is_null().any()).row(0) == (False,) * 3


@pytest.mark.parametrize("name", ROWS)
def test_a_row_has_the_same_verdict_among_many_good_ones(name: str, tmp_path: Path) -> None:
    case = ROWS[name]
    if b"\xef\xbb\xbf" in case.data or case.data.startswith(b"\x1f") or "last line" in name or "open" in name:
        pytest.skip("what begins or ends a file cannot stand in its middle")
    path = tmp_path / f"a.{case.suffix}"
    header = b"id,name,x\n" if case.suffix == "csv" else b""
    good = b"0,zero,\n" if case.suffix == "csv" else b'{"id":0,"name":"zero"}\n'
    data = case.data.removeprefix(header)
    ending = b"" if data.endswith(b"\n") or not data else b"\n"
    path.write_bytes(header + good * 5000 + data + ending + good * 5000)
    frame = scan(path, "dead_letter")
    shift = 5000 * len(good)
    assert frame.filter(pl.col("id") != 0).collect()["id"].to_list() == case.good
    assert frame.filter(pl.col("id") == 0).collect().height == 10_000
    bad = frame.rejected.select("offset", "kind").collect().rows()
    assert bad == [(offset + shift, kind) for offset, kind in case.bad]


def parquet(path: Path) -> st.StreamDataFrame:
    return st.scan_parquet(path, FLAT, on_error="dead_letter")


def ipc(path: Path) -> st.StreamDataFrame:
    return st.scan_ipc(path, FLAT, on_error="dead_letter")


def ndjson(path: Path) -> st.StreamDataFrame:
    return st.scan_ndjson(path, SCHEMA, on_error="dead_letter")


def csv(path: Path) -> st.StreamDataFrame:
    return st.scan_csv(path, FLAT, on_error="dead_letter")


def whole(kind: str) -> Callable[[Path], None]:
    frame = pl.DataFrame({"id": range(1000), "name": ["n"] * 1000, "x": [0.5] * 1000}, schema=FLAT)
    return frame.write_parquet if kind == "parquet" else frame.write_ipc


@dataclass
class File:
    """A file that cannot be read as a whole, and the one error of it."""

    read: Callable[[Path], st.StreamDataFrame]
    error: type[StreameError]
    says: str
    data: bytes | None = b""
    of: str | None = None


FILES = {
    "a missing file": File(ndjson, st.PlanError, "no such file", None),
    "a missing CSV file": File(csv, st.PlanError, "no such file", None),
    "a missing Parquet file": File(parquet, st.PlanError, "no such file", None),
    "CSV without a declared column": File(csv, st.DataError, "no column", b"id,x\n1,2\n"),
    "a truncated gzip": File(
        ndjson, st.ConnectorError, "breaks off", gzip.compress(b'{"id":1}\n' * 9999)[:60]
    ),
    "a corrupt gzip": File(ndjson, st.ConnectorError, "corrupt gzip", b"\x1f\x8b\x08\x00" + b"\xff" * 50),
    "an empty Parquet file": File(parquet, st.DataError, "is no whole"),
    "text instead of Parquet": File(parquet, st.DataError, "is no Parquet file", b"id,name,x\n" * 9),
    "half a Parquet file": File(parquet, st.DataError, "is no whole", of="parquet"),
    "text instead of Arrow": File(ipc, st.DataError, "is no Arrow IPC file", b"id,name,x\n" * 9),
    "half an Arrow file": File(ipc, st.DataError, "is no whole", of="ipc"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_bad_file_is_one_error_that_names_it(name: str, tmp_path: Path) -> None:
    case, path = FILES[name], tmp_path / "input"
    if case.of is not None:
        whole(case.of)(path)
        path.write_bytes(path.read_bytes()[:500])
    elif case.data is not None:
        path.write_bytes(case.data)
    out = Gate(is_open=True)
    with pytest.raises(case.error, match=case.says) as raised:
        st.sink(case.read(path), out).run()
    assert str(path) in str(raised.value)
    assert out.ended in {None, "aborted"}


def test_a_bad_parquet_file_among_good_ones_is_named(tmp_path: Path) -> None:
    for number in range(3):
        whole("parquet")(tmp_path / f"{number}.parquet")
    broken = tmp_path / "1.parquet"
    broken.write_bytes(broken.read_bytes()[:-100])
    with pytest.raises(st.DataError, match=re.escape(str(broken))):
        st.scan_parquet(tmp_path, FLAT).collect()


def test_a_file_that_is_deleted_while_followed_keeps_its_rows(tmp_path: Path) -> None:
    path, out = tmp_path / "a.ndjson", queue.Queue[Any]()
    path.write_bytes(b'{"id":1}\n')
    rows = st.scan_ndjson(path, {"id": pl.Int64}, follow=True)
    with rows.sink_queue(out).start() as handle:
        assert out.get(timeout=HANG_S) == {"id": 1}
        path.unlink()
        assert not handle.wait(0.3)
        path.write_bytes(b'{"id":2}\n')
        assert out.get(timeout=HANG_S) == {"id": 2}
    assert out.get(timeout=HANG_S) is st.END


def test_an_iterable_that_raises(tmp_path: Path) -> None:
    def rows() -> Iterator[Any]:
        yield {"id": 1}
        yield {"id": "x"}
        raise RuntimeError("the modem is off")

    out = queue.Queue[Any]()
    with pytest.raises(st.ConnectorError, match="raised RuntimeError after 2 rows: the modem is off"):
        st.scan_rows(rows(), {"id": pl.Int64}, on_error="dead_letter").sink_queue(out).run()
    assert out.get_nowait() == {"id": 1}


def test_an_iterable_that_cannot_be_iterated() -> None:
    with pytest.raises(st.PlanError, match="int"):
        st.scan_rows(5, {"id": pl.Int64})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "item", [5, "text", None, object(), b"x", [1, 2], {"id": [1]}, {"id": object()}], ids=repr
)
def test_a_queue_item_that_is_no_row(item: Any) -> None:
    source, out = queue.Queue[Any](), queue.Queue[Any]()
    for each in ({"id": 1}, item, {"id": 2}, st.END):
        source.put(each)
    rows = st.scan_queue(source, {"id": pl.Int64}, on_error="dead_letter")
    letters = queue.Queue[Any]()
    rows.sink_queue(out).run(errors=letters)
    assert [out.get_nowait(), out.get_nowait(), out.get_nowait()] == [{"id": 1}, {"id": 2}, st.END]
    letter = letters.get_nowait()
    assert (letter["offset"], letter["operator"]) == (1, "queue")
    assert letter["kind"] in {"type", "columns"}
    assert letters.get_nowait() is st.END


@pytest.mark.parametrize("item", [5, pl.Series([1]), {"id": 1}], ids=["number", "series", "row"])
def test_an_item_that_is_no_frame(item: Any) -> None:
    with pytest.raises(st.DataError, match="frame 1 "):
        st.scan_frames([pl.DataFrame({"id": [1]}), item]).collect()
    with pytest.raises(
        st.DataError, match="frame 1 does not have the declared schema: column 'id' is String"
    ):
        st.scan_frames([pl.DataFrame({"id": [1]}), pl.DataFrame({"id": ["1"]})]).collect()
