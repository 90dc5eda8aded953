"""Stored states: the state of an object in scratch files, from which the same process makes it anew."""

import io
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl
from xxhash import xxh3_128_hexdigest

from streame.errors import StreameError
from streame.state.checkpoint.leaves import Kind, dtype_of, kind_of, refuse_unsavable
from streame.state.snapshot import Apart, Array, Data, InPlace, Leaf, Savable, plain_values, take_snapshot
from streame.storage.scratch import ScratchFile

Write: TypeAlias = Callable[[Sequence[memoryview]], ScratchFile]
"""Makes a file."""

_Bytes: TypeAlias = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Extent:
    """Some bytes of a file.

    Args:
        file: the file.
        offset: where in it they begin.
        length: how many they are.
        digest: the hash of them.
    """

    file: ScratchFile
    offset: int
    length: int
    digest: str

    def read(self) -> bytes:
        """The bytes.

        Raises:
            StreameError: when they are not the ones that were written.
        """
        found = self.file.read(self.offset, self.length)
        self._check(xxh3_128_hexdigest(found))
        return found

    def fill(self, into: _Bytes) -> None:
        """Put the bytes into an array of their length.

        Raises:
            StreameError: when they are not the ones that were written.
        """
        whole = self.file.fill(self.offset, into.data)
        self._check(xxh3_128_hexdigest(into.data) if whole else "")

    def _check(self, digest: str) -> None:
        if digest != self.digest:
            raise StreameError(
                f"{self.file.path}: the {self.length} bytes from {self.offset} are not the ones that were put aside "
                "there; check the disk and start the job again: with checkpoints it goes on from the last one"
            )


@dataclass(frozen=True, slots=True)
class KeptPart:
    """A large part of a state in a file; see `Kept`.

    Args:
        path: its place in the tree.
        kind: what sort of part.
        dtype: the dtype of an array.
        shape: its rows, and what else there is of dimensions.
        extent: where it is.
    """

    path: str
    kind: Kind
    dtype: str
    shape: tuple[int, ...]
    extent: Extent

    @property
    def version(self) -> str:
        """See `Kept`."""
        return f"{self.extent.digest} {self.kind} {self.dtype} {self.shape}"

    def load(self) -> Data:
        """See `Kept`.

        Raises:
            StreameError: when the bytes are not the ones that were written.
        """
        if self.kind == "array":
            array: Array = np.empty(self.shape, self.dtype)
            if array.nbytes:
                self.extent.fill(array.reshape(-1).view(np.uint8))
            return array
        if self.kind == "frame" and self.shape[1] == 0:
            return pl.DataFrame(height=self.shape[0])
        frame = pl.read_ipc_stream(self.extent.read())
        return frame if self.kind == "frame" else frame.to_series()


@dataclass(frozen=True, slots=True)
class StoredState:
    """The state of an object in files.

    Args:
        tree: where the plain values are.
        parts: the large parts by their number in the tree.
    """

    tree: Extent
    parts: tuple[KeptPart, ...]

    @property
    def nbytes(self) -> int:
        """The size on disk."""
        return sum(file.length for file in {self.tree.file, *(part.extent.file for part in self.parts)})

    def apart(self) -> Apart:
        """The same as part of a snapshot, of which only the plain values are read.

        Raises:
            StreameError: when they are not what was written.
        """
        return Apart(self._plain(), self.parts.__getitem__)

    def load(self) -> "LoadedState":
        """Read it.

        Raises:
            StreameError: when it is not what was written.
        """
        data = [part.load() for part in self.parts]
        return LoadedState(self, data, plain_values(self._plain(), data.__getitem__))

    def _plain(self) -> Any:
        return json.loads(self.tree.read())


@dataclass(frozen=True, slots=True)
class LoadedState:
    """A state that was read.

    Args:
        stored: where it came from.
        data: the large parts, by their number in the tree.
        values: all of it, as `Savable.restore` takes it.
    """

    stored: StoredState
    data: Sequence[Data]
    values: Any

    def parts(self) -> dict[tuple[object, ...], KeptPart]:
        """Where each part is, by what is the same as long as it has not changed."""
        found: dict[tuple[object, ...], KeptPart] = {}
        for data, part in zip(self.data, self.stored.parts, strict=True):
            array = part.path, part.extent.digest, part.kind, part.dtype, part.shape
            found[array if part.kind == "array" else (part.path, id(data))] = part
        return found


