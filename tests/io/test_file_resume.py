"""Files after a restart: every offset gives exactly the rest, and no file is taken for another one."""

import gzip
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as hs

from streame.core.clock import ManualClock, SystemClock
from streame.errors import SourceDataLost
from streame.io.files.columnar_source import IpcFiles, ParquetFiles
from streame.io.files.text_source import CsvFiles, NdjsonFiles
from streame.io.rows import FramesSource, RowsSource
from streame.io.source import Chunk, Offset, Source
from tests.examples import examples

SCHEMA = pl.Schema({"a": pl.Int64, "b": pl.String})
COMPRESS: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress, ".zst": zstd.compress}


def kept(offset: Offset) -> Offset:
    """An offset as a checkpoint gives it back."""
    return json.loads(json.dumps(offset))


QUIET_MAX = 40
"""A followed file that gives nothing so often has nothing: a line may be longer than many blocks."""


def rest(source: Source, split: str, offset: Offset = None) -> list[Chunk]:
    """What is there, without waiting for more."""
    chunks: list[Chunk] = []
    quiet = 0
    for chunk in source.read(split, kept(offset)):
        quiet = 0 if chunk is not None else quiet + 1
        if chunk is not None:
            chunks.append(chunk)
        elif not source.bounded and quiet == QUIET_MAX:
            break
    return chunks


def said(chunks: list[Chunk]) -> tuple[list[tuple[object, ...]], list[int], list[object]]:
    """Rows, where they stand, and the bad ones."""
    rows = [row for chunk in chunks for row in chunk.frame.rows()]
    places = [int(at) for chunk in chunks if chunk.offsets is not None for at in chunk.offsets()]
    return rows, places, [bad for chunk in chunks for bad in chunk.rejected]


def resumes_everywhere(source: Source) -> None:
    for split in source.splits():
        whole = rest(source, split)
        for number, chunk in enumerate(whole, 1):
            assert said(rest(source, split, chunk.next_offset)) == said(whole[number:])


def text(lines: int, kind: str) -> bytes:
    if kind == "ndjson":
        one = [b'{"a":%d,"b":"x%s"}', b"{bad%d%s", b'{"b":"%d%s"}\r', b"", b'{"a":"%d%s"}']
    else:
        one = [b"%d,x%s", b'%d,"p\nq%s"', b"bad%d,%s", b"", b'%d,"un%s"closed', b"%d,%s\r"]
    made = [
        template and template % (number, b"y" * (number % 7)) for number in range(lines) for template in one
    ]
    return (b"" if kind == "ndjson" else b"b,a\n" if kind == "turned" else b"a,b\n") + b"\n".join(made)


@settings(max_examples=examples(40))
@given(
    kind=hs.sampled_from(["ndjson", "csv", "turned", "bare"]),
    lines=hs.integers(0, 12),
    block_bytes=hs.integers(1, 200),
    suffix=hs.sampled_from(list(COMPRESS)),
    follow=hs.booleans(),
    last=hs.sampled_from([b"", b"\n"]),
)
def test_text_files(
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    lines: int,
    block_bytes: int,
    suffix: str,
    *,
    follow: bool,
    last: bytes,
) -> None:
    path = tmp_path_factory.mktemp("text") / f"a{suffix}"
    path.write_bytes(COMPRESS[suffix](text(lines, kind) + last))
    source: NdjsonFiles | CsvFiles
    if kind == "ndjson":
        source = NdjsonFiles(path, SCHEMA, follow=follow)
    else:
        source = CsvFiles(path, SCHEMA, follow=follow, has_header=kind != "bare")
    source.block_bytes = block_bytes
    resumes_everywhere(source)


