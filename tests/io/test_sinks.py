"""Files, directories of parts, the console, memory, and dead letters."""

import io
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from streame.core.clock import ManualClock
from streame.core.deadletters import BadRow, dead_letters
from streame.errors import ConnectorError, PlanError
from streame.io import output_file
from streame.io.console import ConsoleSink
from streame.io.deadletter_files import DeadLetterFiles
from streame.io.file_sinks import file_sink, line_compression
from streame.io.formats.encoders import CsvEncoder, Encoder, IpcEncoder, NdjsonEncoder, ParquetEncoder
from streame.io.memory import MemorySink
from streame.io.sink import Sink

FRAME = pl.DataFrame({"user": ["ann", "bob", None], "qty": [1, None, 3], "price": [1.5, float("nan"), 0.25]})
FINITE = FRAME.with_columns(pl.col("price").fill_nan(None))

Read = Callable[[Any], pl.DataFrame]
FORMATS: dict[str, tuple[Encoder, Read, pl.DataFrame]] = {
    "ndjson": (NdjsonEncoder(), pl.read_ndjson, FINITE),
    "ndjson.gz": (NdjsonEncoder("gzip", 1), pl.read_ndjson, FINITE),
    "ndjson.zst": (NdjsonEncoder("zstd", 3), pl.read_ndjson, FINITE),
    "csv": (CsvEncoder(), pl.read_csv, FRAME),
    "csv.gz": (CsvEncoder(compression="gzip"), pl.read_csv, FRAME),
    "csv.zst": (CsvEncoder(compression="zstd"), pl.read_csv, FRAME),
    "parquet": (ParquetEncoder(), pl.read_parquet, FRAME),
    "arrow": (IpcEncoder(), pl.read_ipc, FRAME),
}
GATHERED = ["parquet", "arrow"]
ALL = pytest.mark.parametrize("form", FORMATS)
root_only = pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")


def names(directory: Path) -> list[str]:
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*"))


def write(sink: Sink, *frames: pl.DataFrame, flush: bool = False) -> None:
    sink.open(frames[0].schema)
    for frame in frames:
        sink.write(frame)
        if flush:
            sink.flush()
    sink.close()


@ALL
@pytest.mark.parametrize("flush", [False, True])
def test_one_file(tmp_path: Path, form: str, flush: bool) -> None:
    encoder, read, expected = FORMATS[form]
    path = tmp_path / "new" / f"out.{form}"
    write(file_sink(path, encoder), FRAME, FRAME.clear(), FRAME, flush=flush)
    assert_frame_equal(read(path), pl.concat([expected, expected]))
    assert names(tmp_path / "new") == [path.name]
    write(file_sink(path, encoder), FRAME.head(1))
    assert_frame_equal(read(path), expected.head(1))


@ALL
def test_no_rows_in_one_file_keep_the_schema(tmp_path: Path, form: str) -> None:
    encoder, read, _ = FORMATS[form]
    path = tmp_path / f"out.{form}"
    write(file_sink(path, encoder), FRAME.clear())
    if "ndjson" in form:
        assert path.read_bytes() == b""
    else:
        assert read(path).columns == FRAME.columns
        assert read(path).height == 0


@pytest.mark.parametrize("form", ["ndjson", "csv", "ndjson.gz", "csv.zst"])
def test_lines_can_be_read_after_every_flush(tmp_path: Path, form: str) -> None:
    encoder, read, expected = FORMATS[form]
    path = tmp_path / f"out.{form}"
    sink = file_sink(path, encoder)
    sink.open(FRAME.schema)
    for count in (1, 2, 3):
        sink.write(FRAME)
        sink.flush()
        assert_frame_equal(read(path), pl.concat([expected] * count))
    sink.abort()
    assert names(tmp_path) == [f"out.{form}.partial"]


@pytest.mark.parametrize("form", GATHERED)
def test_a_file_with_an_index_appears_when_it_is_whole(tmp_path: Path, form: str) -> None:
    encoder, _, _ = FORMATS[form]
    path = tmp_path / f"out.{form}"
    path.write_bytes(b"of the run before")
    sink = file_sink(path, encoder)
    sink.open(FRAME.schema)
    sink.write(FRAME)
    sink.flush()
    assert path.read_bytes() == b"of the run before"
    sink.abort()
    assert names(tmp_path) == [path.name]


@pytest.mark.parametrize("form", GATHERED)
@pytest.mark.parametrize("finish", [True, False])
def test_rows_that_do_not_fit_into_memory_go_to_disk(
    tmp_path: Path, form: str, finish: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_file, "_MEMORY_BYTES", 100)
    encoder, read, _ = FORMATS[form]
    path = tmp_path / f"out.{form}"
    frames = [pl.DataFrame({"n": range(start, start + 50)}) for start in range(0, 500, 50)]
    sink = file_sink(path, encoder)
    sink.open(frames[0].schema)
    for frame in frames:
        sink.write(frame)
    assert len(names(tmp_path)) > 5
    if finish:
        sink.close()
        assert read(path)["n"].to_list() == list(range(500))
        assert names(tmp_path) == [path.name]
    else:
        sink.abort()
        assert names(tmp_path) == []


