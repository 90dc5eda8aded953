"""The folder of checkpoints goes away while a job runs, and comes back: nothing is written elsewhere meanwhile."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from streame.cluster.cluster import open_place
from streame.errors import CheckpointError
from streame.state.checkpoint.local import LocalCheckpoints
from streame.storage.bucket import NoAnswer
from streame.storage.disk import LocalDisk, RootGone
from streame.storage.folder_bucket import FolderBucket
from streame.storage.objects import ObjectStore, Patience
from tests.cluster.test_cluster_checkpoints import Nodes, draft, state, sums
from tests.state.checkpoint.counting_job import JOB, assert_is, draft_of, write_checkpoint


def everything(folder: Path) -> list[Path]:
    return list(folder.rglob("*"))


def opened(folder: Path) -> FolderBucket:
    bucket = FolderBucket(folder)
    bucket.open()
    return bucket


@pytest.mark.parametrize(
    "write",
    [
        lambda disk: disk.write("a", [b"1"]),
        lambda disk: disk.append("a", b"1"),
        lambda disk: disk.reserve("a", 1),
        lambda disk: disk.make_directory("state/1"),
    ],
    ids=["write", "append", "reserve", "make_directory"],
)
def test_no_write_makes_the_root_of_a_disk(tmp_path: Path, write: Callable[[LocalDisk], object]) -> None:
    root = tmp_path / "above" / "root"
    disk = LocalDisk(root)
    with pytest.raises(RootGone, match=r"is gone.*mount it again or put it back.*root"):
        write(disk)
    assert not everything(tmp_path)
    disk.make_directory("")
    write(disk)
    assert everything(root)


def test_a_bucket_that_nobody_has_opened_makes_no_root(tmp_path: Path) -> None:
    bucket = FolderBucket(tmp_path / "bucket")
    for name in ("FORMAT", "m/1"):
        with pytest.raises(NoAnswer, match="this folder is gone"):
            bucket.create(name, b"")
    assert not everything(tmp_path)


@pytest.mark.parametrize("instead", ["nothing", "the point of the mount", "another place"])
def test_a_bucket_whose_folder_is_gone_does_not_answer(tmp_path: Path, instead: str) -> None:
    folder, aside = tmp_path / "bucket", tmp_path / "aside"
    bucket = opened(folder)
    bucket.create("m/1", b"one")
    folder.rename(aside)
    if instead == "the point of the mount":
        folder.mkdir()
    if instead == "another place":
        opened(folder)
    before = everything(tmp_path)
    for call in (
        lambda: bucket.create("m/2", b"two"),
        lambda: bucket.create("FORMAT", b""),
        lambda: bucket.read("m/1"),
        lambda: bucket.size("m/1"),
        lambda: bucket.names("m"),
        lambda: bucket.remove(["m/1"]),
    ):
        with pytest.raises(NoAnswer, match=r"bucket: the folder that was there is gone.*put it back"):
            call()
    assert everything(tmp_path) == before
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)
    bucket.create("m/2", b"two")
    assert bucket.names("") == opened(folder).names("") == ["m/1", "m/2"]


def test_a_copy_of_the_folder_that_is_put_back_is_the_same_place(tmp_path: Path) -> None:
    bucket = opened(tmp_path / "bucket")
    bucket.create("m/1", b"one")
    shutil.copytree(tmp_path / "bucket", tmp_path / "backup")
    shutil.rmtree(tmp_path / "bucket")
    (tmp_path / "backup").rename(tmp_path / "bucket")
    bucket.create("m/2", b"two")
    assert bucket.names("m") == ["m/1", "m/2"]


def test_a_cluster_decides_nothing_until_the_folder_is_back(tmp_path: Path) -> None:
    folder, aside, waits = tmp_path / "checkpoints", tmp_path / "aside", []
    open_place(str(folder), {})
    bucket, nodes = opened(folder), Nodes()

    def put_back_in_a_while(_seconds: float) -> None:
        if not folder.exists():
            waits.append(nodes.pointer())
            if len(waits) == 3:
                aside.rename(folder)

    nodes.place = replace(nodes.place, store=ObjectStore(bucket, wait=put_back_in_a_while))
    store = nodes.store(nodes.elect())
    store.write(draft({"sum": [state(1)]}))
    before = nodes.pointer()
    folder.rename(aside)
    store.write(draft({"sum": [state(2)]}))
    assert waits == [before] * 3
    assert sums(nodes.store(nodes.elect())) == [2]


def test_a_cluster_says_which_folder_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    store = ObjectStore(opened(folder), Patience(seconds=0))
    folder.rename(tmp_path / "aside")
    with pytest.raises(CheckpointError, match=r"checkpoints: the folder that was there is gone.*mount it"):
        store.put_new("c/1/MANIFEST", b"")
    assert not folder.exists()


@pytest.mark.parametrize("mount_point", [False, True])
@pytest.mark.parametrize("with_output", [False, True])
def test_a_job_of_one_process_fails_and_goes_on_when_the_folder_is_back(
    tmp_path: Path, *, mount_point: bool, with_output: bool
) -> None:
    folder, aside = tmp_path / "checkpoints", tmp_path / "aside"
    store = LocalCheckpoints(folder, JOB)
    store.claim()
    store.recover()
    write_checkpoint(store, 1)
    store.published(1)
    later = draft_of(store, 2, with_output=with_output)
    folder.rename(aside)
    if mount_point:
        folder.mkdir()
    with pytest.raises(
        CheckpointError, match=r"checkpoints: the folder of the checkpoints is gone.*put it back"
    ):
        store.write(later)
    with pytest.raises(CheckpointError, match="is gone"):
        store.write(later)
    assert not everything(folder)
    if mount_point:
        folder.rmdir()
    assert not folder.exists()
    aside.rename(folder)
    store.release()
    again = LocalCheckpoints(folder, JOB)
    again.claim()
    recovered = again.recover()
    assert recovered is not None
    assert_is(recovered, 1)
    write_checkpoint(again, 2)


def test_a_sink_that_stages_output_is_told_that_the_checkpoints_are_gone(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    store = LocalCheckpoints(folder, JOB)
    store.claim()
    store.recover()
    begun = store.outbox("sink").begin()
    folder.rename(tmp_path / "aside")
    for stage in (lambda: begun.append(b"x"), lambda: store.outbox("sink").begin()):
        with pytest.raises(CheckpointError, match=r"checkpoints: this folder is gone"):
            stage()
    assert not folder.exists()
