"""Group by: one row for each key, said anew whenever it has changed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.core.aggregates import Aggregation
from streame.core.emission import Emission
from streame.core.hidden import WEIGHT
from streame.core.messages import BATCH_ROWS_MAX, Batch
from streame.core.metrics import StateSize
from streame.core.time import WATERMARK_MAX
from streame.runtime.emit import changes
from streame.runtime.operator import Collector, Operator, OperatorContext
from streame.runtime.operators.pre_aggregation import values_of
from streame.runtime.preparation import Preparation
from streame.state.aggregates import AggregateState
from streame.state.first_rows import FirstRows
from streame.state.index import KeyIndex
from streame.state.rows import rows_at, with_room
from streame.state.snapshot import Mine

_GROUPS_MAX = BATCH_ROWS_MAX // 2
"""Groups that are said in one batch: of each a row may be taken back and one be said."""

Groups = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Before:
    """What was said of groups before rows came that may change them; nulls where nothing was."""

    groups: Groups
    was: Mask
    rows: pl.DataFrame


class GroupByOperator(Operator):
    """Keeps the values of each key, and says what has become of the keys that rows came for.

    Args:
        keys: the key columns.
        key_schema: the names and dtypes under which they come out.
        aggregation: what is computed for each key.
        preparation: prepares rows for it.
        retractable: whether rows carry weights, and may be taken back.
        emission: when results are said.
    """

    SAVED = ("_index", "_state", "_before", "_timer_is_set", "_has_ended")
    DERIVED = ("_noted",)

    def __init__(
        self,
        *,
        keys: Sequence[str],
        key_schema: pl.Schema,
        aggregation: Aggregation,
        preparation: Preparation,
        retractable: bool,
        emission: Emission,
    ) -> None:
        self._keys = list(keys)
        self._preparation = preparation
        self._retractable = retractable
        self._emission = emission
        self._index = KeyIndex(key_schema)
        self._state = AggregateState(aggregation, retractable=retractable)
        self._outputs = aggregation.outputs
        self._before: list[_Before] = []
        self._noted: Mask = np.empty(0, np.bool_)
        self._first_rows = FirstRows()
        self._timer_is_set = False
        self._has_ended = False

    def open(self, context: OperatorContext) -> None:
        """Remember the clock."""
        self._context = context

    def saved(self) -> dict[str, Any]:
        """See `Savable`."""
        before = [{"groups": each.groups, "was": each.was, "rows": each.rows} for each in self._before]
        return super().saved() | {"_before": before}

    def restored(self) -> None:
        """See `Savable`."""
        self._before = [_Before(**each) for each in self._before]  # type: ignore[arg-type]
        self._noted = np.zeros(len(self._index), np.bool_)
        for before in self._before:
            self._noted[before.groups] = True

    def absorb(self, other: Self, mine: Mine) -> None:
        """Take the keys that are owned, their values, and what was said of them before they changed."""
        noted = with_room(other._noted, len(other._index), False)
        every = np.arange(len(other._index), dtype=np.int32)
        live = every[(other._state.counts(every) > 0) | noted[: len(every)]]
        keys = other._index.keys(live)
        owned = np.flatnonzero(mine(keys))
        groups = np.full(len(every), -1, np.int32)
        groups[live[owned]] = self._index.slots_of_others(rows_at(keys, owned))
        self._state.absorb(other._state, groups)
        self._noted = with_room(self._noted, len(self._index), False)
        for before in other._before:
            numbers = groups[before.groups]
            kept = np.flatnonzero(numbers >= 0)
            self._noted[numbers[kept]] = True
            self._before.append(_Before(numbers[kept], before.was[kept], rows_at(before.rows, kept)))
        self._timer_is_set |= other._timer_is_set
        self._has_ended |= other._has_ended

    def on_batch(self, port: int, batch: Batch, out: Collector) -> None:
        """Take the rows; say which groups have changed, or note what was said of them before."""
        frame, values = batch.frame, values_of(batch.frame)
        if values is None:
            frame, rows = self._preparation.run(batch, self._context, out)
        if not frame.height:
            return
        groups = self._index.slots(frame.select(self._keys))
        if self._emission != "on_close":
            self._note(groups)
        if values is not None:
            self._state.add_partials(groups, values)
        else:
            self._state.add(groups, rows, frame[WEIGHT].to_numpy() if self._retractable else None)
        if self._emission == "changes":
            self._say_changes(out)
        elif self._emission != "on_close" and not self._timer_is_set:
            self._timer_is_set = True
            self._context.set_timer(self._context.clock.now_us() + self._emission)

    def on_timer(self, time_us: int, out: Collector) -> None:
        """Say what has changed since the first batch that was not answered."""
        self._timer_is_set = False
        self._say_changes(out)

    def on_watermark(self, time: int, out: Collector) -> None:
        """Only where every batch is answered at once are the results as far as the rows."""
        if time == WATERMARK_MAX and not self._has_ended:
            self._has_ended = True
            self._say_changes(out)
            if self._emission == "on_close":
                self._say_results(out)
        if time == WATERMARK_MAX or self._emission == "changes":
            out.watermark(time)

    def state_size(self) -> StateSize:
        """The keys and their values, and what is to be taken back."""
        values = self._state.size()
        said = sum(int(each.rows.estimated_size()) for each in self._before)
        size = values.bytes + self._index.memory_bytes + self._first_rows.nbytes + self._noted.nbytes + said
        return StateSize(max(values.rows, len(self._index)), size)

    def _note(self, groups: Groups) -> None:
        """Remember what was said of groups, before rows come that may change it."""
        self._noted = with_room(self._noted, len(self._index), False)
        touched = groups[self._first_rows.find(groups, len(self._index))]
        touched = touched[~self._noted[touched]]
        self._noted[touched] = True
        was = self._state.counts(touched) > 0
        rows = (
            self._state.results(touched)
            if was.any()
            else pl.DataFrame(schema=self._outputs).clear(len(touched))
        )
        self._before.append(_Before(touched, was, rows))

    def _say_changes(self, out: Collector) -> None:
        """Take back what was said of the noted groups and say what they are now, both in the same batch."""
        noted, self._before = self._before, []
        for before in _pieces(noted):
            self._noted[before.groups] = False
            now = self._state.counts(before.groups) > 0
            results = self._state.results(before.groups)
            said = changes(self._index.keys(before.groups), before.rows, results, before.was, now)
            if said.height:
                out.emit(Batch(said))

    def _say_results(self, out: Collector) -> None:
        """Say the results of all groups, which are final."""
        every = np.arange(len(self._index), dtype=np.int32)
        for start in range(0, len(every), BATCH_ROWS_MAX):
            groups = every[start : start + BATCH_ROWS_MAX]
            groups = groups[self._state.counts(groups) > 0]
            if len(groups):
                out.emit(Batch(self._index.keys(groups).hstack(self._state.results(groups))))


def _pieces(noted: Sequence[_Before]) -> Iterator[_Before]:
    """The same groups in pieces for one batch each."""
    if not noted:
        return
    groups = np.concatenate([each.groups for each in noted])
    was = np.concatenate([each.was for each in noted])
    rows = pl.concat([each.rows for each in noted])
    for start in range(0, len(groups), _GROUPS_MAX):
        part = slice(start, start + _GROUPS_MAX)
        yield _Before(groups[part], was[part], rows[part])
