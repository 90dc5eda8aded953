"""The log of a cluster: what was acknowledged is there, once and in order, whoever leads and whatever gets lost."""

import errno
from collections.abc import Iterator
from itertools import product

import pytest

from streame.cluster.etcd.interface import Outcome, Transaction
from streame.core.failpoints import arm
from streame.errors import (
    CheckpointDamaged,
    CheckpointError,
    EtcdUnavailable,
    NotAccepted,
    Superseded,
    Unknown,
)
from streame.io.logged import RowLog
from streame.testing.memory_etcd import Fault, MemoryEtcd
from tests.cluster.log_place import SHORT, Place, filled, payloads, rows
from tests.cluster.worlds import World
from tests.storage.memory_bucket import MemoryBucket, Trouble


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    arm("")


@pytest.fixture
def place(world: World) -> Place:
    """The twin, and real etcds."""
    return Place(world.etcd, world.prefix)


def twin_of(place: Place) -> MemoryEtcd:
    assert isinstance(place.etcd, MemoryEtcd)
    return place.etcd


def test_records_last_and_positions_go_on_whoever_leads(place: Place) -> None:
    log: RowLog = place.opened()
    assert (log.first, log.next, log.length) == (0, 0, 0)
    assert list(log.read(0)) == []
    given: list[bytes] = []
    for leader in range(4):
        with place.opened() as led:
            assert rows(led) == list(enumerate(given))
            for number in range(3):
                given.append(b"leader %d: row %d" % (leader, number) if number else b"")
                assert led.append(given[-1]) == len(given) - 1
            assert rows(led) == list(enumerate(given))
            assert rows(led, 2) == list(enumerate(given))[2:]
            assert led.next == len(given)
        with pytest.raises(CheckpointError, match="is closed"):
            led.append(b"too late")
    again = place.opened(place.leader)
    assert rows(again) == list(enumerate(given))
    assert again.length == led.length == sum(map(len, place.bucket.objects.values()))


def test_an_old_leader_adds_nothing_and_is_told_so(place: Place) -> None:
    old = filled(place, b"a")
    new = place.opened()
    for _ in range(2):
        with pytest.raises(Superseded, match="another leader was elected"):
            old.append(b"of the old one")
    assert new.append(b"b") == 1
    with pytest.raises(Superseded):
        old.append(b"of the old one")
    assert rows(place.opened()) == [(0, b"a"), (1, b"b")]


def test_an_old_leader_is_told_of_the_epoch_of_the_new_one(place: Place) -> None:
    old = filled(place, b"a")
    new = filled(place, b"b")
    assert place.leader is not None
    with pytest.raises(Superseded, match=f"that of epoch {place.leader.epoch}, and this one, of epoch"):
        old.append(b"c")
    assert payloads(new) == [b"a", b"b"]


def test_a_leader_that_was_elected_between_segment_and_head(place: Place) -> None:
    old = filled(place, b"a")
    number = len(place.bucket.requests) + 1

    def elect(at: int, is_done: bool) -> None:
        if is_done and at == number:
            place.elect()

    place.bucket.watch = elect
    with pytest.raises(Superseded):
        old.append(b"litter")
    assert len(place.segments()) == 2
    new = place.opened(place.leader)
    assert len(place.segments()) == 1  # what the old one has left is gone
    assert new.append(b"b") == 1
    assert payloads(new) == payloads(place.opened()) == [b"a", b"b"]


def test_an_old_leader_removes_nothing(place: Place) -> None:
    old = filled(place, b"a", b"b", b"c")
    new = place.opened()
    with pytest.raises(Superseded):
        old.truncate_before(2)
    old.truncate_before(3)  # it is dead
    assert payloads(new) == [b"a", b"b", b"c"]
    assert len(place.segments()) == 3


def test_what_is_not_needed_is_removed_by_whole_segments_except_the_last(place: Place) -> None:
    log = filled(place, *(b"%d" % number for number in range(6)))
    names = place.segments()
    log.truncate_before(0)
    assert place.segments() == names
    log.truncate_before(4)
    assert (log.first, place.segments()) == (4, names[4:])
    assert rows(log) == rows(place.opened()) == [(4, b"4"), (5, b"5")]
    with pytest.raises(CheckpointError, match="has the records 4 up to 6, but reading is to go on at 3"):
        list(log.read(3))
    new = place.opened()
    new.truncate_before(6)
    assert (new.first, new.next, place.segments()) == (5, 6, names[5:])
    assert new.append(b"6") == 6
    new.truncate_before(6)
    assert rows(place.opened()) == [(6, b"6")]
    assert len(place.segments()) == 1


