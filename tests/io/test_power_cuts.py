"""Files that are written exactly once, after a power cut at any moment: what is decided is there, once, and in order."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest

from streame.core.staging import Decided, Staged
from streame.errors import StreameError
from streame.io import parts
from streame.io.formats.encoders import CsvEncoder, NdjsonEncoder, ParquetEncoder
from streame.io.parts import PartFiles, PartLimits
from streame.io.single_file import SingleFile
from streame.io.sink import TransactionalSink
from streame.storage.disk import Disk, LocalDisk
from streame.testing.contracts import Crashed, MemoryOutbox
from tests.conftest import SEED
from tests.io.power import Left, PowerDisk
from tests.testing.test_contracts import read_file, read_parts

FRAMES = [pl.DataFrame({"n": [start, start + 1, start + 2], "text": ["a", "b", "c"]}) for start in (0, 3, 6)]
Make = Callable[[Path, Disk], TransactionalSink]
Read = Callable[[Path], pl.DataFrame]
Fresh = Callable[..., Path]


def make_parquet(place: Path, disk: Disk) -> PartFiles:
    return PartFiles(place, ParquetEncoder(), PartLimits(rows=3), disk=disk)


def make_ndjson(place: Path, disk: Disk) -> PartFiles:
    return PartFiles(place, NdjsonEncoder(), PartLimits(rows=2), disk=disk)


def make_csv(place: Path, disk: Disk) -> SingleFile:
    return SingleFile(place / "out.csv", CsvEncoder(), disk)


SINKS: dict[str, tuple[Make, Read]] = {
    "parquet parts": (make_parquet, read_parts("parquet")),
    "ndjson parts": (make_ndjson, read_parts("ndjson")),
    "one csv": (make_csv, read_file("csv")),
}


@dataclass
class Engine:
    """Writes a frame for each checkpoint; only the newest decided output is kept, so that it must be published."""

    make: Make
    read: Read
    decided: list[Decided] = field(default_factory=list)
    outbox: MemoryOutbox = field(default_factory=lambda: MemoryOutbox(piece_bytes=7))

    def run(self, place: Path, disk: Disk, decide: Callable[[], None] = lambda: None) -> None:
        """Go on from what is decided, to the end."""
        sink = self.make(place, disk)
        try:
            sink.open(FRAMES[0].schema)
            sink.join_checkpoints(self.decided[-1:], self.outbox)
            self.see(place)
            for number in range(len(self.decided), len(FRAMES)):
                sink.write(FRAMES[number])
                staged = sink.stage()
                pieces, note = json.loads(json.dumps([list(staged.pieces), staged.note]))
                self.decided.append(Decided(number + 1, Staged(pieces, note)))
                decide()
                sink.publish(self.decided[-1])
                self.see(place)
            sink.close()
        except BaseException:
            sink.abort()
            raise

    def see(self, place: Path) -> None:
        expected = pl.concat([FRAMES[0].clear(), *FRAMES[: len(self.decided)]])
        found = self.read(place)
        assert found.equals(expected) or not (found.height or expected.height), (
            found.rows(),
            expected.rows(),
        )

    def at(self, decided: int) -> "Engine":
        """The engine as it was when so much was decided."""
        return Engine(
            self.make, self.read, self.decided[:decided], MemoryOutbox(files=list(self.outbox.files))
        )


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fresh]:
    """New folders, in memory; and what is drawn at random is counted, so that states of two runs can be the same."""
    numbers = count()
    where = "/dev/shm" if Path("/dev/shm").is_dir() else tmp_path  # noqa: S108
    with TemporaryDirectory(dir=where) as name:

        def make(first: int = 0) -> Path:
            drawn = count(first)
            monkeypatch.setattr(parts, "token_hex", lambda length: f"{next(drawn):0{2 * length}x}")
            place = Path(name) / str(next(numbers))
            place.mkdir()
            return place

        yield make


def survive(engine: Engine, disk: PowerDisk, fresh: Fresh) -> int:
    """Begin anew in every state that a power cut could have left."""
    for left, when in disk.states.items():
        place = fresh(100)  # another process draws other numbers
        left.lay_out(place)
        try:
            engine.at(left.decided).run(place, LocalDisk(place))
        except (AssertionError, StreameError, pl.exceptions.PolarsError) as error:
            names = sorted(name for name, _ in left.files)
            raise AssertionError(f"{when}, {left.decided} decided: {names}: {error}") from error
    return len(disk.states)


@pytest.mark.parametrize("kind", SINKS)
def test_a_power_cut_at_any_moment(kind: str, fresh: Fresh) -> None:
    engine, place = Engine(*SINKS[kind]), fresh()
    disk = PowerDisk(place, SEED)
    engine.run(place, disk, disk.decide)
    assert survive(engine, disk, fresh) > 10


def begun_anew(kind: str, fresh: Fresh) -> Iterator[tuple[Engine, PowerDisk]]:
    """A process that ended at every operation between two decisions, and what the next one left."""
    for stop_at in count(1):
        engine, place = Engine(*SINKS[kind]), fresh()
        disk = PowerDisk(place, SEED, stop_at=stop_at)
        try:
            engine.run(place, disk, disk.decide)
        except Crashed:
            if len(engine.decided) != 2:
                continue
        else:
            return
        disk.stop_at = None
        disk.states.clear()
        yield engine, disk


TWO = pytest.mark.parametrize("kind", ["ndjson parts", "one csv"])


@TWO
def test_a_power_cut_after_the_process_had_ended_and_begun_anew(kind: str, fresh: Fresh) -> None:
    """What the second process finds it must not take for lasting: the first may not have come to sync it."""
    seen: set[Left] = set()
    for engine, disk in begun_anew(kind, fresh):
        engine.run(disk.root, disk, disk.decide)
        disk.states = {left: when for left, when in disk.states.items() if left not in seen}
        survive(engine, disk, fresh)
        seen |= disk.states.keys()
    assert len(seen) > 10


def forgetful(disk: PowerDisk, path: str) -> bool:
    """Before the third checkpoint, what says that the second one is published is not synced."""
    return disk.decided == 2 and path in ("_streame/commits", "out.csv")


@TWO
def test_what_is_there_is_synced_before_it_is_believed(kind: str, fresh: Fresh) -> None:
    found = []
    for engine, disk in begun_anew(kind, fresh):
        disk.unsynced = partial(forgetful, disk)
        engine.run(disk.root, disk, disk.decide)
        try:
            survive(engine, disk, fresh)
        except AssertionError as error:
            found.append(str(error))
            break
    assert any("committed before checkpoint 3" in error for error in found), found


UNSYNCED: list[tuple[str, str, Callable[[str], bool]]] = [
    ("ndjson parts", "the parts", lambda path: path.endswith(".ndjson.tmp")),
    ("ndjson parts", "the names of staged parts", lambda path: path == "_streame/tmp"),
    ("ndjson parts", "the names of parts", lambda path: path == ""),
    ("ndjson parts", "the commits", lambda path: "-commit-" in path),
    ("ndjson parts", "the names of commits", lambda path: path == "_streame/commits"),
    ("one csv", "the bytes", lambda path: path == "out.csv"),
]


@pytest.mark.parametrize(("kind", "what", "unsynced"), UNSYNCED, ids=[what for _, what, _ in UNSYNCED])
def test_every_sync_is_needed(kind: str, what: str, unsynced: Callable[[str], bool], fresh: Fresh) -> None:
    engine, place = Engine(*SINKS[kind]), fresh()
    disk = PowerDisk(place, SEED, unsynced)
    engine.run(place, disk, disk.decide)
    with pytest.raises(AssertionError, match="operation"):
        survive(engine, disk, fresh)
