"""The log: what was acknowledged is there, once and in order, whatever happens."""

import random
import threading
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as hs
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from streame.core.failpoints import arm
from streame.errors import CheckpointDamaged, CheckpointError, NotAccepted
from streame.storage.disk import LocalDisk
from streame.storage.log import Log
from tests.examples import examples
from tests.storage.power_cut_disk import PowerCutDisk

SEGMENT_BYTES = 200


def opened(disk: PowerCutDisk) -> Log:
    return Log(disk, "wal", segment_bytes=SEGMENT_BYTES)


def rows(log: Log, position: int = 0) -> list[tuple[int, bytes]]:
    return list(log.read(position))


def filled(count: int) -> PowerCutDisk:
    disk = PowerCutDisk()
    log = opened(disk)
    for number in range(count):
        assert log.append(b"row %d" % number) == number
    return disk


class Crashes(RuleBasedStateMachine):
    """Appends, and crashes in all kinds; every acknowledged record stays."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = PowerCutDisk()
        self.log = opened(self.disk)
        self.acknowledged: list[bytes] = []
        self.first = 0

    @rule(payload=hs.binary(max_size=120))
    def append(self, payload: bytes) -> None:
        assert self.log.append(payload) == len(self.acknowledged)
        self.acknowledged.append(payload)

    @rule(payload=hs.binary(max_size=120), room=hs.integers(0, 100))
    def append_to_a_full_disk(self, payload: bytes, room: int) -> None:
        self.disk.room = room
        try:
            self.log.append(payload)
        except NotAccepted:
            pass
        else:
            self.acknowledged.append(payload)
        self.disk.room = None

    @rule(payload=hs.binary(max_size=120), seed=hs.integers(0, 2**32))
    def lose_power_while_appending(self, payload: bytes, seed: int) -> None:
        self.disk.broken = True
        with pytest.raises(CheckpointError, match="cannot be written"):
            self.log.append(payload)
        with pytest.raises(CheckpointError, match="cannot be written"):
            self.log.append(payload)
        self._reopen(self.disk.after_power_cut(random.Random(seed)), payload)

    @rule(payload=hs.binary(max_size=120))
    def die_while_appending(self, payload: bytes) -> None:
        self.disk.broken = True
        with pytest.raises(CheckpointError, match="cannot be written"):
            self.log.append(payload)
        self._reopen(self.disk.after_kill(), payload)

    @rule(seed=hs.integers(0, 2**32))
    def lose_power(self, seed: int) -> None:
        self._reopen(self.disk.after_power_cut(random.Random(seed)), None)

    @rule()
    def close(self) -> None:
        self.log.close()
        with pytest.raises(CheckpointError, match="is closed"):
            self.log.append(b"")
        self._reopen(self.disk, None)

    @rule(data=hs.data())
    def truncate(self, data: hs.DataObject) -> None:
        position = data.draw(hs.integers(self.first, len(self.acknowledged)))
        self.log.truncate_before(position)
        assert self.log.first <= position
        self.first = self.log.first

    @invariant()
    def all_is_there(self) -> None:
        assert self.log.next == len(self.acknowledged)
        assert rows(self.log, self.first) == list(enumerate(self.acknowledged))[self.first :]
        assert self.log.length == sum(self.disk.size(f"wal/{name}") or 0 for name in self.disk.names("wal"))

    def _reopen(self, disk: PowerCutDisk, unknown: bytes | None) -> None:
        self.disk = disk
        self.log = opened(disk)
        if unknown is not None and self.log.next == len(self.acknowledged) + 1:
            self.acknowledged.append(unknown)
        self.first = self.log.first


TestCrashes = Crashes.TestCase
TestCrashes.settings = settings(max_examples=examples(60), stateful_step_count=25)


def test_every_flipped_bit_is_found_or_harmless() -> None:
    disk = filled(12)
    expected = rows(opened(disk))
    names = [f"wal/{name}" for name in disk.names("wal")]
    assert len(names) > 2
    found = 0
    for name in names:
        for at in range(disk.size(name) or 0):
            damaged = disk.flipped(name, at, at % 8)
            try:
                got = rows(opened(damaged))
            except CheckpointError:
                found += 1
            else:
                assert got == expected, (name, at)  # it was within a mark
    assert found > 12 * len(b"row 1")


def test_a_record_cut_off_at_the_end_is_none_and_is_counted() -> None:
    disk = filled(3)
    name = f"wal/{disk.names('wal')[-1]}"
    size = disk.size(name) or 0
    for length in range(size - 36 - 41 + 1, size - 36):
        torn = disk.after_kill()
        torn.truncate(name, length)
        log = opened(torn)
        assert rows(log) == [(0, b"row 0"), (1, b"row 1")]
        assert log.torn_bytes
        assert log.append(b"again") == 2
        assert opened(torn).torn_bytes == 0


def test_a_record_of_bytes_that_look_like_records_is_no_damage() -> None:
    disk = filled(3)
    other = filled(3)
    inner = b"".join(other.read(f"wal/{name}") for name in other.names("wal"))
    log = Log(disk, "wal")
    log.append(inner)
    name = f"wal/{disk.names('wal')[-1]}"
    disk.truncate(name, (disk.size(name) or 0) - 50)
    assert len(rows(Log(disk, "wal"))) == 3


def test_missing_segments_are_found() -> None:
    for number in range(3):
        disk = filled(12)
        names = disk.names("wal")
        disk.remove(f"wal/{names[number]}")
        with pytest.raises(CheckpointDamaged):
            rows(opened(disk))
    disk = filled(12)
    disk.remove(f"wal/{disk.names('wal')[-1]}")
    with pytest.raises(CheckpointDamaged, match="reading is to go on at 12"):
        rows(opened(disk), 12)


def test_a_log_of_a_newer_format_and_a_foreign_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streame.storage.log.FORMAT_VERSION", 2)
    disk = filled(1)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="has format 2, and this version reads 1"):
        opened(disk)
    with pytest.raises(CheckpointDamaged, match="no segment of a log"):
        opened(PowerCutDisk({"wal/x.log": b""}))
    with pytest.raises(CheckpointDamaged, match="header"):
        opened(PowerCutDisk({"wal/00000000000000000000.log": b""}))


def fits(log: Log, size: int) -> bool:
    try:
        log.append(b"x" * size)
    except NotAccepted:
        return False
    return True


def test_a_full_disk_takes_nothing_and_is_used_again(full_disk: Path) -> None:
    log = Log(LocalDisk(full_disk), "wal", segment_bytes=100_000)
    while fits(log, 1_000):
        pass
    assert False in {fits(log, size) for size in range(9_000, 0, -1_000)}
    log.truncate_before(log.next)
    kept = log.next
    log.append(b"there is room")
    again = Log(LocalDisk(full_disk), "wal")
    assert rows(again, kept) == [(kept, b"there is room")]
    assert again.torn_bytes == 0


def test_many_threads_append(tmp_path: Path) -> None:
    log = Log(LocalDisk(tmp_path), "wal", segment_bytes=2_000)
    given: dict[int, bytes] = {}

    def give(thread: int) -> None:
        for number in range(50):
            payload = b"%d %d" % (thread, number)
            given[log.append(payload)] = payload

    threads = [threading.Thread(target=give, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rows(Log(LocalDisk(tmp_path), "wal")) == sorted(given.items())


@pytest.fixture
def _disarmed() -> Iterator[None]:
    yield
    arm("")


@pytest.mark.usefixtures("_disarmed")
def test_a_full_disk_at_the_write_of_a_record_leaves_nothing(tmp_path: Path) -> None:
    log = Log(LocalDisk(tmp_path), "wal")
    log.append(b"first")
    arm("W1.write:enospc")
    with pytest.raises(NotAccepted, match="the disk is full"):
        log.append(b"second")
    assert log.append(b"third") == 1
    assert [payload for _, payload in log.read(0)] == [b"first", b"third"]


@pytest.mark.usefixtures("_disarmed")
@pytest.mark.parametrize(
    ("place", "error"),
    [("W1.write", "error"), *product(("W1.after", "W2.after"), ("error", "enospc"))],
)
def test_after_any_other_error_nobody_knows(tmp_path: Path, place: str, error: str) -> None:
    log = Log(LocalDisk(tmp_path), "wal")
    log.append(b"first")
    arm(f"{place}:{error}")
    for _ in range(2):
        with pytest.raises(CheckpointError, match="may be there or not"):
            log.append(b"second")
    found = [payload for _, payload in Log(LocalDisk(tmp_path), "wal").read(0)]
    assert found == ([b"first"] if place == "W1.write" else [b"first", b"second"])


def test_room_can_be_looked_for_without_adding_anything() -> None:
    disk = filled(3)
    log = opened(disk)
    disk.room = 10
    with pytest.raises(NotAccepted, match="the disk is full"):
        log.find_room(100)
    disk.room = None
    log.find_room(100)
    assert not [name for name in disk.names("wal") if name.endswith(".tmp")]
    assert rows(log) == [(number, b"row %d" % number) for number in range(3)]
