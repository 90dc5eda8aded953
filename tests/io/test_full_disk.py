"""A disk that becomes full: what was called is called again when there is room, and no row is lost or doubled."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from streame.core.full_disk import is_full_disk
from streame.core.staging import Decided, Staged
from streame.errors import ConnectorError, StreameError
from streame.io import output_file, single_file
from streame.io.file_sinks import file_sink
from streame.io.formats.encoders import CsvEncoder, Encoder, IpcEncoder, NdjsonEncoder, ParquetEncoder
from streame.io.parts import PartFiles
from streame.io.sink import TransactionalSink
from streame.storage.disk import LocalDisk
from streame.testing.contracts import MemoryOutbox
from tests.io.test_exactly_once_parts import PARTS
from tests.io.test_sinks import names
from tests.storage.small_file_system import small_file_system

FRAMES = [
    pl.DataFrame({"n": range(start, start + 3_000), "text": [f"text{start:060}"] * 3_000})
    for start in range(0, 30_000, 3_000)
]
ROWS = pl.concat(FRAMES)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes."""
    with small_file_system(tmp_path / "small", "8m") as place:
        yield place


class Full:
    """Blocks that fill a file system up; each time that a call fails for want of room, one is taken away."""

    def __init__(self, place: Path, block: int) -> None:
        self._blocks: list[Path] = []
        self.failed: list[str] = []
        state = os.statvfs(place)
        while state.f_bavail * state.f_frsize > block:
            self._blocks.append(place / f"block-{len(self._blocks)}")
            self._blocks[-1].write_bytes(b"x" * block)
            state = os.statvfs(place)

    def retried(self, call: Any, *arguments: Any) -> Any:
        while True:
            try:
                return call(*arguments)
            except StreameError as error:
                if not is_full_disk(error):
                    raise
                self.failed.append(call.__name__)
                self._blocks.pop().unlink()


@pytest.mark.parametrize("form", PARTS)
@pytest.mark.parametrize("spill", [False, True])
def test_parts(small: Path, form: str, spill: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_file, "_MEMORY_BYTES", 300_000 if spill else 2**30)
    monkeypatch.setattr(output_file, "ENCODE_ROWS", 2_000)
    out = small / "out"
    sink = file_sink(out, PARTS[form][0], part_rows=10_000)
    assert isinstance(sink, PartFiles)
    sink.open(ROWS.schema)
    sink.join_checkpoints([], MemoryOutbox(piece_bytes=30_000))
    full = Full(small, 8_192)
    for number, frame in enumerate(FRAMES):
        full.retried(sink.write, frame)
        if number % 5 == 4:
            decided = Decided(number, full.retried(sink.stage))
            full.retried(sink.publish, decided)
    sink.close()
    assert len(full.failed) > 3, full.failed
    assert {"stage", "write"} & set(full.failed)
    found = pl.concat([PARTS[form][2](str(part)).collect() for part in sorted(out.glob("part-*"))])
    assert found.equals(ROWS)
    assert names(out / "_streame/tmp") == []


@pytest.mark.parametrize("encoder", [NdjsonEncoder(), CsvEncoder("gzip"), NdjsonEncoder("zstd")])
def test_one_file(small: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(single_file, "ENCODE_ROWS", 2_000)
    path = small / f"out{encoder.suffix}"
    sink = file_sink(path, encoder)
    assert isinstance(sink, TransactionalSink)
    sink.open(ROWS.schema)
    sink.join_checkpoints([], MemoryOutbox(piece_bytes=30_000))
    full = Full(small, 8_192)
    for number, frame in enumerate(FRAMES):
        full.retried(sink.write, frame)
        length = path.stat().st_size
        decided = Decided(number, full.retried(sink.stage))
        assert path.stat().st_size == length
        full.retried(sink.publish, decided)
    sink.close()
    assert len(full.failed) > 2, full.failed
    read = pl.read_csv if isinstance(encoder, CsvEncoder) else pl.read_ndjson
    assert read(path, schema=ROWS.schema).equals(ROWS)


@pytest.mark.parametrize("encoder", [ParquetEncoder(), IpcEncoder(), NdjsonEncoder()])
def test_a_failed_call_leaves_nothing_that_takes_room(small: Path, encoder: Encoder) -> None:
    sink = file_sink(small / "out", encoder)
    assert isinstance(sink, PartFiles)
    sink.open(ROWS.schema)
    sink.join_checkpoints([], MemoryOutbox(piece_bytes=30_000))
    Full(small, 16_384)
    before = os.statvfs(small).f_bavail
    sink.write(ROWS)
    for _ in range(3):
        with pytest.raises(ConnectorError, match="No space left on device") as raised:
            sink.stage()
        assert is_full_disk(raised.value)
    assert os.statvfs(small).f_bavail >= before - 1
    sink.abort()


class FailingSync(LocalDisk):
    """A disk of which nobody knows what it holds."""

    failing = False

    def sync(self, path: str) -> None:
        if self.failing:
            raise OSError(28, "No space left on device")
        super().sync(path)


def test_a_failed_sync_is_never_tried_again(tmp_path: Path) -> None:
    disk = FailingSync(tmp_path)
    sink = PartFiles(tmp_path, ParquetEncoder(), disk=disk)
    sink.open(ROWS.schema)
    sink.join_checkpoints([], MemoryOutbox(piece_bytes=30_000))
    sink.write(ROWS)
    disk.failing = True
    with pytest.raises(
        ConnectorError, match="could not be brought to the disk: No space left on device"
    ) as raised:
        sink.stage()
    assert not is_full_disk(raised.value), "who tries again would believe a second sync that proves nothing"
    sink.abort()


def test_staging_nothing_is_cheap(tmp_path: Path) -> None:
    sink = PartFiles(tmp_path, ParquetEncoder())
    sink.open(ROWS.schema)
    sink.join_checkpoints([], MemoryOutbox(piece_bytes=30_000))
    assert sink.stage() == Staged([], {**sink.stage().note})
    sink.publish(Decided(1, sink.stage()))
    assert names(tmp_path / "_streame") == ["README.txt", "commits", "tmp"]
    sink.close()
