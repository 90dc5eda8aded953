"""Bad input in files: each kind has one outcome, and good rows are never lost."""

import gzip
import re
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from backports import zstd

from streame.core.deadletters import BadRow
from streame.errors import ConnectorError, DataError, PlanError, StreameError
from streame.io.files.columnar_source import IpcFiles, ParquetFiles
from streame.io.files.text_source import CsvFiles, NdjsonFiles
from streame.io.formats.records import RAW_BYTES_MAX
from streame.io.source import Chunk, Source

SCHEMA = {"id": pl.Int64(), "name": pl.String(), "x": pl.Float64()}


@dataclass
class Read:
    """What came of reading one split."""

    ids: list[int | None]
    bad: list[BadRow]
    error: StreameError | None


def read(source: Source, offset: int | None = None) -> Read:
    (split,) = source.splits()
    found = Read([], [], None)
    try:
        for chunk in source.read(split, offset):
            if chunk is not None:
                assert chunk.frame.schema == source.schema()
                assert chunk.offsets is not None or chunk.frame.is_empty()
                found.ids += chunk.frame["id"].to_list()
                found.bad += chunk.rejected
    except StreameError as error:
        found.error = error
    return found


def write(directory: Path, data: bytes) -> Path:
    path = directory / "a"
    path.write_bytes(data)
    return path


@dataclass
class Case:
    """The bytes of a file, the ids of its good rows, and the position and kind of its bad ones."""

    data: bytes
    ids: list[int | None]
    bad: list[tuple[int, str]]


def check(source: Source, case: Case) -> None:
    found = read(source)
    assert found.error is None
    assert found.ids == case.ids
    assert [(bad.offset, bad.kind) for bad in found.bad] == case.bad
    for bad in found.bad:
        assert bad.offset is not None
        assert case.data[bad.offset :].startswith(bad.raw)
        assert len(bad.raw) <= RAW_BYTES_MAX


NDJSON = {
    "good": Case(b'{"id":1,"name":"a","x":0.5}\n{"id":2}\n', [1, 2], []),
    "truncated JSON": Case(b'{"id":1}\n{"id":2,\n{"id":3}\n', [1, 3], [(9, "syntax")]),
    "truncated at the end": Case(b'{"id":1}\n{"id":2', [1], [(9, "syntax")]),
    "no line end at the end": Case(b'{"id":1}\n{"id":2}', [1, 2], []),
    "two documents in a line": Case(b'{"id":1}\n{"id":2}{"id":3}\n', [1], [(9, "syntax")]),
    "no object": Case(b'[1]\n{"id":1}\n7\nnull\n', [1], [(0, "syntax"), (13, "syntax"), (15, "syntax")]),
    "wrong type": Case(b'{"id":"1"}\n{"id":2}\n{"id":3.5}\n', [2], [(0, "type"), (20, "type")]),
    "missing column": Case(b'{"id":1,"x":2}\n{"name":"b"}\n', [1], [(15, "null")]),
    "extra column": Case(b'{"id":1,"y":{"z":[1]}}\n', [1], []),
    "null in a required column": Case(b'{"id":null}\n{"id":2}\n', [2], [(0, "null")]),
    "integer overflow": Case(b'{"id":9223372036854775808}\n{"id":2}\n', [2], [(0, "type")]),
    "NaN": Case(b'{"id":1,"x":NaN}\n{"id":2}\n', [2], [(0, "syntax")]),
    "Infinity": Case(b'{"id":1,"x":-Infinity}\n{"id":2}\n', [2], [(0, "syntax")]),
    "invalid UTF-8": Case(b'{"id":1,"name":"\xff"}\n{"id":2}\n', [2], [(0, "encoding")]),
    "half a surrogate pair": Case(b'{"id":1,"name":"\\ud800"}\n{"id":2}\n', [2], [(0, "encoding")]),
    "byte-order mark": Case(b'\xef\xbb\xbf{"id":1}\n{"id":2}\n', [1, 2], []),
    "CRLF": Case(b'{"id":1}\r\n{"id":"2"}\r\n{"id":3}\r\n', [1, 3], [(10, "type")]),
    "blank lines": Case(b'\n{"id":1}\n\n  \n\r\n{"id":2}\n\n', [1, 2], []),
    "a line of 20 MB": Case(
        b'{"id":1}\n{"id":2,"name":"%s"}\n{"id":3}\n' % (b"x" * 20_000_000), [1, 3], [(9, "size")]
    ),
    "a last line of 20 MB": Case(b'{"id":1}\n' + b"x" * 20_000_000, [1], [(9, "size")]),
    "arrays 200 deep": Case(b'{"id":1,"y":%s}\n{"id":2}\n' % (b"[" * 200 + b"]" * 200), [1, 2], []),
    "duplicate keys": Case(b'{"id":1,"id":2}\n', [1], []),
    "an empty file": Case(b"", [], []),
    "only blank lines": Case(b"\n\n", [], []),
}


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstd.compress], ids=["plain", "gzip", "zstd"])
@pytest.mark.parametrize("case", NDJSON.values(), ids=NDJSON)
def test_ndjson(tmp_path: Path, case: Case, compress: Callable[[bytes], bytes]) -> None:
    check(NdjsonFiles(write(tmp_path, compress(case.data)), SCHEMA, required=["id"]), case)


