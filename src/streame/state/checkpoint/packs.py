"""Packs: the changed chunks of all leaves of a checkpoint in one file, beside references to chunks of older ones."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
from xxhash import xxh3_128, xxh3_128_hexdigest

from streame.errors import CheckpointDamaged
from streame.state.checkpoint.leaves import (
    chunk_count,
    decode_chunks,
    dtype_of,
    encode_chunk,
    kind_of,
    refuse_unsavable,
)
from streame.state.checkpoint.manifest import Chunk, Manifest, SavedLeaf, SavedState, StoredFile, chunks_of
from streame.state.checkpoint.sealed import FORMAT_VERSION
from streame.state.snapshot import CHUNK_ROWS, Changed, Data, Leaf, Snapshot, is_kept, loaded
from streame.storage.disk import Bytes

PACKS_MAX = 64
"""A checkpoint that refers to more packs has the chunks of those with the least of them written anew."""

_FIRST_LINE = f"streame pack {FORMAT_VERSION}\n".encode()

Read: TypeAlias = Callable[[str, int, int], bytes]
"""Bytes of a file, by its path, an offset and a length."""

LeafKey: TypeAlias = tuple[str, int, str]
"""The name of an operator, the number of an instance, the path of a leaf."""


class Known:
    """What the last checkpoint has of each leaf, and which of its packs are to be given up.

    Args:
        last: the manifest of the last checkpoint that was decided.
        versions: what that had of leaves that were not in memory.
    """

    def __init__(self, last: Manifest | None, versions: Mapping[LeafKey, str] | None = None) -> None:
        self._leaves: dict[LeafKey, SavedLeaf] = {}
        self._versions = versions or {}
        self.retired: frozenset[str] = frozenset()
        if last is not None:
            self._leaves = {
                (operator, instance, leaf.path): leaf
                for operator, states in last.operators.items()
                for instance, state in enumerate(states)
                for leaf in state.leaves
            }
            self.retired = retired_packs(last)

    def whole(self, key: LeafKey, version: str) -> SavedLeaf | None:
        """A leaf that was not in memory as it is in the last checkpoint, if it is the same and nothing of it is given up."""
        leaf = self._leaves.get(key)
        if leaf is None or self._versions.get(key) != version:
            return None
        return leaf if self.retired.isdisjoint(chunk.pack for chunk in leaf.chunks) else None

    def chunks(self, operator: str, instance: int, path: str, like: SavedLeaf) -> tuple[Chunk | None, ...]:
        """The chunks of a leaf in the last checkpoint, if it was of the same kind; `None` for one to be given up.

        Args:
            operator: the name of the operator.
            instance: which of its instances.
            path: the path of the leaf.
            like: the leaf as it is now.
        """
        before = self._leaves.get((operator, instance, path))
        if before is None or _make(before) != _make(like):
            return ()
        return tuple(None if chunk.pack in self.retired else chunk for chunk in before.chunks)


def _make(leaf: SavedLeaf) -> tuple[str, str, tuple[int, ...]]:
    return leaf.kind, leaf.dtype, leaf.shape[1:]


def retired_packs(last: Manifest) -> frozenset[str]:
    """The packs whose chunks are to be written anew: less than half of them is needed, or there are too many packs."""
    live = dict.fromkeys((pack.path for pack in last.packs), 0)
    for chunk in chunks_of(last.operators):
        live[chunk.pack] += chunk.length
    retired = {pack.path for pack in last.packs if 2 * live[pack.path] < pack.length - len(_FIRST_LINE)}
    kept = sorted((path for path in live if path not in retired), key=lambda path: (live[path], path))
    if len(kept) >= PACKS_MAX:
        retired.update(kept[: len(kept) - PACKS_MAX // 2])
    return frozenset(retired)


@dataclass(slots=True)
class PackWriting:
    """A pack while it is written: first take all of `parts`, then the other attributes hold.

    Args:
        path: where it will be.
        known: what need not be written.
        hints: whether what leaves say of unchanged chunks is about the time since the last decided checkpoint.
    """

    path: str
    known: Known
    hints: bool
    operators: dict[str, tuple[SavedState, ...]] = field(default_factory=dict)
    length: int = 0
    versions: dict[LeafKey, str] = field(default_factory=dict)
    _digest: xxh3_128 = field(default_factory=xxh3_128)

    def parts(self, operators: Mapping[str, Sequence[Snapshot]]) -> Iterator[Bytes]:
        """The bytes of the pack, by and by; none at all if there is nothing new.

        Args:
            operators: the snapshots of all instances of all operators.
        """
        for operator in sorted(operators):
            states = []
            for instance, snapshot in enumerate(operators[operator]):
                saved: dict[int, SavedLeaf] = {}
                numbers = range(len(snapshot.leaves))
                for number in sorted(numbers, key=[leaf.path for leaf in snapshot.leaves].__getitem__):
                    saved[number] = yield from self._leaf(operator, instance, snapshot.leaves[number])
                states.append(SavedState(snapshot.tree, tuple(saved[number] for number in numbers)))
            self.operators[operator] = tuple(states)

    @property
    def file(self) -> StoredFile | None:
        """The pack as a file; `None` if there is nothing in it."""
        return StoredFile(self.path, self.length, self._digest.hexdigest()) if self.length else None

    def _leaf(self, operator: str, instance: int, leaf: Leaf) -> Generator[Bytes, None, SavedLeaf]:
        """The new chunks of a leaf; as a generator it returns what becomes of the leaf."""
        if is_kept(leaf.data):
            key, version = (operator, instance, leaf.path), leaf.data.version
            self.versions[key] = version
            if (same := self.known.whole(key, version)) is not None:
                return same
        data = loaded(leaf.data)
        leaf = replace(leaf, data=data)
        refuse_unsavable(data, f"the state of {operator}, {leaf.path}")
        empty = SavedLeaf(leaf.path, kind_of(data), dtype_of(data), data.shape, ())
        before = self.known.chunks(operator, instance, leaf.path, empty)
        chunks = []
        for number in range(chunk_count(data)):
            old = before[number] if number < len(before) else None
            if old is not None and self.hints and _surely_same(leaf, old, number):
                chunks.append(old)
                continue
            content = encode_chunk(data, number)
            length, digest = len(content), xxh3_128_hexdigest(content)
            if old is not None and (old.length, old.digest) == (length, digest):
                chunks.append(old)
                continue
            if not self.length:
                yield self._written(_FIRST_LINE)
            chunks.append(Chunk(self.path, self.length, length, digest))
            yield self._written(content)
        return SavedLeaf(leaf.path, empty.kind, empty.dtype, data.shape, tuple(chunks))

    def _written(self, content: Bytes) -> Bytes:
        self.length += len(content)
        self._digest.update(content)
        return content


def _surely_same(leaf: Leaf, old: Chunk, number: int) -> bool:
    """Whether a chunk of an array is known not to have changed."""
    changed: Changed | None = leaf.changed
    if changed is None or not isinstance(leaf.data, np.ndarray):
        return False
    part = np.atleast_1d(leaf.data)[number * CHUNK_ROWS : (number + 1) * CHUNK_ROWS]
    return part.nbytes == old.length and not (number < len(changed) and changed[number])


def read_leaf(leaf: SavedLeaf, read: Read) -> Data:
    """A leaf as it was saved; an array is one that may be written to.

    Args:
        leaf: the leaf.
        read: gives bytes of a pack.

    Raises:
        CheckpointDamaged: when the bytes are not the ones that were written.
    """
    return decode_chunks(leaf.kind, leaf.dtype, leaf.shape, (_checked(chunk, read) for chunk in leaf.chunks))


def _checked(chunk: Chunk, read: Read) -> bytes:
    content = read(chunk.pack, chunk.offset, chunk.length)
    if len(content) != chunk.length or xxh3_128_hexdigest(content) != chunk.digest:
        raise CheckpointDamaged(
            f"{chunk.pack}: the {chunk.length} bytes from {chunk.offset} are not the ones that were written; "
            "check the disk, and restore the file or go on from a savepoint"
        )
    return content
