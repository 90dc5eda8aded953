"""Two leaders in one directory of parts, in any order of what they do to it: an old one that was paused does no harm."""

import json
import queue
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import count, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import pytest

from streame.core.deadletters import BadRow, dead_letters
from streame.core.staging import Decided, Outbox
from streame.errors import ConnectorError, PlanError, StreameError
from streame.io.commit_log import CommitLog
from streame.io.commits import Commit, Part
from streame.io.console import ConsoleSink
from streame.io.deadletter_files import DeadLetterFiles
from streame.io.file_sinks import file_sink
from streame.io.formats.encoders import CsvEncoder, Encoder, IpcEncoder, NdjsonEncoder, ParquetEncoder
from streame.io.parts import PartFiles, PartLimits
from streame.io.queues import QueueSink
from streame.state.checkpoint.object_outbox import ObjectOutbox
from streame.storage.objects import ObjectStore
from streame.testing.contracts import MemoryOutbox, Step, SteppedDisk, check_transactional_sink
from tests.conftest import SEED
from tests.examples import FACTOR
from tests.io.leaders import FRAMES, READ, STEPS_MAX, Leader, World
from tests.io.test_sinks import names
from tests.storage.memory_bucket import MemoryBucket

Prepare: TypeAlias = "Callable[[World], World]"


@pytest.fixture
def worlds(tmp_path: Path) -> Iterator[Iterator[World]]:
    """Empty directories, in memory where that is possible."""
    where = "/dev/shm" if Path("/dev/shm").is_dir() else tmp_path  # noqa: S108
    with TemporaryDirectory(dir=where) as name:

        def make() -> Iterator[World]:
            for number in count():
                place = Path(name) / str(number)
                place.mkdir()
                yield World(place)

        yield make()


def empty(world: World) -> World:
    """Nobody has led yet."""
    return world


def begun(world: World) -> World:
    """Some leader has published one checkpoint, decided another, and died there."""
    first = Leader(world, 2)
    while len(world.decided) < 2:
        first.go(1)
    first.kill()
    return world


def interleave(world: World, turns: Sequence[int], frames: int) -> tuple[Leader, Leader]:
    """The old leader works until its first turn is over, then the new one, and so on; then each to its end."""
    old, new = Leader(world, frames), Leader(world, frames + 1)
    leaders = [old, new]
    old.go(turns[0] + 1)
    for place, steps in enumerate(turns[1:], 1):
        leaders[place % 2].go(steps + (place == 1))
    old.go()
    new.go()
    assert new.error is None, f"{turns}: the new leader fails: {new.error}"
    assert old.error is None or isinstance(old.error, StreameError), f"{turns}: {old.error!r}"
    assert world.see() == frames + 1, turns
    third = Leader(world, frames + 2, kept=1).go()
    assert third.error is None, f"{turns}: the leader after that fails: {third.error}"
    assert world.see() == frames + 2
    assert names(world.place / "_streame/tmp") == [], turns
    return old, new


def pairs(worlds: Iterator[World], part: float, prepare: Prepare, frames: int) -> int:
    """The old leader is paused at one of its steps, the new one at one of its own, then the old one ends first.

    Args:
        worlds: empty ones.
        part: how many of all such pairs are tried.
        prepare: does what was before.
        frames: as for `interleave`.

    Returns:
        How often the old one has failed.
    """
    old, new = interleave(prepare(next(worlds)), [STEPS_MAX, STEPS_MAX], frames)
    every = list(product(range(old.steps), range(new.steps)))
    tried = random.Random(SEED).sample(every, min(len(every), int(part * len(every))))
    ends = [interleave(prepare(next(worlds)), pair, frames)[0] for pair in tried]
    return sum(old.error is not None for old in ends)


def test_an_old_leader_that_was_paused_at_any_step(worlds: Iterator[World]) -> None:
    assert pairs(worlds, FACTOR / 20, empty, 1) > 0


def test_both_find_output_that_is_decided_and_not_published(worlds: Iterator[World]) -> None:
    assert pairs(worlds, FACTOR / 60, begun, 3) > 0


@pytest.mark.timeout(120 * max(1, FACTOR))
def test_two_leaders_by_turns(worlds: Iterator[World]) -> None:
    draw = random.Random(SEED)
    for _ in range(int(80 * FACTOR)):
        prepare, frames = draw.choice([(empty, 2), (begun, 4)])
        turns = [draw.choice([1, 3, 10, 40]) * draw.random() for _ in range(draw.randrange(3, 12))]
        interleave(prepare(next(worlds)), list(map(int, turns)), frames)


def removes_all(log: CommitLog, name: str) -> bool:
    """Takes whatever is staged for its own leftovers."""
    return True


def links_once(log: CommitLog, staged: Part, part: Part) -> None:
    """Does not look again at what another has done meanwhile."""
    if not log._is_there(part):
        log._link_staged(staged, part)


def knows_its_own(log: CommitLog, commit: Commit) -> Commit:
    """Takes the commit of another for an error."""
    temporary = f"_streame/tmp/{log._own}-commit.tmp"
    log._disk.write(temporary, [commit.encoded()])
    log._disk.link(temporary, f"_streame/commits/{commit.checkpoint}.json")
    log._disk.remove(temporary)
    return commit


