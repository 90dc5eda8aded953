"""`st.Queue`: what `put` promises, and what becomes of rows that are not taken."""

import asyncio
import queue
import threading
from typing import Any

import pytest

from streame.errors import CheckpointError, NotAccepted, PlanError
from streame.io.durable_queue import END, Queue

WAIT_S = 10


class Putting:
    """A call of `put` in a thread of its own."""

    def __init__(self, items: Queue, *rows: Any, timeout: float | None = WAIT_S) -> None:
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(items, rows, timeout), daemon=True)
        self._thread.start()

    def _run(self, items: Queue, rows: tuple[Any, ...], timeout: float | None) -> None:
        try:
            items.put_many(rows, timeout)
        except BaseException as error:
            self.error = error

    @property
    def waits(self) -> bool:
        return self._thread.is_alive()

    def end(self) -> BaseException | None:
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()
        return self.error


def answering(maxsize: int = 0) -> Queue:
    items = Queue(maxsize)
    items.start_answering()
    return items


def test_without_checkpoints_it_is_an_ordinary_queue() -> None:
    items = Queue(maxsize=2)
    items.put(1)
    items.put(2)
    with pytest.raises(queue.Full, match="0 of 1 rows"):
        items.put(3, timeout=0)
    with pytest.raises(queue.Full, match="0 of 1 rows"):
        items.put(3, timeout=0.01)
    putting = Putting(items, 3, 4, 5)
    taken: list[Any] = []
    while len(taken) < 5:
        taken += items.take(0.01)
    assert putting.end() is None
    assert taken == [1, 2, 3, 4, 5]
    assert items.take(0) == []


def test_put_returns_when_the_row_is_durable() -> None:
    items = answering()
    putting = Putting(items, 1)
    assert items.take(WAIT_S) == [1]
    assert putting.waits
    items.answer(None)
    assert putting.end() is None


def test_rows_of_many_threads_are_answered_together() -> None:
    items = answering()
    calls = [Putting(items, number) for number in range(20)]
    taken: list[Any] = []
    while len(taken) < 20:
        taken += items.take(WAIT_S)
    items.answer(None)
    assert [call.end() for call in calls] == [None] * 20
    assert sorted(taken) == list(range(20))


def test_what_was_put_before_is_not_waited_for() -> None:
    items = Queue()
    items.put(1)
    items.start_answering()
    putting = Putting(items, 2)
    taken = items.take(WAIT_S)
    while len(taken) < 2:
        taken += items.take(WAIT_S)
    items.answer(None)
    assert putting.end() is None
    assert taken == [1, 2]


def test_rows_that_are_refused_leave_nothing_behind() -> None:
    items = answering(maxsize=3)
    putting = Putting(items, 1, 2, 3, 4, 5)
    assert items.take(WAIT_S) == [1, 2, 3]
    items.answer(None)
    rest = items.take(WAIT_S)
    items.answer(NotAccepted("the disk is full"))
    error = putting.end()
    assert isinstance(error, NotAccepted)
    assert str(error) == "the disk is full; the first 3 rows were accepted"
    assert rest[0] == 4
    assert items.take(0) == []
    again = Putting(items, 4)
    assert items.take(WAIT_S) == [4]
    items.answer(None)
    assert again.end() is None


def test_an_unknown_answer_is_passed_on() -> None:
    items = answering()
    putting = Putting(items, 1)
    items.take(WAIT_S)
    items.answer(CheckpointError("who knows"))
    assert isinstance(putting.end(), CheckpointError)


def test_a_row_that_is_not_taken_in_time_is_taken_back() -> None:
    items = answering()
    with pytest.raises(queue.Full):
        items.put(1, timeout=0.01)
    assert items.take(0) == []
    putting = Putting(items, 2, timeout=0.2)
    assert items.take(WAIT_S) == [2]
    putting._thread.join(0.4)
    assert putting.waits  # it is being made durable, which ends one way or the other
    items.answer(None)
    assert putting.end() is None


