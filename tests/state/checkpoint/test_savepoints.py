"""Savepoints: a checkpoint in a folder of its own, whole, from which a job can be started."""

from pathlib import Path

import pytest

from streame.errors import CheckpointDamaged, CheckpointError
from streame.state.checkpoint.inspection import verify_checkpoints
from streame.state.checkpoint.local import LocalCheckpoints
from streame.state.checkpoint.manifest import decode_manifest
from streame.state.checkpoint.packs import FIRST_LINE
from streame.state.checkpoint.savepoints import copy_last, make_savepoint
from streame.state.checkpoint.store import Draft
from streame.storage.disk import LocalDisk
from tests.state.checkpoint.counting_job import (
    JOB,
    SINK,
    assert_is,
    output_of,
    published_by,
    write_checkpoint,
)
from tests.storage.memory_disk import MemoryDisk, RecordedDisk
from tests.storage.power_cut import Power


def with_checkpoints(folder: Path, count: int) -> LocalCheckpoints:
    """A job that has made checkpoints and goes on."""
    store = LocalCheckpoints(folder, JOB)
    store.claim()
    store.recover()
    for number in range(1, count + 1):
        write_checkpoint(store, number)
        store.published(number)
        store.collect_garbage()
    return store


@pytest.fixture
def savepoint(tmp_path: Path) -> Path:
    """The savepoint of a job that runs on."""
    store = with_checkpoints(tmp_path / "job", 4)
    assert make_savepoint(tmp_path / "job", tmp_path / "saved") == 4
    for number in (5, 6, 7, 8):
        write_checkpoint(store, number)
        store.published(number)
        store.collect_garbage()
    store.release()
    return (tmp_path / "saved").rename(tmp_path / "moved")


def test_a_savepoint_needs_nothing_but_its_folder(savepoint: Path) -> None:
    files = sorted(str(path.relative_to(savepoint)) for path in savepoint.rglob("*") if path.is_file())
    assert files == [
        "FORMAT", "LOCK", "SHOWN", "m/4.json", "out/4/out%2Fsink.0.out", "state/4/0.1.pack",
    ]  # fmt: skip
    assert [each.problems for each in verify_checkpoints(savepoint)] == [()]


def test_a_job_begins_from_a_savepoint_and_goes_on_by_itself(savepoint: Path, tmp_path: Path) -> None:
    for begun in (4, 6):
        store = LocalCheckpoints(tmp_path / "new", JOB, savepoint=savepoint)
        store.claim()
        recovered = store.recover()
        assert recovered is not None
        assert_is(recovered, begun)
        assert recovered.decided[SINK][0].checkpoint == 4
        assert published_by(store, recovered.decided[SINK][-1]) == output_of(begun)
        for number in (begun + 1, begun + 2):
            write_checkpoint(store, number)
            store.published(number)
            store.collect_garbage()
        store.release()


def test_unchanged_chunks_of_a_savepoint_are_not_written_again(savepoint: Path, tmp_path: Path) -> None:
    store = LocalCheckpoints(tmp_path / "new", JOB, savepoint=savepoint)
    store.claim()
    store.recover()
    written = write_checkpoint(store, 5)
    manifest = decode_manifest((tmp_path / "new/m/5.json").read_bytes(), 5, JOB)
    assert [pack.path for pack in getattr(manifest, "packs", ())] == ["state/4/0.1.pack", "state/5/0.1.pack"]
    assert written.written_bytes > 0


def test_a_savepoint_of_a_savepoint_is_the_same(savepoint: Path, tmp_path: Path) -> None:
    assert make_savepoint(savepoint, tmp_path / "again") == 4
    for name in ("state/4/0.1.pack", "m/4.json"):
        assert (tmp_path / "again" / name).read_bytes() == (savepoint / name).read_bytes()


def test_a_savepoint_without_state_or_output(tmp_path: Path) -> None:
    store = LocalCheckpoints(tmp_path / "job", JOB)
    store.claim()
    store.write(Draft({}, {"op": []}, {"at": 1}, {}))
    make_savepoint(tmp_path / "job", tmp_path / "saved")
    begun = LocalCheckpoints(tmp_path / "new", JOB, savepoint=tmp_path / "saved")
    begun.claim()
    recovered = begun.recover()
    assert recovered is not None
    assert (recovered.number, recovered.sources, recovered.operators) == (1, {"at": 1}, {"op": []})


