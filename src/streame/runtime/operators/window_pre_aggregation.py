"""Pre-aggregation of windows: rows of one key and slice of time become one, before they go to another node."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.core.frames import frame_of, picked
from streame.core.hidden import BEHIND, WEIGHT
from streame.core.messages import BATCH_ROWS_MAX, Batch
from streame.core.metrics import StateSize
from streame.core.time import WATERMARK_MAX, WATERMARK_MIN, Ticks
from streame.core.windows import Cut, Windows
from streame.runtime.operator import Collector, Operator, OperatorContext
from streame.runtime.operators.pre_aggregation import named_values
from streame.runtime.partition import owners
from streame.runtime.preparation import Preparation
from streame.runtime.window_results import WindowSetup
from streame.state.aggregates import AggregateState
from streame.state.index import KeyIndex, Slots
from streame.state.rows import RowNumbers, as_index, rows_at
from streame.state.snapshot import Mine

_GROUPS_MAX = 1_048_576
"""There is room for so many groups: keys times slices. They go on when there would be more."""

_KEYS_MAX = 262_144
"""A batch is sent on as it is where there are more keys than this: each has few rows."""

_SLICES_MAX = 64
"""So is one with rows of more slices."""

_BATCHES_MAX = 64
"""How many batches are put together at most."""

_GAIN_MIN = 2
"""It gained nothing if there were not so many rows for each group."""

_BATCHES_JUDGED = 4
"""That is said of at least so many batches together: a barrier or the end of a window may cut any of them short."""

_BATCHES_SENT_ON = 15
"""Then so many batches are sent on as they are, before others are tried."""

_Chosen = RowNumbers | slice | None
"""Which rows of a batch; `None` for all."""


@dataclass(frozen=True, slots=True)
class _Slice:
    """A slice that is put together.

    Args:
        start: its first tick.
        time: of one of its rows.
        until: when the first window over it ends.
    """

    start: int
    time: pl.Series
    until: int


@dataclass(slots=True)
class _Pane:
    """Slices that one batch began: as a rule they also go on together, so that nothing of the others has to be moved.

    Args:
        slices: each has its place.
        state: of their groups, whose numbers are those of the keys, further by a stride for each place.
    """

    slices: list[_Slice]
    state: AggregateState


@dataclass(frozen=True, slots=True)
class _Leaving:
    """Groups that go on.

    Args:
        pane: where they were.
        filled: their numbers.
        stride: of the pane.
    """

    pane: _Pane
    filled: RowNumbers
    stride: int

    @property
    def keys(self) -> RowNumbers:
        """The number of the key of each."""
        return self.filled % self.stride

    def values(self) -> pl.DataFrame:
        """The time of each, and the values of its rows."""
        times = _repeated([each.time for each in self.pane.slices], self.filled // self.stride)
        return frame_of([times, *named_values(self.pane.state.partials(self.filled)).iter_columns()])


class WindowPreAggregationOperator(Operator):
    """Sends on one row for each key and slice, with the values of its rows; or the rows, where that gains nothing.

    Where windows are said when they close, rows of several batches are put together; they go on before a watermark that
    closes one of their windows, and before a barrier. Rows that may be late, or are in no window, are sent on as they are:
    the operator that it works for knows what becomes of each.

    Args:
        name: that operator, which refuses the rows that cannot be prepared.
        setup: what that one does.
        preparation: prepares rows for its aggregation.
        targets: how many instances that operator has: rows are sent on in the order of these, which saves sorting them out.
    """

    SAVED = ("_sent_on", "_reached", "_tried", "_rows_put", "_rows_gone", "_groups_gone")
    DERIVED = ("_index", "_keys", "_owners", "_stride", "_panes", "_batches")  # empty at a barrier

    def __init__(self, name: str, setup: WindowSetup, preparation: Preparation, targets: int) -> None:
        self._name = name
        self._setup = setup
        self._preparation = preparation
        self._windows = Windows(setup.rule)
        self._time = setup.rule.time.column
        self._key = pl.Schema(dict(zip(setup.key_columns, setup.key.values(), strict=True)))
        self._batches_max = 1 if setup.is_changes or setup.emission != "on_close" else _BATCHES_MAX
        self._targets = targets
        self._index = KeyIndex(self._key)
        self._keys, self._owners = pl.DataFrame(schema=self._key), np.empty(0, np.uint8)
        self._stride = 1_024
        self._sent_on = 0
        self._reached = WATERMARK_MIN
        self._tried = self._rows_put = self._rows_gone = self._groups_gone = 0
        self._panes: list[_Pane] = []
        self._batches = 0

    def open(self, context: OperatorContext) -> None:
        """Remember the clock, for dead letters."""
        self._context = replace(context, name=self._name)

    def absorb(self, other: Self, mine: Mine) -> None:
        """There is nothing to take: what is sent on comes to the same."""

    def on_batch(self, port: int, batch: Batch, out: Collector) -> None:
        """Put the rows to those before, or send them on."""
        if self._sent_on:
            self._sent_on -= 1
            out.emit(batch)
            return
        ticks = self._plain_ticks(batch.frame)
        if ticks is None:
            out.emit(batch)
            return
        frame, rows = self._preparation.run(batch, self._context, out)
        if not frame.height:
            return
        ticks = ticks if frame is batch.frame else self._windows.ticks(frame)
        cut = self._windows.cut(ticks)
        slots = self._slots(frame, cut, out)
        if slots is None:
            out.emit(Batch(frame))
            return
        for pane, places, chosen in self._by_pane(cut, frame.get_column(self._time)):
            keys, mine = (slots, rows) if chosen is None else (slots[chosen], _chosen(rows, chosen))
            pane.state.add(keys + places * np.int32(self._stride), mine)
        self._batches += 1
        self._tried += 1
        self._rows_put += frame.height
        if self._batches >= self._batches_max:
            self.flush(out)

    def on_watermark(self, time: int, out: Collector) -> None:
        """Rows older than this may be late; what is put together goes first if a window of it closes."""
        extremes = {WATERMARK_MIN, WATERMARK_MAX}
        self._reached = time if time in extremes else time // self._windows.ns_per_tick
        self._send(out, lambda each: each.until <= self._reached)
        out.watermark(time)

    def on_end(self, port: int, out: Collector) -> None:
        """Nothing more comes to what is put together."""
        self.flush(out)

    def flush(self, out: Collector) -> None:
        """Send on what is put together."""
        self._send(out, lambda _: True)

    def state_size(self) -> StateSize:
        """What is put together, and the numbers of keys."""
        kept = self._index.memory_bytes + int(self._keys.estimated_size()) + self._owners.nbytes
        return StateSize(0, kept + sum(pane.state.size().bytes for pane in self._panes))

    def _send(self, out: Collector, closing: Callable[[_Slice], bool]) -> None:
        """Send on the groups of some slices, and go on with those of the others."""
        leaving: list[_Leaving] = []
        staying: list[_Pane] = []
        for pane in self._panes:
            closed = np.array([closing(each) for each in pane.slices])
            if not closed.any():
                staying.append(pane)
                continue
            filled = pane.state.filled()
            leaves = None if closed.all() else closed[filled // self._stride]
            leaving.append(_Leaving(pane, filled if leaves is None else filled[leaves], self._stride))
            if leaves is not None:
                staying.append(self._rest(pane, ~closed, filled[~leaves]))
        if not leaving:
            return
        self._panes, self._batches = staying, min(len(staying), 1)
        self._know_keys()
        keys = np.concatenate([each.keys for each in leaving])
        self._judge(sum(int(each.pane.state.counts(each.filled).sum()) for each in leaving), len(keys))
        of_whom = self._owners[keys]
        order = np.argsort(of_whom, kind="stable")
        values = pl.concat([each.values() for each in leaving], rechunk=True)
        frame = rows_at(self._keys, keys[order]).hstack(rows_at(values, order).get_columns())
        if frame.height <= BATCH_ROWS_MAX:
            shares = np.bincount(of_whom, minlength=self._targets)
            out.emit(Batch(frame, shares=tuple(shares.tolist())))
            return
        for part in frame.iter_slices(BATCH_ROWS_MAX):
            out.emit(Batch(part))

    def _judge(self, rows: int, groups: int) -> None:
        """Rows go on as so many groups: when most of enough batches have, find out whether anything was gained."""
        self._rows_gone += rows
        self._groups_gone += groups
        if self._tried >= _BATCHES_JUDGED and 2 * self._rows_gone >= self._rows_put:
            if self._groups_gone * _GAIN_MIN > self._rows_gone:
                self._sent_on = _BATCHES_SENT_ON
            self._rows_put -= self._rows_gone
            self._tried = self._rows_gone = self._groups_gone = 0

    def _rest(self, pane: _Pane, stays: npt.NDArray[np.bool_], groups: RowNumbers) -> _Pane:
        """Some slices of a pane, with the groups that they have."""
        rest = self._pane([each for each, here in zip(pane.slices, stays, strict=True) if here])
        places = np.cumsum(stays) - 1
        numbers = np.full(len(stays) * self._stride, -1, np.intp)
        numbers[groups] = places[groups // self._stride] * self._stride + groups % self._stride
        rest.state.absorb(pane.state, numbers)
        return rest

    def _pane(self, slices: list[_Slice]) -> _Pane:
        """A pane without groups."""
        return _Pane(slices, AggregateState(self._setup.aggregation))

    def _know_keys(self) -> None:
        """All keys by their numbers, in one piece, and who owns each."""
        if len(self._keys) < len(self._index):
            new = self._index.keys(np.arange(len(self._keys), len(self._index)))
            self._owners = np.concatenate([self._owners, owners(new, self._targets)])
            self._keys = pl.concat([self._keys, new], rechunk=True)

    def _plain_ticks(self, frame: pl.DataFrame) -> Ticks | None:
        """The times of rows, if each is in a window for sure, or will be refused."""
        if not frame.height or BEHIND in frame.columns or WEIGHT in frame.columns:
            return None
        if self._windows.unknown(frame) is not None:
            return None
        ticks = self._windows.ticks(frame)
        return ticks if int(ticks.min()) >= self._reached else None

    def _slots(self, frame: pl.DataFrame, cut: Cut, out: Collector) -> Slots | None:
        """The number of the key of each row, which there is room for.

        `None` where there are too many keys or slices, or some rows are in no window.
        """
        if cut.outside is not None or len(cut.slices) > _SLICES_MAX:
            return None
        if len(self._index) > _KEYS_MAX:
            self.flush(out)
            self._index, self._sent_on = KeyIndex(self._key), _BATCHES_SENT_ON
            self._keys, self._owners = self._keys.clear(), self._owners[:0]
            return None
        slots = self._index.slots(picked(frame, self._key.names()))
        stride = self._stride
        while len(self._index) > stride:
            stride *= 2
        known = {each.start for pane in self._panes for each in pane.slices}
        new = sum(start not in known for start in cut.slices.tolist())
        if stride != self._stride or (len(known) + new) * stride > max(_GROUPS_MAX, new * stride):
            self.flush(out)
        self._stride = stride
        return slots

    def _by_pane(self, cut: Cut, times: pl.Series) -> Iterator[tuple[_Pane, Slots | np.int32, _Chosen]]:
        """Each pane that rows come to, with the places of their slices, and which rows."""
        self._begin(cut, times)
        slices = cut.slices.tolist()
        for pane in self._panes:
            place_of = {each.start: place for place, each in enumerate(pane.slices)}
            places = np.array([place_of.get(start, -1) for start in slices], np.int32)
            if cut.codes is None or len(slices) == 1:
                if places[0] >= 0:
                    yield pane, places[0], None
                continue
            if (places >= 0).all():
                yield pane, places[cut.codes], None
            elif (places >= 0).any():
                of_rows = places[cut.codes]
                chosen = np.flatnonzero(of_rows >= 0)
                first, last = int(chosen[0]), int(chosen[-1])
                run = slice(first, last + 1) if last - first + 1 == len(chosen) else chosen
                yield pane, of_rows[run], run

    def _begin(self, cut: Cut, times: pl.Series) -> None:
        """A pane for the slices that are in none."""
        known = {each.start for pane in self._panes for each in pane.slices}
        spans = self._windows.around(cut.slices)
        first, _ = spans.over(cut.slices)
        new: list[_Slice] = []
        for number, (start, until) in enumerate(
            zip(cut.slices.tolist(), spans.high[first].tolist(), strict=True)
        ):
            if start not in known:
                row = 0 if cut.codes is None else int(np.argmax(cut.codes == number))
                new.append(_Slice(start, times[row : row + 1], until))
        if new:
            self._panes.append(self._pane(new))


def _chosen(rows: pl.DataFrame, chosen: RowNumbers | slice) -> pl.DataFrame:
    return rows[chosen] if isinstance(chosen, slice) else rows_at(rows, chosen)


def _repeated(samples: list[pl.Series], places: npt.NDArray[np.signedinteger]) -> pl.Series:
    """For each place the value of that sample; each sample has one."""
    first = int(places[0])
    if (places == first).all():
        return samples[first].new_from_index(0, len(places))
    return pl.concat(samples, rechunk=True)[as_index(places)]
