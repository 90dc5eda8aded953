"""A log of a cluster that is not what was written: loud when the head leads there, and never taken for a takeover."""

from collections.abc import Callable

import msgspec
import pytest

from streame.cluster.etcd.interface import Compare, Delete, Field, Transaction
from streame.cluster.log_head import Head
from streame.errors import CheckpointDamaged, CheckpointError, Superseded
from tests.cluster.log_place import FOLDER, Place, filled, payloads
from tests.cluster.worlds import put

RECORDS = (b"first", b"second", b"")


def damaged(change: Callable[[bytes], bytes], segment: int) -> None:
    """Both whoever opens the log and whoever has it open must say so."""
    place = Place()
    log = filled(place, *RECORDS)
    path = f"{FOLDER}/{place.segments()[segment]}"
    whole = place.bucket.objects[path]
    place.bucket.objects[path] = change(whole)
    for reading in (lambda: list(log.read(0)), lambda: place.opened(place.leader), place.opened):
        with pytest.raises(CheckpointDamaged, match=f"memory://bucket/{path}: damaged: "):
            reading()
    place.bucket.objects[path] = whole
    assert payloads(log) == payloads(place.opened()) == [*RECORDS]


@pytest.mark.parametrize("segment", range(len(RECORDS)))
def test_every_byte_of_a_segment_is_looked_at(segment: int) -> None:
    place = Place()
    filled(place, *RECORDS)
    length = len(place.bucket.objects[f"{FOLDER}/{place.segments()[segment]}"])
    for at in range(length):
        damaged(lambda whole, at=at: whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], segment)  # type: ignore[misc]


@pytest.mark.parametrize("segment", range(len(RECORDS)))
def test_a_segment_that_is_shorter_or_longer(segment: int) -> None:
    for length in range(1, 60):
        damaged(lambda whole, length=length: whole[:-length], segment)  # type: ignore[misc]
        damaged(lambda whole, length=length: whole + bytes(length), segment)  # type: ignore[misc]
    damaged(lambda _: b"", segment)


def test_a_segment_that_is_gone() -> None:
    place = Place()
    log = filled(place, *RECORDS)
    for name in place.segments():
        whole = place.bucket.objects.pop(f"{FOLDER}/{name}")
        with pytest.raises(CheckpointDamaged, match=f"{name}: damaged: it is gone"):
            place.opened(place.leader)
        with pytest.raises(CheckpointDamaged, match=f"{name}: damaged: it is gone"):
            list(log.read(0))
        place.bucket.objects[f"{FOLDER}/{name}"] = whole
    assert payloads(log) == [*RECORDS]


def test_a_whole_segment_at_the_place_of_another() -> None:
    place = Place()
    filled(place, *RECORDS)
    first, second, _ = (f"{FOLDER}/{name}" for name in place.segments())
    place.bucket.objects[second] = place.bucket.objects[first]
    with pytest.raises(CheckpointDamaged, match="it is whole, but not the segment that was written there"):
        place.opened()


def test_a_segment_of_another_log_at_its_place() -> None:
    place, other = Place(), Place()
    filled(place, *RECORDS)
    filled(other, *RECORDS)
    assert place.segments() == other.segments()
    name = f"{FOLDER}/{place.segments()[-1]}"
    place.bucket.objects[name] = other.bucket.objects[name]
    with pytest.raises(CheckpointDamaged, match="it is whole, but not"):
        place.opened()


def test_a_log_without_its_head() -> None:
    place = Place()
    filled(place, b"a")
    deleting = Transaction((Compare(place.head_key, Field.VERSION, 2),), (Delete(place.head_key),))
    assert place.etcd.transact(deleting).succeeded
    with pytest.raises(CheckpointDamaged, match="has segments, but etcd has no key /job/wal/orders/head"):
        place.opened()
    place.bucket.objects.clear()
    assert place.opened().append(b"anew") == 0


def test_a_head_that_is_none() -> None:
    place = Place()
    filled(place, b"a")
    for value in (b"", b"{}x", b'{"next": "many"}', b"\xff"):
        put(place.etcd, place.head_key, value)
        with pytest.raises(CheckpointDamaged, match="/job/wal/orders/head is no head of a log"):
            place.opened()


def test_a_head_that_does_not_fit_the_segments() -> None:
    place = Place()
    filled(place, b"a", b"b")
    entry = place.etcd.get(place.head_key).entry
    assert entry is not None
    head = msgspec.json.decode(entry.value, type=Head)
    for wrong, says in (
        (msgspec.structs.replace(head, next=5), "its records end before 2, but the next one is 5"),
        (msgspec.structs.replace(head, last=None), "begins with record 2, but 0 is the oldest"),
    ):
        put(place.etcd, place.head_key, msgspec.json.encode(wrong))
        with pytest.raises(CheckpointDamaged, match=says):
            place.opened()


def test_what_a_newer_version_has_written(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place()
    monkeypatch.setattr("streame.storage.segment.FORMAT_VERSION", 2)
    filled(place, b"a")
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="has format 2, and this version reads 1; use the version"):
        place.opened()
    put(place.etcd, place.head_key, msgspec.json.encode(Head(format=2)))
    with pytest.raises(CheckpointError, match="has format 2, and this version reads 1; use the version"):
        place.opened()


def test_an_old_leader_does_not_take_what_the_new_one_removes_for_damage() -> None:
    place = Place()
    old = filled(place, b"a", b"b", b"c")
    new = place.opened()
    new.append(b"d")
    new.truncate_before(3)
    with pytest.raises(Superseded):
        list(old.read(0))


def test_an_old_leader_that_opens_the_log_late() -> None:
    place = Place()
    filled(place, b"a", b"b")
    leader = place.elect()
    new = filled(place, b"c")
    with pytest.raises(Superseded):
        place.opened(leader)
    assert payloads(new) == [b"a", b"b", b"c"]


def test_segments_that_are_removed_while_an_old_leader_opens_the_log() -> None:
    place = Place()
    filled(place, b"a", b"b", b"c")
    leader = place.elect()

    def overtake(number: int, is_done: bool) -> None:
        place.bucket.watch = None
        filled(place, b"d").truncate_before(3)

    place.bucket.watch = overtake
    with pytest.raises(Superseded):
        place.opened(leader)
    assert payloads(place.opened()) == [b"d"]