def test_a_folder_with_something_in_it_is_left_alone(savepoint: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is something already; a savepoint needs a new folder"):
        make_savepoint(tmp_path / "job", savepoint)


def test_nothing_to_save_is_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no checkpoint; give the folder of a job"):
        make_savepoint(tmp_path / "nothing", tmp_path / "saved")
    assert not (tmp_path / "nothing").exists()
    assert not (tmp_path / "saved").exists()


def test_a_damaged_checkpoint_is_not_saved(tmp_path: Path) -> None:
    with_checkpoints(tmp_path / "job", 3)
    (tmp_path / "job/m/3.json").write_bytes(b"torn")
    with pytest.raises(CheckpointDamaged, match="checkpoint 3"):
        make_savepoint(tmp_path / "job", tmp_path / "saved")


@pytest.mark.parametrize("path", ["m/4.json", "state/4/0.1.pack", "out/4/out%2Fsink.0.out"])
def test_a_damaged_savepoint_starts_nothing(path: str, savepoint: Path, tmp_path: Path) -> None:
    content = bytearray((savepoint / path).read_bytes())
    content[-1] ^= 4
    (savepoint / path).write_bytes(content)
    store = LocalCheckpoints(tmp_path / "new", JOB, savepoint=savepoint)
    store.claim()
    with pytest.raises(CheckpointDamaged, match="checkpoint 4"):
        store.recover()
    assert not list((tmp_path / "new/m").iterdir())


def test_a_savepoint_of_another_job_is_refused(savepoint: Path, tmp_path: Path) -> None:
    store = LocalCheckpoints(tmp_path / "new", "orders", savepoint=savepoint)
    store.claim()
    with pytest.raises(CheckpointError, match="it is a savepoint of job 'counting', not of 'orders'"):
        store.recover()


def test_beginning_from_a_savepoint_survives_every_power_cut(savepoint: Path) -> None:
    disk = RecordedDisk(MemoryDisk())
    store = LocalCheckpoints(Path("new"), JOB, disk, savepoint=savepoint)
    store.claim()
    assert store.recover() is not None
    power, tried = Power(), 0
    for op in disk.log:
        if not op[1].startswith("proof"):
            power.apply(op)
        for left in power.cuts():
            tried += 1
            again = LocalCheckpoints(Path("new"), JOB, MemoryDisk(left, power.folders), savepoint=savepoint)
            again.claim()
            recovered = again.recover()
            assert recovered is not None
            assert_is(recovered, 4)
            assert published_by(again, recovered.decided[SINK][-1]) == output_of(4)
    assert tried > 50


class _Racing(LocalDisk):
    """A folder of a running job, which makes checkpoints and deletes old ones while its last one is copied."""

    def __init__(self, root: Path, job: LocalCheckpoints, races: int) -> None:
        super().__init__(root)
        self._job, self._races, self._next = job, races, 5

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        if path.startswith("state/") and length and offset == len(FIRST_LINE) and self._races:
            self._races -= 1
            for _ in range(4):
                write_checkpoint(self._job, self._next)
                self._job.published(self._next)
                self._job.collect_garbage()
                self._next += 1
        return super().read(path, offset, length)


@pytest.mark.parametrize("races", [1, 3, 9])
def test_a_savepoint_of_a_job_that_runs_on_is_tried_again(races: int, tmp_path: Path) -> None:
    store = with_checkpoints(tmp_path / "job", 4)
    disk = _Racing(tmp_path / "job", store, races)
    if races == 9:
        with pytest.raises(CheckpointError, match="the savepoint could not be made"):
            copy_last(disk, "job", tmp_path / "saved")
        return
    assert copy_last(disk, "job", tmp_path / "saved") == 4 + 4 * races
    assert [each.problems for each in verify_checkpoints(tmp_path / "saved")] == [()]


def test_a_savepoint_that_has_gone_is_told(tmp_path: Path) -> None:
    store = LocalCheckpoints(tmp_path / "new", JOB, savepoint=tmp_path / "gone")
    store.claim()
    with pytest.raises(CheckpointError, match="gone: there is no checkpoint"):
        store.recover()
