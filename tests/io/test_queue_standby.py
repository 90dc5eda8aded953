"""`st.Queue` on a node that does not lead: rows are refused and sent to the leader, and none is lost or taken by mistake."""

import asyncio
import queue
import threading
from typing import Any

import polars as pl
import pytest
from hypothesis import strategies as hs
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import streame as st
from streame.errors import CheckpointError, NotAccepted, NotLeader
from streame.io.durable_queue import END, Queue
from streame.io.logged import LoggedSource, StandbySource
from streame.io.queues import QueueSource
from streame.storage.log import Log
from tests.io.test_durable_queue import WAIT_S, Putting, answering
from tests.storage.power_cut_disk import PowerCutDisk

SCHEMA = pl.Schema({"a": pl.Int64})
LEADER = "node-2:7000"


def test_what_is_put_is_refused_and_told_where_the_leader_is() -> None:
    items = Queue()
    items.stand_by(LEADER)
    with pytest.raises(st.NotLeader, match="the leader is node-2:7000: put them there") as refused:
        items.put(1)
    assert refused.value.leader == LEADER
    assert isinstance(refused.value, st.NotAccepted)
    items.stand_by(None)
    with pytest.raises(NotLeader, match="there is no leader: try again") as refused:
        items.close()
    assert refused.value.leader is None
    assert items.qsize() == 0
    items.stop_standing_by()
    items.stop_standing_by()
    items.put(2)
    assert items.take(0) == [2]


def test_what_was_put_on_a_node_that_had_ended_was_accepted_and_lost() -> None:
    items = Queue()
    items.stand_by(LEADER)
    items.stop_standing_by("this node takes no part in the job any more")
    with pytest.raises(NotAccepted, match="takes no part in the job any more"):
        items.put(1)
    assert items.qsize() == 0
    items.begin()
    items.put(2)
    assert items.take(0) == [2]


def test_what_waits_is_refused_and_taken_back() -> None:
    items = answering(maxsize=2)
    calls = [Putting(items, 1), Putting(items, 2, 3, 4)]
    while items.qsize() < 2:
        pass
    items.stand_by(LEADER)
    for call in calls:
        error = call.end()
        assert isinstance(error, NotLeader)
        assert str(error).endswith("put them there")
    assert items.take(0) == []


def test_who_waits_for_room_in_an_ordinary_queue_is_refused_and_what_is_in_memory_stays() -> None:
    items = Queue(maxsize=1)
    items.put(1)
    putting = Putting(items, 2)
    items.stand_by(LEADER)
    assert isinstance(putting.end(), NotLeader)
    items.start_answering()
    assert items.take(0) == [1]


def test_rows_that_a_job_has_in_hand_are_answered_by_it() -> None:
    items = answering()
    putting = Putting(items, 1)
    assert items.take(WAIT_S) == [1]
    items.stand_by(LEADER)
    items.stand_by(None)
    assert putting.waits
    items.answer(None)
    assert putting.end() is None


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (None, NotLeader, "put them there; the first 2 rows were accepted"),
        (NotAccepted("the disk is full"), NotLeader, "put them there"),
        (CheckpointError("who knows"), CheckpointError, "who knows"),
    ],
)
def test_a_call_of_which_a_job_has_a_part_in_hand_waits_for_its_answer(
    answer: Any, error: type[Exception], says: str
) -> None:
    items = answering(maxsize=2)
    putting = Putting(items, 1, 2, 3, 4, 5)
    assert items.take(WAIT_S) == [1, 2]
    while items.qsize() < 2:
        pass
    items.stand_by(LEADER)
    assert items.qsize() == 0
    assert putting.waits
    items.answer(answer)
    found = putting.end()
    assert type(found) is error
    assert str(found).endswith(says)
    assert items.take(0) == []


def test_the_job_that_ends_meanwhile_leaves_nobody_waiting_and_the_leader_is_still_told() -> None:
    items = answering()
    putting = Putting(items, 1)
    items.take(WAIT_S)
    items.stand_by(LEADER)
    items.stop_answering("the job has ended")
    assert type(putting.end()) is CheckpointError
    with pytest.raises(NotLeader):
        items.put(2)
    items.start_answering()
    again = Putting(items, 3)
    assert items.take(WAIT_S) == [3]
    items.answer(None)
    assert again.end() is None


def test_an_end_that_is_refused_is_none() -> None:
    items = answering()
    ending = Putting(items, 1, END)
    assert items.take(WAIT_S) == [1]
    items.stand_by(LEADER)
    items.answer(None)
    error = ending.end()
    assert isinstance(error, NotLeader)
    assert str(error).endswith("the first 1 rows were accepted")
    items.stop_standing_by()
    putting = Putting(items, 2)
    assert items.take(WAIT_S) == [2]
    items.answer(None)
    assert putting.end() is None


def test_an_end_that_a_job_has_in_hand_is_one() -> None:
    items = answering()
    ending = Putting(items, END)
    assert items.take(WAIT_S) == [END]
    items.stand_by(LEADER)
    items.answer(None)
    assert ending.end() is None
    with pytest.raises(NotAccepted, match="the queue is closed"):
        items.put(1)


def test_coroutines_are_refused() -> None:
    async def main() -> None:
        items = answering(maxsize=1)
        waiting, for_room = (asyncio.create_task(items.put_async(number)) for number in range(2))
        await asyncio.wait([waiting, for_room], timeout=0.01)
        await asyncio.to_thread(items.stand_by, LEADER)
        for task in (waiting, for_room):
            with pytest.raises(NotLeader) as refused:
                await asyncio.wait_for(task, WAIT_S)
            assert refused.value.leader == LEADER
        with pytest.raises(NotLeader):
            await items.put_async(3)
        assert items.qsize() == 0

    asyncio.run(main())


