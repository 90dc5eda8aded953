"""The states of a user's own aggregate."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from polars.exceptions import PanicException

from streame.core.aggregates import Own
from streame.core.foreign_errors import first_paragraph
from streame.core.ordering import by_slot
from streame.errors import DataError
from streame.state.aggregates.accumulator import GroupValues
from streame.state.aggregates.batch import Batch, Groups
from streame.state.rows import as_index, rows_at
from streame.state.snapshot import CHUNK_ROWS

_SAMPLE = 8
"""How many states are looked at to say how large all of them are."""


class UserStates(GroupValues):
    """One Python object for each group that has had rows."""

    SAVED = ("_states",)
    DERIVED = ("_encoded",)

    def __init__(self, spec: Own) -> None:
        self._spec = spec
        self._aggregate = spec.aggregate
        self._states: list[Any] = []
        self._encoded: list[pl.Series] = []

    def saved(self) -> dict[str, Any]:
        """The states as the user encodes them, chunk by chunk; those that no row has come for are not encoded again."""
        states = self._of_groups(self._states)
        changed = None if self._touched is None else self._touched.chunks
        known, self._encoded = self._encoded, []
        for number, start in enumerate(range(0, len(states), CHUNK_ROWS)):
            part = states[start : start + CHUNK_ROWS]
            is_new = changed is None or number >= len(known) or changed[number]
            self._encoded.append(self._encode(part) if is_new else known[number])
        return {"states": self._encoded}

    def restore(self, parts: dict[str, Any]) -> None:
        """See `saved`."""
        decode, self._encoded = self._aggregate.decode, parts["states"]
        encoded = [each for chunk in self._encoded for each in chunk.to_list()]
        self._states = [None if each is None else self._called("decode", decode, each) for each in encoded]

    def resize(self, size: int) -> None:
        """See `GroupValues`."""
        self._states += [None] * (size - len(self._states))

    def add(self, batch: Batch) -> None:
        """See `GroupValues`."""
        if batch.weights is None:
            self._take(self._aggregate.add, "add", batch)
            return
        for sign, name in ((1, "add"), (-1, "retract")):
            rows = np.flatnonzero(batch.weights * sign > 0)
            if len(rows):
                part = Batch(batch.groups[rows], rows_at(batch.rows, rows))
                self._take(getattr(self._aggregate, name), name, part)

    def values(self, groups: Groups) -> Sequence[pl.Series]:
        """See `GroupValues`."""
        finish, spec = self._aggregate.finish, self._spec
        values = [self._called("finish", finish, self._state(group)) for group in groups.tolist()]
        try:
            return [pl.Series(spec.name, values, dtype=spec.dtype, strict=True)]
        except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
            raise self._failed(
                "finish", f"returned what is no {spec.dtype}: {first_paragraph(error)}"
            ) from error

    def parts(self, groups: Groups) -> Sequence[pl.Series]:
        """See `GroupValues`."""
        encode = self._aggregate.encode
        encoded = [self._called("encode", encode, self._state(group)) for group in groups.tolist()]
        return [pl.Series(encoded, dtype=pl.Binary)]

    def merge(self, groups: Groups, parts: Sequence[pl.Series]) -> None:
        """See `GroupValues`."""
        for group, data in zip(groups.tolist(), parts[0].to_list(), strict=True):
            self._meet(group, self._called("decode", self._aggregate.decode, data))

    def absorb(self, other: "UserStates", chosen: Groups, groups: Groups) -> None:
        """See `GroupValues`."""
        for group, state in zip(groups.tolist(), map(other.state_of, chosen.tolist()), strict=True):
            if state is not None:
                self._meet(group, state)

    def forget(self, groups: Groups) -> None:
        """See `GroupValues`."""
        for group in groups.tolist():
            self._states[group] = None

    def state_of(self, group: int) -> Any:
        """The state of a group, `None` where it has had no rows."""
        return self._states[group]

    @property
    def nbytes(self) -> int:
        """See `GroupValues`."""
        step = max(1, len(self._states) // _SAMPLE)
        sample = [state for state in self._states[::step] if state is not None]
        if not sample:
            return 8 * len(self._states)
        mean = sum(len(self._called("encode", self._aggregate.encode, state)) for state in sample) // len(
            sample
        )
        return len(self._states) * (8 + mean * len(sample) // len(self._states[::step]))

    def _take(self, function: Callable[..., Any], name: str, batch: Batch) -> None:
        """Call a function for each group with its rows."""
        order = by_slot(batch.groups.astype(np.int32))
        groups = batch.groups[order]
        index = as_index(order)
        columns = [
            batch.column(column).gather(index).alias(label)
            for column, label in zip(self._spec.columns, self._spec.labels, strict=True)
        ]
        starts = np.flatnonzero(np.diff(groups, prepend=-1))
        ends = pairwise([*starts.tolist(), len(groups)])
        for group, (start, end) in zip(groups[starts].tolist(), ends, strict=True):
            rows = [column.slice(start, end - start) for column in columns]
            self._states[group] = self._called(name, function, self._state(group), *rows)

    def _encode(self, states: Sequence[Any]) -> pl.Series:
        """The bytes of each state, null where there is none."""
        encode = self._aggregate.encode
        encoded = [None if each is None else self._called("encode", encode, each) for each in states]
        return pl.Series(encoded, dtype=pl.Binary)

    def _meet(self, group: int, other: Any) -> None:
        self._states[group] = self._called("merge", self._aggregate.merge, self._state(group), other)

    def _state(self, group: int) -> Any:
        state = self._states[group]
        return self._called("create", self._aggregate.create) if state is None else state

    def _called(self, name: str, function: Callable[..., Any], *args: Any) -> Any:
        """What a method of the user returns; what it raises becomes one error that says whose it is."""
        try:
            return function(*args)
        except (Exception, PanicException) as error:
            raise self._failed(name, f"raised {type(error).__name__}: {first_paragraph(error)}") from error

    def _failed(self, name: str, what: str) -> DataError:
        spec = self._spec
        return DataError(
            f"agg: the aggregate {spec.output!r} cannot be computed: {type(self._aggregate).__name__}.{name} {what}. "
            "Which rows it has taken is not known any more, so none can be set aside"
        )
