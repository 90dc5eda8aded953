"""Checkpoints in memory: the twin of a store of checkpoints, for tests that restart a job without leaving the process."""

import json
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from streame.core.staging import Decided, Json, Outbox, OutboxFile, Staged
from streame.errors import CheckpointError
from streame.state.checkpoint.store import CheckpointStore, Draft, Recovered, RecoveredState, Written
from streame.state.snapshot import Data, Snapshot, loaded


class MemoryCheckpoints(CheckpointStore):
    """Keeps the checkpoints of one job for as long as the object lives.

    Args:
        on_write: called with the number of a checkpoint before it is decided, and again with its negative when it was;
            what it raises ends the run, as a crash at that moment would.
    """

    def __init__(self, on_write: Callable[[int], None] = lambda _: None) -> None:
        self.on_write = on_write
        self.number = 0
        self._kept: Recovered | None = None
        self._decided: dict[str, list[Decided]] = {}
        self._outboxes: dict[str, _MemoryOutbox] = {}
        self._claimed = False

    def claim(self) -> None:
        """See `CheckpointStore`."""
        if self._claimed:
            raise CheckpointError("another run writes to these checkpoints")
        self._claimed = True

    def recover(self) -> Recovered | None:
        """See `CheckpointStore`."""
        return self._kept

    def write(self, draft: Draft) -> Written:
        """See `CheckpointStore`."""
        number = self.number + 1
        self.on_write(number)
        operators = {
            name: [_kept(each) for each in given if isinstance(each, Snapshot)]
            for name, given in draft.operators.items()
        }
        for name, staged in draft.staged.items():
            copy = Staged(_through_json(staged.pieces), _through_json(staged.note))
            self._decided.setdefault(name, []).append(Decided(number, copy))
        decided = {name: tuple(each) for name, each in self._decided.items()}
        sources, settings = _through_json(draft.sources), _through_json(dict(draft.settings or {}))
        self._kept = Recovered(
            number, _through_json(draft.plan), operators, sources, decided, settings, draft.at_us
        )
        self.number = number
        self.on_write(-number)
        return Written(number, 0, 0)

    def published(self, number: int) -> None:
        """See `CheckpointStore`."""

    def collect_garbage(self) -> None:
        """See `CheckpointStore`."""

    def outbox(self, sink: str) -> Outbox:
        """See `CheckpointStore`."""
        return self._outboxes.setdefault(sink, _MemoryOutbox())

    def release(self) -> None:
        """See `CheckpointStore`."""
        self._claimed = False


class _MemoryOutbox(Outbox):
    """Staged bytes by number."""

    def __init__(self) -> None:
        self.files: list[bytes] = []

    def begin(self) -> OutboxFile:
        return _MemoryFile(self.files)

    def read(self, piece: Json) -> Iterator[bytes]:
        yield self.files[piece["number"]]


class _MemoryFile:
    def __init__(self, files: list[bytes]) -> None:
        self._files = files
        self._data = bytearray()

    def append(self, data: bytes) -> None:
        self._data += data

    def finish(self) -> Json:
        self._files.append(bytes(self._data))
        return {"number": len(self._files) - 1}

    def discard(self) -> None:
        self._data.clear()


def _kept(snapshot: Snapshot) -> RecoveredState:
    """A snapshot of which nothing changes any more: arrays are copied, frames never change."""
    leaves: Sequence[Data] = [_copy(loaded(leaf.data)) for leaf in snapshot.leaves]
    return RecoveredState(_through_json(snapshot.tree), lambda number: _copy(leaves[number]))


def _copy(data: Data) -> Data:
    return data.copy() if isinstance(data, np.ndarray) else data.clone()


def _through_json(value: Json) -> Json:
    return json.loads(json.dumps(value))