def test_segments_that_could_not_be_removed_are_removed_later() -> None:
    place = Place()
    log = place.opened(patience=SHORT)
    for number in range(6):
        log.append(b"%d" % number)
    place.bucket.troubles = [Trouble("remove", "", "before") for _ in range(1000)]
    log.truncate_before(2)
    assert len(place.segments()) == 6
    assert log.first == 2
    place.bucket.troubles.clear()
    log.truncate_before(3)
    assert len(place.segments()) == 3
    place.bucket.troubles = [Trouble("remove", "", "before") for _ in range(1000)]
    log.truncate_before(5)
    place.bucket.troubles.clear()
    assert rows(place.opened()) == [(5, b"5")]
    assert len(place.segments()) == 1


def test_a_leader_that_dies_before_it_removes_leaves_it_to_the_next_one() -> None:
    place = Place()
    filled(place, b"a", b"b", b"c")
    log = place.opened(place.leader)

    class Killed(BaseException):
        """The process ends here."""

    def killed(number: int, is_done: bool) -> None:
        if place.bucket.requests[-1][0] == "remove":
            raise Killed

    place.bucket.watch = killed
    with pytest.raises(Killed):
        log.truncate_before(3)
    place.bucket.watch = None
    assert len(place.segments()) == 3
    assert rows(place.opened()) == [(2, b"c")]
    assert len(place.segments()) == 1


def test_files_of_the_same_or_a_higher_epoch_and_of_strangers_are_never_litter() -> None:
    place = Place()
    leader = place.elect()
    strange = [f"{leader.epoch}-7.seg", f"{leader.epoch + 1}-1.seg", "notes.txt", "1-x.seg", "a/0-1.seg"]
    place.opened(leader)
    for name in (*strange, f"{leader.epoch - 1}-9.seg"):
        place.bucket.objects[f"wal/orders/{name}"] = b"?"
    place.opened(leader)
    assert place.segments() == sorted(strange)


def test_a_name_that_a_process_of_the_same_epoch_has_left_is_passed_over() -> None:
    place = Place()
    log = filled(place, b"a")
    arm("cluster.W1.after:error")
    with pytest.raises(CheckpointError):
        log.append(b"litter")
    again = place.opened(place.leader)
    assert again.append(b"b") == 1
    assert payloads(place.opened()) == [b"a", b"b"]


@pytest.mark.parametrize(("name", "last"), [("cluster.W1.after", [b"a"]), ("cluster.W2.after", [b"a", b"b"])])
def test_whoever_dies_on_the_way_has_acknowledged_nothing(place: Place, name: str, last: list[bytes]) -> None:
    log = filled(place, b"a")
    arm(f"{name}:error")
    with pytest.raises(CheckpointError, match="what was being written may be there or not"):
        log.append(b"b")
    with pytest.raises(CheckpointError, match="what was being written may be there or not"):
        log.append(b"c")
    assert payloads(place.opened()) == last
    assert payloads(place.opened()) == last


@pytest.mark.parametrize("faults", [*product(Fault, [None, *Fault], [None, *Fault])])
def test_a_head_whose_answer_is_lost_is_settled(faults: tuple[Fault | None, ...]) -> None:
    place = Place()
    log = filled(place, b"a")
    twin_of(place).lose_answers(*faults)
    assert log.append(b"b") == 1
    twin_of(place).lose_answers()
    twin_of(place).land()
    assert log.append(b"c") == 2
    assert payloads(log) == payloads(place.opened()) == [b"a", b"b", b"c"]


@pytest.mark.parametrize("fault", Fault)
def test_a_head_that_nobody_can_tell_about_ends_the_log(fault: Fault) -> None:
    place = Place()
    log = place.opened(settle_s=0.01)
    log.append(b"a")
    twin_of(place).lose_answers(fault, *([Fault.BEFORE] * 100_000))
    for _ in range(2):
        with pytest.raises(CheckpointError, match="what was being written may be there or not"):
            log.append(b"b")
    twin_of(place).lose_answers()
    twin_of(place).land()
    with pytest.raises(CheckpointError):
        log.append(b"c")
    with pytest.raises(CheckpointError):
        log.find_room(1)
    log.truncate_before(1)
    last = [b"a"] if fault is Fault.BEFORE else [b"a", b"b"]
    assert payloads(place.opened(place.leader)) == payloads(place.opened()) == last


def test_a_head_that_arrives_late_finds_another_leader() -> None:
    place = Place()
    log = place.opened(settle_s=0.01)
    log.append(b"a")
    twin_of(place).lose_answers(Fault.LATER, *([Fault.BEFORE] * 100_000))
    with pytest.raises(CheckpointError):
        log.append(b"litter")
    twin_of(place).lose_answers()
    new = place.opened()
    twin_of(place).land()
    assert new.append(b"b") == 1
    twin_of(place).land()
    assert payloads(new) == payloads(place.opened()) == [b"a", b"b"]