@ALL
def test_parts_are_cut_by_rows_and_a_second_run_appends(tmp_path: Path, form: str) -> None:
    encoder, read, expected = FORMATS[form]
    out = tmp_path / "a" / "out"
    write(file_sink(out, encoder, part_rows=2), FRAME)
    write(file_sink(out, encoder, part_rows=2), FRAME.head(1))
    parts = [f"part-{number:05}.{form}" for number in range(3)]
    assert names(out) == parts
    assert_frame_equal(
        pl.concat([read(out / part) for part in parts]), pl.concat([expected, expected.head(1)])
    )


def test_polars_scans_the_directory(tmp_path: Path) -> None:
    write(file_sink(f"{tmp_path}/", ParquetEncoder(), part_rows=1), FRAME)
    assert_frame_equal(pl.scan_parquet(f"{tmp_path}/").collect(), FRAME)


SCANS: dict[str, Callable[[str], pl.LazyFrame]] = {
    "ndjson": pl.scan_ndjson,
    "csv": pl.scan_csv,
    "parquet": pl.scan_parquet,
    "arrow": pl.scan_ipc,
}


@pytest.mark.parametrize("form", SCANS)
@pytest.mark.parametrize("rows", [1, 3])
def test_a_reader_never_sees_half_a_part(
    tmp_path: Path, form: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_file, "_MEMORY_BYTES", 1)
    monkeypatch.setattr(output_file, "ENCODE_ROWS", 1)
    frame = pl.DataFrame({"n": range(rows)})
    sink = file_sink(f"{tmp_path}/", FORMATS[form][0], part_rows=2)
    sink.open(frame.schema)
    sink.write(frame)
    scan = SCANS[form]
    if rows > 2:
        assert scan(f"{tmp_path}/part-*").collect()["n"].to_list() == [0, 1]
    with pytest.raises(pl.exceptions.InvalidOperationError, match="glob"):
        scan(f"{tmp_path}/").collect()
    sink.close()
    assert scan(f"{tmp_path}/").collect()["n"].to_list() == list(range(rows))


@ALL
def test_no_rows_make_no_part(tmp_path: Path, form: str) -> None:
    write(file_sink(tmp_path / "out", FORMATS[form][0]), FRAME.clear())
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("form", ["ndjson", "parquet"])
def test_parts_are_cut_by_bytes(tmp_path: Path, form: str) -> None:
    frames = [pl.DataFrame({"text": ["x" * 100] * 20_000})] * 3
    write(file_sink(tmp_path / "out", FORMATS[form][0], part_bytes=1_000_000), *frames)
    assert len(names(tmp_path / "out")) == 3


@ALL
def test_parts_are_cut_by_time_and_hidden_until_whole(tmp_path: Path, form: str) -> None:
    clock = ManualClock()
    sink = file_sink(f"{tmp_path}/", FORMATS[form][0], part_interval="10s", clock=clock)
    sink.open(FRAME.schema)
    sink.write(FRAME)
    clock.advance(timedelta(seconds=9))
    sink.flush()
    assert list(tmp_path.glob("*.*")) == []
    clock.advance(timedelta(seconds=1))
    sink.flush()
    assert [path.name for path in tmp_path.glob("*.*")] == [f"part-00000.{form}"]
    clock.advance(timedelta(seconds=60))
    sink.flush()
    sink.write(FRAME)
    assert len(list(tmp_path.glob("*.*"))) == 1, "the interval begins with the first row"
    sink.abort()
    assert names(tmp_path) == [f"part-00000.{form}"]


def test_what_a_crash_has_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "_streame" / "tmp" / "part-00007.ndjson"
    left.parent.mkdir(parents=True)
    left.write_text("{")
    (tmp_path / "part-00041.parquet").touch()
    write(file_sink(f"{tmp_path}/", NdjsonEncoder()), FRAME)
    assert names(tmp_path) == ["part-00041.parquet", "part-00042.ndjson"]


def test_two_sinks_do_not_share_a_directory(tmp_path: Path) -> None:
    first = file_sink(f"{tmp_path}/", NdjsonEncoder())
    first.open(FRAME.schema)
    second = file_sink(f"{tmp_path}/", NdjsonEncoder())
    with pytest.raises(ConnectorError, match="another sink is writing"):
        second.open(FRAME.schema)
    second.abort()
    first.write(FRAME)
    first.close()
    assert names(tmp_path) == ["part-00000.ndjson"]


def test_a_file_that_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "out", tmp_path / "file" / "out.csv"):
        with pytest.raises(ConnectorError, match=f"cannot write {path}"):
            file_sink(path, CsvEncoder()).open(FRAME.schema)


def test_a_directory_that_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "out.csv").mkdir()
    with pytest.raises(ConnectorError, match=r"out\.csv: it is a directory; end the path with '/'"):
        file_sink(tmp_path / "out.csv", CsvEncoder()).open(FRAME.schema)


