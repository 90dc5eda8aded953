"""Leaders of a log that come at any moment, old ones that go on, and answers that get lost: a state machine, and a job's source."""

from collections.abc import Iterator, Sequence
from contextlib import suppress

import polars as pl
import pytest
from hypothesis import settings
from hypothesis import strategies as hs
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streame.cluster.log import ClusterLog
from streame.core.failpoints import arm
from streame.errors import CheckpointError, NotAccepted, NotLeader, Superseded
from streame.io.durable_queue import Queue
from streame.io.logged import LoggedSource
from streame.io.queues import QueueSource
from streame.io.source import Chunk, Offset
from streame.testing.memory_etcd import Fault, MemoryEtcd
from tests.cluster.log_place import SHORT, Place, filled, rows
from tests.io.test_durable_queue import Putting
from tests.storage.memory_bucket import Trouble

SCHEMA = pl.Schema({"a": pl.Int64})
LEADERS_MAX = 4
FAULTS = hs.lists(hs.none() | hs.sampled_from(Fault), max_size=4)
HOPELESS = (Fault.BEFORE,) * 10_000


class Leaders(RuleBasedStateMachine):
    """Any number of processes that each believe that they lead. `lasting` is what was acknowledged, by position."""

    def __init__(self) -> None:
        super().__init__()
        self.etcd = MemoryEtcd()
        self.place = Place(self.etcd)
        self.logs: list[ClusterLog] = []
        self.count = 0
        self.lasting: dict[int, bytes] = {}
        self.refused: set[bytes] = set()
        self.needed = 0

    def record(self) -> bytes:
        self.count += 1
        return b"row %d" % self.count

    def append(self, log: ClusterLog) -> None:
        """A record that is acknowledged has a position of its own; one that is not accepted is nowhere."""
        record = self.record()
        try:
            position = log.append(record)
        except NotAccepted:
            self.refused.add(record)
        except CheckpointError:
            pass  # nobody knows
        else:
            assert position not in self.lasting
            self.lasting[position] = record

    @rule()
    @precondition(lambda self: len(self.logs) < LEADERS_MAX)
    def elect(self) -> None:
        self.logs.append(self.place.opened(patience=SHORT, settle_s=0.002))

    @rule()
    @precondition(lambda self: self.logs)
    def open_again(self) -> None:
        self.logs[-1] = self.place.opened(self.place.leader, SHORT, settle_s=0.002)

    @rule(data=hs.data(), faults=FAULTS, hopeless=hs.booleans())
    @precondition(lambda self: self.logs)
    def append_with_lost_answers(
        self, data: hs.DataObject, faults: list[Fault | None], hopeless: bool
    ) -> None:
        log = data.draw(hs.sampled_from(range(len(self.logs))))
        self.etcd.lose_answers(*faults, *(HOPELESS if hopeless else ()))
        self.append(self.logs[log])
        self.etcd.lose_answers()

    @rule(log=hs.integers(0, LEADERS_MAX), late=hs.booleans())
    @precondition(lambda self: self.logs)
    def append_to_a_silent_store(self, log: int, late: bool) -> None:
        silent = [Trouble(kind, "", "before") for kind in ("create", "read") for _ in range(50)]
        self.place.bucket.troubles = [Trouble("create", "", "late"), *silent] if late else silent
        self.append(self.logs[log % len(self.logs)])
        self.place.bucket.troubles = []

    @rule(log=hs.integers(0, LEADERS_MAX), number=hs.integers(1, 4))
    @precondition(lambda self: 0 < len(self.logs) < LEADERS_MAX)
    def elect_within_an_append(self, log: int, number: int) -> None:
        due = len(self.place.bucket.requests) + number

        def elect(at: int, is_done: bool) -> None:
            if at == due:
                self.place.bucket.watch = None
                self.elect()

        self.place.bucket.watch = elect
        self.append(self.logs[log % len(self.logs)])
        self.place.bucket.watch = None

    @rule(log=hs.integers(0, LEADERS_MAX), share=hs.floats(0, 1), faults=FAULTS)
    @precondition(lambda self: self.logs)
    def remove(self, log: int, share: float, faults: list[Fault | None]) -> None:
        self.needed += int(share * (1 + max(self.lasting, default=-1) - self.needed))
        self.etcd.lose_answers(*faults)
        with suppress(CheckpointError):
            self.logs[log % len(self.logs)].truncate_before(self.needed)
        self.etcd.lose_answers()

    @rule()
    def land(self) -> None:
        self.etcd.land()
        self.place.bucket.land()

    @invariant()
    def the_newest_leader_sees_all_that_lasts(self) -> None:
        if not self.logs:
            return
        found = dict(rows(self.place.opened(self.place.leader, SHORT)))
        assert sorted(found) == list(range(min(found, default=0), min(found, default=0) + len(found)))
        assert {at: row for at, row in self.lasting.items() if at >= self.needed}.items() <= found.items()
        for at, row in found.items():
            assert self.lasting.setdefault(at, row) == row
            assert row not in self.refused
        assert len(set(self.lasting.values())) == len(self.lasting)

    def teardown(self) -> None:
        self.the_newest_leader_sees_all_that_lasts()


