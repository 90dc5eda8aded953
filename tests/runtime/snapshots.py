"""Snapshots compared, and taken through bytes."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from streame.state.snapshot import Leaf, Savable, Shadow, Snapshot, loaded, restore_snapshot, take_snapshot


def through_bytes(snapshot: Snapshot) -> Snapshot:
    """A snapshot that shares nothing with the process that it was taken in."""
    tree = json.loads(json.dumps(snapshot.tree, sort_keys=True))
    return Snapshot(tree, [replace(leaf, data=_through_bytes(loaded(leaf.data))) for leaf in snapshot.leaves])


def assert_same(one: Snapshot, other: Snapshot) -> None:
    """Two snapshots hold the same."""
    assert one.tree == other.tree
    for ours, theirs in zip(one.leaves, other.leaves, strict=True):
        assert ours.path == theirs.path
        _assert_same_leaf(ours, theirs)


def copied(make: Callable[[], Savable], savable: Savable) -> Any:
    """A new object that has gone through bytes."""
    new = make()
    restore_snapshot(new, through_bytes(take_snapshot(savable, Shadow())))
    return new


def _through_bytes(data: Any) -> Any:
    if isinstance(data, np.ndarray):
        return np.frombuffer(data.tobytes(), data.dtype).reshape(data.shape)
    stream = io.BytesIO()
    _frame(data).write_ipc(stream)
    read = pl.read_ipc(io.BytesIO(stream.getvalue()))
    return read["series"].alias(data.name) if isinstance(data, pl.Series) else read


def _assert_same_leaf(one: Leaf, other: Leaf) -> None:
    ours, theirs = loaded(one.data), loaded(other.data)
    assert type(ours) is type(theirs)
    if isinstance(ours, np.ndarray) and isinstance(theirs, np.ndarray):
        np.testing.assert_array_equal(ours, theirs, err_msg=one.path)
    else:
        assert _frame(ours).equals(_frame(theirs)), one.path


def _frame(data: Any) -> pl.DataFrame:
    frame: pl.DataFrame = data.to_frame("series") if isinstance(data, pl.Series) else data
    return frame
