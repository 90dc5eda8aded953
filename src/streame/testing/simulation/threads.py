"""What `threading` and `queue` have, for simulated threads."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from queue import Empty
from types import TracebackType
from typing import Any, Self

from streame.testing.simulation.scheduler import Dead, SimTask, scheduler


def _until(timeout: float | None) -> float | None:
    return None if timeout is None or timeout < 0 else scheduler().now + timeout


class Lock:
    """See `threading.Lock`."""

    __slots__ = ("_owner", "_waiting")

    def __init__(self) -> None:
        self._owner: object = None
        self._waiting: deque[SimTask] = deque()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        sim = scheduler()
        if self._owner is not None and not self._wait(blocking, timeout):
            return False
        self._owner = sim.current or sim
        sim.chance()
        return True

    def _wait(self, blocking: bool, timeout: float) -> bool:
        sim = scheduler()
        if sim.is_closing:
            return True
        if not blocking:
            return False
        until = _until(timeout)
        while self._owner is not None:
            task = sim.current
            assert task is not None
            assert not sim.is_atomic, "a service found a lock that is held"
            self._waiting.append(task)
            if not sim.block(until):
                if task in self._waiting:
                    self._waiting.remove(task)
                return self._owner is None
        return True

    def release(self) -> None:
        self.give_up()
        scheduler().chance()

    def give_up(self) -> None:
        """Release it, and go on at once: whoever is about to wait must not miss what others do before that."""
        self._owner = None
        if self._waiting:
            scheduler().wake(self._waiting.popleft())

    def locked(self) -> bool:
        return self._owner is not None

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class RLock(Lock):
    """See `threading.RLock`."""

    __slots__ = ("_count",)

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        sim = scheduler()
        if self._owner is not (sim.current or sim) and not super().acquire(blocking, timeout):
            return False
        self._count += 1
        return True

    def release(self) -> None:
        self._count -= 1
        if self._count == 0:
            super().release()


class Condition:
    """See `threading.Condition`."""

    __slots__ = ("_lock", "_waiting")

    def __init__(self, lock: Lock | None = None) -> None:
        self._lock = lock or Lock()
        self._waiting: deque[SimTask] = deque()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        return self._lock.acquire(blocking, timeout)

    def release(self) -> None:
        self._lock.release()

    def __enter__(self) -> bool:
        return self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        sim = scheduler()
        if sim.is_closing:
            raise Dead
        if sim.is_atomic:
            return False
        task = sim.current
        assert task is not None
        self._waiting.append(task)
        self._lock.give_up()
        try:
            return sim.block(_until(timeout))
        finally:
            if task in self._waiting:
                self._waiting.remove(task)
            self._lock.acquire()

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        until = _until(timeout)
        while not (result := predicate()):
            left = None if until is None else until - scheduler().now
            if left is not None and left <= 0:
                break
            self.wait(left)
            if scheduler().is_atomic:
                break
        return result

    def notify(self, n: int = 1) -> None:
        for _ in range(min(n, len(self._waiting))):
            scheduler().wake(self._waiting.popleft())

    def notify_all(self) -> None:
        self.notify(len(self._waiting))


class Event:
    """See `threading.Event`."""

    __slots__ = ("_is_set", "_waiting")

    def __init__(self) -> None:
        self._is_set = False
        self._waiting: list[SimTask] = []

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        waiting, self._waiting = self._waiting, []
        for task in waiting:
            scheduler().wake(task)
        scheduler().chance()

    def clear(self) -> None:
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        sim = scheduler()
        if self._is_set:
            sim.chance()
            return True
        if sim.is_closing:
            raise Dead
        task = sim.current
        assert task is not None
        self._waiting.append(task)
        woken = sim.block(_until(timeout))
        if not woken and task in self._waiting:
            self._waiting.remove(task)
        return woken or self.is_set()


class Semaphore:
    """See `threading.Semaphore`."""

    def __init__(self, value: int = 1) -> None:
        self._value = value
        self._changed = Condition()

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        with self._changed:
            if blocking:
                self._changed.wait_for(lambda: self._value > 0, timeout)
            if self._value <= 0:
                return False
            self._value -= 1
            return True

    def release(self, n: int = 1) -> None:
        with self._changed:
            self._value += n
            self._changed.notify(n)

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class Thread:
    """See `threading.Thread`."""

    def __init__(
        self,
        group: None = None,
        target: Callable[..., object] | None = None,
        name: str | None = None,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        daemon: bool | None = None,
    ) -> None:
        self.name = name or "thread"
        self.daemon = daemon
        self._target, self._args, self._kwargs = target, tuple(args), dict(kwargs or {})
        self.task: SimTask | None = None

    def start(self) -> None:
        sim = scheduler()
        if sim.is_closing or sim.current is None:
            raise Dead
        self.task = sim.spawn(sim.current.host, self.name, self.run)
        _threads[self.task] = self
        sim.chance()

    def run(self) -> None:
        if self._target is not None:
            self._target(*self._args, **self._kwargs)

    def join(self, timeout: float | None = None) -> None:
        sim, task = scheduler(), self.task
        assert task is not None, "it was not started"
        until = _until(timeout)
        while not task.done:
            if sim.current is None or sim.is_closing:
                raise Dead
            task.watchers.append(sim.current)
            if not sim.block(until):
                return

    def is_alive(self) -> bool:
        return self.task is not None and not self.task.done

    @property
    def ident(self) -> int | None:
        return None if self.task is None else self.task.number


_threads: dict[SimTask, Thread] = {}


def forget_threads() -> None:
    """Let go of the threads of simulations that are over."""
    _threads.clear()


def current_thread() -> Thread | None:
    """See `threading.current_thread`; `None` for a thread that the simulation has made itself."""
    task = scheduler().current
    return None if task is None else _threads.get(task)


class SimpleQueue:
    """See `queue.SimpleQueue`."""

    __slots__ = ("_items", "_waiting")

    def __class_getitem__(cls, item: object) -> type[Self]:
        return cls

    def __init__(self) -> None:
        self._items: deque[Any] = deque()
        self._waiting: deque[SimTask] = deque()

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        self._items.append(item)
        if self._waiting:
            scheduler().wake(self._waiting.popleft())
        scheduler().chance()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        sim = scheduler()
        sim.chance()
        until = _until(timeout)
        while not self._items:
            if not block:
                raise Empty
            task = sim.current
            if task is None or sim.is_closing:
                raise Dead
            self._waiting.append(task)
            if not sim.block(until) and not self._items:
                if task in self._waiting:
                    self._waiting.remove(task)
                raise Empty
            if task in self._waiting:
                self._waiting.remove(task)
        return self._items.popleft()

    def empty(self) -> bool:
        return not self._items

    def qsize(self) -> int:
        return len(self._items)
