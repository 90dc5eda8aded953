"""Checkpoints on an object store: what is written, read, kept and refused; in memory and on a real server."""

from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import polars as pl
import pytest

from streame.core.staging import Staged
from streame.errors import CheckpointDamaged, CheckpointError, Superseded
from streame.state.checkpoint import object_outbox, object_packs, spool
from streame.state.checkpoint.inspection import list_checkpoints, read_checkpoint, verify_checkpoints
from streame.state.checkpoint.local import LocalCheckpoints
from streame.state.checkpoint.manifest import Manifest
from streame.state.checkpoint.object_recovery import read_objects
from streame.state.checkpoint.object_saving import make_savepoint_of_objects
from streame.state.checkpoint.objects import ObjectCheckpoints, checkpoints_on_s3
from streame.state.checkpoint.owned import Owned, encode_owned, kept_from, repeated
from streame.state.checkpoint.store import Draft
from streame.state.snapshot import Leaf, Snapshot, plain_values
from streame.storage.bucket import Bucket
from streame.storage.folder_bucket import FolderBucket
from streame.storage.objects import ObjectStore, Patience
from streame.storage.s3 import S3Bucket
from tests.storage.conftest import environment
from tests.storage.memory_bucket import MemoryBucket
from tests.storage.object_job import JOB, OPERATOR, QUICK, SINK, Process, World, run_a_job
from tests.storage.s3_server import Fault, S3Server


