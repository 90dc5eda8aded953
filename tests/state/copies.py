"""Objects made anew from their snapshots, through bytes, so that nothing of them lives anywhere else."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Generic, TypeVar

import numpy as np
import polars as pl

from streame.core.hashing import stable_hash
from streame.state.snapshot import (
    Mine,
    Savable,
    Shadow,
    Snapshot,
    loaded,
    restore_snapshot,
    take_snapshot,
)

_Saved = TypeVar("_Saved", bound=Savable)


class Remaking(Generic[_Saved]):
    """Puts objects in the place of others, by their snapshots; keeps one shadow from each to the next, as a job does.

    Args:
        make: makes a new object.
    """

    def __init__(self, make: Callable[[], _Saved]) -> None:
        self._make = make
        self._shadow = Shadow()

    def again(self, old: _Saved) -> _Saved:
        """A new object with the state of an old one, which is spoilt."""
        new = self._make()
        restore_snapshot(new, through_bytes(take_snapshot(old, self._shadow)))
        vars(old).clear()
        return new


def through_bytes(snapshot: Snapshot) -> Snapshot:
    """A snapshot that shares nothing with the process that it was taken in."""
    leaves = [replace(leaf, data=_through_bytes(loaded(leaf.data))) for leaf in snapshot.leaves]
    paths = [leaf.path for leaf in leaves]
    assert len(set(paths)) == len(paths), paths
    return Snapshot(json.loads(json.dumps(snapshot.tree, sort_keys=True)), leaves)


def _through_bytes(data: Any) -> Any:
    match data:
        case np.ndarray():
            return np.frombuffer(data.tobytes(), data.dtype).reshape(data.shape)
        case pl.Series():
            return _through_bytes(data.to_frame()).to_series()
        case pl.DataFrame() if not data.width:
            return data
        case _:
            stream = io.BytesIO()
            data.write_ipc(stream)
            return pl.read_ipc(io.BytesIO(stream.getvalue()))


def owned_by(instance: int, instances: int) -> Mine:
    """Says which keys one of several instances owns."""
    return lambda keys: (stable_hash(keys) % np.uint64(instances)) == instance
