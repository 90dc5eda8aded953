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

    def read(self, into: _Bytes | None = None) -> _Bytes:
        """The bytes.

        Args:
            into: where to put them; new memory by default.

        Raises:
            StreameError: when they are not the ones that were written.
        """
        into = np.empty(self.length, np.uint8) if into is None else into
        if not self.file.read(self.offset, into.data) or xxh3_128_hexdigest(into.data) != self.digest:
            raise StreameError(
                f"{self.file.path}: the {self.length} bytes from {self.offset} are not the ones that were put aside "
                "there; check the disk and start the job again: with checkpoints it goes on from the last one"
            )
        return into


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
                self.extent.read(array.reshape(-1).view(np.uint8))
            return array
        if self.kind == "frame" and self.shape[1] == 0:
            return pl.DataFrame(height=self.shape[0])
        frame = pl.read_ipc_stream(self.extent.read().tobytes())
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
        return json.loads(self.tree.read().tobytes())


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
    contents: list[memoryview] = []
    extents: list[tuple[int, int, str]] = []
    places: list[int] = []
    length = 0
    for number, (leaf, part) in enumerate(zip(snapshot.leaves, kept, strict=True)):
        # A file of which little is left goes.
        if part is not None and 2 * live[part.extent.file] >= part.extent.file.length:
            continue
        content = _content(leaf)
        contents.append(content)
        extents.append((length, len(content), digests[number] or xxh3_128_hexdigest(content)))
        places.append(number)
        length += len(content)
    tree = memoryview(json.dumps(snapshot.tree).encode())
    digest = xxh3_128_hexdigest(tree)
    if before is not None and not contents and digest == before.stored.tree.digest:
        return before.stored
    file = write([*contents, tree])
    parts = dict(enumerate(kept))
    for number, extent in zip(places, extents, strict=True):
        leaf = snapshot.leaves[number]
        parts[number] = KeptPart(leaf.path, *_make(leaf), Extent(file, *extent))
    everything = tuple(part for part in parts.values() if part is not None)
    assert len(everything) == len(snapshot.leaves)
    return StoredState(Extent(file, length, len(tree), digest), everything)


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