@pytest.mark.parametrize("follow", [False, True])
@pytest.mark.parametrize(("files", "write"), [(ParquetFiles, "parquet"), (IpcFiles, "ipc")])
def test_columnar_files(
    tmp_path: Path, files: "type[ParquetFiles | IpcFiles]", write: str, *, follow: bool
) -> None:
    frame = pl.DataFrame({"a": range(40_000), "b": None}, SCHEMA)
    for name in "ab":
        if write == "parquet":
            frame.write_parquet(tmp_path / name, row_group_size=9_000)
        else:
            frame.write_ipc(tmp_path / name, record_batch_size=9_000)
    source = files(tmp_path, required=["a"], follow=follow)
    for split in source.splits():
        whole = list(filter(None, source.read(split, None)))
        assert len(whole) > 2
        for number, chunk in enumerate(whole, 1):
            left = [found for found in source.read(split, kept(chunk.next_offset)) if found is not None]
            assert said(left) == said(whole[number:])


def test_rows_and_frames() -> None:
    class Orders:
        def __init__(self, count: int) -> None:
            self.count = count

        def __iter__(self) -> Iterator[tuple[int, str]]:
            return ((number, "x") for number in range(self.count))

    for rows in ([(number, "x") for number in range(70_000)], Orders(70_000)):
        resumes_everywhere(RowsSource(rows, SCHEMA))
    frames = [pl.DataFrame({"a": [1, None], "b": ["x", "y"]}, SCHEMA)] * 5
    resumes_everywhere(FramesSource(frames, required=["a"]))
    for lost in (RowsSource(Orders(5), SCHEMA), RowsSource([(1, "x")] * 5, SCHEMA)):
        with pytest.raises(SourceDataLost, match="6 rows were read before, but now the iterable has only 5"):
            rest(lost, "rows", 6)
        assert rest(lost, "rows", 5) == []
    with pytest.raises(SourceDataLost, match="6 frames were read before"):
        rest(FramesSource(frames), "frames", [6, 12])


LINES = b"".join(b'{"a":%d}\n' % number for number in range(10))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "a").write_bytes(LINES)
    return tmp_path / "a"


def values(chunks: list[Chunk]) -> list[int]:
    return [value for chunk in chunks for value in chunk.frame["a"].to_list()]


def begun(path: Path, *, follow: bool) -> tuple[NdjsonFiles, Offset]:
    """A source that has read half of a file, and its offset."""
    source = NdjsonFiles(path.parent / "a", SCHEMA, follow=follow)
    source.block_bytes = 20
    chunks = rest(source, str(path))
    half = next(chunk for chunk in chunks if values([chunk])[-1:] >= [4])
    return source, half.next_offset


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.unlink(), "and is gone now"),
        (lambda path: path.write_bytes(LINES + LINES), "it had 80 bytes and now has 160"),
        (lambda path: path.write_bytes(LINES[:9]), "it had 80 bytes and now has 9"),
        (
            lambda path: os.utime(path, (1, 1)),
            "was changed after it had been read up to byte .* it was written at",
        ),
    ],
    ids=["gone", "longer", "shorter", "rewritten"],
)
def test_a_file_that_ends_is_read_on_only_as_it_was(
    path: Path, change: Callable[[Path], object], message: str
) -> None:
    source, offset = begun(path, follow=False)
    assert values(rest(source, str(path), offset))[-1] == 9
    change(path)
    with pytest.raises(SourceDataLost, match=message):
        rest(source, str(path), offset)


@pytest.mark.parametrize("follow", [False, True])
def test_a_columnar_file_is_read_on_only_as_it_was(tmp_path: Path, *, follow: bool) -> None:
    path = tmp_path / "a"
    pl.DataFrame({"a": [1, 2]}).write_parquet(path)
    source = ParquetFiles(path, follow=follow)
    offset = next(filter(None, source.read(str(path), None))).next_offset
    pl.DataFrame({"a": [1, 2, 3]}).write_parquet(path)
    with pytest.raises(SourceDataLost, match="was changed after it had been read up to row 2"):
        list(source.read(str(path), offset))
    path.unlink()
    with pytest.raises(SourceDataLost, match="was read up to row 2 before, and is gone now"):
        list(source.read(str(path), offset))


def grow(path: Path, *more: int) -> None:
    with path.open("ab") as file:
        file.write(b"".join(b'{"a":%d}\n' % number for number in more))


