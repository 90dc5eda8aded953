"""Snapshots: what an object of the running graph keeps, as a tree of plain values whose large parts are left as they are.

An object says which of its attributes are state (`SAVED`), and which change too but are made anew from those
(`DERIVED`); everything else comes from the plan, and is there before it is restored. `tests/tidy/savable.py`
finds attributes that change and are in neither.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeAlias, TypeGuard
from weakref import ReferenceType, ref

import numpy as np
import numpy.typing as npt
import polars as pl

Array: TypeAlias = npt.NDArray[Any]
Tree: TypeAlias = Any
"""A JSON value, in which `{"$leaf": number}` stands for a large part and `{"$bytes": hex}` for a few bytes."""

Data: TypeAlias = Array | pl.DataFrame | pl.Series

_ROOMY_BYTES = 256 * 1024 * 1024

CHUNK_ROWS = 65_536
"""The elements of an array, or rows of a frame, that are written and found unchanged together."""

Mine: TypeAlias = Callable[[pl.DataFrame], npt.NDArray[np.bool_]]
"""Says of keys, one per row, which of them an instance of an operator owns."""

Changed: TypeAlias = npt.NDArray[np.bool_]
"""For each chunk of an array or a frame whether it may have changed since the last snapshot; those behind have not."""


class Kept(Protocol):
    """A large part of a state that is not in memory, and never changes."""

    @property
    def version(self) -> str:
        """The same for equal contents, other for others."""

    def load(self) -> Data:
        """The part; an array may be written to."""


@dataclass(frozen=True, slots=True)
class Apart:
    """A part of the state of an object that is saved and restored without being in memory as a whole.

    Args:
        tree: its plain values.
        leaf: gives its large parts, by their number in the tree.
    """

    tree: Tree
    leaf: "Callable[[int], Data | Kept]"

    def values(self) -> Any:
        """All of it, as `Savable.restore` takes it."""
        return plain_values(self.tree, lambda number: loaded(self.leaf(number)))


def loaded(data: "Data | Kept") -> Data:
    """A large part in memory."""
    return data.load() if is_kept(data) else data  # type: ignore[return-value]


def is_kept(data: "Data | Kept") -> TypeGuard[Kept]:
    """Whether a large part is not in memory."""
    return not isinstance(data, np.ndarray | pl.DataFrame | pl.Series)


class Savable:
    """Something whose state can be saved, and restored into a new object that was made in the same way."""

    SAVED: ClassVar[tuple[str, ...]] = ()
    """The attributes that are its state."""

    DERIVED: ClassVar[tuple[str, ...]] = ()
    """Attributes that change as well, but are not saved: they are made anew, or do not matter to any result."""

    HERE: ClassVar[tuple[str, ...]] = ()
    """Those among `DERIVED` that are saved too where the same process restores them, because making them is dear."""

    def saved(self) -> dict[str, Any]:
        """Its state, in parts that can be saved.

        Those are plain values, numpy arrays without objects, Polars frames and series, other savable objects, parts
        that are apart, and lists and dicts (with texts as keys) of all these. Tuples come back as lists.
        """
        return {name: getattr(self, name) for name in self.SAVED}

    def restore(self, parts: dict[str, Any]) -> None:
        """Take the state that `saved` gave; a savable object in it has become what its own `saved` gave."""
        for name in self.SAVED:
            setattr(self, name, _given_back(getattr(self, name), parts[name]))
        if self.HERE and self.HERE[0] in parts:
            for name in self.HERE:
                setattr(self, name, parts[name])
            self.restored_here()
        else:
            self.restored()

    def restored(self) -> None:
        """Called at the end of `restore`: make anew what is not saved."""

    def restored_here(self) -> None:
        """Called instead of `restored` when the attributes in `HERE` are there already."""

    def changed(self, name: str) -> Changed | None:
        """Which chunks of an array among its attributes may have changed since the last snapshot.

        Asked once for each array of a snapshot. `None`: nobody knows. Elements behind the last chunk have not.
        """
        return None

    def saved_up_to_here(self) -> None:
        """A snapshot was taken: from now on `changed` is about the next one."""


def _given_back(mine: Any, part: Any) -> Any:
    """What becomes of an attribute: savable objects, alone or several together, stay and take what was saved of them."""
    match mine:
        case Savable() if part is not None:
            mine.restore(part)
            return mine
        case tuple() if mine and all(isinstance(each, Savable) for each in mine):
            for each, saved in zip(mine, part, strict=True):
                each.restore(saved)
            return mine
        case dict() if mine and all(isinstance(each, Savable) for each in mine.values()):
            for name, each in mine.items():
                each.restore(part[name])
            return mine
    return part


@dataclass(frozen=True, slots=True)
class Leaf:
    """A large part of a snapshot; it does not change any more until the snapshot is written.

    Args:
        path: where it is in the tree: the same in every snapshot of the same object.
        data: an array, a frame, or a series; or where it is kept.
        changed: for each chunk whether it may have changed since the last snapshot; `None` if nobody knows.
    """

    path: str
    data: Data | Kept
    changed: Changed | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of an object at one moment.

    Args:
        tree: its plain values.
        leaves: its large parts, by their number in the tree.
    """

    tree: Tree
    leaves: Sequence[Leaf]