TestLeaders = Leaders.TestCase
TestLeaders.settings = settings(stateful_step_count=25)


class Reading:
    """A job of a leader that reads a queue, reduced to its source, and stepped by hand."""

    def __init__(
        self, place: Place, items: Queue, offset: Offset = None, log: ClusterLog | None = None
    ) -> None:
        self.source = LoggedSource(QueueSource(items, SCHEMA), log or place.opened())
        self.chunks: list[Chunk] = []
        self._reading = self.source.read("queue", offset)

    def step_while(self, *calls: Putting) -> None:
        while any(call.waits for call in calls):
            self.step()

    def step_on(self) -> None:
        while True:
            self.step()

    def waits(self) -> bool:
        return self.source.waits_for is not None

    def step(self) -> None:
        chunk = next(self._reading)
        if chunk is not None:
            self.chunks.append(chunk)


def values(chunks: Sequence[Chunk]) -> list[int]:
    return [value for chunk in chunks for value in chunk.frame["a"].to_list()]


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    arm("")


def test_rows_of_a_queue_are_in_the_log_when_put_returns_and_the_next_leader_reads_them() -> None:
    place, items = Place(), Queue()
    reading = Reading(place, items)
    calls = [Putting(items, (1,)), Putting(items, (2,), (3,))]
    reading.step_while(*calls)
    assert [call.end() for call in calls] == [None, None]
    reading.step()
    assert sorted(values(reading.chunks)) == [1, 2, 3]
    again = Reading(place, Queue(), reading.chunks[0].next_offset)
    rest = values(reading.chunks[1:])
    while len(values(again.chunks)) < len(rest):
        again.step()
    assert values(again.chunks) == rest
    again.source.decided("queue", reading.chunks[-1].next_offset)
    assert len(place.segments()) == 1


def test_many_who_put_at_once_need_few_segments() -> None:
    place, items = Place(), Queue()
    reading = Reading(place, items)
    calls = [Putting(items, (number,)) for number in range(50)]
    while items.qsize() < 50:
        pass
    reading.step_while(*calls)
    assert [call.end() for call in calls] == [None] * 50
    assert len(place.segments()) == 1


def test_the_queue_of_an_old_leader_refuses_and_then_tells_where_the_new_one_is() -> None:
    place, items = Place(), Queue()
    reading = Reading(place, items)
    new = filled(place)
    putting = Putting(items, (1,))
    with pytest.raises(Superseded):
        reading.step_while(putting)
    assert isinstance(putting.end(), Superseded)
    reading.source.close()
    with pytest.raises(NotAccepted, match="the job that reads it has ended"):
        items.put((2,))
    items.stand_by("node-2:7000")
    with pytest.raises(NotLeader):
        items.put((2,))
    assert rows(new) == []
    back = Reading(place, items)
    putting = Putting(items, (3,))
    back.step_while(putting)
    assert putting.end() is None


@pytest.mark.parametrize(
    ("name", "is_answered"), [("W3.after", True), ("W4.after", True), ("cluster.W2.after", False)]
)
def test_a_leader_that_dies_behind_a_step(name: str, is_answered: bool) -> None:
    place, items = Place(), Queue()
    reading = Reading(place, items)
    arm(f"{name}:error")
    putting = Putting(items, (1,))
    with pytest.raises((OSError, CheckpointError)):
        reading.step_on()
    assert (putting.end() is None) == is_answered
    again = Reading(place, Queue())
    again.step()
    assert values(again.chunks) == [1]


def test_a_store_that_takes_nothing_refuses_rows_until_it_does() -> None:
    place, items = Place(), Queue()
    reading = Reading(place, items, log=place.opened(patience=SHORT))
    place.bucket.troubles = [
        Trouble(kind, "", "before") for kind in ("create", "read", "size") for _ in range(1000)
    ]
    putting = Putting(items, (1,))
    reading.step_while(putting)
    assert isinstance(putting.end(), NotAccepted)
    reading.step()
    assert reading.waits()
    place.bucket.troubles = []
    reading.step()
    assert not reading.waits()
    putting = Putting(items, (2,))
    reading.step_while(putting)
    assert putting.end() is None
