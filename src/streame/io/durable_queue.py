"""A queue whose rows survive: `put` returns when the job that reads it has made the row durable."""

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any, Final, Literal

from streame.core.messages import BATCH_ROWS_MAX
from streame.errors import CheckpointError, NotAccepted, NotLeader, PlanError, StreameError


class End:
    """The item that ends a queue; there is one, `END`."""

    def __repr__(self) -> str:
        return "streame.END"


END: Final = End()


class _Call:
    """A call that waits until its rows have been answered.

    Args:
        rows: how many it gives.
    """

    __slots__ = ("accepted", "answer", "ends", "expected", "refusal", "rows")

    def __init__(self, rows: int) -> None:
        self.rows = self.expected = rows
        self.accepted = 0
        self.ends = False
        self.refusal: StreameError | None = None
        self.answer: Future[None] = Future()
        self.answer.set_running_or_notify_cancel()  # so that whoever waits for it cannot cancel it

    @property
    def is_over(self) -> bool:
        """Whether no more of its rows will be added."""
        return self.answer.done() or self.refusal is not None

    def accept(self) -> None:
        """One more row, the next in order, is taken."""
        self.accepted += 1
        self.settle()

    def refuse(self, error: StreameError) -> None:
        """The rows that are neither accepted nor on their way are not taken, or nobody knows what became of those."""
        if self.refusal is None or not isinstance(error, NotAccepted):
            self.refusal = error

    def expect(self, on_their_way: int) -> None:
        """Besides the rows that were accepted only some that a job has in hand will be answered."""
        self.expected = self.accepted + on_their_way
        self.settle()

    def settle(self) -> None:
        """Answer when there is nothing to wait for any more."""
        if self.accepted < self.expected or self.answer.done():
            return
        if self.refusal is None or self.accepted == self.rows:
            self.answer.set_result(None)
        else:
            self.answer.set_exception(self._partly(self.refusal))

    def _partly(self, error: StreameError) -> StreameError:
        """The error, which says what became of the other rows."""
        if not self.accepted or not isinstance(error, NotAccepted):
            return error
        text = f"{error}; the first {self.accepted} rows were accepted"
        return NotLeader(text, error.leader) if isinstance(error, NotLeader) else NotAccepted(text)