def store(savable: Savable, write: Write, before: LoadedState | None = None) -> StoredState:
    """Put the state of an object into a file. What it had when it was read, and has still, may stay where it is.

    Args:
        savable: the object, which does not change meanwhile.
        write: makes a file.
        before: what it was restored from.

    Raises:
        CheckpointError: for rows that cannot be saved.
    """
    snapshot = take_snapshot(savable, InPlace())
    known = before.parts() if before is not None else {}
    digests = [_digest(leaf) for leaf in snapshot.leaves]
    kept = [known.get(_identity(leaf, digest)) for leaf, digest in zip(snapshot.leaves, digests, strict=True)]
    live: defaultdict[ScratchFile, int] = defaultdict(int)
    for part in kept:
        if part is not None:
            live[part.extent.file] += part.extent.length
    # What has not changed, but lies in a file of which little is left, goes into another one that will last.
    moved, new = _Writing(snapshot.leaves, digests), _Writing(snapshot.leaves, digests)
    for number, part in enumerate(kept):
        if part is None:
            new.add(number)
        elif 2 * live[part.extent.file] < part.extent.file.length:
            moved.add(number)
    tree = json.dumps(snapshot.tree).encode()
    if before is not None and not new.numbers and xxh3_128_hexdigest(tree) == before.stored.tree.digest:
        return before.stored
    parts = dict(enumerate(kept)) | moved.written(write)
    new.contents.append(memoryview(tree))
    parts |= new.written(write)
    everything = tuple(part for part in parts.values() if part is not None)
    assert len(everything) == len(snapshot.leaves)
    return StoredState(Extent(new.file, new.length, len(tree), xxh3_128_hexdigest(tree)), everything)


class _Writing:
    """Parts that go into one file.

    Args:
        leaves: all parts.
        digests: the hashes of those that are arrays.
    """

    file: ScratchFile

    def __init__(self, leaves: Sequence[Leaf], digests: Sequence[str]) -> None:
        self._leaves, self._digests = leaves, digests
        self._extents: list[tuple[int, int, str]] = []
        self.numbers: list[int] = []
        self.contents: list[memoryview] = []
        self.length = 0

    def add(self, number: int) -> None:
        """One part more."""
        content = _content(self._leaves[number])
        self.numbers.append(number)
        self.contents.append(content)
        digest = self._digests[number] or xxh3_128_hexdigest(content)
        self._extents.append((self.length, len(content), digest))
        self.length += len(content)

    def written(self, write: Write) -> dict[int, KeptPart]:
        """Where the parts are, by their numbers, once they are in a file."""
        if not self.contents:
            return {}
        self.file = write(self.contents)
        pairs = (
            (self._leaves[number], extent) for number, extent in zip(self.numbers, self._extents, strict=True)
        )
        made = [KeptPart(leaf.path, *_make(leaf), Extent(self.file, *extent)) for leaf, extent in pairs]
        return dict(zip(self.numbers, made, strict=True))


def _digest(leaf: Leaf) -> str:
    """The hash of an array; frames do not change, and are known by the object."""
    return xxh3_128_hexdigest(_content(leaf)) if isinstance(leaf.data, np.ndarray) else ""


def _identity(leaf: Leaf, digest: str) -> tuple[object, ...]:
    """What is the same for a part as long as it has not changed."""
    return (leaf.path, digest, *_make(leaf)) if digest else (leaf.path, id(leaf.data))


def _make(leaf: Leaf) -> tuple[Kind, str, tuple[int, ...]]:
    assert isinstance(leaf.data, np.ndarray | pl.DataFrame | pl.Series), leaf.path
    return kind_of(leaf.data), dtype_of(leaf.data), leaf.data.shape


def _content(leaf: Leaf) -> memoryview:
    """The bytes of a part; those of an array are its own memory."""
    data = leaf.data
    if isinstance(data, np.ndarray):
        flat: Array = np.ascontiguousarray(data).reshape(-1)
        return flat.view(np.uint8).data if flat.nbytes else memoryview(b"")
    assert isinstance(data, pl.DataFrame | pl.Series), leaf.path
    refuse_unsavable(data, f"the state, {leaf.path}")
    buffer = io.BytesIO()
    frame = data.to_frame() if isinstance(data, pl.Series) else data
    frame.write_ipc_stream(buffer, compression="uncompressed", compat_level=pl.CompatLevel.oldest())
    return buffer.getbuffer()
