"""The contract of sinks that write exactly once: our own keep it, and sinks that do not are found."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest

from streame.core.staging import Decided, Outbox, Staged
from streame.io.files.discovery import FileSet
from streame.io.formats.encoders import CsvEncoder, Encoder, IpcEncoder, NdjsonEncoder, ParquetEncoder
from streame.io.parts import PartFiles, PartLimits
from streame.io.single_file import SingleFile
from streame.io.sink import TransactionalSink
from streame.testing.contracts import FRAMES, Step, SteppedDisk, check_transactional_sink

SCHEMA = FRAMES[0].schema

Read = Callable[..., pl.DataFrame]
FORMATS: dict[str, tuple[Encoder, Read]] = {
    "parquet": (ParquetEncoder(), pl.read_parquet),
    "arrow": (IpcEncoder(), pl.read_ipc),
    "ndjson": (NdjsonEncoder(), pl.read_ndjson),
    "csv": (CsvEncoder(), pl.read_csv),
    "ndjson.gz": (NdjsonEncoder("gzip"), pl.read_ndjson),
    "ndjson.zst": (NdjsonEncoder("zstd"), pl.read_ndjson),
    "csv.gz": (CsvEncoder("gzip"), pl.read_csv),
    "csv.zst": (CsvEncoder("zstd"), pl.read_csv),
}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where that is possible: what is synced matters in the enumeration of power cuts, not here."""
    if not Path("/dev/shm").is_dir():  # noqa: S108
        yield tmp_path
        return
    with TemporaryDirectory(dir="/dev/shm") as name:
        yield Path(name)


def read_parts(form: str) -> Callable[[Path], pl.DataFrame]:
    """The parts that our sources would read; a job for each look at them would take ten times as long."""

    @cache
    def part(name: str, _version: tuple[int, int]) -> pl.DataFrame:
        return FORMATS[form][1](name)

    def read(place: Path) -> pl.DataFrame:
        states = {name: Path(name).stat() for name in FileSet.of(place, follow=True).names()}
        frames = [part(name, (state.st_ino, state.st_mtime_ns)) for name, state in states.items()]
        return pl.concat([SCHEMA.to_frame(), *frames])

    return read


def read_file(form: str) -> Callable[[Path], pl.DataFrame]:
    def read(place: Path) -> pl.DataFrame:
        path = place / f"out.{form}"
        if not path.exists() or not path.stat().st_size:
            return SCHEMA.to_frame()
        return FORMATS[form][1](path)

    return read


@pytest.mark.parametrize("form", ["parquet", "arrow", "ndjson", "csv"])
def test_parts(folder: Path, form: str) -> None:
    def make(place: Path, step: Step) -> PartFiles:
        return PartFiles(place, FORMATS[form][0], PartLimits(rows=3), disk=SteppedDisk(place, step))

    assert check_transactional_sink(make, read_parts(form), folder) > 100


def test_parts_with_two_crashes(folder: Path) -> None:
    def make(place: Path, step: Step) -> PartFiles:
        return PartFiles(place, NdjsonEncoder(), PartLimits(rows=4), disk=SteppedDisk(place, step))

    frames = FRAMES[:1]
    assert check_transactional_sink(make, read_parts("ndjson"), folder, frames=frames, twice=True) > 200


@pytest.mark.parametrize("form", [form for form in FORMATS if form[:3] in ("csv", "ndj")])
def test_one_file(folder: Path, form: str) -> None:
    def make(place: Path, step: Step) -> SingleFile:
        return SingleFile(place / f"out.{form}", FORMATS[form][0], SteppedDisk(place, step))  # type: ignore[arg-type]

    frames = FRAMES if form in ("ndjson", "csv") else FRAMES[:2]
    assert check_transactional_sink(make, read_file(form), folder, frames=frames) > 50


class Kept(TransactionalSink):
    """A sink in memory, and what is wrong with it."""

    def __init__(self, kept: dict[str, Any], wrong: str, step: Step) -> None:
        self._kept = kept
        self._step = step
        self._wrong = wrong

    def open(self, schema: pl.Schema) -> None:
        self._rows: list[pl.DataFrame] = []

    def join_checkpoints(self, decided: Sequence[Decided], outbox: Outbox) -> None:
        self._outbox = outbox
        if self._wrong != "forgets what is decided":
            for one in decided:
                self.publish(one)

    def write(self, frame: pl.DataFrame) -> None:
        if self._wrong == "shows rows at once":
            self._kept.setdefault("rows", []).append(frame)
        self._rows.append(frame)

    def stage(self) -> Staged:
        file = self._outbox.begin()
        rows, self._rows = self._rows, []
        if self._wrong == "drops rows when the disk is full":
            file.append(pl.concat([SCHEMA.to_frame(), *rows]).write_ipc_stream(None).getvalue())
            return Staged([file.finish()])
        try:
            file.append(pl.concat([SCHEMA.to_frame(), *rows]).write_ipc_stream(None).getvalue())
            return Staged([file.finish()])
        except OSError:
            self._rows = rows
            raise

    def publish(self, decided: Decided) -> None:
        if self._wrong != "publishes twice" and self._kept.get("last", 0) >= decided.checkpoint:
            return
        pieces = decided.staged.pieces[-1:] if self._wrong == "forgets pieces" else decided.staged.pieces
        frames = [pl.read_ipc_stream(b"".join(self._outbox.read(piece))) for piece in pieces]
        if self._wrong != "says no step":
            self._step()
        self._kept.setdefault("rows", []).extend(frames)
        if self._wrong == "marks the checkpoint in a second step":
            self._step()
        self._kept["last"] = decided.checkpoint


WRONG = [
    "shows rows at once",
    "forgets what is decided",
    "forgets pieces",
    "publishes twice",
    "drops rows when the disk is full",
    "marks the checkpoint in a second step",
]


@pytest.mark.parametrize("wrong", ["", *WRONG])
def test_sinks_that_are_wrong_are_found(folder: Path, wrong: str) -> None:
    places: dict[Path, dict[str, Any]] = {}

    def make(place: Path, step: Step) -> Kept:
        return Kept(places.setdefault(place, {}), wrong, step)

    def read(place: Path) -> pl.DataFrame:
        rows: list[pl.DataFrame] = places.get(place, {}).get("rows", [])
        return pl.concat([SCHEMA.to_frame(), *rows])

    if wrong:
        with pytest.raises(AssertionError, match="readers should see"):
            check_transactional_sink(make, read, folder)
    else:
        assert check_transactional_sink(make, read, folder) > 30


def test_a_sink_that_never_called_step_passed(folder: Path) -> None:
    kept: dict[Path, dict[str, Any]] = {}

    def read(place: Path) -> pl.DataFrame:
        rows: list[pl.DataFrame] = kept.get(place, {}).get("rows", [])
        return pl.concat([SCHEMA.to_frame(), *rows])

    with pytest.raises(AssertionError, match="publish has never called step"):
        check_transactional_sink(
            lambda place, step: Kept(kept.setdefault(place, {}), "says no step", step), read, folder
        )