CSV = {
    "good": Case(b"id,name,x\n1,a,0.5\n2,,\n", [1, 2], []),
    "no line end at the end": Case(b"id,name,x\n1,,\n2,,", [1, 2], []),
    "other order and extra columns": Case(b"x,y,id,name\n,7,1,\n", [1], []),
    "too few and too many fields": Case(
        b"id,name,x\n1,a\n2,a,,\n3,,\n", [3], [(10, "columns"), (14, "columns")]
    ),
    "wrong type": Case(
        b"id,name,x\none,,\n2,,\n3.5,,\n4,,x\n", [2], [(10, "type"), (20, "type"), (26, "type")]
    ),
    "null in a required column": Case(b"id,name,x\n,a,\n2,,\n", [2], [(10, "null")]),
    "integer overflow": Case(b"id,name,x\n9223372036854775808,,\n2,,\n", [2], [(10, "type")]),
    "NaN and Infinity": Case(b"id,name,x\n1,,NaN\n2,,-inf\n", [1, 2], []),
    "invalid UTF-8": Case(b"id,name,x\n1,\xff,\n2,,\n", [2], [(10, "encoding")]),
    "byte-order mark": Case(b"\xef\xbb\xbfid,name,x\n1,,\n", [1], []),
    "CRLF": Case(b"id,name,x\r\n1,a,\r\nx,,\r\n3,,1\r\n", [1, 3], [(17, "type")]),
    "blank lines": Case(b"\nid,name,x\n\n1,,\n\r\n2,,\n\n", [1, 2], []),
    "quotes and newlines in fields": Case(b'id,name,x\n1,"a ""b"",\n\nc",\n2,"",\n"3",,\n', [1, 2, 3], []),
    "a quote that is never closed": Case(b'id,name,x\n1,"a,\n2,,\n3,,\n', [2, 3], [(10, "syntax")]),
    "a line of 20 MB": Case(b"id,name,x\n1,,\n2,%s,\n3,,\n" % (b"x" * 20_000_000), [1, 3], [(14, "size")]),
    "an empty file": Case(b"", [], []),
    "only a header": Case(b"id,name,x\n", [], []),
    "only a header without line end": Case(b"id,name,x", [], []),
}


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstd.compress], ids=["plain", "gzip", "zstd"])
@pytest.mark.parametrize("case", CSV.values(), ids=CSV)
def test_csv(tmp_path: Path, case: Case, compress: Callable[[bytes], bytes]) -> None:
    check(CsvFiles(write(tmp_path, compress(case.data)), SCHEMA, required=["id"]), case)


def test_a_quote_that_is_never_closed_costs_one_line_of_a_large_file(tmp_path: Path) -> None:
    lines = b"".join(b"%d,name,\n" % i for i in range(1_000_000))
    found = read(CsvFiles(write(tmp_path, b'id,name,x\n-1,"open\n' + lines), SCHEMA))
    assert found.error is None
    assert [(bad.offset, bad.kind) for bad in found.bad] == [(10, "syntax")]
    assert found.ids == list(range(1_000_000))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"id,x\n1,2\n", "no column"),
        (b"1,2,3\n", "no column"),
        (b"id,name,\xff\n", "header is not UTF-8"),
        ("id,name,x\n1,,\n".encode("utf-16"), "header is not UTF-8"),
        (b"x" * 20_000_000, "header is longer than"),
    ],
    ids=["missing column", "no header", "invalid header", "UTF-16", "a header of 20 MB"],
)
def test_a_wrong_csv_header_is_one_error(tmp_path: Path, data: bytes, message: str) -> None:
    path = write(tmp_path, data)
    found = read(CsvFiles(path, SCHEMA))
    assert isinstance(found.error, DataError)
    assert str(found.error).startswith(f"{path}: ")
    assert message in str(found.error)
    assert (found.ids, found.bad) == ([], [])


