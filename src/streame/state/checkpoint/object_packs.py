"""Packs in an object store: cut into objects of a bounded size, since what is made once has to be sent at once."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from xxhash import xxh3_128_hexdigest

from streame.state.checkpoint.manifest import Chunk, Manifest, SavedState, StoredFile, StoredState, chunks_of
from streame.state.checkpoint.packs import FIRST_LINE, PACKS_MAX, Known, PackWriting, retired_packs
from streame.state.snapshot import Snapshot
from streame.storage.disk import Bytes


class NewObjects(Protocol):
    """Where objects are made, each under a name of its own."""

    def put_new(self, name: str, data: bytes) -> None:
        """See `ObjectStore.put_new`."""


OBJECT_BYTES_MAX = 64 * 1024 * 1024
"""An object of a pack is no larger, unless it is one chunk."""


@dataclass(slots=True)
class Cutting:
    """A pack on its way into a store, cut into objects between its chunks.

    Args:
        store: where.
        stem: the path of the pack, with which the names of its objects begin.
    """

    store: NewObjects
    stem: str
    files: list[StoredFile] = field(default_factory=list)
    others: Mapping[str, StoredFile] = field(default_factory=dict)
    """Files with states that others have written, by their path."""
    _starts: list[int] = field(default_factory=list)
    _waiting: bytearray = field(default_factory=bytearray)

    def send(self, parts: Iterable[Bytes]) -> None:
        """Write the first line of a pack and its chunks. Afterwards `files` are the objects.

        Raises:
            CheckpointError: when the store does not answer.
            Taken: when somebody else uses these names.
        """
        sent = 0
        for part in parts:
            if self._waiting and len(self._waiting) + len(part) > OBJECT_BYTES_MAX:
                self._flush()
            if not self._waiting:
                self._starts.append(sent - len(FIRST_LINE) if sent else 0)
                self._waiting += FIRST_LINE if sent else b""
            self._waiting += part
            sent += len(part)
        self._flush()

    def placed(self, states: Iterable[SavedState]) -> tuple[SavedState, ...]:
        """States in which the chunks of the pack are where they are now; others are where they were."""
        return tuple(
            SavedState(
                state.tree,
                tuple(replace(leaf, chunks=tuple(map(self._where, leaf.chunks))) for leaf in state.leaves),
            )
            for state in states
        )

    def _flush(self) -> None:
        if self._waiting:
            content, path = bytes(self._waiting), f"{self.stem}.{len(self.files)}.pack"
            self._waiting = bytearray()
            self.store.put_new(path, content)
            self.files.append(StoredFile(path, len(content), xxh3_128_hexdigest(content)))

    def _where(self, chunk: Chunk) -> Chunk:
        if chunk.pack != self.stem:
            return chunk
        number = bisect_right(self._starts, chunk.offset) - 1
        return replace(chunk, pack=self.files[number].path, offset=chunk.offset - self._starts[number])


def send_pack(
    cutting: Cutting,
    last: Manifest,
    operators: Mapping[str, Sequence[Snapshot | StoredState]],
    *,
    hints: bool,
) -> dict[str, tuple[SavedState, ...]]:
    """Write what is new of some snapshots; returns where everything is.

    Args:
        cutting: where it goes.
        last: the last checkpoint.
        operators: the snapshots of all instances of all operators, or where others have written them.
        hints: whether what the leaves say of unchanged chunks is about the time since the last checkpoint.

    Raises:
        CheckpointError: when the store does not answer.
        Taken: when somebody else uses these names.
    """
    writing = PackWriting(cutting.stem, _known(last), hints)
    cutting.send(writing.parts(operators))
    cutting.others = writing.others
    return {name: cutting.placed(states) for name, states in writing.operators.items()}


def _known(last: Manifest) -> Known:
    """What need not be written. A large state has more objects, and not because they are small."""
    known = Known(last)
    live = sum(chunk.length for chunk in chunks_of(last.operators))
    known.retired = retired_packs(last, PACKS_MAX + 2 * (live // OBJECT_BYTES_MAX))
    return known
