"""A bucket in memory that does to requests what a network can do to them."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from streame.storage.bucket import Bucket, NoAnswer, Occupied

Kind: TypeAlias = Literal["create", "read", "size", "names", "remove"]
Outcome: TypeAlias = Literal["before", "after", "refused", "late"]


@dataclass(frozen=True)
class Trouble:
    """What happens to the next request that fits.

    Args:
        kind: of the request.
        part: a part of its name.
        outcome: no answer, `before` or `after` it is carried out, or it is carried out `late`, when `land` is called;
            or it is `refused` though nothing is there.
    """

    kind: Kind
    part: str
    outcome: Outcome


@dataclass
class MemoryBucket(Bucket):
    """Objects in a dict.

    Args:
        objects: what is there.
        watch: called before and after every request is carried out, with its number; it may do anything.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    watch: Callable[[int, bool], None] | None = None
    where: str = "memory://bucket"
    troubles: list[Trouble] = field(default_factory=list)
    requests: list[tuple[Kind, str]] = field(default_factory=list)
    _late: list[tuple[str, bytes]] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def create(self, name: str, data: bytes) -> None:
        """See `Bucket`."""
        outcome = self._begin("create", name)
        if outcome == "refused":
            raise Occupied("409")
        if outcome == "late":
            self._late.append((name, bytes(data)))
            raise NoAnswer("it is on its way")
        with self._lock:
            if name in self.objects:
                raise Occupied(name)
            self.objects[name] = bytes(data)
        self._end(outcome)

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """See `Bucket`."""
        outcome = self._begin("read", name)
        if name not in self.objects:
            raise FileNotFoundError(name)
        data = self.objects[name][offset : None if length is None else offset + length]
        self._end(outcome)
        return data

    def size(self, name: str) -> int | None:
        """See `Bucket`."""
        outcome = self._begin("size", name)
        found = len(self.objects[name]) if name in self.objects else None
        self._end(outcome)
        return found

    def names(self, folder: str) -> list[str]:
        """See `Bucket`."""
        outcome = self._begin("names", folder)
        found = sorted(name for name in self.objects if name.startswith(f"{folder}/" if folder else ""))
        self._end(outcome)
        return found

    def remove(self, names: Iterable[str]) -> None:
        """See `Bucket`."""
        known = list(names)
        outcome = self._begin("remove", known[0])
        for name in known:
            self.objects.pop(name, None)
        self._end(outcome)

    def land(self) -> None:
        """Carry out the requests that are on their way."""
        for name, data in self._late:
            self.objects.setdefault(name, data)
        self._late.clear()

    def _begin(self, kind: Kind, name: str) -> Outcome | None:
        with self._lock:
            self.requests.append((kind, name))
            number = len(self.requests)
        if self.watch is not None:
            self.watch(number, False)
        for trouble in self.troubles:
            if trouble.kind == kind and trouble.part in name:
                self.troubles.remove(trouble)
                if trouble.outcome == "before":
                    raise NoAnswer("it was lost")
                return trouble.outcome
        return None

    def _end(self, outcome: Outcome | None) -> None:
        if self.watch is not None:
            self.watch(len(self.requests), True)
        if outcome == "after":
            raise NoAnswer("the answer was lost")
