"""Sharing rows out among the instances of an operator, by key group."""

from itertools import accumulate

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.core.frames import picked
from streame.core.hashing import KEY_GROUPS, key_group, stable_hash
from streame.state.index import KeyIndex
from streame.state.rows import rows_at

_REMEMBERED_KEYS = 1_000_000

_FEW_TARGETS = 8
"""The rows of so many targets are found sooner one target after the other than by sorting."""

Targets = npt.NDArray[np.uint8]


class Partitioner:
    """Splits frames so that equal keys always come to the same target.

    Each target owns a range of key groups. The first million keys are hashed once; their targets are
    remembered.

    Args:
        key: the key columns and their dtypes.
        targets: how many parts there are, at most `KEY_GROUPS`.
        remembered_keys: how many keys' targets are remembered, at least.
    """

    def __init__(self, key: pl.Schema, targets: int, remembered_keys: int = _REMEMBERED_KEYS) -> None:
        assert 1 <= targets <= KEY_GROUPS, targets
        assert remembered_keys > 0, remembered_keys
        self._key = key.names()
        self._targets = targets
        self._remembered_keys = remembered_keys
        self._index = KeyIndex(key)
        self._target_of_slot: Targets = np.empty(0, np.uint8)

    def split(self, frame: pl.DataFrame) -> list[pl.DataFrame]:
        """The rows of each target, in their order; a part may be empty.

        Args:
            frame: rows with the key columns.
        """
        targets = self._targets_of(picked(frame, self._key))
        in_order = bool((targets[1:] >= targets[:-1]).all())
        if not in_order and self._targets <= _FEW_TARGETS:
            return [rows_at(frame, np.flatnonzero(targets == each)) for each in range(self._targets)]
        counts = np.bincount(targets, minlength=self._targets).tolist()
        by_target = frame if in_order else rows_at(frame, np.argsort(targets, kind="stable"))
        starts = accumulate(counts, initial=0)
        return [by_target.slice(start, count) for start, count in zip(starts, counts, strict=False)]

    def _targets_of(self, keys: pl.DataFrame) -> Targets:
        """The target of each key."""
        known = len(self._index)
        if known < self._remembered_keys:
            slots = self._index.slots(keys)
            if len(self._index) > known:
                new = self._index.keys(np.arange(known, len(self._index)))
                self._target_of_slot = np.concatenate([self._target_of_slot, self._target(new)])
            return self._target_of_slot.take(slots)
        slots = self._index.find(keys)
        targets = self._target_of_slot[slots]
        unknown = np.flatnonzero(slots < 0)
        if len(unknown):
            targets[unknown] = self._target(rows_at(keys, unknown))
        return targets

    def _target(self, keys: pl.DataFrame) -> Targets:
        """The target whose range of key groups holds each key."""
        return owners(keys, self._targets)


def owners(keys: pl.DataFrame, targets: int) -> Targets:
    """The number of the target that owns each key: each has a range of key groups."""
    groups = key_group(stable_hash(keys)).astype(np.int64)
    return (groups * targets // KEY_GROUPS).astype(np.uint8)