def test_a_followed_file_that_grew_is_read_on(path: Path) -> None:
    source, offset = begun(path, follow=True)
    grow(path, 10, 11)
    assert values(rest(source, str(path), offset))[-2:] == [10, 11]


def test_a_followed_file_that_was_rotated_is_read_to_its_end_and_then_the_new_one(path: Path) -> None:
    source, offset = begun(path, follow=True)
    first = values(rest(source, str(path), offset))
    grow(path, 10)
    path.rename(path.with_name("a.1"))
    assert values(rest(source, str(path), offset)) == [*first, 10]
    path.write_bytes(b'{"a":11}\n')
    found = rest(source, str(path), offset)
    assert values(found) == [*first, 10, 11]
    for number, chunk in enumerate(found, 1):
        assert values(rest(source, str(path), chunk.next_offset)) == values(found[number:])


def test_a_followed_file_that_was_rotated_twice_is_an_error_unless_both_are_read(path: Path) -> None:
    source, offset = begun(path, follow=True)
    first = values(rest(source, str(path), offset))
    os.utime(path, (1, 1))
    path.rename(path.with_name("a.2"))
    path.with_name("a.1").write_bytes(b'{"a":10}\n')
    path.write_bytes(b'{"a":11}\n')
    with pytest.raises(SourceDataLost, match=rf"rotated more than once .*not read at all: {path}\.1"):
        rest(source, str(path), offset)
    both = NdjsonFiles([path, path.with_name("a.1")], SCHEMA, follow=True)
    assert values(rest(both, str(path), offset)) == [*first, 11]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.unlink(), "was read up to byte .* before; now no file has its name"),
        (lambda path: path.write_bytes(b'{"a":77}\n' * 20), "now another file has its name"),
        (lambda path: os.truncate(path, 9), "was truncated below"),
        (
            lambda path: (path.rename(path.parent.parent / "elsewhere"), path.write_bytes(LINES)),
            "now another file has its name, and it is under no other name",
        ),
    ],
    ids=["gone", "rewritten", "shorter", "moved"],
)
def test_a_followed_file_that_is_lost(
    tmp_path: Path, path: Path, change: Callable[[Path], object], message: str
) -> None:
    (tmp_path / "in").mkdir()
    path = path.rename(tmp_path / "in" / "a")
    source, offset = begun(path, follow=True)
    change(path)
    with pytest.raises(SourceDataLost, match=message):
        rest(source, str(path), offset)


def test_a_followed_file_that_was_deleted_after_it_was_read_is_not_missed(path: Path) -> None:
    for clock in (SystemClock(), ManualClock(SystemClock().now_us() + 10**9)):
        path.write_bytes(LINES)
        source = NdjsonFiles(path, SCHEMA, follow=True, clock=clock)
        reading = source.read(str(path), None)
        assert next(reading) is not None
        assert next(reading) is None
        path.unlink()
        forgotten = next(reading)
        assert forgotten is not None
        assert forgotten.next_offset is None
        assert next(reading) is None
        assert rest(source, str(path), None) == []
        path.write_bytes(LINES[:18])
        assert values(rest(source, str(path), None)) == [0, 1]


def test_a_file_at_rest_that_is_rotated_is_waited_for(path: Path) -> None:
    clock = ManualClock(SystemClock().now_us() + 10**9)
    source = NdjsonFiles(path, SCHEMA, follow=True, clock=clock)
    reading = source.read(str(path), None)
    assert next(reading) is not None
    old = path.rename(path.with_name("a.1"))
    assert [next(reading) for _ in range(3)] == [None] * 3
    grow(old, 10)
    found = next(reading)
    assert found is not None
    assert values([found]) == [10]
    path.write_bytes(b'{"a":11}\n')
    assert values([chunk for _ in range(4) if (chunk := next(reading)) is not None]) == [11]


def test_offsets_of_a_compressed_file_that_grows(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(LINES))
    source = NdjsonFiles(path, SCHEMA, follow=True)
    (chunk,) = rest(source, str(path))
    with path.open("ab") as file:
        file.write(gzip.compress(b'{"a":10}\n'))
    assert values(rest(source, str(path), chunk.next_offset)) == [10]
