"""An object store: objects that are made once and never change, over a bucket whose requests may get no answer."""

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from streame.errors import CheckpointError
from streame.storage.bucket import Bucket, NoAnswer, Occupied

Result = TypeVar("Result")


class Taken(Exception):  # noqa: N818 - an outcome, which the caller expects
    """Something else has the name.

    Args:
        name: the name.
        there: what is there.
    """

    def __init__(self, name: str, there: bytes) -> None:
        super().__init__(name)
        self.there = there


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on when a store does not answer.

    Args:
        seconds: so long in all; the last request may take its own time on top.
        pause: the first wait between two requests, in seconds; each is twice as long as the one before.
        pause_max: the longest wait.
    """

    seconds: float = 60.0
    pause: float = 0.1
    pause_max: float = 5.0


class ObjectStore:
    """Objects in a bucket. Every call ends after a bounded time.

    Args:
        bucket: where they are.
        patience: how long to go on when it does not answer.
        wait: waits for so many seconds; it may return early.
    """

    def __init__(
        self,
        bucket: Bucket,
        patience: Patience = Patience(),
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self._bucket, self._patience = bucket, patience
        self._wait = wait or threading.Event().wait

    @property
    def where(self) -> str:
        """The address, for messages."""
        return self._bucket.where

    def put_new(self, name: str, data: bytes) -> None:
        """Make an object, unless something else has the name. When this returns the object is there.

        After any error the object is read back. The bytes are a success: it was this call that put them there, whatever
        the store has said, as long as nobody else puts the same bytes under that name. Nothing there means to try
        again.

        Args:
            name: the name.
            data: all of the object.

        Raises:
            Taken: when something else is there.
            CheckpointError: when the store did not answer; nobody knows whether the object will be there.
            OSError: when its disk is full; nothing was made.
        """
        trying = _Trying(self._patience, self._wait)
        while True:
            try:
                self._bucket.create(name, data)
            except (Occupied, NoAnswer) as error:
                there = self._there(name, trying)
                if there == data:
                    return
                if there is not None:
                    raise Taken(name, there) from None
                if not trying.again():
                    raise self._silent(f"writing {name}", error) from error
            else:
                return

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of an object, fewer than `length` at its end.

        Raises:
            FileNotFoundError: when there is no such object.
            CheckpointError: when the store does not answer.
        """
        return self._repeat(f"reading {name}", lambda: self._bucket.read(name, offset, length))

    def size(self, name: str) -> int | None:
        """How many bytes an object has; `None` if it is not there.

        Raises:
            CheckpointError: when the store does not answer.
        """
        return self._repeat(f"looking at {name}", lambda: self._bucket.size(name))

    def names(self, folder: str) -> list[str]:
        """The names of all objects below a folder, in order.

        Raises:
            CheckpointError: when the store does not answer.
        """
        return self._repeat(f"listing {folder}/", lambda: self._bucket.names(folder))

    def delete(self, names: Iterable[str]) -> None:
        """Remove objects; one that is not there is removed already.

        Raises:
            CheckpointError: when the store does not answer.
        """
        known = list(names)
        if known:
            self._repeat(f"deleting {known[0]}", lambda: self._bucket.remove(known))

    def _there(self, name: str, trying: "_Trying") -> bytes | None:
        """What is under a name now."""
        while True:
            try:
                return self._bucket.read(name)
            except FileNotFoundError:
                return None
            except NoAnswer as error:
                if not trying.again():
                    raise self._silent(f"writing {name}", error) from error

    def _repeat(self, doing: str, call: Callable[[], Result]) -> Result:
        """Ask until there is an answer: for what may be asked any number of times."""
        trying = _Trying(self._patience, self._wait)
        while True:
            try:
                return call()
            except NoAnswer as error:
                if not trying.again():
                    raise self._silent(doing, error) from error

    def _silent(self, doing: str, error: Exception) -> CheckpointError:
        return CheckpointError(
            f"{self.where}: {doing}: no answer for {self._patience.seconds:g} seconds ({error}); check that the "
            "store can be reached, then start the job again: it goes on from the last checkpoint"
        )


def new_owner() -> str:
    """A name for this process that no other one has, had or will have: what it writes can be told from all else."""
    return f"{socket.gethostname()}, process {os.getpid()}, {secrets.token_hex(8)}"


class _Trying:
    """One call, while it is tried again and again."""

    def __init__(self, patience: Patience, wait: Callable[[float], object]) -> None:
        self._end = time.monotonic() + patience.seconds
        self._pause, self._pause_max, self._wait = patience.pause, patience.pause_max, wait

    def again(self) -> bool:
        """Wait a little; false when patience is at its end."""
        left = self._end - time.monotonic()
        if left <= 0:
            return False
        self._wait(min(self._pause, left))
        self._pause = min(2 * self._pause, self._pause_max)
        return True
