"""Packs in an object store: cut into objects of a bounded size, since what is made once has to be sent at once."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from xxhash import xxh3_128_hexdigest

from streame.state.checkpoint.manifest import Chunk, Manifest, SavedLeaf, SavedState, StoredFile, chunks_of
from streame.state.checkpoint.packs import FIRST_LINE, PACKS_MAX, Known, PackWriting, retired_packs
from streame.state.snapshot import Snapshot
from streame.storage.disk import Bytes
from streame.storage.objects import ObjectStore

OBJECT_BYTES_MAX = 64 * 1024 * 1024
"""An object of a pack is no larger, unless it is one chunk."""


@dataclass(slots=True)
class PackSending:
    """A pack on its way into a store.

    Args:
        store: where.
        stem: what the names of its objects begin with.
        last: the last checkpoint.
        hints: whether what leaves say of unchanged chunks is about the time since then.
    """

    store: ObjectStore
    stem: str
    last: Manifest | None
    hints: bool
    files: list[StoredFile] = field(default_factory=list)
    operators: Mapping[str, tuple[SavedState, ...]] = field(default_factory=dict)
    _starts: list[int] = field(default_factory=list)
    _waiting: bytearray = field(default_factory=bytearray)

    def send(self, operators: Mapping[str, Sequence[Snapshot]]) -> None:
        """Write what is new. Afterwards `files` are the new objects, and `operators` say where everything is.

        Raises:
            CheckpointError: when the store does not answer.
            Taken: when somebody else uses these names.
        """
        writing = PackWriting(self.stem, _known(self.last), self.hints)
        sent = 0
        for part in writing.parts(operators):
            self._add(part, sent)
            sent += len(part)
        self._flush()
        self.operators = {
            name: tuple(self._placed(state) for state in states) for name, states in writing.operators.items()
        }

    @property
    def sent_bytes(self) -> int:
        """How much was written."""
        return sum(file.length for file in self.files)

    def _add(self, part: Bytes, offset: int) -> None:
        if self._waiting and len(self._waiting) + len(part) > OBJECT_BYTES_MAX:
            self._flush()
        if not self._waiting and offset:
            self._waiting += FIRST_LINE
            self._starts.append(offset - len(FIRST_LINE))
        elif not self._waiting:
            self._starts.append(offset)
        self._waiting += part

    def _flush(self) -> None:
        if self._waiting:
            content, path = bytes(self._waiting), f"{self.stem}.{len(self.files)}.pack"
            self._waiting = bytearray()
            self.store.put_new(path, content)
            self.files.append(StoredFile(path, len(content), xxh3_128_hexdigest(content)))

    def _placed(self, state: SavedState) -> SavedState:
        leaves = tuple(
            SavedLeaf(leaf.path, leaf.kind, leaf.dtype, leaf.shape, tuple(map(self._where, leaf.chunks)))
            for leaf in state.leaves
        )
        return SavedState(state.tree, leaves)

    def _where(self, chunk: Chunk) -> Chunk:
        """The object of a chunk that was just written; others are where they were."""
        if chunk.pack != self.stem:
            return chunk
        number = bisect_right(self._starts, chunk.offset) - 1
        return replace(chunk, pack=self.files[number].path, offset=chunk.offset - self._starts[number])


def _known(last: Manifest | None) -> Known:
    """What need not be written. A large state has more objects, and not because they are small."""
    known = Known(last)
    if last is not None:
        live = sum(chunk.length for chunk in chunks_of(last.operators))
        known.retired = retired_packs(last, PACKS_MAX + 2 * (live // OBJECT_BYTES_MAX))
    return known