def test_the_source_passes_it_on() -> None:
    items: Queue = Queue()
    source = QueueSource(items, SCHEMA)
    assert isinstance(source, StandbySource)
    source.stand_by(LEADER)
    with pytest.raises(NotLeader):
        items.put((1,))
    source.stop_standing_by()
    items.put((1,))
    other: Any = queue.Queue()
    foreign = QueueSource(other, SCHEMA)
    foreign.stand_by(LEADER)
    foreign.stop_standing_by()
    other.put((1,))


def test_a_job_of_this_node_takes_rows_again() -> None:
    items = Queue()
    items.stand_by(LEADER)
    source = LoggedSource(QueueSource(items, SCHEMA), Log(PowerCutDisk(), "wal"))
    reading = source.read("queue", None)
    putting = Putting(items, (1,))
    chunk = next(chunk for chunk in reading if chunk is not None)
    assert chunk.frame["a"].to_list() == [1]
    assert putting.end() is None
    source.close()


def test_a_job_that_is_closed_late_does_not_speak_for_the_next_one() -> None:
    """A thread of it was stuck, and was given up long ago."""
    items = Queue()
    given_up = LoggedSource(QueueSource(items, SCHEMA), Log(PowerCutDisk(), "wal"))
    given_up.close()
    source = LoggedSource(QueueSource(items, SCHEMA), Log(PowerCutDisk(), "wal"))
    reading = source.read("queue", None)
    given_up.close()
    putting = Putting(items, (1,))
    chunk = next(chunk for chunk in reading if chunk is not None)
    assert chunk.frame["a"].to_list() == [1]
    assert putting.end() is None
    source.close()


def test_leaders_that_change_while_many_put() -> None:
    """Every call ends, and what was accepted was taken once."""
    items, done = answering(maxsize=3), threading.Event()
    logged: list[int] = []
    accepted: list[list[int]] = [[] for _ in range(8)]
    refused: list[list[int]] = [[] for _ in range(8)]

    def put(thread: int) -> None:
        for number in range(200):
            row = 1000 * thread + number
            try:
                items.put(row)
            except NotAccepted:
                refused[thread].append(row)
            else:
                accepted[thread].append(row)

    def read() -> None:
        while not done.is_set():
            logged.extend(items.take(0.001))
            items.answer(None)

    def change() -> None:
        while not done.is_set():
            items.stand_by(LEADER)
            items.stop_standing_by()
            done.wait(0.0005)

    threads = [threading.Thread(target=put, args=(thread,)) for thread in range(8)]
    others = [threading.Thread(target=each) for each in (read, change)]
    for each in (*threads, *others):
        each.start()
    for each in threads:
        each.join(60)
        assert not each.is_alive()
    done.set()
    for each in others:
        each.join(60)
    assert sorted(logged) == sorted(row for rows in accepted for row in rows)
    assert all(len(took) + len(gave) == 200 for took, gave in zip(accepted, refused, strict=True))


class Standing(RuleBasedStateMachine):
    """Everything that can be done to a queue, in any order: an answer says what became of the rows."""

    def __init__(self) -> None:
        super().__init__()
        self.items = answering(maxsize=3)
        self.answers = True
        self.count = 0
        self.in_hand: list[int] = []
        self.durable: list[int] = []
        self.unknown: set[int] = set()
        self.calls: list[tuple[list[int], Putting]] = []

    @rule(rows=hs.integers(1, 5))
    @precondition(lambda self: self.answers)
    def put(self, rows: int) -> None:
        given = [self.count + number for number in range(rows)]
        self.count += rows
        before = self.items.qsize()
        putting = Putting(self.items, *given)
        while putting.waits and self.items.qsize() == before < 3:
            pass
        self.calls.append((given, putting))

    @rule()
    def take(self) -> None:
        self.in_hand += self.items.take(0)

    @rule(error=hs.none() | hs.just(NotAccepted("full")))
    def answer(self, error: NotAccepted | None) -> None:
        if error is None:
            self.durable += self.in_hand
        self.in_hand = []
        self.items.answer(error)

    @rule(leader=hs.none() | hs.just(LEADER))
    def stand_by(self, leader: str | None) -> None:
        self.items.stand_by(leader)

    @rule()
    def stop_standing_by(self) -> None:
        self.items.stop_standing_by()

    @rule()
    def end(self) -> None:
        if self.answers:
            self.unknown.update(self.in_hand)
        self.in_hand = []
        self.items.stop_answering("the job has ended")
        self.answers = False

    @rule()
    @precondition(lambda self: not self.answers)
    def begin(self) -> None:
        self.items.start_answering()
        self.answers = True

    @invariant()
    def what_is_said_is_true(self) -> None:
        for given, putting in self.calls:
            if not putting.waits:
                there = [row for row in self.durable if row in given]
                error = putting.end()
                if error is None:
                    assert there == given
                elif type(error) is CheckpointError:
                    assert self.unknown.intersection(given)
                else:
                    assert isinstance(error, NotAccepted)
                    assert not self.unknown.intersection(given)
                    says = f"; the first {len(there)} rows were accepted" if there else ""
                    assert str(error).partition("; the first")[2] == says.partition("; the first")[2]
                    assert there == given[: len(there)]

    def teardown(self) -> None:
        self.items.stop_answering("over")
        for _, putting in self.calls:
            putting.end()


TestStanding = Standing.TestCase
