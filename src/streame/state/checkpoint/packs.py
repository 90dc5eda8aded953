"""Packs: the changed chunks of all leaves of a checkpoint in one file, beside references to chunks of older ones."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from xxhash import xxh3_128, xxh3_128_hexdigest

from streame.errors import CheckpointDamaged
from streame.state.checkpoint.leaves import (
    chunk_count,
    decode_frame,
    dtype_of,
    empty_array,
    encode_chunk,
    kind_of,
    refuse_unsavable,
)
from streame.state.checkpoint.manifest import (
    Chunk,
    Manifest,
    SavedLeaf,
    SavedState,
    StoredFile,
    StoredState,
    chunks_of,
)
from streame.state.checkpoint.sealed import FORMAT_VERSION
from streame.state.snapshot import CHUNK_ROWS, Changed, Data, Leaf, Snapshot, is_kept, loaded
from streame.storage.disk import Bytes, Files

PACKS_MAX = 64
"""A checkpoint that refers to more packs has the chunks of those with the least of them written anew."""

FIRST_LINE = f"streame pack {FORMAT_VERSION}\n".encode()
"""Of every pack."""

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

    def leaf(self, operator: str, instance: int, like: SavedLeaf) -> SavedLeaf:
        """A leaf in the last checkpoint, if it was of the same kind; else one without chunks.

        Args:
            operator: the name of the operator.
            instance: which of its instances.
            like: the leaf as it is now, without chunks.
        """
        before = self._leaves.get((operator, instance, like.path), like)
        same_kind = (before.kind, before.dtype, before.shape[1:]) == (like.kind, like.dtype, like.shape[1:])
        return before if same_kind else like


def retired_packs(last: Manifest, packs_max: int = PACKS_MAX) -> frozenset[str]:
    """The packs whose chunks are to be written anew: less than half of them is needed, or there are too many packs."""
    live = dict.fromkeys((pack.path for pack in last.packs), 0)
    for chunk in chunks_of(last.operators):
        live[chunk.pack] += chunk.length
    retired = {pack.path for pack in last.packs if 2 * live[pack.path] < pack.length - len(FIRST_LINE)}
    kept = sorted((path for path in live if path not in retired), key=lambda path: (live[path], path))
    if len(kept) >= packs_max:
        retired.update(kept[: len(kept) - packs_max // 2])
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
    others: dict[str, StoredFile] = field(default_factory=dict)
    """The files that others have written, by their path."""
    length: int = 0
    versions: dict[LeafKey, str] = field(default_factory=dict)
    _digest: xxh3_128 = field(default_factory=xxh3_128)

    def parts(self, operators: Mapping[str, Sequence[Snapshot | StoredState]]) -> Iterator[Bytes]:
        """The bytes of the pack, by and by; none at all if there is nothing new.

        Args:
            operators: the snapshots of all instances of all operators, or where others have written them.
        """
        for operator in sorted(operators):
            states = []
            for instance, snapshot in enumerate(operators[operator]):
                if isinstance(snapshot, StoredState):
                    states.append(snapshot.state)
                    self.others |= {pack.path: pack for pack in snapshot.packs}
                    continue
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
        now = SavedLeaf(leaf.path, kind_of(data), dtype_of(data), data.shape, ())
        before = self.known.leaf(operator, instance, now)
        chunks = []
        for number in range(chunk_count(data)):
            old = before.chunks[number] if number < len(before.chunks) else None
            if old is not None and old.pack in self.known.retired:
                old = None
            if old is not None and self.hints and _surely_same(leaf.changed, before, now, number):
                chunks.append(old)
                continue
            content = encode_chunk(data, number)
            length, digest = len(content), xxh3_128_hexdigest(content)
            if old is not None and (old.length, old.digest) == (length, digest):
                chunks.append(old)
                continue
            if not self.length:
                yield self._written(FIRST_LINE)
            chunks.append(Chunk(self.path, self.length, length, digest))
            yield self._written(content)
        return replace(now, chunks=tuple(chunks))

    def _written(self, content: Bytes) -> Bytes:
        self.length += len(content)
        self._digest.update(content)
        return content


def _surely_same(changed: Changed | None, before: SavedLeaf, now: SavedLeaf, number: int) -> bool:
    """Whether a chunk of a leaf is known not to have changed."""
    if changed is None or _rows(before, number) != _rows(now, number):
        return False
    return not (number < len(changed) and changed[number])


def _rows(leaf: SavedLeaf, number: int) -> int:
    """How many rows a chunk of a leaf has."""
    return min(leaf.shape[0] if leaf.shape else 1, (number + 1) * CHUNK_ROWS) - number * CHUNK_ROWS


def read_leaf(leaf: SavedLeaf, disk: Files) -> Data:
    """A leaf as it was saved; an array is one that may be written to.

    Args:
        leaf: the leaf.
        disk: where the packs are.

    Raises:
        CheckpointDamaged: when the bytes are not the ones that were written, or the file is not there.
    """
    if leaf.kind != "array":
        return decode_frame(leaf.kind, leaf.shape, (checked_chunk(chunk, disk) for chunk in leaf.chunks))
    array, memory = empty_array(leaf.dtype, leaf.shape)
    filled = 0
    for chunk in leaf.chunks:
        place = memory[filled : filled + chunk.length]
        with _there(chunk):
            length = disk.read_into(chunk.pack, chunk.offset, place)
        _check(chunk, place[:length])
        filled += chunk.length
    assert filled == len(memory), (filled, len(memory))
    return array


def checked_chunk(chunk: Chunk, disk: Files) -> bytes:
    """The bytes of a chunk, if they are the ones that were written.

    Args:
        chunk: the chunk.
        disk: where the packs are.

    Raises:
        CheckpointDamaged: when they are not, or the file is not there.
    """
    with _there(chunk):
        content = disk.read(chunk.pack, chunk.offset, chunk.length)
    _check(chunk, content)
    return content


@contextmanager
def _there(chunk: Chunk) -> Iterator[None]:
    """While a chunk is read: a file that is not there is damage like any other."""
    try:
        yield
    except FileNotFoundError as error:
        raise CheckpointDamaged(
            f"{chunk.pack}: it is not there, and the checkpoint needs {chunk.length} bytes of it; "
            "restore the file from a backup, or go on from a savepoint"
        ) from error


def _check(chunk: Chunk, content: Bytes) -> None:
    if len(content) != chunk.length or xxh3_128_hexdigest(content) != chunk.digest:
        raise CheckpointDamaged(
            f"{chunk.pack}: the {chunk.length} bytes from {chunk.offset} are not the ones that were written; "
            "check the disk, and restore the file or go on from a savepoint"
        )