def test_utf_16_is_refused_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes('{"id":1}\n{"id":2}\n'.encode("utf-16"))
    found = read(NdjsonFiles(tmp_path / "a", SCHEMA))
    assert (found.ids, found.error) == ([], None)
    assert found.bad
    assert {bad.kind for bad in found.bad} <= {"encoding", "syntax"}


def test_a_line_of_any_length_needs_little_memory(tmp_path: Path) -> None:
    """Decompressed it has 200 MB: a small file may not fill the memory."""
    (tmp_path / "a").write_bytes(gzip.compress(b'{"id":1}\n' + b" " * 200_000_000 + b'\n{"id":2}\n', 1))
    tracemalloc.start()
    try:
        found = read(NdjsonFiles(tmp_path / "a", SCHEMA))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.ids == [1, 2]
    assert [bad.kind for bad in found.bad] == ["size"]
    assert peak < 64_000_000


def zstd_with_checksum(data: bytes) -> bytes:
    return zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1})


TRUNCATED = {"gzip": gzip.compress, "zstd": zstd_with_checksum}


@pytest.mark.parametrize("name", TRUNCATED)
def test_compressed_data_that_breaks_off(tmp_path: Path, name: str) -> None:
    text = b"".join(b'{"id":%d,"name":"%d"}\n' % (i, i * 7919 % 10007) for i in range(200_000))
    data = TRUNCATED[name](text)
    path = tmp_path / "a.ndjson"
    path.write_bytes(data[: len(data) // 2])
    found = read(NdjsonFiles(path, SCHEMA))
    assert 50_000 < len(found.ids) < 150_000
    assert found.ids == list(range(len(found.ids)))
    assert found.bad == []
    assert isinstance(found.error, ConnectorError)
    assert f"{path}: after {len(data) // 2} bytes" in str(found.error)
    assert f"the {name} data breaks off" in str(found.error)


@pytest.mark.parametrize("name", TRUNCATED)
def test_corrupt_compressed_data(tmp_path: Path, name: str) -> None:
    data = bytearray(TRUNCATED[name](b"".join(b'{"id":%d}\n' % i for i in range(100_000))))
    data[len(data) // 2 : len(data) // 2 + 100] = b"\xff" * 100
    path = tmp_path / "a.ndjson"
    path.write_bytes(data)
    error = read(NdjsonFiles(path, SCHEMA)).error
    assert isinstance(error, ConnectorError)
    assert f"{path}: after " in str(error)
    assert f"corrupt {name} data" in str(error)


@pytest.mark.parametrize("data", [b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd"], ids=["gzip", "zstd"])
def test_only_the_beginning_of_compressed_data(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a").write_bytes(data)
    assert isinstance(read(NdjsonFiles(tmp_path / "a", SCHEMA)).error, ConnectorError)


def whole(directory: Path, kind: str) -> Path:
    path = directory / f"a.{kind}"
    frame = pl.DataFrame({"id": range(1000), "name": [f"n{i}" for i in range(1000)]})
    if kind == "parquet":
        frame.write_parquet(path, row_group_size=100)
    else:
        frame.write_ipc(path, record_batch_size=100)
    return path


COLUMNAR = {"parquet": ParquetFiles, "ipc": IpcFiles}
both = pytest.mark.parametrize("kind", COLUMNAR)


@both
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"", "is no whole"),
        (lambda data: data[: len(data) // 2], "is no whole"),
        (lambda data: data[:-1], "is no whole"),
        (lambda data: b"id,name\n1,a\n", "is no (Parquet|Arrow IPC) file; it begins with b'id,n"),
        (lambda data: data[:100] + b"\xff" * 4000 + data[4100:], "corrupt (Parquet|Arrow IPC) file"),
        (lambda data: data[:-300] + b"\xff" * 280 + data[-20:], "corrupt (Parquet|Arrow IPC) file"),
    ],
    ids=["empty", "half", "without its last byte", "text", "bad rows", "bad footer"],
)
def test_corrupt_columnar_files(
    tmp_path: Path, kind: str, damage: Callable[[bytes], bytes], message: str
) -> None:
    path = whole(tmp_path, kind)
    path.write_bytes(damage(path.read_bytes()))
    error = read(COLUMNAR[kind](path, {"id": pl.Int64, "name": pl.String})).error
    assert isinstance(error, DataError)
    assert error.args[0].startswith(f"{path}: ")
    assert re.search(message, str(error))


def test_an_arrow_stream_is_no_arrow_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    pl.DataFrame({"id": [1]}).write_ipc_stream(path)
    with pytest.raises(DataError, match="but an Arrow IPC stream"):
        IpcFiles(path)


@both
def test_damage_anywhere_is_an_error_of_ours_or_none(tmp_path: Path, kind: str) -> None:
    data = whole(tmp_path, kind).read_bytes()
    for place in range(0, len(data), max(1, len(data) // 60)):
        path = tmp_path / f"{place}"  # another file each time: a mapped file must not change
        path.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        read(COLUMNAR[kind](path, {"id": pl.Int64, "name": pl.String}))


ALL: dict[str, Callable[[Path], Source]] = {
    "ndjson": lambda path: NdjsonFiles(path, SCHEMA),
    "csv": lambda path: CsvFiles(path, SCHEMA),
    "parquet": lambda path: ParquetFiles(path, SCHEMA),
    "ipc": lambda path: IpcFiles(path, SCHEMA),
}
every = pytest.mark.parametrize("kind", ALL)


@every
def test_a_missing_file(tmp_path: Path, kind: str) -> None:
    with pytest.raises(PlanError, match=f"{tmp_path}/none.*no such file"):
        ALL[kind](tmp_path / "none")


@every
def test_a_file_that_vanishes_before_it_is_read(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a").touch()
    source = ALL[kind](tmp_path / "a")
    (tmp_path / "a").unlink()
    with pytest.raises(ConnectorError, match=f"{tmp_path}/a: cannot be read: no such file"):
        list(source.read(str(tmp_path / "a"), None))


@every
def test_a_directory_without_files(tmp_path: Path, kind: str) -> None:
    with pytest.raises(PlanError, match=f"no file is in the directory '{tmp_path}'"):
        ALL[kind](tmp_path)


WITHOUT_PERMISSION = """
import os, sys
import polars as pl
from streame.errors import StreameError
from streame.io.files.columnar_source import ParquetFiles
from streame.io.files.text_source import NdjsonFiles

if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
schema = {"id": pl.Int64}
for kind in (NdjsonFiles, ParquetFiles):
    for path in sys.argv[1:]:
        try:
            source = kind(path, schema)
            for split in source.splits():
                list(source.read(split, None))
        except StreameError as error:
            print(type(error).__name__, error)
"""


def test_without_permission(tmp_path: Path) -> None:
    """In a process of its own, because no permission binds the administrator."""
    tmp_path.chmod(0o755)
    (tmp_path / "closed").mkdir()
    for name in ("closed/a", "secret"):
        (tmp_path / name).touch(mode=0)
    (tmp_path / "closed").chmod(0)
    paths = ["closed", "closed/*", "closed/a", "secret"]
    try:
        said = subprocess.run(
            [sys.executable, "-c", WITHOUT_PERMISSION, *paths],
            cwd=tmp_path,  # the directories above it may be closed too
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
    finally:
        (tmp_path / "closed").chmod(0o700)
    expected = [*(f"PlanError cannot read '{tmp_path}/{path}': permission denied" for path in paths[:3])]
    expected.append(f"ConnectorError {tmp_path}/secret: cannot be read: permission denied")
    assert said == expected * 2


def test_a_file_that_is_deleted_while_followed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b'{"id":1}\n')
    reading: Iterator[object] = NdjsonFiles(path, SCHEMA, follow=True).read(str(path), None)
    assert next(reading) is not None
    path.unlink()
    forgotten = next(reading)
    assert isinstance(forgotten, Chunk)
    assert forgotten.next_offset is None
    assert [next(reading) for _ in range(3)] == [None] * 3