@root_only
@pytest.mark.parametrize("form", ["ndjson", "parquet"])
def test_no_permission(tmp_path: Path, form: str) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    for path in (closed / "out", closed / f"out.{form}"):
        with pytest.raises(ConnectorError, match=f"cannot write {path}: Permission denied"):
            file_sink(path, FORMATS[form][0]).open(FRAME.schema)


@pytest.mark.parametrize("encoder", [NdjsonEncoder(), CsvEncoder(include_header=False)])
def test_a_full_disk(tmp_path: Path, encoder: Encoder) -> None:
    path = tmp_path / "out.txt"
    path.symlink_to("/dev/full")
    sink = file_sink(path, encoder)
    sink.open(FRAME.schema)
    sink.write(FRAME)
    with pytest.raises(ConnectorError, match=r"cannot write .*out\.txt: No space left on device"):
        sink.flush()
    sink.abort()


@pytest.mark.parametrize("form", GATHERED)
def test_a_file_that_cannot_be_finished_leaves_nothing(tmp_path: Path, form: str) -> None:
    class Broken(ParquetEncoder):
        __slots__ = ()

        def write(self, rows: pl.LazyFrame, path: Path) -> None:
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")

    for path in (tmp_path / f"out.{form}", tmp_path / "out"):
        sink = file_sink(path, Broken())
        sink.open(FRAME.schema)
        sink.write(FRAME)
        with pytest.raises(ConnectorError, match=f"cannot write {path}: No space left on device"):
            sink.close()
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: CsvEncoder(separator=";;"),
        lambda: CsvEncoder(quote_char="é"),
        lambda: file_sink("out", NdjsonEncoder(), part_rows=0),
        lambda: file_sink("out", NdjsonEncoder(), part_bytes=-1),
        lambda: file_sink("out", NdjsonEncoder(), part_interval="soon"),
        lambda: file_sink("out.ndjson", NdjsonEncoder(), part_rows=5),
        lambda: ConsoleSink(limit=-1),
    ],
)
def test_settings_that_make_no_sense(make: Callable[[], object]) -> None:
    with pytest.raises(PlanError):
        make()


def test_compression_by_suffix() -> None:
    assert line_compression("a.csv.gz", None) == "gzip"
    assert line_compression("a.csv.zst", None) == "zstd"
    assert line_compression("a.csv", None) == "uncompressed"
    assert line_compression("a.csv.gz", "uncompressed") == "uncompressed"


def test_memory() -> None:
    sink = MemorySink()
    write(sink, FRAME, FRAME.head(1))
    assert_frame_equal(sink.frame(), pl.concat([FRAME, FRAME.head(1)]))
    write(sink, FRAME.clear())
    assert_frame_equal(sink.frame(), FRAME.clear())


def test_console_prints_aligned_lines() -> None:
    stream = io.StringIO()
    write(ConsoleSink(stream=stream), FRAME, pl.DataFrame({"user": ["a\nb"], "qty": [10], "price": [2.0]}))
    assert stream.getvalue().splitlines() == [
        "user   qty  price",
        "ann      1    1.5",
        "bob   null    nan",
        "null     3   0.25",
        "a\\nb    10    2.0",
    ]


def test_console_leaves_rows_out_and_says_so() -> None:
    stream = io.StringIO()
    write(ConsoleSink(1, stream), pl.DataFrame({"n": range(3)}), pl.DataFrame({"n": [7]}))
    assert stream.getvalue().splitlines() == ["n", "0", "... 2 more rows", "7"]


def test_console_colours_a_terminal_only() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    write(ConsoleSink(stream=stream), pl.DataFrame({"name": ["[red]ann"]}))
    assert "[red]ann" in stream.getvalue()


def test_dead_letters_become_readable_files(tmp_path: Path) -> None:
    at = datetime(2024, 1, 1, tzinfo=UTC)
    rows = [
        BadRow(0, "syntax", "no JSON", '{"ü"'.encode()),
        BadRow(1, "encoding", "no UTF-8", b"\xff\x00"),
        BadRow(None, "compute", "division", b""),
    ]
    letters = dead_letters(rows, source="orders", split="a.ndjson", operator="scan", at=at)
    clock = ManualClock()
    sink = DeadLetterFiles(tmp_path, clock)
    sink.open(letters.schema)
    sink.write(letters)
    sink.write(letters.clear())
    clock.advance(timedelta(seconds=1))
    sink.flush()
    (part,) = tmp_path.glob("*.ndjson")
    lines = [json.loads(line) for line in part.read_text().splitlines()]
    assert [(line["raw"], line["raw_base64"]) for line in lines] == [
        ('{"ü"', None),
        (None, "/wA="),
        ("", None),
    ]
    assert lines[0]["offset"] == 0
    assert lines[0]["at"].startswith("2024-01-01T00:00:00")
    sink.write(letters)
    sink.abort()
    assert names(tmp_path) == ["part-00000.ndjson", "part-00001.ndjson"]
