"""A full disk and a broken one: the first is waited for, the second ends the job."""

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from streame.core.failpoints import arm
from streame.core.staging import Staged
from streame.errors import CheckpointError
from streame.state.checkpoint.local import LocalCheckpoints
from streame.state.checkpoint.store import Draft
from streame.state.snapshot import Leaf, Snapshot
from tests.state.checkpoint.counting_job import (
    JOB,
    OPERATOR,
    SINK,
    assert_is,
    draft_of,
    output_of,
    published_by,
    store_on,
    write_checkpoint,
)
from tests.storage.memory_disk import MemoryDisk

RETRIED = (
    "S1.write", "S1.written", "S1.after", "S2.after", "S3.renamed", "S3.after", "S4.write", "S4.written", "S4.after"
)  # fmt: skip
FATAL = (*RETRIED, "S5.after", "S6.after")


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    arm("")


def prepared() -> tuple[LocalCheckpoints, MemoryDisk]:
    """A store with two checkpoints."""
    disk = MemoryDisk()
    store = store_on(disk)
    store.claim()
    store.recover()
    for number in (1, 2):
        write_checkpoint(store, number)
        store.published(number)
    return store, disk


def is_full(store: LocalCheckpoints, draft: Draft) -> bool:
    """Whether the disk has no room for a draft; if it has, it is written."""
    try:
        store.write(draft)
    except OSError as error:
        return error.errno == errno.ENOSPC
    return False


def assert_third_follows(store: LocalCheckpoints, draft: Draft) -> None:
    """The draft of the third checkpoint can still be written, and is found again."""
    assert store.write(draft).number == 3
    store.published(3)
    store.collect_garbage()
    store.release()
    store.claim()
    recovered = store.recover()
    assert recovered is not None
    assert_is(recovered, 3)
    assert published_by(store, recovered.decided[SINK][-1]) == output_of(3)


def assert_nothing_begun(disk: MemoryDisk) -> None:
    """Of the checkpoint that failed only staged output is there."""
    mine = [path for path in disk.files if path.endswith(".tmp") and not path.startswith("out/")]
    assert not mine
    assert not [path for path in disk.files if path.startswith("state/3/")]


def test_the_same_draft_succeeds_when_there_is_room_again() -> None:
    """For every number of bytes that there is room for, so at every point of the writing."""
    failed = 0
    for spare in range(0, 4000, 97):
        store, disk = prepared()
        draft = draft_of(store, 3)
        disk.room = sum(map(len, disk.files.values())) + spare
        if is_full(store, draft):
            failed += 1
            assert_nothing_begun(disk)
            disk.room = None
            assert_third_follows(store, draft)
    assert failed > 15


@pytest.mark.parametrize("place", RETRIED)
def test_a_full_disk_at_any_step_is_waited_for(place: str) -> None:
    store, disk = prepared()
    draft = draft_of(store, 3)
    arm(f"{place}:enospc")
    with pytest.raises(OSError, match=place) as found:
        store.write(draft)
    assert found.value.errno == errno.ENOSPC
    assert_nothing_begun(disk)
    assert_third_follows(store, draft)


@pytest.mark.parametrize("place", FATAL)
@pytest.mark.parametrize("error", ["error", "enospc"])
def test_any_other_error_ends_the_job(place: str, error: str) -> None:
    if error == "enospc" and place in RETRIED:
        return
    store, _ = prepared()
    draft = draft_of(store, 3)
    arm(f"{place}:{error}")
    with pytest.raises(CheckpointError, match="checkpoint 3"):
        store.write(draft)
    with pytest.raises(CheckpointError, match="an earlier error left the checkpoints in an unknown state"):
        store.write(draft)


class UnsureDisk(MemoryDisk):
    """A disk that cannot say whether it has made something last."""

    def __init__(self) -> None:
        super().__init__()
        self.unsure = ""
        self.asked = 0

    def sync(self, path: str) -> None:
        self._ask(path)

    def sync_directory(self, path: str) -> None:
        self._ask(path)

    def _ask(self, path: str) -> None:
        if self.unsure and path.startswith(self.unsure):
            self.asked += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


@pytest.mark.parametrize("path", ["state/3/0.1.pack.tmp", "state/3", "state", "out/3", "m/3.json.tmp", "m"])
def test_a_sync_that_fails_is_never_tried_again(path: str) -> None:
    disk = UnsureDisk()
    store = store_on(disk)
    store.claim()
    store.recover()
    for number in (1, 2):
        write_checkpoint(store, number)
        store.published(number)
    draft = draft_of(store, 3)
    disk.unsure = path
    for _ in range(2):
        with pytest.raises(CheckpointError, match="No space left") as found:
            store.write(draft)
        assert found.value.__cause__ is None  # nobody takes it for a full disk that is to be waited for
    assert disk.asked == 1


def test_output_whose_sync_fails_ends_the_job() -> None:
    disk = UnsureDisk()
    store = store_on(disk)
    store.claim()
    file = store.outbox(SINK).begin()
    disk.unsure = "out/"
    with pytest.raises(CheckpointError, match="the disk did not confirm a write"):
        file.finish()


def test_output_for_which_there_is_no_room_can_be_written_again() -> None:
    disk = MemoryDisk()
    store = store_on(disk)
    store.claim()
    file = store.outbox(SINK).begin()
    file.append(b"first")
    disk.room = sum(map(len, disk.files.values())) + 3
    with pytest.raises(OSError, match="No space left"):
        file.append(b"second")
    disk.room = None
    file.append(b"second")
    store.write(Draft(None, {}, None, {SINK: Staged([file.finish()])}))
    assert bytes(disk.files["out/1/out%2Fsink.0.out"]) == b"firstsecond"


def big_draft(rows: int) -> Draft:
    leaf = Leaf("/a", np.arange(rows))
    return Draft(None, {OPERATOR: [Snapshot({"a": {"$leaf": 0}}, [leaf])]}, None, {})


def test_room_is_reserved_but_not_demanded_for_ever() -> None:
    """A small change needs less than twice the first checkpoint; a disk with room for it is not full."""
    disk = MemoryDisk()
    store = store_on(disk)
    store.claim()
    store.write(big_draft(10_000))
    store.published(1)
    disk.room = sum(map(len, disk.files.values())) + 2000
    tries = 0
    while is_full(store, big_draft(10_000)):
        tries += 1
        assert not [path for path in disk.files if path.endswith(".tmp")]
    assert 1 < tries < 12


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one mebibyte in memory."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
    )
    if mounted.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_a_file_system_that_is_full(small_disk: Path) -> None:
    store = LocalCheckpoints(small_disk, JOB)
    store.claim()
    store.recover()
    for number in (1, 2):
        write_checkpoint(store, number)
        store.published(number)
    draft = draft_of(store, 3)
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space left"):  # noqa: PT012, SIM117
        with ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
    with pytest.raises(OSError, match="No space left"):
        store.write(draft)
    assert sorted(path.name for path in small_disk.rglob("*.tmp")) == ["out%2Fsink.0.out.tmp"]
    ballast.unlink()
    assert_third_follows(store, draft)
    store.release()


def test_a_file_system_that_is_read_only(small_disk: Path) -> None:
    store = LocalCheckpoints(small_disk, JOB)
    store.claim()
    store.release()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(
        CheckpointError, match="it is read-only; mount it for writing, or choose another folder"
    ):
        LocalCheckpoints(small_disk / "new", JOB).claim()
