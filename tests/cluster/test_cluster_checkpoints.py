"""Checkpoints of a cluster on their own: parts of nodes, the pointer, old leaders, garbage, and small state in etcd."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from streame.cluster.checkpoint_files import garbage
from streame.cluster.checkpoints import ClusterCheckpoints, Place, refuse_earlier_etcd
from streame.cluster.etcd.election import Leadership, stand
from streame.cluster.frames import Attempt
from streame.cluster.part import may_pass
from streame.cluster.part_files import PartFiles, empty_manifest, read_part
from streame.cluster.shelf import STATE_BYTES_MAX, Shelf, ShelvedFiles
from streame.cluster.view import Keys, Pointer, decode
from streame.core.full_disk import is_full_disk
from streame.errors import CheckpointDamaged, CheckpointError, PlanError, StreameError, Superseded
from streame.runtime.part import Gathered, OperatorPart, TaskPart
from streame.state.checkpoint.manifest import StoredState
from streame.state.checkpoint.ownership import claim
from streame.state.checkpoint.spool import Spool
from streame.state.checkpoint.store import Draft
from streame.state.snapshot import Leaf, Snapshot
from streame.storage.disk import LocalDisk
from streame.storage.folder_bucket import FolderBucket
from streame.storage.objects import ObjectStore, Taken
from streame.testing.memory_etcd import Fault, MemoryEtcd
from tests.storage.memory_bucket import MemoryBucket

PLAN: dict[str, dict[str, str]] = {"operators": {}}


class Nodes:
    """A place, and leaders that were elected there one after the other."""

    def __init__(self) -> None:
        self.etcd, self.bucket = MemoryEtcd(), MemoryBucket()
        self.place = Place(ObjectStore(self.bucket), self.etcd, Keys("shop", "orders"), "orders")
        self.begun = count()

    def replace_etcd(self, etcd: MemoryEtcd) -> None:
        self.etcd = etcd
        self.place = replace(self.place, etcd=etcd)

    def look_back(self, won: Leadership) -> None:
        refuse_earlier_etcd(self.place, won, Attempt(won.epoch, 1), self.pointer()[0])

    def elect(self) -> Leadership:
        lease = self.etcd.grant(5)
        entry = self.etcd.get(self.place.keys.leader).entry
        if entry is not None:
            self.etcd.revoke(entry.lease)
        won = stand(self.etcd, self.place.keys.leader, b"%d" % next(self.begun), lease.id, timeout_s=1)
        assert won is not None
        return won

    def pointer(self) -> tuple[Pointer | None, int]:
        entry = self.etcd.get(self.place.keys.pointer).entry
        return (None, 0) if entry is None else (decode(Pointer, entry), entry.mod_revision)

    def store(self, won: Leadership, number: int = 1, shelved: tuple[str, ...] = ()) -> ClusterCheckpoints:
        pointer, revision = self.pointer()
        attempt = Attempt(won.epoch, number)
        return ClusterCheckpoints(self.place, won, attempt, pointer, revision, count(), shelved)


def state(*values: int) -> Snapshot:
    return Snapshot({"sums": {"$leaf": 0}}, [Leaf("/sums", np.array(values, np.int64))])


def draft(operators: Mapping[str, list[Snapshot | StoredState]]) -> Draft:
    return Draft(PLAN, operators, {"orders": {"done": False}}, {})


def sums(store: ClusterCheckpoints, instance: int = 0) -> list[int]:
    recovered = store.recover()
    assert recovered is not None
    found: list[int] = recovered.instances("sum")[instance].values()["sums"].tolist()
    return found


@pytest.fixture
def nodes() -> Nodes:
    return Nodes()


def test_what_a_leader_decides_the_next_one_finds(nodes: Nodes) -> None:
    store = nodes.store(nodes.elect())
    assert store.recover() is None
    for number in (1, 2, 3):
        assert store.write(draft({"sum": [state(number, 7)]})).number == number
        store.published(number)
    assert sums(nodes.store(nodes.elect())) == [3, 7]


def test_a_pack_that_is_missing_is_damage(nodes: Nodes) -> None:
    store = nodes.store(nodes.elect())
    store.write(draft({"sum": [state(1, 7)]}))
    (pack,) = (name for name in nodes.bucket.names("c") if name.endswith(".pack"))
    nodes.bucket.remove([pack])
    with pytest.raises(CheckpointDamaged, match=rf"{pack}: it is not there.*restore the file"):
        sums(nodes.store(nodes.elect()))


def test_an_old_leader_decides_nothing_and_takes_nothing_away(nodes: Nodes) -> None:
    old = nodes.store(nodes.elect())
    old.recover()
    old.write(draft({"sum": [state(1)]}))
    new = nodes.store(nodes.elect())
    assert sums(new) == [1]
    with pytest.raises(Superseded, match="another node leads since"):
        old.write(draft({"sum": [state(9)]}))
    new.write(draft({"sum": [state(2)]}))
    before = nodes.bucket.names("c")
    old.collect_garbage()
    assert nodes.bucket.names("c") == before
    assert sums(nodes.store(nodes.elect())) == [2]


@pytest.mark.parametrize("fault", list(Fault))
def test_a_decision_without_an_answer_is_settled_by_reading(nodes: Nodes, fault: Fault) -> None:
    store = nodes.store(nodes.elect())
    store.recover()
    nodes.etcd.lose_answers(fault)
    store.write(draft({"sum": [state(1)]}))
    store.write(draft({"sum": [state(2)]}))
    assert sums(nodes.store(nodes.elect())) == [2]


def test_a_full_etcd_is_a_full_disk_and_the_same_checkpoint_can_be_tried_again(nodes: Nodes) -> None:
    store, same = nodes.store(nodes.elect()), draft({"sum": [state(1)]})
    store.recover()
    nodes.etcd.is_full = True
    with pytest.raises(OSError, match="database space exceeded") as failure:
        store.write(same)
    assert is_full_disk(failure.value)
    nodes.etcd.is_full = False
    assert store.write(same).number == 1
    assert sums(nodes.store(nodes.elect())) == [1]


def test_parts_that_nodes_have_written_become_a_checkpoint(nodes: Nodes) -> None:
    won = nodes.elect()
    store, shelf = nodes.store(won), nodes.place.shelf
    store.recover()
    instances = {"sum": 3}
    files = [
        PartFiles(nodes.place.store, "orders", Attempt(won.epoch, 1), place, instances, None, shelf, ())
        for place in (1, 2)
    ]
    owned = ((0, 2), (1,))
    for number in (1, 2, 3):
        states: list[Snapshot | StoredState] = [state()] * 3
        for writing, mine in zip(files, owned, strict=True):
            parts = [
                TaskPart(f"sum/{each}", [OperatorPart("sum", each, state(each, 5 if each else number))])
                for each in mine
            ]
            read = read_part(nodes.place.store, number, writing.write(Gathered(number, parts[1:], parts[:1])))
            assert [part.task for part in (*read.ended, *read.reached)] == [part.task for part in parts]
            for part in (*read.reached, *read.ended):
                for each in part.operators:
                    states[each.instance] = each.snapshot
        store.write(draft({"sum": states}))
        store.collect_garbage()
    found = nodes.store(nodes.elect())
    assert [sums(found, each) for each in range(3)] == [[0, 3], [1, 5], [2, 5]]


def test_what_has_not_changed_is_not_written_again(nodes: Nodes) -> None:
    won = nodes.elect()
    files = PartFiles(
        nodes.place.store, "orders", Attempt(won.epoch, 1), 1, {"sum": 2}, None, nodes.place.shelf, ()
    )
    part = TaskPart("sum/1", [OperatorPart("sum", 1, state(*range(1000)))])
    for number in (1, 2):
        files.write(Gathered(number, [part], []))
    assert [name for name in nodes.bucket.names("c") if name.endswith(".pack")] == [
        f"c/1/{won.epoch}.1/1.0.pack"
    ]


def test_a_part_that_is_not_what_was_written_is_refused(nodes: Nodes) -> None:
    won = nodes.elect()
    files = PartFiles(
        nodes.place.store, "orders", Attempt(won.epoch, 1), 1, {"sum": 1}, None, nodes.place.shelf, ()
    )
    file = files.write(Gathered(1, [TaskPart("sum/0", [OperatorPart("sum", 0, state(1))])], []))
    content = nodes.bucket.objects[file.path]
    nodes.bucket.objects[file.path] = content[:-1] + b"0"
    with pytest.raises(CheckpointError, match="is not what its node has written"):
        read_part(nodes.place.store, 1, file)


@pytest.mark.parametrize("harm", ["changed", "gone"])
def test_a_manifest_that_is_not_the_decided_one_stops_the_job(nodes: Nodes, harm: str) -> None:
    store = nodes.store(nodes.elect())
    store.recover()
    store.write(draft({"sum": [state(1)]}))
    (name,) = [name for name in nodes.bucket.names("c") if name.endswith("MANIFEST")]
    if harm == "gone":
        del nodes.bucket.objects[name]
    else:
        nodes.bucket.objects[name] = nodes.bucket.objects[name].replace(b"orders", b"0rders")
    with pytest.raises(CheckpointDamaged, match="the manifest of checkpoint 1"):
        nodes.store(nodes.elect()).recover()


@pytest.mark.parametrize("elections", [1, 9], ids=["epoch of a leader that was", "epoch after it"])
def test_an_etcd_that_was_restored_from_a_backup_is_refused(nodes: Nodes, elections: int) -> None:
    first = nodes.store(nodes.elect())
    first.recover()
    first.write(draft({"sum": [state(1)]}))
    backup = nodes.etcd.copy()
    second = nodes.store(nodes.elect())
    second.recover()
    for number in (2, 3):
        second.write(draft({"sum": [state(number)]}))
    nodes.replace_etcd(backup)
    for _ in range(elections):
        won = nodes.elect()
    with pytest.raises(CheckpointDamaged, match=r"etcd has gone back in time.*manifest of checkpoint 3"):
        nodes.look_back(won)


def test_another_etcd_does_not_begin_anew_over_old_checkpoints(nodes: Nodes) -> None:
    store = nodes.store(nodes.elect())
    store.recover()
    for number in (1, 2):
        store.write(draft({"sum": [state(number)]}))
    nodes.replace_etcd(MemoryEtcd())
    for _ in range(9):
        won = nodes.elect()
    with pytest.raises(CheckpointDamaged, match="for etcd the last checkpoint is none"):
        nodes.look_back(won)


def test_a_manifest_that_was_not_decided_is_no_reason_to_stop(nodes: Nodes) -> None:
    old = nodes.store(nodes.elect())
    old.recover()
    old.write(draft({"sum": [state(1)]}))
    won = nodes.elect()
    with pytest.raises(Superseded):
        old.write(draft({"sum": [state(9)]}))
    assert any(name.startswith("c/2/") for name in nodes.bucket.names("c"))
    nodes.look_back(won)
    assert sums(nodes.store(won)) == [1]


def test_a_late_leader_that_finds_newer_checkpoints_follows(nodes: Nodes) -> None:
    late = nodes.elect()
    new = nodes.store(nodes.elect())
    new.recover()
    new.write(draft({"sum": [state(1)]}))
    with pytest.raises(Superseded, match="another node leads"):
        nodes.look_back(late)


def test_two_clusters_and_a_single_process_do_not_share_a_place(nodes: Nodes, tmp_path: Path) -> None:
    nodes.place.settle("first")
    for keys in (Keys("other", "orders"), Keys("shop", "more")):
        other = replace(nodes.place, keys=keys, job=keys.job, etcd=MemoryEtcd())
        with pytest.raises(
            CheckpointError, match="are the checkpoints of job 'orders in cluster shop', not of"
        ):
            other.settle("second")
    place = replace(nodes.place, store=ObjectStore(FolderBucket(tmp_path)), etcd=MemoryEtcd())
    place.settle("third")
    with pytest.raises(
        CheckpointError, match="are the checkpoints of job 'orders in cluster shop', not of 'orders'"
    ):
        claim(LocalDisk(tmp_path), "orders", str(tmp_path))


def test_a_node_that_looks_into_another_place_than_the_others_is_refused(nodes: Nodes) -> None:
    nodes.place.settle("first")
    nodes.place.settle("second")
    alone = replace(nodes.place, store=ObjectStore(MemoryBucket()))
    with pytest.raises(CheckpointError, match="this is not where the checkpoints of job 'orders' were begun"):
        alone.settle("third")
    nodes.place.settle("fourth")
    assert nodes.bucket.names("place") == ["place/first"]


def test_old_files_go_and_the_last_three_checkpoints_stay(nodes: Nodes) -> None:
    store = nodes.store(nodes.elect())
    store.recover()
    for number in range(1, 20):
        store.write(draft({"sum": [state(number)]}))
        store.published(number)
        store.collect_garbage()
    numbers = {int(name.split("/")[1]) for name in nodes.bucket.names("c")}
    assert numbers == {17, 18, 19}
    assert sums(nodes.store(nodes.elect())) == [19]


PATHS = [
    "c/3/7.1/0.0.pack", "c/3/7.1/1.part", "c/3/8.9/2.part", "c/5/7.1/1.part", "out/3/7.sink.0.out", "out/3/8.sink.0.out",
    "wal/orders/7-1.seg", "FORMAT", "etcd/c/3/7.1/1.0.pack", "c/3/notes.txt",
]  # fmt: skip


def test_only_what_an_older_attempt_or_this_one_wrote_up_to_the_last_checkpoint_is_garbage() -> None:
    kept = {4: empty_manifest("orders")}
    found = garbage(PATHS, Attempt(7, 1), 4, kept, {"c/3/7.1/1.part"})
    assert found == ["c/3/7.1/0.0.pack", "out/3/7.sink.0.out", "etcd/c/3/7.1/1.0.pack"]


def test_small_state_is_in_etcd_and_comes_back_from_there(nodes: Nodes) -> None:
    store = nodes.store(nodes.elect(), shelved=("sum",))
    store.recover()
    for number in range(1, 8):
        store.write(draft({"sum": [state(number)], "other": [state(8)]}))
        store.collect_garbage()
    assert len(nodes.place.shelf.names()) == 3
    assert not any("sum" in str(data) for data in nodes.bucket.objects.values() if b"pack" in data[:20])
    assert sums(nodes.store(nodes.elect(), shelved=("sum",))) == [7]
    assert sums(nodes.store(nodes.elect())) == [7], "also when it is not asked for any more"


def test_state_that_is_too_large_for_etcd_is_refused(nodes: Nodes) -> None:
    store = nodes.store(nodes.elect(), shelved=("sum", "more"))
    store.recover()
    half = state(*range(STATE_BYTES_MAX // 8 * 2 // 3))
    store.write(draft({"sum": [half]}))
    with pytest.raises(StreameError, match="a job may have 262,144 in etcd; leave out state=") as error:
        store.write(draft({"sum": [half], "more": [state(*range(9, STATE_BYTES_MAX // 8 * 2 // 3))]}))
    assert not isinstance(error.value, PlanError), "rows were read"
    assert not may_pass(error.value, is_stopping=False)


@pytest.mark.parametrize("fault", list(Fault))
def test_an_object_in_etcd_is_made_once(fault: Fault) -> None:
    etcd = MemoryEtcd()
    shelf = Shelf(etcd, "shop", "orders")
    etcd.lose_answers(fault)
    shelf.put_new("etcd/c/1/2.1/0.0.pack", b"one")
    shelf.put_new("etcd/c/1/2.1/0.0.pack", b"one")
    with pytest.raises(Taken):
        shelf.put_new("etcd/c/1/2.1/0.0.pack", b"two")
    files = ShelvedFiles(Spool(ObjectStore(MemoryBucket())), shelf)
    assert (files.read("etcd/c/1/2.1/0.0.pack", 1, 1), files.size("etcd/c/1/2.1/0.0.pack")) == (b"n", 3)
    assert files.size("etcd/none") is None