@pytest.fixture(params=["memory", "folder", "s3"])
def bucket(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bucket:
    """An empty bucket of each kind."""
    if request.param == "s3":
        s3: Bucket = request.getfixturevalue("s3")
        return s3
    return MemoryBucket() if request.param == "memory" else FolderBucket(tmp_path_factory.mktemp("bucket"))


def test_runs_one_after_the_other_go_on(bucket: Bucket) -> None:
    world = World(bucket, 3)
    for records in (3, 3, 5, 12):
        world.records = records
        Process(world, f"until {records}", step=2).run()
        world.assert_complete()
    names = bucket.names("")
    assert [name for name in names if name.startswith("epoch/")] == [f"epoch/{each}" for each in range(1, 5)]
    assert len([name for name in names if name.startswith("m/")]) == 3
    assert len([name for name in names if name.startswith("state/")]) <= 4


def test_a_run_that_is_superseded_says_by_whom(bucket: Bucket) -> None:
    world = World(bucket, 10)
    first, second = Process(world, "first"), Process(world, "second")
    first.begin()
    first.checkpoint()
    second.begin()
    with pytest.raises(Superseded, match=r"another process owns these checkpoints now .*this job stops"):
        first.checkpoint()
    with pytest.raises(Superseded, match="another process owns"):
        first.checkpoint()
    second.checkpoint()
    third = Process(world, "third")
    third.checkpoints.claim()
    fourth = Process(world, "fourth")
    fourth.begin()
    with pytest.raises(Superseded, match="fourth owns these checkpoints now"):
        third.checkpoints.recover()
    second.checkpoints.release()


def state(**leaves: Any) -> Snapshot:
    """A snapshot with these large parts."""
    tree = {name: {"$leaf": number} for number, name in enumerate(leaves)}
    return Snapshot(tree, [Leaf(f"/{name}", data) for name, data in leaves.items()])


def checkpoints_of(bucket: Bucket, owner: str, scratch: Path | None = None) -> ObjectCheckpoints:
    """The checkpoints of the job as an owner has them."""
    return ObjectCheckpoints(ObjectStore(bucket, QUICK), JOB, owner, scratch)


def test_large_states_and_outputs_are_cut_into_objects(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for module in (object_packs, object_outbox):
        monkeypatch.setattr(module, "OBJECT_BYTES_MAX", 1_500_000)
    monkeypatch.setattr(spool, "READ_BYTES", 300_000)
    array, small = np.arange(400_000), np.arange(10)
    frame = pl.DataFrame({"text": [f"row {number}" for number in range(100_000)]})
    first = checkpoints_of(bucket, "first", tmp_path)
    first.claim()
    assert first.recover() is None
    file = first.outbox(SINK).begin()
    content = bytes(range(256)) * 9_000
    file.append(content[:1000])
    file.append(content[1000:])
    piece = file.finish()
    assert len(piece) == 2
    operators = {OPERATOR: [state(array=array, frame=frame), state(array=small)]}
    written = first.write(Draft({}, operators, {}, {SINK: Staged([piece])}))
    assert written.state_bytes >= array.nbytes
    packs = bucket.names("state")
    assert len(packs) >= 4
    assert all((bucket.size(name) or 0) <= 1_500_000 for name in packs)
    first.published(written.number)
    array[70_000] = -1
    again = first.write(Draft({}, operators, {}, {SINK: Staged([])}))
    assert again.written_bytes < 600_000
    first.published(again.number)
    first.collect_garbage()
    first.release()

    second = checkpoints_of(bucket, "second", tmp_path)
    second.claim()
    recovered = second.recover()
    assert recovered is not None
    states = recovered.instances(OPERATOR)
    np.testing.assert_array_equal(states[0].values()["array"], array)
    assert states[0].values()["frame"].equals(frame)
    np.testing.assert_array_equal(states[1].values()["array"], small)
    pieces = [piece for decided in recovered.decided[SINK] for piece in decided.staged.pieces]
    assert b"".join(second.outbox(SINK).read(pieces[0])) == content
    # What was fetched is read from this machine; afterwards from the store.
    before = list(tmp_path.iterdir())
    assert len(before) == 1
    second.release()
    assert not list(tmp_path.iterdir())
    np.testing.assert_array_equal(states[0].values()["array"], array)


def test_output_that_is_given_up_is_deleted(bucket: Bucket) -> None:
    world = World(bucket, 4)
    process = Process(world, "first")
    process.begin()
    unfinished, given_up, kept = (process.outbox.begin() for _ in range(3))
    for file in (unfinished, given_up, kept):
        file.append(b"1\n")
    piece = kept.finish()
    given_up.finish()
    given_up.discard()
    unfinished.discard()
    process.checkpoint()
    assert len(bucket.names("out")) == 2
    assert b"".join(process.outbox.read(piece)) == b"1\n"  # a later checkpoint may refer to it
    process.checkpoints.release()


def test_an_append_that_fails_has_not_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    process = Process(World(MemoryBucket(), 1), "first")
    process.begin()
    file: Any = process.outbox.begin()
    file.append(b"before ")

    class Full:
        def __init__(self, file: Any) -> None:
            self.file, self.left = file, 3

        def write(self, data: memoryview) -> int:
            if not self.left:
                raise OSError(28, "no space left on device")
            written: int = self.file.write(data[: self.left])
            self.left -= written
            return written

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    monkeypatch.setattr(file, "_file", Full(file._file))
    with pytest.raises(OSError, match="no space"):
        file.append(b"lost for now")
    monkeypatch.undo()
    file.append(b"after")
    assert b"".join(process.outbox.read(file.finish())) == b"before after"


@pytest.mark.parametrize(
    ("repeats", "highest", "kept", "lowest"),
    [
        ([], 0, 3, 0),
        ([(5, False), (4, False), (3, False), (2, False)], 5, 3, 3),
        ([(5, True), (4, True), (3, False), (2, True), (1, False)], 5, 1, 3),
        ([(5, True), (4, True), (3, False), (2, True), (1, False)], 5, 2, 1),
        ([(number, True) for number in range(100, 0, -1)], 100, 3, 51),
    ],
)
def test_what_is_kept(repeats: list[tuple[int, bool]], highest: int, kept: int, lowest: int) -> None:
    assert kept_from(repeats, highest, kept) == lowest


def test_many_starts_in_a_row_lose_no_checkpoint(bucket: Bucket) -> None:
    world = World(bucket, 3)
    Process(world, "first").run()
    for number in range(6):
        process = Process(world, f"start {number}")
        process.begin()
        assert process.state.last == 3
        process.checkpoints.release()
    found = read_objects(ObjectStore(bucket, QUICK), JOB)
    assert sum(not owned.repeats for owned in found.manifests.values()) == 3
    world.records = 8
    Process(world, "last").run()
    world.assert_complete()
    assert len(bucket.names("m")) == 3


def test_places_of_others_are_refused(bucket: Bucket) -> None:
    run_a_job(bucket, 2)
    other = ObjectCheckpoints(ObjectStore(bucket, QUICK), "another", "owner")
    with pytest.raises(CheckpointError, match="these are the checkpoints of job 'copying', not of 'another'"):
        other.claim()


def test_a_store_that_overwrites_is_refused() -> None:
    class Overwriting(MemoryBucket):
        def create(self, name: str, data: bytes) -> None:
            self.objects[name] = data

    process = Process(World(Overwriting(), 1), "first")
    with pytest.raises(CheckpointError, match="does not honour If-None-Match"):
        process.begin()


def test_looking_changes_nothing(bucket: Bucket) -> None:
    store = ObjectStore(bucket, QUICK)
    with pytest.raises(CheckpointError, match="there are no checkpoints: it is not a folder"):
        list_checkpoints(store)
    run_a_job(bucket, 4)
    before = {name: bucket.read(name) for name in bucket.names("")}
    job, listed = list_checkpoints(store)
    assert (job, [each.number for each in listed]) == (JOB, [3, 4, 5])
    assert all(each.problem is None and each.state_bytes for each in listed)
    assert isinstance(read_checkpoint(store, 4), Manifest)
    assert [verdict.problems for verdict in verify_checkpoints(store)] == [[], [], []] or all(
        not verdict.problems for verdict in verify_checkpoints(store)
    )
    assert {name: bucket.read(name) for name in bucket.names("")} == before


def _begin_elsewhere(bucket: Bucket, folder: Path, number: int) -> None:
    """A job begins from the savepoint in another bucket, and goes on as any other, whoever takes over."""
    elsewhere = MemoryBucket()
    world = World(elsewhere, 9, sink=[1, 2, 3, 4], marker=number, acknowledged=4)
    for owner, records in (("first", 6), ("second", 9)):
        world.records = records
        process = Process(world, owner, savepoint=folder)
        process.begin()
        assert process.state.last >= 4
        assert process.goes_on_from_here()
        world.assert_complete()
    assert min(world.published) > number
    world.records = 10
    with pytest.raises(CheckpointError, match="there is no savepoint"):
        Process(world, "nobody", savepoint=folder / "removed since").begin()
    Process(world, "third", savepoint=folder).run()
    world.assert_complete()
    with pytest.raises(CheckpointError, match="savepoint of job 'copying', not of 'another'"):
        ObjectCheckpoints(ObjectStore(MemoryBucket()), "another", "x", savepoint=folder).claim()
    begun = MemoryBucket()
    plain = Process(World(begun, 9), "plain")
    plain.checkpoints.claim()
    late = Process(World(begun, 9), "late", savepoint=folder)
    with pytest.raises(CheckpointError, match="has begun there already, without this savepoint"):
        late.begin()


def test_a_savepoint_is_a_folder_to_start_from(bucket: Bucket, tmp_path: Path) -> None:
    run_a_job(bucket, 4)
    number = make_savepoint_of_objects(ObjectStore(bucket, QUICK), tmp_path / "savepoint")
    local = LocalCheckpoints(tmp_path / "savepoint", JOB)
    local.claim()
    recovered = local.recover()
    assert recovered is not None
    assert (recovered.number, recovered.settings["last"]) == (number, 4)
    assert plain_values(recovered.instances(OPERATOR)[0].values(), lambda _: np.empty(0))["last"] == 4
    local.release()
    _begin_elsewhere(bucket, tmp_path / "savepoint", number)
    with pytest.raises(CheckpointError, match="there is something already"):
        make_savepoint_of_objects(ObjectStore(bucket, QUICK), tmp_path / "savepoint")
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        make_savepoint_of_objects(ObjectStore(MemoryBucket(), QUICK), tmp_path / "other")


def test_a_server_that_is_killed_and_comes_back(s3: S3Bucket, s3_server: S3Server) -> None:
    world = World(s3, 6)
    first = Process(world, "first", patience=Patience(0.5, 0.01))
    first.begin()
    first.checkpoint()
    s3_server.kill()
    started = monotonic()
    with pytest.raises(CheckpointError, match=r"no answer for 0\.5 seconds .* start the job again"):
        first.checkpoint()
    assert monotonic() - started < 10
    with pytest.raises(CheckpointError, match="no answer"):
        Process(world, "second", patience=Patience(0.1, 0.01)).begin()
    s3_server.start()
    Process(world, "third").run()
    world.assert_complete()


def test_a_server_that_comes_back_in_time_is_waited_for(s3: S3Bucket, s3_server: S3Server) -> None:
    """Its silence is one of a few requests here; how long it lasts is a matter of patience."""
    world = World(s3, 6)
    process = Process(world, "first")
    process.begin()
    process.checkpoint()
    s3_server.misbehave(
        Fault("PUT", "/out/", carried_out=True, answer=0),
        Fault("PUT", "/state/", carried_out=False, answer=503),
        Fault("PUT", "/state/", carried_out=False, answer=409),
        Fault("PUT", "/m/", carried_out=True, answer=500),
        Fault("GET", "/m/", carried_out=False, answer=503),
        Fault("DELETE", "/state/", carried_out=True, answer=0),
    )
    assert process.goes_on_from_here()
    world.assert_complete()


def test_the_door(s3: S3Bucket, s3_server: S3Server) -> None:
    mine = checkpoints_on_s3(s3.where, JOB, environment(s3_server))
    mine.claim()
    assert mine.recover() is None
    another = checkpoints_on_s3(s3.where, JOB, environment(s3_server))
    another.claim()
    assert another.recover() is None
    with pytest.raises(Superseded):
        mine.write(Draft({}, {}, {}, {}))
    assert another.write(Draft({}, {}, {}, {})).number == 3


def test_two_owners_never_write_the_same_bytes() -> None:
    one = repeated(None, 1, 1, "one", JOB)
    assert encode_owned(one) != encode_owned(replace(one, owner="another"))
    assert isinstance(one, Owned)


def test_a_store_whose_manifests_were_lost_is_not_begun_anew(bucket: Bucket) -> None:
    first = checkpoints_of(bucket, "first")
    first.claim()
    first.recover()
    first.write(Draft({"operators": {}}, {}, {}, {"sink": Staged([{"rows": 1}], 1)}))
    store = ObjectStore(bucket)
    store.delete(store.names("m"))
    second = checkpoints_of(bucket, "second")
    second.claim()
    with pytest.raises(CheckpointDamaged, match="all checkpoints are gone: SHOWN says"):
        second.recover()
