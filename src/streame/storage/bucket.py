"""A bucket: objects by name, one request at a time, each of which may fail and leave nobody the wiser."""

from collections.abc import Iterable
from typing import Protocol


class Occupied(Exception):  # noqa: N818 - an answer, not an error of ours
    """The store says that something is there. It says so too of what this very request has put there, and of nothing."""


class NoAnswer(Exception):  # noqa: N818
    """Nobody knows whether the request was carried out, or will be."""


class Bucket(Protocol):
    """Objects by their name, with slashes, under one prefix. Each call is one request to a store, and is not repeated.

    What was created is seen by every later call, of any process. A request that got no answer may still be carried
    out, at any later moment. A call raises `CheckpointError` where it makes no sense to repeat it.
    """

    where: str
    """The address, for messages."""

    def create(self, name: str, data: bytes) -> None:
        """Make an object, unless there is one of that name.

        Raises:
            Occupied: when there may be one.
            NoAnswer: when nobody knows.
            OSError: when a disk is full; nothing was made.
        """

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of an object, fewer than `length` at its end.

        Raises:
            FileNotFoundError: when there is no such object.
            NoAnswer: when there was no answer.
        """

    def size(self, name: str) -> int | None:
        """How many bytes an object has; `None` if it is not there.

        Raises:
            NoAnswer: when there was no answer.
        """

    def names(self, folder: str) -> list[str]:
        """The names of all objects below a folder, in order.

        Raises:
            NoAnswer: when there was no answer.
        """

    def remove(self, names: Iterable[str]) -> None:
        """Remove objects; one that is not there is removed already.

        Raises:
            NoAnswer: when nobody knows whether all are gone.
        """
