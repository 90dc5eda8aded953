"""Stored states: the state of an object in scratch files, from which the same process makes it anew."""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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

_LARGE_BYTES = 32_768
"""A part of this size has a file of its own, so that it need not be written again when another one changes."""

_Bytes: TypeAlias = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class KeptPart:
    """A large part of a state in a file; see `Kept`.

    Args:
        kind: what sort of part.
        dtype: the dtype of an array.
        shape: its rows, and what else there is of dimensions.
        file: where it is.
        offset: where in the file it begins.
        length: how many bytes it has.
        digest: the hash of those.
    """

    kind: Kind
    dtype: str
    shape: tuple[int, ...]
    file: ScratchFile
    offset: int
    length: int
    digest: str

    @property
    def version(self) -> str:
        """See `Kept`."""
        return f"{self.digest} {self.kind} {self.dtype} {self.shape}"

    def load(self) -> Data:
        """See `Kept`.

        Raises:
            StreameError: when the bytes are not the ones that were written.
        """
        if self.kind != "array":
            return self.decoded(_read(self.file, self.offset, np.empty(self.length, np.uint8), self.digest))
        array: Array = np.empty(self.shape, self.dtype)
        if self.length:
            _read(self.file, self.offset, array.reshape(-1).view(np.uint8), self.digest)
        return array

    def decoded(self, content: _Bytes) -> Data:
        """The part of its bytes, which were checked."""
        if self.kind == "array":
            return content.copy().view(self.dtype).reshape(self.shape)
        if self.kind == "frame" and self.shape[1] == 0:
            return pl.DataFrame(height=self.shape[0])
        frame = pl.read_ipc_stream(content.tobytes())
        return frame if self.kind == "frame" else frame.to_series()


@dataclass(frozen=True, slots=True)
class StoredState:
    """The state of an object in files.

    Args:
        file: all parts that are small, and behind them the plain values.
        length: the size of that file.
        digest: the hash of its bytes.
        tree_at: where in it the plain values begin.
        parts: the large parts by their number in the tree.
        paths: the place of each in the tree.
    """

    file: ScratchFile
    length: int
    digest: str
    tree_at: int
    parts: tuple[KeptPart, ...]
    paths: tuple[str, ...]

    @property
    def nbytes(self) -> int:
        """The size on disk."""
        return self.length + sum(part.length for part in self.parts if part.file is not self.file)

    def apart(self) -> Apart:
        """The same as part of a snapshot, of which only the plain values are read.

        Raises:
            StreameError: when they are not what was written.
        """
        return Apart(self._tree(self._small()), self.parts.__getitem__)

    def load(self) -> "LoadedState":
        """Read it.

        Raises:
            StreameError: when it is not what was written.
        """
        small = self._small()
        data = [
            part.decoded(small[part.offset : part.offset + part.length])
            if part.file is self.file
            else part.load()
            for part in self.parts
        ]
        return LoadedState(self, data, plain_values(self._tree(small), data.__getitem__))

    def _small(self) -> _Bytes:
        return _read(self.file, 0, np.empty(self.length, np.uint8), self.digest)

    def _tree(self, small: _Bytes) -> Any:
        return json.loads(small[self.tree_at :].tobytes())


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

    def kept(self) -> tuple[dict[int, KeptPart], dict[str, KeptPart]]:
        """The parts with a file of their own: frames by the object that they became, and all by their place."""
        alone = [number for number, part in enumerate(self.stored.parts) if part.file is not self.stored.file]
        parts, paths = self.stored.parts, self.stored.paths
        frames = {id(self.data[number]): parts[number] for number in alone if parts[number].kind != "array"}
        return frames, {paths[number]: parts[number] for number in alone}


def store(savable: Savable, write: Write, before: LoadedState | None = None) -> StoredState:
    """Put the state of an object into files. What it had when it was read, and has still, is not written again.

    Args:
        savable: the object, which does not change meanwhile.
        write: makes a file.
        before: what it was restored from.

    Raises:
        CheckpointError: for rows that cannot be saved.
    """
    snapshot = take_snapshot(savable, InPlace())
    frames, places = before.kept() if before is not None else ({}, {})
    parts: list[KeptPart] = []
    small: list[memoryview] = []
    length = 0
    pending = ScratchFile("")
    for leaf in snapshot.leaves:
        # Frames do not change: one that is still the same object has the same content.
        if (part := frames.get(id(leaf.data))) is None:
            content = _content(leaf)
            part = _part(leaf, content, pending, length)
            if len(content) < _LARGE_BYTES:
                small.append(content)
                length += len(content)
            elif (same := places.get(leaf.path)) is not None and same.version == part.version:
                part = same
            else:
                part = replace(part, file=write([content]), offset=0)
        parts.append(part)
    small.append(memoryview(json.dumps(snapshot.tree).encode()))
    blob = memoryview(b"".join(small))
    digest = xxh3_128_hexdigest(blob)
    file = before.stored.file if before is not None and before.stored.digest == digest else write([blob])
    kept = tuple(replace(part, file=file) if part.file is pending else part for part in parts)
    return StoredState(file, len(blob), digest, length, kept, tuple(leaf.path for leaf in snapshot.leaves))


def _part(leaf: Leaf, content: memoryview, file: ScratchFile, offset: int) -> KeptPart:
    assert isinstance(leaf.data, np.ndarray | pl.DataFrame | pl.Series), leaf.path
    kind, dtype, shape = kind_of(leaf.data), dtype_of(leaf.data), leaf.data.shape
    return KeptPart(kind, dtype, shape, file, offset, len(content), xxh3_128_hexdigest(content))


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


def _read(file: ScratchFile, offset: int, into: _Bytes, digest: str) -> _Bytes:
    """Fill an array with bytes of a file that must be the ones that were written."""
    if not file.read(offset, into.data) or xxh3_128_hexdigest(into.data) != digest:
        raise StreameError(
            f"{file.path}: the {len(into)} bytes from {offset} are not the ones that were put aside there; check the "
            "disk and start the job again: with checkpoints it goes on from the last one"
        )
    return into