class Queue:
    """A queue for `scan_queue` whose rows survive a crash.

    While a job with checkpoints reads it, `put` returns when the row is durable: it will be processed exactly once,
    also if the process dies in the next moment. Rows that several threads give at the same time are made durable
    together. A `put` that raises `NotAccepted` leaves nothing behind, and the row can be put again. What was put
    before the job started is durable only when the job has read it. In a job without checkpoints, and before any job
    reads it, this is like `queue.Queue`: `put` returns at once, and the rows are in memory.

    In a cluster the leader takes the rows. On another node `put` raises `NotLeader`, a `NotAccepted` that says where the
    leader is. Any other error than these and `queue.Full` says that nobody knows whether the row is durable: a row that is
    put again may then be there twice.

    Args:
        maxsize: how many rows may wait to be read, `0` for any number; a full queue makes `put` wait.

    Example:
        >>> import polars as pl, streame as st
        >>> orders = st.Queue(maxsize=1000)
        >>> with st.scan_queue(orders, {"qty": pl.Int64}).sink_ndjson("orders.ndjson").start() as handle:
        ...     orders.put({"qty": 1})
        ...     orders.put_many([{"qty": 2}, {"qty": 3}])
        ...     orders.close()
        ...     assert handle.wait()
        >>> pl.read_ndjson("orders.ndjson")["qty"].to_list()
        [1, 2, 3]
    """

    def __init__(self, maxsize: int = 0) -> None:
        self.maxsize = maxsize
        self._changed = threading.Condition()
        self._items: deque[tuple[Any, _Call | None]] = deque()
        self._in_flight: list[_Call] = []
        self._room_wanted: list[Future[None]] = []
        self._state: Literal["plain", "answering", "refusing"] = "plain"
        self._refusal = ""
        self._elsewhere: tuple[str, str | None] | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<streame.Queue of {self.qsize()} rows, maxsize={self.maxsize}>"

    def qsize(self) -> int:
        """How many rows wait to be read."""
        return len(self._items)

    def put(self, item: Any, timeout: float | None = None) -> None:
        """Give a row. While a job with checkpoints reads the queue, the row is durable when this returns.

        Args:
            item: a dict, a dataclass, a tuple or a list; or `st.END`, which nothing can follow.
            timeout: for how many seconds to wait for room and for the job to take the row, `None` for as long as it
                takes. A row that is just being made durable is waited for in any case.

        Raises:
            queue.Full: when the time is over; the row was not taken.
            NotLeader: when this node of a cluster takes no rows; the row was not taken.
            NotAccepted: when the disk is full, the job has ended or the queue is closed; the row was not taken.
            CheckpointError: when the disk failed, the job has ended with the row in hand, or another node of a cluster has
                become the leader meanwhile; whether the row is durable is not known, so that putting it again may double it.
        """
        self.put_many((item,), timeout)

    def put_many(self, items: Iterable[Any], timeout: float | None = None) -> None:
        """Give several rows, which costs little more than one.

        Args:
            items: the rows, in order. If not all of them are taken, those that are come first, and the error says
                how many they are.
            timeout: as for `put`, for all of them together.

        Raises:
            queue.Full: as for `put`.
            NotAccepted: as for `put`.
            CheckpointError: as for `put`.
        """
        rest = deque(items)
        if not rest:
            return
        total, call = len(rest), _Call(len(rest))
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            while rest:
                with self._changed:
                    if not self._changed.wait_for(lambda: self._may_add(call), _left(deadline)):
                        raise TimeoutError
                    self._add(rest, call)
            call.answer.result(_left(deadline))
        except TimeoutError:
            with self._changed:
                self._withdraw(call)
            call.answer.result()
            if call.accepted < total:
                raise queue.Full(
                    f"{call.accepted} of {total} rows were taken within {timeout} seconds"
                ) from None

    async def put_async(self, item: Any) -> None:
        """Give a row from a coroutine; its event loop goes on while this waits.

        Args:
            item: the row, as for `put`. If this is cancelled before the job has taken the row, it is not taken.

        Raises:
            NotAccepted: as for `put`.
            CheckpointError: as for `put`.
        """
        call, rest = _Call(1), deque([item])
        while rest:
            with self._changed:
                if self._may_add(call):
                    self._add(rest, call)
                    break
                room: Future[None] = Future()
                self._room_wanted.append(room)
            await asyncio.wrap_future(room)
        try:
            await asyncio.wrap_future(call.answer)
        except asyncio.CancelledError:
            with self._changed:
                self._withdraw(call)
            raise

    def close(self, timeout: float | None = None) -> None:
        """Say that no row follows, as `put(st.END)` does; a second time nothing happens.

        Args:
            timeout: as for `put`.

        Raises:
            queue.Full: as for `put`.
            NotAccepted: as for `put`.
            CheckpointError: as for `put`.
        """
        if not self._closed:
            self.put(END, timeout)

    def take(self, wait_s: float) -> list[Any]:
        """The rows that wait, for the job that reads; after a short wait if there are none. `END` comes alone."""
        with self._changed:
            self._changed.wait_for(lambda: self._items, wait_s)
            taken: list[Any] = []
            while self._items and len(taken) < BATCH_ROWS_MAX and not (taken and self._items[0][0] is END):
                item, call = self._items.popleft()
                taken.append(item)
                if call is not None:
                    self._in_flight.append(call)
            if taken:
                self._room_is_made()
            return taken

    def begin(self) -> None:
        """A job reads, and unless it has said that it answers it does not."""
        with self._changed:
            if self._state == "refusing":
                self._state = "plain"

    def start_answering(self) -> None:
        """A job with checkpoints reads from now on, and `put` waits for it.

        Raises:
            PlanError: when another one does.
        """
        with self._changed:
            if self._state == "answering":
                raise PlanError(
                    "this st.Queue is read by another job with checkpoints; give each job its own"
                )
            self._state = "answering"
            self._elsewhere = None

    def answer(self, error: StreameError | None) -> None:
        """What was taken and not yet answered is durable, or is not accepted."""
        with self._changed:
            in_flight, self._in_flight = self._in_flight, []
            for call in in_flight:
                if error is None:
                    call.accept()
                else:
                    self._refuse(call, error)

    def stop_answering(self, why: str) -> None:
        """Nobody reads any more: refuse what waits, and what is put until another job reads.

        Of what the job has in hand nobody knows whether it will last: it may be on its way to the disk.
        """
        with self._changed:
            if self._state == "answering":
                self._state, self._refusal = "refusing", why
                in_flight, self._in_flight = self._in_flight, []
                for call in in_flight:
                    self._refuse(
                        call, CheckpointError(f"{why}; whether rows it had in hand are durable is not known")
                    )
                for call in self._waiting().difference(in_flight):
                    self._refuse(call, NotAccepted(why))

    def stand_by(self, leader: str | None) -> None:
        """Rows are not taken here but by the leader of a cluster: refuse what waits, and what is put from now on.

        What a job has in hand is still answered by it. Rows that were put before a job with checkpoints read the queue stay.
        It may be called again, with another address too, and lasts until `start_answering` or `stop_standing_by`.

        Args:
            leader: the address of the leader, `None` while there is none.
        """
        where = f"the leader is {leader}: put them there" if leader else "and there is no leader: try again"
        with self._changed:
            self._elsewhere = f"this node takes no rows, {where}", leader
            for call in self._waiting():
                self._refuse(call, NotLeader(*self._elsewhere))
            self._room_is_made()

    def stop_standing_by(self, why: str = "") -> None:
        """Rows are taken here as they were before `stand_by`; if there is a reason they are refused until a job reads them."""
        with self._changed:
            self._elsewhere = None
            if why and self._state == "plain":
                self._state, self._refusal = "refusing", why

    def _waiting(self) -> set[_Call]:
        """The calls that have rows in the queue and wait for an answer."""
        return {call for _, call in self._items if call is not None}

    def _may_add(self, call: _Call) -> bool:
        """Whether a row can be added, or it is known that it cannot."""
        room = self.maxsize <= 0 or len(self._items) < self.maxsize
        refused = self._closed or self._elsewhere is not None or self._state == "refusing"
        return room or call.is_over or refused

    def _add(self, rest: deque[Any], call: _Call) -> None:
        """Add rows as far as there is room; refused ones are taken from the `rest` too."""
        if self._closed:
            self._refuse(
                call, NotAccepted("the queue is closed: nothing can follow st.END; use another st.Queue")
            )
        elif self._elsewhere is not None:
            self._refuse(call, NotLeader(*self._elsewhere))
        elif self._state == "refusing":
            self._refuse(call, NotAccepted(self._refusal))
        if call.is_over:
            rest.clear()
            return
        room = len(rest) if self.maxsize <= 0 else self.maxsize - len(self._items)
        answered = self._state == "answering"
        while rest and room > 0 and not self._closed:
            item = rest.popleft()
            self._closed = call.ends = item is END
            self._items.append((item, call if answered else None))
            room -= 1
            if not answered:
                call.accept()
        self._changed.notify_all()

    def _refuse(self, call: _Call, error: StreameError) -> None:
        call.refuse(error)
        self._closed = self._closed and not call.ends
        self._withdraw(call)

    def _withdraw(self, call: _Call) -> None:
        """Take back the rows of a call that nobody has taken."""
        if any(item is END for item, its_call in self._items if its_call is call):
            self._closed = False
        self._items = deque(each for each in self._items if each[1] is not call)
        call.expect(self._in_flight.count(call))
        self._room_is_made()

    def _room_is_made(self) -> None:
        wanted, self._room_wanted = self._room_wanted, []
        for room in wanted:
            if room.set_running_or_notify_cancel():
                room.set_result(None)
        self._changed.notify_all()


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())