class Overtaken(MemoryEtcd):
    """Loses the answer to the next transaction, before which whoever asked again finds that somebody else has led."""

    place: Place | None = None

    def transact(self, transaction: Transaction, *, timeout_s: float | None = None) -> Outcome:
        outcome = super().transact(transaction)
        if (place := self.place) is not None:
            self.place = None
            filled(place, b"of the new one")
            raise Unknown("etcd: the answer was lost")
        return outcome


def test_whether_a_record_lasts_is_not_known_when_another_leader_came_before_the_answer() -> None:
    etcd = Overtaken()
    place = Place(etcd)
    log = filled(place, b"a")
    etcd.place = place
    with pytest.raises(Superseded, match="may be in the log or not"):
        log.append(b"b")
    assert payloads(place.opened()) == [b"a", b"b", b"of the new one"]


class Unreachable(MemoryEtcd):
    """An etcd that can be out of reach."""

    is_away = False

    def transact(self, transaction: Transaction, *, timeout_s: float | None = None) -> Outcome:
        if self.is_away:
            raise EtcdUnavailable("etcd: no endpoint answered in time")
        return super().transact(transaction)


@pytest.mark.parametrize("trouble", ["away", "full"])
def test_an_etcd_that_takes_nothing_leaves_nothing_behind(trouble: str) -> None:
    etcd = Unreachable()
    place = Place(etcd)
    log = filled(place, b"a", b"b", b"c")
    log.find_room(10)
    etcd.is_away, etcd.is_full = trouble == "away", trouble == "full"
    with pytest.raises(NotAccepted, match="takes nothing now: etcd"):
        log.append(b"d")
    with pytest.raises(NotAccepted):
        log.find_room(10)
    log.truncate_before(2)
    assert rows(log) == [(0, b"a"), (1, b"b"), (2, b"c")]
    etcd.is_away = etcd.is_full = False
    log.find_room(10)
    log.truncate_before(2)
    assert log.append(b"d") == 3
    assert payloads(log) == payloads(place.opened()) == [b"c", b"d"]
    assert len(place.segments()) == 2


class FullBucket(MemoryBucket):
    """A bucket on a disk that may be full."""

    is_full = False

    def create(self, name: str, data: bytes) -> None:
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().create(name, data)


def test_a_full_disk_leaves_nothing_behind_and_rows_are_taken_once_there_is_room() -> None:
    bucket = FullBucket()
    place = Place(bucket=bucket)
    log = filled(place, b"a")
    bucket.is_full = True
    for _ in range(2):
        with pytest.raises(NotAccepted, match=r"takes nothing now: .*No space left on device"):
            log.append(b"b")
        with pytest.raises(NotAccepted):
            log.find_room(10)
    bucket.is_full = False
    log.find_room(10)
    assert log.append(b"c") == 1
    assert payloads(log) == payloads(place.opened()) == [b"a", b"c"]
    assert len(place.segments()) == 2
    bucket.objects["wal/orders/room-left"] = b""
    place.opened()
    assert len(place.segments()) == 2


@pytest.mark.parametrize("elections", [1, 9], ids=["epochs before", "epochs behind"])
def test_a_head_that_has_gone_back_in_time_is_refused(elections: int) -> None:
    etcd = MemoryEtcd()
    place = Place(etcd)
    filled(place, b"a")
    backup, leader = etcd.copy(), place.leader
    place.elect()
    filled(place, b"b")
    filled(place, b"c")
    place.etcd, place.leader = backup, leader
    for _ in range(elections):
        place.elect()
    segments = place.segments()
    with pytest.raises(CheckpointDamaged, match="etcd has gone back in time"):
        place.opened(place.leader)
    assert place.segments() == segments


def test_a_late_leader_that_finds_segments_of_a_newer_one_is_told_so() -> None:
    place = Place()
    old = place.elect()
    filled(place, b"a")
    with pytest.raises(Superseded):
        place.opened(old)


def test_what_an_old_leader_has_written_and_not_sealed_is_removed() -> None:
    place = Place()
    old = filled(place, b"a")
    new = place.opened()
    with pytest.raises(Superseded):
        old.append(b"never")
    assert len(place.segments()) == 2
    new.append(b"b")
    assert payloads(place.opened()) == [b"a", b"b"]
    assert len(place.segments()) == 2


def test_a_store_that_takes_nothing_leaves_nothing_behind() -> None:
    place = Place()
    log = place.opened(patience=SHORT)
    log.append(b"a")
    place.bucket.troubles = [
        Trouble("create", "", "late"),
        *(Trouble(kind, "", "before") for kind in ("create", "read", "size") for _ in range(1000)),
    ]
    with pytest.raises(NotAccepted, match="takes nothing now: memory://bucket: writing"):
        log.append(b"b")
    with pytest.raises(NotAccepted):
        log.find_room(10)
    place.bucket.troubles.clear()
    place.bucket.land()
    assert len(place.segments()) == 2
    assert log.append(b"c") == 1
    assert payloads(log) == payloads(place.opened()) == [b"a", b"c"]
    assert len(place.segments()) == 2