class Shadow:
    """Copies of the arrays of an object, kept from one snapshot to the next, and which frames there were.

    Memory that was written before takes a copy at a twentieth of the time of new memory, and of an array that says
    what has changed only that is copied. It costs as much memory as the arrays.
    """

    def __init__(self) -> None:
        self._copies: dict[str, Array] = {}
        self._lengths: dict[str, int] = {}
        self._used: dict[str, int] = {}
        self._frames: dict[str, ReferenceType[object]] = {}
        self._seen: dict[str, ReferenceType[object]] = {}

    @property
    def nbytes(self) -> int:
        """The size in memory."""
        return sum(copy[: self._lengths.get(path, 0)].nbytes for path, copy in self._copies.items())

    def copy(self, path: str, array: Array, changed: Changed | None) -> tuple[Array, Changed | None]:
        """The elements of an array as they are now, and which chunks may differ from the last snapshot."""
        known, kept = self._lengths.get(path, 0), self._copies.get(path)
        if kept is None or kept.dtype != array.dtype or kept.shape[1:] != array.shape[1:]:
            kept, known, changed = np.empty((0, *array.shape[1:]), array.dtype), 0, None
        if len(kept) < len(array):
            # Arrays grow by a few elements at a time, and what is never written takes no memory.
            more = np.empty((_room(array) * len(array), *array.shape[1:]), array.dtype)
            if changed is not None:
                more[:known] = kept[:known]
            kept = more
        self._copies[path], self._used[path] = kept, len(array)
        copy = kept[: len(array)]
        if changed is None:
            copy[:] = array
            return copy, None
        for chunk in np.flatnonzero(changed).tolist():
            part = slice(chunk * CHUNK_ROWS, (chunk + 1) * CHUNK_ROWS)
            copy[part] = array[part]
        copy[known:] = array[known:]
        return copy, changed

    def frame(self, frame: pl.DataFrame | pl.Series) -> pl.DataFrame | pl.Series:
        """The rows of a frame as they are now: frames do not change, but belong to one thread."""
        return frame.clone()

    def changed(self, path: str, frame: pl.DataFrame | pl.Series) -> Changed | None:
        """Which chunks of a frame or series may differ from the last snapshot.

        Those in state are never changed in place, so if the same object is still there, none has.
        """
        last = self._frames.get(path)
        self._seen[path] = ref(frame)
        return np.zeros(0, np.bool_) if last is not None and last() is frame else None

    def also_saved(self, savable: Savable) -> Sequence[str]:
        """The attributes that are saved besides: none, for what may be restored in another process."""
        return ()

    def forget_unused(self) -> None:
        """Free the copies of arrays that were not in the snapshot that was just taken."""
        self._frames, self._seen = self._seen, {}
        self._copies = {path: self._copies[path] for path in self._used}
        self._lengths, self._used = self._used, {}


class InPlace(Shadow):
    """No copies at all: for an object that is written before it changes again, and restored in the same process."""

    def copy(self, path: str, array: Array, changed: Changed | None) -> tuple[Array, Changed | None]:
        """The array itself."""
        return array, changed

    def frame(self, frame: pl.DataFrame | pl.Series) -> pl.DataFrame | pl.Series:
        """The frame itself."""
        return frame

    def changed(self, path: str, frame: pl.DataFrame | pl.Series) -> Changed | None:
        """Nobody asks."""
        return None

    def also_saved(self, savable: Savable) -> Sequence[str]:
        """What the same process need not make anew."""
        return savable.HERE


