"""Objects as files of a shared folder: whole or not there, made once, lasting when they are seen; what is left, and what is refused."""

import errno
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from streame.core.full_disk import is_full_disk
from streame.errors import CheckpointError
from streame.state.checkpoint.object_outbox import _ObjectFile
from streame.state.checkpoint.objects import ObjectCheckpoints
from streame.storage.bucket import NoAnswer, Occupied
from streame.storage.disk import Bytes, LocalDisk
from streame.storage.folder_bucket import FolderBucket
from streame.storage.objects import ObjectStore, Patience
from tests.storage.memory_disk import Op, RecordedDisk
from tests.storage.object_job import Process, World
from tests.storage.power_cut import Power

KILLS = 6
HOUR = 3600

WRITER = """
import sys
from pathlib import Path
from streame.storage.folder_bucket import FolderBucket

bucket, number = FolderBucket(Path(sys.argv[1])), int(sys.argv[2])
while True:
    bucket.create(f"state/{number // 3}/{number}", b"%d " % number * 20_000)
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
    number += 1
"""


def files(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def leftovers(root: Path) -> list[Path]:
    return sorted(root.rglob(".*"))


def test_kill_minus_nine(tmp_path: Path, seed: int) -> None:
    draw, bucket, acknowledged = random.Random(seed), FolderBucket(tmp_path), -1
    for round_ in range(KILLS):
        first = 1_000 * round_
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, tmp_path, str(first)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            for _ in range(draw.randrange(1, 60)):
                acknowledged = int(writer.stdout.readline())
            writer.kill()
            lines = writer.stdout.read().splitlines(keepends=True)
        acknowledged = max([acknowledged, *(int(line) for line in lines if line.endswith("\n"))])
        there = {int(name.rpartition("/")[2]) for name in bucket.names("state")}
        assert there >= set(range(first, acknowledged + 1))
        for number in sorted(there):
            assert bucket.read(f"state/{number // 3}/{number}") == b"%d " % number * 20_000
    bucket.clear_leftovers(age_s=-HOUR)
    assert not leftovers(tmp_path)


def test_the_leftovers_of_the_dead_are_removed_and_those_of_the_living_are_not(tmp_path: Path) -> None:
    bucket = FolderBucket(tmp_path)
    assert bucket.clear_leftovers() == 0
    bucket.create("state/1/a", b"a")
    bucket.create("m/1", b"m")
    dead, living = (tmp_path / f"state/1/.{digit * 32}.tmp" for digit in "01")
    foreign = tmp_path / ".snapshot"
    for place in (dead, living, foreign):
        place.touch()
    for place in (dead, foreign):
        os.utime(place, (0, place.stat().st_mtime - HOUR - 60))
    assert bucket.names("") == ["m/1", "state/1/a"]
    assert bucket.clear_leftovers() == 1
    assert leftovers(tmp_path) == sorted([foreign, living])


class Meanwhile(LocalDisk):
    """Does something once before each of some operations."""

    def __init__(self, root: Path, acts: dict[str, Callable[[], object]]) -> None:
        super().__init__(root)
        self.acts = acts

    def sync(self, path: str) -> None:
        self._meanwhile("sync")
        super().sync(path)

    def sync_directory(self, path: str) -> None:
        self._meanwhile(f"sync {path}")
        super().sync_directory(path)

    def write(self, path: str, parts: Iterable[Bytes]) -> int:
        self._meanwhile("write")
        return super().write(path, parts)

    def link(self, source: str, target: str) -> None:
        self._meanwhile("link")
        super().link(source, target)

    def _meanwhile(self, what: str) -> None:
        self.acts.pop(what, int)()


@pytest.mark.parametrize("when", ["sync", "link"])
def test_a_writer_that_was_paused_for_long_writes_again(tmp_path: Path, when: str) -> None:
    other = FolderBucket(tmp_path)
    paused = Meanwhile(tmp_path, {when: lambda: other.clear_leftovers(age_s=-HOUR)})
    FolderBucket(tmp_path, paused).create("state/1/a", b"mine")
    assert not paused.acts
    assert other.read("state/1/a") == b"mine"
    assert files(tmp_path) == ["state/1/a"]


def test_a_folder_that_has_become_empty_goes_and_comes_again(tmp_path: Path) -> None:
    other = FolderBucket(tmp_path)
    other.create("state/1/old", b"")

    def collect() -> None:
        other.remove(["state/1/old"])
        assert (tmp_path / "state").is_dir()
        assert not (tmp_path / "state/1").exists()

    disk = Meanwhile(tmp_path, {"write": collect})
    FolderBucket(tmp_path, disk).create("state/1/new", b"new")
    assert other.names("state") == ["state/1/new"]
    disk.acts["sync state/1"] = lambda: other.remove(["state/1/newer"])
    FolderBucket(tmp_path, disk).create("state/1/newer", b"")
    assert other.names("state") == ["state/1/new"], "what was removed since is not made again"


def test_a_power_cut_at_any_moment_leaves_what_was_acknowledged_or_seen(tmp_path: Path) -> None:
    disk = RecordedDisk(LocalDisk(tmp_path))
    bucket = FolderBucket(tmp_path, disk)
    acknowledged: list[int] = []
    for number in range(4):
        bucket.create(f"state/{number // 2}/{number}", b"%d" % number * 40)
        acknowledged.append(len(disk.log))
    power = Power()
    for done, op in enumerate(disk.log, 1):
        power.apply(op)
        lasting = sum(end <= done for end in acknowledged)
        for left in power.cuts():
            objects = {name: data for name, data in left.items() if "/." not in name}
            expected = {f"state/{number // 2}/{number}": b"%d" % number * 40 for number in range(4)}
            assert objects.items() <= expected.items(), (done, op)
            assert objects.keys() >= set(list(expected)[:lasting]), (done, op)


@pytest.mark.parametrize("look", ["read", "size", "names"])
def test_what_is_seen_of_a_dead_process_lasts(tmp_path: Path, look: str) -> None:
    log: list[Op] = []

    class Dies(RecordedDisk):
        def sync_directory(self, path: str) -> None:
            if path == "state/1":
                raise KeyboardInterrupt
            super().sync_directory(path)

    with pytest.raises(KeyboardInterrupt):
        FolderBucket(tmp_path, Dies(LocalDisk(tmp_path), log)).create("state/1/a", b"a")
    bucket = FolderBucket(tmp_path, RecordedDisk(LocalDisk(tmp_path), log))
    getattr(bucket, look)("" if look == "names" else "state/1/a")
    power = Power()
    for op in log:
        power.apply(op)
    assert all(left.get("state/1/a") == b"a" for left in power.cuts())
    assert {path for kind, path, _ in log if kind == "sync_directory"} == {"", "state", "state/1"}


class Failing(LocalDisk):
    """Fails in one operation on paths that end in some way."""

    def __init__(self, root: Path, number: int, operation: str, times: int = 1000) -> None:
        super().__init__(root)
        self.number, self.operation, self.times = number, operation, times

    def __getattribute__(self, name: str) -> object:
        if name not in ("operation", "times", "number") and name == self.operation and self.times:
            self.times -= 1
            raise OSError(self.number, os.strerror(self.number))
        return super().__getattribute__(name)


@pytest.mark.parametrize("operation", ["make_directory", "write", "sync", "link"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_as_such_and_nothing_was_made(
    tmp_path: Path, operation: str, number: int
) -> None:
    full = FolderBucket(tmp_path, Failing(tmp_path, number, operation, times=1))
    with pytest.raises(OSError) as raised:
        ObjectStore(full).put_new("m/1", b"one")
    assert is_full_disk(raised.value)
    assert files(tmp_path) == []
    ObjectStore(full).put_new("m/1", b"one")
    assert files(tmp_path) == ["m/1"]


def test_a_small_file_system_that_is_full(full_disk: Path) -> None:
    bucket = FolderBucket(full_disk)
    with pytest.raises(OSError, match="No space left"):
        bucket.create("state/1/large", bytes(2**21))
    assert files(full_disk) == []
    bucket.create("state/1/small", b"small")
    assert bucket.names("") == ["state/1/small"]


class FullOnce(FolderBucket):
    """Has no room for some object, the first time."""

    def __init__(self, folder: Path, part: str) -> None:
        super().__init__(folder)
        self.part = part
        self.full = 0

    def create(self, name: str, data: bytes) -> None:
        if name.startswith(self.part) and not self.full:
            self.full += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().create(name, data)


@pytest.mark.parametrize("part", ["out/2/", "state/2/", "m/2"])
def test_a_checkpoint_is_written_again_when_there_is_room(
    tmp_path: Path, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = FullOnce(tmp_path, part)
    world = World(bucket, 4)
    process = Process(world, "first")
    process.begin()
    write, finish = ObjectCheckpoints.write, _ObjectFile.finish

    def insist(act: Callable[[], Any]) -> Any:
        try:
            return act()
        except OSError:
            return act()

    monkeypatch.setattr(ObjectCheckpoints, "write", lambda self, draft: insist(lambda: write(self, draft)))
    monkeypatch.setattr(_ObjectFile, "finish", lambda self: insist(lambda: finish(self)))
    assert process.goes_on_from_here()
    assert bucket.full
    Process(world, "second").run()
    world.assert_complete()


def test_an_error_that_may_pass_is_no_answer(tmp_path: Path) -> None:
    for operation, times in (("write", 1), ("sync", 2), ("link", 1), ("make_directory", 3)):
        bucket = FolderBucket(tmp_path, Failing(tmp_path, errno.EIO, operation, times))
        with pytest.raises(NoAnswer, match="Input/output error"):
            bucket.create(f"m/{operation}", b"")
        ObjectStore(bucket, Patience(pause=0.001)).put_new(f"m/{operation}", b"mine")
    assert len(files(tmp_path)) == 4
    for operation in ("read", "remove"):
        bucket = FolderBucket(tmp_path, Failing(tmp_path, errno.ESTALE, operation))
        with pytest.raises(NoAnswer, match="Stale file handle"):
            bucket.read("m/write") if operation == "read" else bucket.remove(["m/write"])


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_folder_that_cannot_be_synced_is_the_end(tmp_path: Path, number: int) -> None:
    bucket = FolderBucket(tmp_path, Failing(tmp_path, number, "sync_directory"))
    with pytest.raises(CheckpointError, match="nobody knows what is on it") as raised:
        ObjectStore(bucket).put_new("m/1", b"one")
    assert not is_full_disk(raised.value)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_folder_that_is_closed_or_read_only(tmp_path: Path, number: int) -> None:
    bucket = FolderBucket(tmp_path, Failing(tmp_path, number, "write"))
    with pytest.raises(
        CheckpointError, match=r"writing m/1: .*check its owner, its mode and how it is mounted"
    ):
        bucket.create("m/1", b"one")


def test_a_file_system_without_hard_links(tmp_path: Path) -> None:
    bucket = FolderBucket(tmp_path, Failing(tmp_path, errno.EPERM, "link"))
    with pytest.raises(CheckpointError, match="cannot give a file a second name"):
        bucket.create("m/1", b"one")
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../out", "m/../../out", "m//1", "m/", "m/.hidden", ".", "a\0b"]
)
def test_names_that_would_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    bucket = FolderBucket(tmp_path / "bucket")
    for call in (
        lambda: bucket.create(name, b""),
        lambda: bucket.read(name),
        lambda: bucket.size(name),
        lambda: bucket.remove(["m/1", name]),
        lambda: bucket.names(name or ".."),
    ):
        with pytest.raises(CheckpointError, match="is no name of an object"):
            call()
    assert files(tmp_path) == []


def test_folders_are_no_objects(tmp_path: Path) -> None:
    bucket = FolderBucket(tmp_path)
    bucket.create("m/1", b"one")
    assert (bucket.size("m"), bucket.size("m/1/deeper"), bucket.names("m/1")) == (None, None, [])
    for name in ("m", "m/1/deeper"):
        with pytest.raises(FileNotFoundError):
            bucket.read(name)
        with pytest.raises(CheckpointError, match="something that is not of Streame may be in its place"):
            bucket.create(name, b"")
    bucket.remove(["m", "m/1/deeper"])
    with pytest.raises(Occupied):
        bucket.create("m/1", b"two")
    assert bucket.names("") == ["m/1"]
