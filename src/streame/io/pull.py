"""An iterable read by a thread of its own, so that a slow `next` never blocks the engine."""

import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

_IDLE_S = 0.05
"""How long to wait when nothing is there; a job can only be stopped in between."""


class Pull:
    """Takes items from an iterator ahead of their use, at most `limit` of them.

    Args:
        iterator: where they come from. If it blocks for ever, its thread (a daemon) stays blocked in it too.
        limit: how many may wait.
    """

    def __init__(self, iterator: Iterator[Any], limit: int) -> None:
        self._iterator = iterator
        self._limit = limit
        self._items: deque[Any] = deque()
        self._changed = threading.Condition()
        self._hungry = False
        self._stopped = False
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="streame-pull", daemon=True)
        self.error: BaseException | None = None
        """What the iterator raised; to be looked at once `take` has said that there is no more."""

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def take(self, most: int) -> list[Any] | None:
        """Up to `most` items that are there, after a short wait if there are none; `None` after the last one."""
        if not self._items:
            with self._changed:
                self._hungry = True
                self._changed.wait_for(lambda: self._items or self._ended, _IDLE_S)
                self._hungry = False
        ended = self._ended  # before looking at the items: the last ones come before the end
        taken = [self._items.popleft() for _ in range(min(most, len(self._items)))]
        if taken:
            with self._changed:
                self._changed.notify_all()
        return None if ended and not taken else taken

    def stop(self) -> list[Any]:
        """Read no further item; the iterator is closed as soon as it gives back control.

        Returns:
            The items that were read and not taken.
        """
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join(_IDLE_S)
        return list(self._items)

    def _run(self) -> None:
        try:
            for item in self._iterator:
                self._items.append(item)
                # Without the lock: `take` says that it is hungry before it looks for items a last time.
                if self._hungry or len(self._items) >= self._limit:
                    self._hand_over()
                if self._stopped:
                    break
        except BaseException as error:  # whatever user code raises is told to the engine, never lost
            self.error = error
        finally:
            self._finish()

    def _hand_over(self) -> None:
        with self._changed:
            self._changed.notify_all()
            self._changed.wait_for(lambda: len(self._items) < self._limit or self._stopped)

    def _finish(self) -> None:
        close = getattr(self._iterator, "close", None)
        try:
            if self._stopped and callable(close):
                close()
        except BaseException as error:
            self.error = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()
