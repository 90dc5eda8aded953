"""The store of a simulation: objects in memory, asked over a network that fails."""

from collections.abc import Callable, Iterable

from streame.storage.bucket import Bucket, NoAnswer, Occupied
from streame.testing.simulation.services import Service

TIMEOUT_S = 2.0


class Objects:
    """What the store has.

    Args:
        removed: told the name of each object that is not there any more, or has become another one.
    """

    def __init__(self, removed: Callable[[str], None]) -> None:
        self.content: dict[str, bytes] = {}
        self.can_overwrite = False
        self._removed = removed

    def create(self, name: str, data: bytes) -> None:
        """Make an object."""
        if name in self.content and not self.can_overwrite:
            raise Occupied(name)
        before, self.content[name] = self.content.get(name, data), data
        if before != data:
            self._removed(name)

    def read(self, name: str, offset: int, length: int | None) -> bytes:
        """Bytes of an object."""
        if name not in self.content:
            raise FileNotFoundError(name)
        return self.content[name][offset : None if length is None else offset + length]

    def size(self, name: str) -> int | None:
        """How many bytes an object has."""
        return len(self.content[name]) if name in self.content else None

    def names(self, folder: str) -> list[str]:
        """What is below a folder."""
        begin = f"{folder}/" if folder else ""
        return sorted(name for name in self.content if name.startswith(begin))

    def remove(self, names: Iterable[str]) -> None:
        """Remove objects."""
        for name in names:
            if self.content.pop(name, None) is not None:
                self._removed(name)


class RemoteBucket(Bucket):
    """The store as one process sees it.

    Args:
        objects: what it has.
        service: how it is reached.
    """

    where = "simulated://store"

    def __init__(self, objects: Objects, service: Service) -> None:
        self._objects, self._service = objects, service

    def create(self, name: str, data: bytes) -> None:
        """See `Bucket`."""
        content = bytes(data)
        self._service.ask(
            _kind(name), lambda: self._objects.create(name, content), _silent, TIMEOUT_S, writes=True
        )

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """See `Bucket`."""
        return self._service.ask(
            "read", lambda: self._objects.read(name, offset, length), _silent, TIMEOUT_S, writes=False
        )

    def size(self, name: str) -> int | None:
        """See `Bucket`."""
        return self._service.ask("size", lambda: self._objects.size(name), _silent, TIMEOUT_S, writes=False)

    def names(self, folder: str) -> list[str]:
        """See `Bucket`."""
        return self._service.ask(
            "names", lambda: self._objects.names(folder), _silent, TIMEOUT_S, writes=False
        )

    def remove(self, names: Iterable[str]) -> None:
        """See `Bucket`."""
        known = list(names)
        self._service.ask("remove", lambda: self._objects.remove(known), _silent, TIMEOUT_S, writes=True)


def _kind(name: str) -> str:
    """What is written: `pack`, `part`, `MANIFEST`, `out` and so on."""
    folder, _, last = name.rpartition("/")
    return folder if folder == "probe" else last.rpartition(".")[2]


def _silent() -> BaseException:
    return NoAnswer("no answer in time")