def _room(array: Array) -> int:
    """How many times as large as an array its copy is made; memory that nobody has written to costs nothing."""
    return 8 if array.nbytes <= _ROOMY_BYTES else 2


@dataclass(slots=True)
class _Taking:
    """A snapshot while it is taken."""

    shadow: Shadow
    leaves: list[Leaf] = field(default_factory=list)

    def tree(self, value: Any, path: str, owner: Savable | None = None) -> Tree:
        match value:
            case None | bool() | int() | float() | str():
                return value
            case np.generic():
                return value.item()
            case bytes():
                return {"$bytes": value.hex()}
            case np.ndarray():
                assert value.dtype != object, path
                changed = None if owner is None else owner.changed(path.rpartition("/")[2])
                copy, changed = self.shadow.copy(path, value, changed)
                return self._leaf(Leaf(path, copy, changed))
            case pl.DataFrame() | pl.Series():
                going, changed = self.shadow.frame(value), self.shadow.changed(path, value)
                return self._leaf(Leaf(path, going, changed))
            case Apart():
                return {"$apart": self.tree(plain_values(value.tree, value.leaf), path)}
            case Savable():
                parts = value.saved() | {name: getattr(value, name) for name in self.shadow.also_saved(value)}
                tree = {name: self.tree(part, f"{path}/{name}", value) for name, part in parts.items()}
                value.saved_up_to_here()
                return tree
            case dict():
                assert all(isinstance(key, str) and not key.startswith("$") for key in value), path
                return {key: self.tree(each, f"{path}/{key}") for key, each in value.items()}
            case list() | tuple():
                return [self.tree(each, f"{path}/{number}") for number, each in enumerate(value)]
        assert hasattr(value, "load"), f"{path}: a {type(value).__name__} cannot be saved"
        return self._leaf(Leaf(path, value))

    def _leaf(self, leaf: Leaf) -> Tree:
        self.leaves.append(leaf)
        return {"$leaf": len(self.leaves) - 1}


def take_snapshot(savable: Savable, shadow: Shadow) -> Snapshot:
    """The state of an object now. Frames are taken by reference, arrays are copied.

    Args:
        savable: the object; it may change again when this returns.
        shadow: the copies of its last snapshot, which must be written or given up by now.
    """
    taking = _Taking(shadow)
    tree = taking.tree(savable, "")
    shadow.forget_unused()
    return Snapshot(tree, taking.leaves)


def plain_values(tree: Tree, leaf: Callable[[int], Data | Kept]) -> Any:
    """The values of a tree, with its large parts, as `Savable.restore` takes them.

    Args:
        tree: the tree of a snapshot.
        leaf: gives a large part by its number; an array must be one that may be written to. Those of what is apart
            are only asked for by whoever wants its values.
    """
    match tree:
        case {"$apart": part}:
            return Apart(part, leaf)
        case {"$leaf": int(number)}:
            return leaf(number)
        case {"$bytes": str(digits)}:
            return bytes.fromhex(digits)
        case Mapping():
            return {key: plain_values(each, leaf) for key, each in tree.items()}
        case list():
            return [plain_values(each, leaf) for each in tree]
    return tree


def leaf_numbers(tree: Tree) -> Iterator[int]:
    """The numbers of the large parts in a tree; of what is apart none."""
    match tree:
        case {"$apart": _}:
            return
        case {"$leaf": int(number)}:
            yield number
        case Mapping():
            for each in tree.values():
                yield from leaf_numbers(each)
        case list():
            for each in tree:
                yield from leaf_numbers(each)


def restore_snapshot(savable: Savable, snapshot: Snapshot) -> None:
    """Put a snapshot into an object that was made in the same way as the one it was taken of. Arrays are copied."""

    def part(number: int) -> Data:
        data = loaded(snapshot.leaves[number].data)
        return data.copy() if isinstance(data, np.ndarray) else data.clone()

    savable.restore(plain_values(snapshot.tree, part))
