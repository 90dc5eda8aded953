"""Parquet and Arrow IPC files as a source."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as hs
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from polars.testing import assert_frame_equal

from streame.core.messages import BATCH_BYTES_MAX, BATCH_ROWS_MAX
from streame.errors import DataError, PlanError
from streame.io.files.columnar_source import OPEN_MAX, IpcFiles, ParquetFiles
from streame.io.source import Chunk, Offset
from tests.examples import examples

Files = type[ParquetFiles] | type[IpcFiles]
Write = Callable[[pl.DataFrame, Path], None]


def write_parquet(frame: pl.DataFrame, path: Path, rows: int = 100) -> None:
    frame.write_parquet(path, row_group_size=rows)


def write_ipc(frame: pl.DataFrame, path: Path, rows: int = 100) -> None:
    frame.write_ipc(path, record_batch_size=rows, compression="zstd")


both = pytest.mark.parametrize(
    ("files", "write"), [(ParquetFiles, write_parquet), (IpcFiles, write_ipc)], ids=["parquet", "ipc"]
)


def rows_of(count: int) -> pl.DataFrame:
    return pl.DataFrame({"id": range(count), "name": [f"n{i}" for i in range(count)], "x": [0.5] * count})


def chunks(source: Any, split: Path, offset: Offset = None) -> list[Chunk]:
    return [chunk for chunk in source.read(str(split), offset) if chunk is not None]


def frame_of(source: Any, found: list[Chunk]) -> pl.DataFrame:
    empty: pl.DataFrame = source.schema().to_frame()
    return pl.concat([empty, *(chunk.frame for chunk in found)])


@both
def test_all_rows_come_in_order_with_their_numbers(tmp_path: Path, files: Files, write: Write) -> None:
    frame = rows_of(1000)
    write(frame, tmp_path / "a")
    source = files(tmp_path / "a")
    found = chunks(source, tmp_path / "a")
    assert source.bounded
    assert source.splits() == [str(tmp_path / "a")]
    assert_frame_equal(frame_of(source, found), frame)
    offsets = [chunk.offsets() for chunk in found if chunk.offsets is not None]
    assert np.concatenate(offsets).tolist() == list(range(1000))
    assert found[-1].next_offset["row"] == 1000


@both
def test_reading_goes_on_at_any_row(tmp_path: Path, files: Files, write: Write) -> None:
    frame = rows_of(350)
    write(frame, tmp_path / "a")
    source = files(tmp_path / "a")
    offset = chunks(source, tmp_path / "a")[-1].next_offset
    for start in (0, 1, 99, 100, 349, 350):
        found = chunks(source, tmp_path / "a", {**offset, "row": start})
        assert_frame_equal(frame_of(source, found), frame[start:])


@both
def test_the_schema_selects_the_columns(tmp_path: Path, files: Files, write: Write) -> None:
    write(rows_of(3), tmp_path / "a")
    source = files(tmp_path / "a", {"x": pl.Float64, "id": pl.Int64})
    assert frame_of(source, chunks(source, tmp_path / "a")).columns == ["x", "id"]


@both
def test_names_are_no_patterns(tmp_path: Path, files: Files, write: Write) -> None:
    frame = pl.DataFrame({"*": [1, 2], "^a.*$": [3, 4], "ab": [5, 6]})
    write(frame, tmp_path / "a")
    source = files(tmp_path / "a", required=["ab"]).with_columns_only(["^a.*$", "*"])
    (chunk,) = chunks(source, tmp_path / "a")
    assert chunk.frame.to_dict(as_series=False) == {"*": [1, 2], "^a.*$": [3, 4]}


@both
def test_only_the_needed_columns_leave(tmp_path: Path, files: Files, write: Write) -> None:
    frame = rows_of(3).with_columns(name=pl.Series(["a", None, "c"]))
    write(frame, tmp_path / "a")
    source = files(tmp_path / "a", required=["name"])
    narrow = source.with_columns_only(["x", "id"])
    (chunk,) = chunks(narrow, tmp_path / "a")
    assert narrow.schema() == {"id": pl.Int64, "x": pl.Float64}
    assert chunk.frame.rows() == [(0, 0.5), (2, 0.5)]
    assert len(chunk.rejected) == 1
    assert source.schema().names() == ["id", "name", "x"]


@both
def test_a_row_without_a_required_value_is_refused(tmp_path: Path, files: Files, write: Write) -> None:
    frame = pl.DataFrame({"a": [1, None, 3, None], "b": ["w", "x", "y", None], "c": [1, 2, 3, 4]})
    write(frame, tmp_path / "a")
    (chunk,) = chunks(files(tmp_path / "a", required=["a", "b"]), tmp_path / "a")
    assert chunk.frame["a"].to_list() == [1, 3]
    assert chunk.offsets is not None
    assert chunk.offsets().tolist() == [0, 2]
    assert [(bad.offset, bad.kind, bad.raw) for bad in chunk.rejected] == [
        (1, "null", b'{"a":null,"b":"x","c":2}'),
        (3, "null", b'{"a":null,"b":null,"c":4}'),
    ]
    assert "'a'" in chunk.rejected[0].message


@both
def test_a_file_with_other_columns_is_one_error(tmp_path: Path, files: Files, write: Write) -> None:
    write(rows_of(3), tmp_path / "a")
    with pytest.raises(DataError, match=r"/a: column 'y' is missing; the file has id, name, x"):
        chunks(files(tmp_path / "a", {"id": pl.Int64, "y": pl.String}), tmp_path / "a")
    with pytest.raises(DataError, match=r"/a: column 'id' is Int64 in the file, but the schema says Int32"):
        chunks(files(tmp_path / "a", {"id": pl.Int32}).with_columns_only(["id"]), tmp_path / "a")


@both
def test_the_schema_is_that_of_the_first_file(tmp_path: Path, files: Files, write: Write) -> None:
    write(rows_of(3), tmp_path / "a")
    write(rows_of(3).drop("x"), tmp_path / "b")
    source = files(tmp_path)
    assert source.schema() == rows_of(1).schema
    with pytest.raises(DataError, match="/b: column 'x' is missing"):
        chunks(source, tmp_path / "b")
    with pytest.raises(PlanError, match="give one with schema="):
        files(tmp_path / "*.none", follow=True)
    with pytest.raises(PlanError, match="'y' is not in the schema"):
        files(tmp_path, required=["y"])


@both
def test_a_file_without_rows_has_none(tmp_path: Path, files: Files, write: Write) -> None:
    write(rows_of(0), tmp_path / "a")
    assert chunks(files(tmp_path / "a"), tmp_path / "a") == []


@both
def test_chunks_are_of_bounded_size(tmp_path: Path, files: Files, write: Callable[..., None]) -> None:
    many = pl.DataFrame({"a": np.arange(2 * BATCH_ROWS_MAX + 10)})
    wide = pl.DataFrame({"a": [f"{i:04d}" * 2500 for i in range(4000)]})
    write(many, tmp_path / "many", 10**6)
    write(wide, tmp_path / "wide", 10**6)
    found = chunks(files(tmp_path / "many"), tmp_path / "many")
    assert [chunk.frame.height for chunk in found] == [BATCH_ROWS_MAX, BATCH_ROWS_MAX, 10]
    found = chunks(files(tmp_path / "wide"), tmp_path / "wide")
    assert sum(chunk.frame.height for chunk in found) == 4000
    assert max(chunk.frame.estimated_size() for chunk in found) <= BATCH_BYTES_MAX


@both
def test_small_groups_are_put_together(tmp_path: Path, files: Files, write: Callable[..., None]) -> None:
    write(rows_of(30_000), tmp_path / "a", 100)
    source = files(tmp_path / "a")
    found = chunks(source, tmp_path / "a")
    assert len(found) < 5
    assert_frame_equal(frame_of(source, found), rows_of(30_000))


@both
def test_the_rows_before_corrupt_ones_are_read(
    tmp_path: Path, files: Files, write: Callable[..., None]
) -> None:
    write(pl.DataFrame({"name": [f"{i:050}" for i in range(100_000)]}), tmp_path / "a", 10_000)
    data = bytearray((tmp_path / "a").read_bytes())
    data[-len(data) // 4 : -len(data) // 4 + 2000] = b"\xff" * 2000
    (tmp_path / "a").write_bytes(data)
    reading, found = files(tmp_path / "a").read(str(tmp_path / "a"), None), 0
    error = None
    while error is None:
        try:
            chunk = next(reading)
        except DataError as raised:
            error = str(raised)
        else:
            assert chunk is not None
            found = chunk.next_offset["row"]
    assert f"{tmp_path}/a: corrupt " in error
    assert f"cannot be read after row {found}: " in error
    assert found >= 50_000


@both
def test_a_followed_file_is_read_when_it_is_whole(tmp_path: Path, files: Files, write: Write) -> None:
    write(rows_of(10), tmp_path / "whole")
    data = (tmp_path / "whole").read_bytes()
    source = files(tmp_path, follow=True)
    assert not source.bounded
    reading = source.read(str(tmp_path / "late"), None)
    assert next(reading) is None
    for size in (0, 3, 20, len(data) - 1):
        (tmp_path / "late").write_bytes(data[:size])
        assert next(reading) is None
    (tmp_path / "late").write_bytes(data)
    assert source.splits() == [str(tmp_path / "late"), str(tmp_path / "whole")]
    assert sum(chunk.frame.height for chunk in reading if chunk is not None) == 10


def test_few_followed_files_are_open_at_the_same_time(tmp_path: Path) -> None:
    names = [f"{i}" for i in range(OPEN_MAX + 2)]
    for name in names:
        write_parquet(rows_of(200), tmp_path / name)
    source = ParquetFiles(tmp_path, follow=True)
    readers = [source.read(split, None) for split in source.splits()]
    first = [next(reader) for reader in readers]
    assert [chunk is None for chunk in first] == [False] * OPEN_MAX + [True] * 2
    readers[0].close()  # type: ignore[attr-defined]
    assert next(readers[-1]) is not None


@settings(max_examples=examples(15))
@given(rows=hs.integers(0, 60), group=hs.integers(1, 40), cut=hs.integers(0, 60))
def test_resuming_gives_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, rows: int, group: int, cut: int
) -> None:
    path = tmp_path_factory.mktemp("resume") / "a.parquet"
    frame = rows_of(rows).with_columns(id=pl.when(pl.col("id") % 3 != 0).then("id"))
    write_parquet(frame, path, group)
    source = ParquetFiles(path, required=["id"])
    whole = chunks(source, path)
    seen: list[Chunk] = []
    for chunk in source.read(str(path), None):
        assert chunk is not None
        seen.append(chunk)
        if chunk.next_offset["row"] >= cut:
            break
    if seen:
        seen += chunks(source, path, seen[-1].next_offset)
    assert_frame_equal(frame_of(source, seen), frame_of(source, whole))
    assert [bad.offset for chunk in seen for bad in chunk.rejected] == list(range(0, rows, 3))