def test_when_the_job_ends_nobody_waits_and_nothing_is_taken() -> None:
    items = answering(maxsize=2)
    waiting = [Putting(items, 1), Putting(items, 2, 3, 4)]
    while items.qsize() < 2:
        pass
    items.stop_answering("the job has ended")
    assert {type(call.end()) for call in waiting} == {NotAccepted}
    with pytest.raises(NotAccepted, match="the job has ended"):
        items.put(5)
    assert items.qsize() == 0
    items.start_answering()
    putting = Putting(items, 6)
    assert items.take(WAIT_S) == [6]
    items.answer(None)
    assert putting.end() is None
    items.stop_answering("the job has ended")
    items.begin()
    items.put(7)
    assert items.take(0) == [7]


def test_of_rows_that_the_job_had_in_hand_when_it_ended_nobody_knows() -> None:
    """They may be on their way to the disk: whoever puts them again may double them, and is told so."""
    items = answering()
    in_hand = Putting(items, 1)
    assert items.take(WAIT_S) == [1]
    partly = Putting(items, 2, 3)
    while items.qsize() < 2:
        pass
    items.stop_answering("the job has ended")
    assert isinstance(partly.end(), NotAccepted)
    error = in_hand.end()
    assert type(error) is CheckpointError
    assert str(error) == "the job has ended; whether rows it had in hand are durable is not known"
    items.answer(None)


def test_the_end_comes_alone_and_nothing_follows_it() -> None:
    items = answering()
    putting = Putting(items, 1, END)
    assert items.take(WAIT_S) == [1]
    items.answer(None)
    assert items.take(WAIT_S) == [END]
    assert putting.waits
    items.answer(None)
    assert putting.end() is None
    with pytest.raises(NotAccepted, match=r"nothing can follow st\.END"):
        items.put(2)
    items.close()


def test_an_end_that_was_not_accepted_is_none() -> None:
    items = answering()
    with pytest.raises(queue.Full):
        items.close(timeout=0)
    ending = Putting(items, END)
    items.take(WAIT_S)
    items.answer(NotAccepted("the disk is full"))
    assert isinstance(ending.end(), NotAccepted)
    putting = Putting(items, 1)
    assert items.take(WAIT_S) == [1]
    items.answer(None)
    assert putting.end() is None


def test_one_job_at_a_time() -> None:
    with pytest.raises(PlanError, match="another job"):
        answering().start_answering()


def test_coroutines_wait_without_a_thread() -> None:
    async def main() -> list[Any]:
        items = answering(maxsize=2)
        taken: list[Any] = []

        def read() -> None:
            while len(taken) < 50:
                taken.extend(items.take(WAIT_S))
                items.answer(None)

        reading = asyncio.create_task(asyncio.to_thread(read))
        await asyncio.gather(*(items.put_async(number) for number in range(50)))
        await reading
        return taken

    assert sorted(asyncio.run(main())) == list(range(50))


def test_a_coroutine_that_is_cancelled_takes_its_row_back() -> None:
    async def main() -> None:
        items = answering(maxsize=1)
        first, second = (asyncio.create_task(items.put_async(number)) for number in range(2))
        await asyncio.wait([first, second], timeout=0.01)
        assert items.qsize() == 1
        first.cancel()
        await asyncio.wait([first])
        assert await asyncio.to_thread(items.take, WAIT_S) == [1]
        items.answer(NotAccepted("the disk is full"))
        with pytest.raises(NotAccepted):
            await second
        third = asyncio.create_task(items.put_async(2))
        assert await asyncio.to_thread(items.take, WAIT_S) == [2]
        third.cancel()
        await asyncio.wait([third])
        items.answer(None)

    asyncio.run(main())


def test_it_says_what_it_is() -> None:
    assert repr(Queue(5)) == "<streame.Queue of 0 rows, maxsize=5>"
