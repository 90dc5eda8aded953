"""What `concurrent.futures` has, for simulated threads."""

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from streame.testing.simulation.scheduler import Dead
from streame.testing.simulation.threads import Event, SimpleQueue, Thread


class Future:
    """See `concurrent.futures.Future`."""

    def __init__(self) -> None:
        self._done = Event()
        self._result: Any = None
        self._error: BaseException | None = None

    def run(self, call: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Do what it stands for."""
        try:
            self._result = call(*args)
        except Dead:
            raise
        except BaseException as error:
            self._error = error
        self._done.set()

    def done(self) -> bool:
        return self._done.is_set()

    def result(self, timeout: float | None = None) -> Any:
        if not self._done.wait(timeout):
            raise TimeoutError
        if self._error is not None:
            raise self._error
        return self._result


class ThreadPoolExecutor:
    """See `concurrent.futures.ThreadPoolExecutor`; a thread begins with the first call for which none is free."""

    def __init__(self, max_workers: int = 4, thread_name_prefix: str = "pool") -> None:
        self._workers_max, self._name = max_workers, thread_name_prefix
        self._calls = SimpleQueue()
        self._workers: list[Thread] = []
        self._idle = 0

    def submit(self, call: Callable[..., Any], *args: Any) -> Future:
        future = Future()
        self._calls.put((future, call, args))
        if self._idle == 0 and len(self._workers) < self._workers_max:
            worker = Thread(target=self._work, name=self._name)
            self._workers.append(worker)
            worker.start()
        return future

    def map(self, call: Callable[..., Any], *items: Iterable[Any]) -> Iterator[Any]:
        futures = [self.submit(call, *args) for args in zip(*items, strict=False)]
        return (future.result() for future in futures)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        for _ in self._workers:
            self._calls.put(None)
        if wait:
            for worker in self._workers:
                worker.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()

    def _work(self) -> None:
        while True:
            self._idle += 1
            item = self._calls.get()
            self._idle -= 1
            if item is None:
                return
            future, call, args = item
            future.run(call, args)