@pytest.mark.parametrize(
    ("name", "wrong"), [("_is_left", removes_all), ("_link", links_once), ("_write", knows_its_own)]
)
def test_a_rule_that_is_left_out_is_missed(
    name: str, wrong: Callable[..., object], worlds: Iterator[World], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CommitLog, name, wrong)
    with pytest.raises(AssertionError, match="the new leader fails"):
        pairs(worlds, 1, empty, 1)


class InCluster(PartFiles):
    """A sink each start of which is that of a new leader."""

    epochs = count(1)

    def join_checkpoints(self, decided: Sequence[Decided], outbox: Outbox) -> None:
        assert isinstance(outbox, MemoryOutbox)
        outbox.epoch = next(self.epochs)
        super().join_checkpoints(decided, outbox)


def test_the_contract_of_sinks_holds_in_a_cluster(worlds: Iterator[World]) -> None:
    def make(place: Path, step: Step) -> PartFiles:
        return InCluster(place, NdjsonEncoder(), PartLimits(rows=3), disk=SteppedDisk(place, step))

    assert check_transactional_sink(make, READ, next(worlds).place) > 100


def opened(place: Path, epoch: int | None) -> PartFiles:
    sink = PartFiles(place, NdjsonEncoder())
    if epoch is not None:
        sink.check_cluster()
    sink.open(FRAMES[0].schema)
    sink.join_checkpoints([], MemoryOutbox(epoch=epoch))
    return sink


def test_nothing_is_locked_in_a_cluster(tmp_path: Path) -> None:
    sinks = [opened(tmp_path, 1), opened(tmp_path, 2), opened(tmp_path, None)]
    with pytest.raises(ConnectorError, match="another sink is writing"):
        opened(tmp_path, None)
    sinks[-1].abort()
    unchecked = PartFiles(tmp_path, NdjsonEncoder())
    unchecked.open(FRAMES[0].schema)
    unchecked.join_checkpoints([], MemoryOutbox(epoch=3))
    opened(tmp_path, None).abort()


def test_what_is_staged_tells_by_whom_and_is_removed_by_a_newer_leader(tmp_path: Path) -> None:
    staged = tmp_path / "_streame/tmp"
    for epoch in (11, 9, 10, 10):
        sink = opened(tmp_path, epoch)
        sink.write(FRAMES[0])
        sink.stage()
    (staged / "e0123456789-left-by-a-single-process.ndjson.tmp").touch()
    (staged / "epoch-9-left.pieces").mkdir()
    opened(tmp_path, 10)
    assert [name[:9] for name in names(staged)] == ["epoch-10-", "epoch-10-", "epoch-11-"]
    assert len(set(names(staged))) == 3
    opened(tmp_path, None).abort()
    assert names(staged) == []


def test_an_old_leader_whose_part_was_removed_says_so(tmp_path: Path) -> None:
    old = opened(tmp_path, 1)
    old.write(FRAMES[0])
    old.write(FRAMES[1])
    new = opened(tmp_path, 2)
    with pytest.raises(ConnectorError, match="could not be brought to the disk"):
        old.stage()
    new.write(FRAMES[0])
    new.publish(Decided(1, new.stage()))
    assert READ(tmp_path)["n"].to_list() == [0, 1, 2]


def test_dead_letters_of_two_leaders(tmp_path: Path) -> None:
    at = datetime(2024, 1, 1, tzinfo=UTC)
    letters = [
        dead_letters(
            [BadRow(number, "syntax", "no JSON", b"{")], source="s", split="a", operator="scan", at=at
        )
        for number in range(2)
    ]
    sinks = []
    for epoch in (1, 2):
        sink = DeadLetterFiles(tmp_path)
        sink.check_cluster()
        sink.open(letters[0].schema)
        sink.join_checkpoints([], MemoryOutbox(epoch=epoch))
        sinks.append(sink)
    old, new = sinks
    old.write(letters[0])
    old.stage()
    new.write(letters[1])
    new.publish(Decided(1, new.stage()))
    old.abort()
    texts = [path.read_text() for path in tmp_path.glob("part-*")]
    assert [json.loads(line)["offset"] for text in texts for line in text.splitlines()] == [1]


@pytest.mark.parametrize("name", ["out.ndjson", "out.csv", "out.parquet", "out.arrow"])
def test_one_file_is_refused_in_a_cluster(tmp_path: Path, name: str) -> None:
    kinds = {
        "ndjson": NdjsonEncoder(),
        "csv": CsvEncoder(),
        "parquet": ParquetEncoder(),
        "arrow": IpcEncoder(),
    }
    encoder: Encoder = kinds[name.partition(".")[2]]  # type: ignore[assignment]
    path = tmp_path / name
    with pytest.raises(
        PlanError, match=rf"out\.\w+: one .*file is .*end the path with '/' .*\({tmp_path}/out/\)"
    ):
        file_sink(path, encoder).check_cluster()
    file_sink(f"{path}/", encoder).check_cluster()
    assert names(tmp_path) == []


def test_sinks_of_the_process_are_accepted_in_a_cluster() -> None:
    ConsoleSink().check_cluster()
    QueueSink(queue.Queue()).check_cluster()


@pytest.mark.parametrize(("shared", "epoch"), [(False, None), (True, 7)])
def test_an_outbox_tells_its_epoch_where_the_sink_is_shared(*, shared: bool, epoch: int | None) -> None:
    store = ObjectStore(MemoryBucket())
    assert ObjectOutbox(store, "sink", 7, lambda: 0, set(), None, count(), shared=shared).epoch == epoch
