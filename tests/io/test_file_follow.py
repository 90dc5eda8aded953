"""Text files that are followed while they grow, are renamed, cut off or deleted."""

import gzip
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from backports import zstd

from streame.core.clock import ManualClock, SystemClock
from streame.errors import ConnectorError
from streame.io.files.text_source import NdjsonFiles
from streame.io.source import Chunk, Offset

Reading = Iterator[Chunk | None]


def follow(path: Path, offset: Offset = None) -> Reading:
    return NdjsonFiles(path, {"a": pl.Int64}, follow=True).read(str(path), offset)


def now(reading: Reading) -> list[int]:
    """The rows that are there at the moment; after an unfinished line there may be more of them."""
    rows: list[int] = []
    quiet = 0
    while quiet < 2:
        chunk = next(reading)
        if chunk is None:
            quiet += 1
        else:
            quiet = 0
            rows += chunk.frame["a"].to_list()
    return rows


def lines(*values: int) -> bytes:
    return b"".join(b'{"a":%d}\n' % value for value in values)


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "a").write_bytes(lines(1, 2))
    return tmp_path / "a"


def test_appended_lines_come_and_an_unfinished_one_waits(path: Path) -> None:
    reading = follow(path)
    assert now(reading) == [1, 2]
    assert now(reading) == []
    append(path, b'{"a":')
    assert now(reading) == []
    append(path, b"3")
    assert now(reading) == []
    append(path, b"}\n" + lines(4))
    assert now(reading) == [3, 4]


def test_reading_goes_on_after_a_restart(path: Path) -> None:
    reading = follow(path)
    chunk = next(reading)
    assert chunk is not None
    append(path, lines(3))
    assert now(follow(path, chunk.next_offset)) == [3]


def test_an_empty_file_may_grow(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    reading = follow(tmp_path / "a")
    assert now(reading) == []
    append(tmp_path / "a", lines(1))
    assert now(reading) == [1]


def test_a_renamed_file_is_finished_before_the_new_one(path: Path) -> None:
    reading = follow(path)
    assert now(reading) == [1, 2]
    old = path.rename(path.with_name("old"))
    append(old, lines(3))
    assert now(reading) == [3]
    path.touch()
    append(old, lines(4))
    assert now(reading) == [4]
    append(old, b'{"a":5}')
    append(path, lines(6))
    assert now(reading) == [5, 6]
    append(path, lines(7))
    assert now(reading) == [7]


def test_the_offset_begins_anew_with_a_new_file(path: Path) -> None:
    reading = follow(path)
    now(reading)
    path.rename(path.with_name("old"))
    path.write_bytes(lines(6))
    offsets = [chunk.next_offset for chunk in (next(reading), next(reading)) if chunk is not None]
    assert [offset["byte"] for offset in offsets] == [0, len(lines(6))]
    assert now(follow(path, offsets[0])) == [6]
    assert now(follow(path, offsets[1])) == []


def test_a_deleted_file_goes_quiet_and_may_come_again(path: Path) -> None:
    reading = follow(path)
    assert now(reading) == [1, 2]
    path.unlink()
    assert now(reading) == []
    assert now(reading) == []
    path.write_bytes(lines(3))
    assert now(reading) == [3]


def test_a_file_that_is_not_there_yet_is_waited_for(path: Path) -> None:
    reading = follow(path)
    path.unlink()
    assert now(reading) == []
    path.write_bytes(lines(3))
    assert now(reading) == [3]


def test_a_file_that_was_moved_away_and_back_is_the_same(path: Path) -> None:
    reading = follow(path)
    assert now(reading) == [1, 2]
    away = path.rename(path.with_name("away"))
    assert now(reading) == []
    away.rename(path)
    append(path, lines(3))
    assert now(reading) == [3]


def test_a_truncated_file_is_one_clear_error(path: Path) -> None:
    reading = follow(path)
    chunk = next(reading)
    assert chunk is not None
    os.truncate(path, 3)
    with pytest.raises(ConnectorError, match=rf"{path}: was truncated below 16"):
        next(reading)
    with pytest.raises(ConnectorError, match=rf"{path}: was truncated below 16"):
        next(follow(path, chunk.next_offset))


def test_a_file_at_rest_is_closed_until_it_changes(path: Path) -> None:
    clock = ManualClock(SystemClock().now_us())
    source = NdjsonFiles(path, {"a": pl.Int64}, follow=True, clock=clock)
    reading = source.read(str(path), None)

    def is_open() -> bool:
        return path in {held.resolve() for held in Path("/proc/self/fd").iterdir()}

    assert now(reading) == [1, 2]
    append(path, b'{"a"')
    assert now(reading) == []
    assert is_open()
    clock.advance(timedelta(minutes=2))
    assert now(reading) == []
    assert not is_open()
    assert now(reading) == []
    append(path, b":3}\n")
    assert now(reading) == [3]
    clock.advance(timedelta(minutes=2))
    assert now(reading) == []
    append(path, b'{"a":4}')
    path.rename(path.with_name("old"))
    path.write_bytes(lines(5, 6, 7, 8))
    assert now(reading) == [4, 5, 6, 7, 8]
    clock.advance(timedelta(minutes=2))
    assert now(reading) == []
    path.unlink()
    assert now(reading) == []
    path.write_bytes(lines(9, 9, 9, 9, 9, 9, 9))
    assert now(reading) == [9] * 7


def test_old_files_are_not_held_open(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).write_bytes(lines(1))
        os.utime(tmp_path / name, (1, 1))
    source = NdjsonFiles(tmp_path, {"a": pl.Int64}, follow=True)
    before = len(list(Path("/proc/self/fd").iterdir()))
    readings = [source.read(split, None) for split in source.splits()]
    assert all(next(reading) is not None for reading in readings)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_file_at_rest_that_was_truncated_is_one_clear_error(path: Path) -> None:
    clock = ManualClock(SystemClock().now_us() + 10**9)
    reading = NdjsonFiles(path, {"a": pl.Int64}, follow=True, clock=clock).read(str(path), None)
    assert now(reading) == [1, 2]
    os.truncate(path, 8)
    with pytest.raises(ConnectorError, match="was truncated below 16"):
        next(reading)


@pytest.mark.parametrize("compress", [gzip.compress, zstd.compress], ids=["gzip", "zstd"])
def test_an_unfinished_compressed_file_waits(tmp_path: Path, compress: "type[bytes]") -> None:
    data = compress(lines(*range(1000)))
    path = tmp_path / "a"
    path.touch()
    reading, rows = follow(path), []
    for cut in range(0, len(data), 50):
        append(path, data[cut : cut + 50])
        rows += now(reading)
    assert rows == list(range(1000))
    append(path, compress(lines(7)))
    assert now(reading) == [7]


def test_new_files_are_new_splits(tmp_path: Path) -> None:
    source = NdjsonFiles(tmp_path, {"a": pl.Int64}, follow=True)
    assert not source.bounded
    assert source.splits() == []
    for name in ("b", "a", "c.tmp"):
        (tmp_path / name).write_bytes(lines(1))
    assert source.splits() == [str(tmp_path / "a"), str(tmp_path / "b")]
