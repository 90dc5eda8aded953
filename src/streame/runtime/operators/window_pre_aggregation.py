"""Pre-aggregation of windows: rows of one key and slice of time become one, before they go to another node."""

from collections.abc import Callable
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

_BYTES_MAX = 128 * 1024 * 1024
"""They go on as soon as they take more: one row has all distinct values of its group, and a row has a limit."""

_GAIN_MIN = 2
"""It gained nothing if there were not so many rows for each group."""

_BATCHES_JUDGED = 4
"""That is said of at least so many batches together: a barrier or the end of a window may cut any of them short."""

_BATCHES_SENT_ON = 15
"""Then so many batches are sent on as they are, before others are tried."""


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
        self._begin(cut, frame.get_column(self._time))
        for pane in self._panes:
            self._put(pane, cut, slots, rows)
        self._batches += 1
        self._tried += 1
        self._rows_put += frame.height
        if self._batches >= self._batches_max or self._nbytes > _BYTES_MAX:
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
        return StateSize(0, kept + self._nbytes)

    @property
    def _nbytes(self) -> int:
        return sum(pane.state.size().bytes for pane in self._panes)

    def _send(self, out: Collector, closing: Callable[[_Slice], bool]) -> None:
        """Send on the groups of some slices, and go on with those of the others."""
        leaving: list[tuple[_Pane, RowNumbers]] = []
        staying: list[_Pane] = []
        for pane in self._panes:
            closed = np.array([closing(each) for each in pane.slices])
            if not closed.any():
                staying.append(pane)
                continue
            filled = pane.state.filled()
            if not closed.all():
                leaves = closed[filled // self._stride]
                staying.append(self._rest(pane, ~closed, filled[~leaves]))
                filled = filled[leaves]
            leaving.append((pane, filled))
        if not leaving:
            return
        self._panes, self._batches = staying, min(len(staying), 1)
        self._know_keys()
        rows = sum(int(pane.state.counts(groups).sum()) for pane, groups in leaving)
        self._judge(rows, sum(len(groups) for _, groups in leaving))
        for pane, groups in leaving:
            self._emit(pane, groups, out)

    def _emit(self, pane: _Pane, groups: RowNumbers, out: Collector) -> None:
        """Send on groups of a pane, in the order of the instances that they are for."""
        of_whom = self._owners[groups % self._stride]
        groups = groups[np.argsort(of_whom, kind="stable")]
        keys = rows_at(self._keys, groups % self._stride)
        times = _repeated([each.time for each in pane.slices], groups // self._stride)
        frame = frame_of(
            [*keys.get_columns(), times, *named_values(pane.state.partials(groups)).get_columns()]
        )
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
        known = self._begun()
        new = sum(start not in known for start in cut.slices.tolist())
        if stride != self._stride or (len(known) + new) * stride > max(_GROUPS_MAX, new * stride):
            self.flush(out)
        self._stride = stride
        return slots

    def _put(self, pane: _Pane, cut: Cut, slots: Slots, rows: pl.DataFrame) -> None:
        """Put the rows of a batch that come to a pane to those before."""
        place_of = {each.start: place for place, each in enumerate(pane.slices)}
        places = np.array([place_of.get(start, -1) for start in cut.slices.tolist()], np.int32)
        here = places >= 0
        if not here.any():
            return
        codes = cut.codes
        if not here.all():
            assert codes is not None
            among = _where(codes == np.argmax(here) if here.sum() == 1 else here[codes])
            slots, codes = slots[among], codes[among]
            rows = rows[among] if isinstance(among, slice) else rows_at(rows, among)
        if places.max() > 0:
            further = places * np.int32(self._stride)
            slots = slots + (further[0] if codes is None else further[codes])
        pane.state.add(slots, rows)

    def _begun(self) -> set[int]:
        """The first ticks of the slices that are put together."""
        return {each.start for pane in self._panes for each in pane.slices}

    def _begin(self, cut: Cut, times: pl.Series) -> None:
        """A pane for the slices that are in none."""
        known = self._begun()
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


def _where(mask: npt.NDArray[np.bool_]) -> RowNumbers | slice:
    """The rows of a mask that has some; as a slice where they lie together, since that copies nothing."""
    first, last = int(np.argmax(mask)), len(mask) - 1 - int(np.argmax(mask[::-1]))
    if last - first + 1 == np.count_nonzero(mask):
        return slice(first, last + 1)
    return np.flatnonzero(mask)


def _repeated(samples: list[pl.Series], places: npt.NDArray[np.signedinteger]) -> pl.Series:
    """For each place the value of that sample; each sample has one."""
    first = int(places[0])
    if (places == first).all():
        return samples[first].new_from_index(0, len(places))
    return pl.concat(samples, rechunk=True)[as_index(places)]
