"""NDJSON and CSV files as a source."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import hypothesis.strategies as hs
import numpy as np
import polars as pl
import pytest
from backports import zstd
from hypothesis import given, settings
from polars.testing import assert_frame_equal

from streame.core.messages import BATCH_BYTES_MAX, BATCH_ROWS_MAX
from streame.errors import ConnectorError
from streame.io.files.records import RecordCutter
from streame.io.files.text_source import CsvFiles, NdjsonFiles
from streame.io.formats.ndjson import NdjsonDecoder
from streame.io.source import Chunk, Offset, Source
from tests.examples import examples

SCHEMA = pl.Schema({"a": pl.Int64, "b": pl.String})


def chunks(source: Source, offset: Offset = None) -> list[Chunk]:
    (split,) = source.splits()
    return [chunk for chunk in source.read(split, offset) if chunk is not None]


def frame_of(found: list[Chunk]) -> pl.DataFrame:
    empty: pl.DataFrame = SCHEMA.to_frame()
    return pl.concat([empty, *(chunk.frame for chunk in found)])


def offsets_of(found: list[Chunk]) -> list[int]:
    parts = [chunk.offsets() for chunk in found if chunk.offsets is not None]
    return [int(offset) for part in parts for offset in part]


def many_lines(count: int) -> tuple[bytes, list[int]]:
    lines = [b'{"a":%d}\n' % i if i % 1000 else b"bad\n" for i in range(count)]
    starts = np.cumsum([0, *map(len, lines)]).tolist()
    return b"".join(lines), starts


def test_rows_come_in_order_with_their_positions(tmp_path: Path) -> None:
    data, starts = many_lines(200_000)
    (tmp_path / "a").write_bytes(data)
    found = chunks(NdjsonFiles(tmp_path / "a", SCHEMA))
    good = [i for i in range(200_000) if i % 1000]
    assert frame_of(found)["a"].to_list() == good
    assert offsets_of(found) == [starts[i] for i in good]
    assert [bad.offset for chunk in found for bad in chunk.rejected] == starts[0:200_000:1000]
    assert max(chunk.frame.height for chunk in found) <= BATCH_ROWS_MAX
    assert found[-1].next_offset["byte"] == len(data)


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstd.compress], ids=["plain", "gzip", "zstd"])
def test_reading_goes_on_after_any_chunk(tmp_path: Path, compress: "type[bytes]") -> None:
    (tmp_path / "a").write_bytes(compress(many_lines(150_000)[0]))
    source = NdjsonFiles(tmp_path / "a", SCHEMA)
    found = chunks(source)
    assert len(found) > 2
    for index, chunk in enumerate(found):
        rest = chunks(source, chunk.next_offset)
        assert_frame_equal(frame_of(rest), frame_of(found[index + 1 :]))
        assert [bad for one in rest for bad in one.rejected] == [
            bad for one in found[index + 1 :] for bad in one.rejected
        ]
    with pytest.raises(ConnectorError, match="was truncated below"):
        chunks(source, {**found[-1].next_offset, "byte": len(many_lines(150_000)[0]) + 1})


def test_chunks_are_of_bounded_size(tmp_path: Path) -> None:
    schema = {f"c{i}": pl.Int64 for i in range(1000)}
    (tmp_path / "a").write_bytes(b'{"c0":1}\n' * 50_000)
    source = NdjsonFiles(tmp_path / "a", schema)
    sizes = [chunk.frame.estimated_size() for chunk in chunks(source)]
    assert len(sizes) > 20
    assert max(sizes) <= BATCH_BYTES_MAX * 1.01


@pytest.mark.parametrize("compress", [gzip.compress, zstd.compress], ids=["gzip", "zstd"])
def test_compressed_files_may_have_several_parts(tmp_path: Path, compress: "type[bytes]") -> None:
    data = compress(b'{"a":1}\n{"a"') + compress(b"") + compress(b":2}\n")
    (tmp_path / "no_suffix").write_bytes(data)
    assert frame_of(chunks(NdjsonFiles(tmp_path, SCHEMA)))["a"].to_list() == [1, 2]


def test_zeros_after_gzip_are_padding(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(gzip.compress(b'{"a":1}\n') + bytes(600_000))
    assert frame_of(chunks(NdjsonFiles(tmp_path, SCHEMA)))["a"].to_list() == [1]


LINES = hs.lists(hs.sampled_from([b'{"a":1,"b":"x"}', b'{"a":2}', b"{bad", b"", b'{"b":7}', b'{"a":3}\r']))


@settings(max_examples=examples(60))
@given(lines=LINES, last=hs.sampled_from([b"", b"\n"]), data=hs.data())
def test_cuts_change_nothing(lines: list[bytes], last: bytes, data: hs.DataObject) -> None:
    text = b"\n".join(lines) + last
    cuts = data.draw(hs.lists(hs.integers(0, len(text))).map(sorted))
    whole = NdjsonDecoder(SCHEMA).decode(text, 0)
    cutter = RecordCutter(NdjsonDecoder(SCHEMA), SCHEMA, 0)
    found: list[Chunk] = []
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        found += [chunk for block in cutter.feed(text[start:end]) for chunk in block()]
    found += [chunk for block in cutter.finish() for chunk in block()]
    assert_frame_equal(frame_of(found), whole.frame)
    assert offsets_of(found) == whole.offsets().tolist()
    assert [bad for chunk in found for bad in chunk.rejected] == list(whole.rejected)


def csv_rows(path: Path, **options: object) -> list[tuple[object, ...]]:
    source = CsvFiles(path, SCHEMA, **options)  # type: ignore[arg-type]
    return frame_of(chunks(source)).rows()


def test_csv_columns_are_found_by_name(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"b,other,a\nx,0,1\n,0,2\n")
    assert csv_rows(tmp_path / "a") == [(1, "x"), (2, None)]


def test_csv_options(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1;'x;y'\n-;'z'\n")
    options = {"separator": ";", "quote_char": "'", "null_values": "-", "has_header": False}
    assert csv_rows(tmp_path / "a", **options) == [(1, "x;y"), (None, "z")]


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_csv_reading_goes_on_with_the_columns_of_the_header(tmp_path: Path, compress: "type[bytes]") -> None:
    lines = b"".join(b'"l%d\n",%d\n' % (i, i) for i in range(150_000))
    (tmp_path / "a").write_bytes(compress(b"b,a\n" + lines))
    source = CsvFiles(tmp_path / "a", SCHEMA)
    found = chunks(source)
    assert frame_of(found)["a"].to_list() == list(range(150_000))
    assert max(chunk.frame.height for chunk in found) <= BATCH_ROWS_MAX
    for index, chunk in enumerate(found):
        assert_frame_equal(frame_of(chunks(source, chunk.next_offset)), frame_of(found[index + 1 :]))


def test_a_followed_csv_file_and_its_successor_have_headers(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch()
    source = CsvFiles(path, SCHEMA, follow=True)

    def now(reading: "Iterator[Chunk | None]") -> list[object]:
        found, quiet = [], 0
        while quiet < 2:
            chunk = next(reading)
            quiet += chunk is None
            if chunk is not None:
                offsets.append(chunk.next_offset)
                found += chunk.frame["a"].to_list()
        return found

    offsets: list[Offset] = []
    reading = source.read(str(path), None)
    for text, rows in (("b,", []), ("a\nx", []), (",1\n", [1]), ("y,2", [])):
        with path.open("a") as file:
            file.write(text)
        assert now(reading) == rows
    after_header, after_row = offsets
    assert now(source.read(str(path), after_header)) == [1]
    path.rename(tmp_path / "old")
    path.write_text("a,b\n3,z\n")
    assert now(reading) == [2, 3]
    after_old, after_new = offsets[-2:]
    assert now(source.read(str(path), after_header)) == [1, 2, 3]
    assert now(source.read(str(path), after_row)) == [2, 3]
    assert now(source.read(str(path), after_old)) == [3]
    assert now(source.read(str(path), after_new)) == []


@settings(max_examples=examples(60))
@given(rows=hs.lists(hs.sampled_from([b"1,x", b'2,"p\nq"', b"bad,", b"", b"3", b',"""",'])), data=hs.data())
def test_csv_cuts_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, rows: list[bytes], data: hs.DataObject
) -> None:
    text = b"\n".join([b"a,b", *rows])
    cuts = data.draw(hs.lists(hs.integers(0, len(text))).map(sorted))
    path = tmp_path_factory.mktemp("csv") / "a"
    path.write_bytes(text)
    source = CsvFiles(path, SCHEMA)
    whole = chunks(source)
    cutter = RecordCutter(source._decoder(str(path), 0), SCHEMA, 0)
    found: list[Chunk] = []
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        found += [chunk for block in cutter.feed(text[start:end]) for chunk in block()]
    found += [chunk for block in cutter.finish() for chunk in block()]
    assert_frame_equal(frame_of(found), frame_of(whole))
    assert offsets_of(found) == offsets_of(whole)
    assert [bad for one in found for bad in one.rejected] == [bad for one in whole for bad in one.rejected]
