"""Pre-aggregation of windows: rows of one key and slice of time become one, before they go to another node."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.core.frames import picked
from streame.core.hidden import BEHIND, WEIGHT
from streame.core.messages import BATCH_ROWS_MAX, Batch
from streame.core.metrics import StateSize
from streame.core.time import WATERMARK_MAX, WATERMARK_MIN, Ticks
from streame.core.windows import Codes, Windows
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


@dataclass(frozen=True, slots=True)
class _Slice:
    """A slice that is put together.

    Args:
        time: of one of its rows.
        until: when the first window over it ends.
    """

    time: pl.Series
    until: int


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
    DERIVED = ("_index", "_keys", "_owners", "_stride", "_state", "_slices", "_batches")  # empty at a barrier

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
        self._state, self._slices, self._batches = self._nothing()

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
        groups = self._groups(frame, ticks if frame is batch.frame else self._windows.ticks(frame), out)
        if groups is None:
            out.emit(Batch(frame))
            return
        self._state.add(groups, rows)
        self._batches += 1
        self._tried += 1
        self._rows_put += frame.height
        if self._batches >= self._batches_max:
            self._send(np.arange(len(self._slices)), out)

    def on_watermark(self, time: int, out: Collector) -> None:
        """Rows older than this may be late; what is put together goes first if a window of it closes."""
        extremes = {WATERMARK_MIN, WATERMARK_MAX}
        self._reached = time if time in extremes else time // self._windows.ns_per_tick
        closing = [each.until <= self._reached for each in self._slices.values()]
        if any(closing):
            self._send(np.flatnonzero(closing), out)
        out.watermark(time)

    def on_end(self, port: int, out: Collector) -> None:
        """Nothing more comes to what is put together."""
        self.flush(out)

    def flush(self, out: Collector) -> None:
        """Send on what is put together."""
        self._send(np.arange(len(self._slices)), out)

    def state_size(self) -> StateSize:
        """What is put together, and the numbers of keys."""
        kept = self._index.memory_bytes + int(self._keys.estimated_size()) + self._owners.nbytes
        return StateSize(0, kept + self._state.size().bytes)

    def _send(self, places: RowNumbers, out: Collector) -> None:
        """Send on the groups of some slices, and go on with those of the others."""
        filled, keys = self._state.filled(), self._stride
        going = np.zeros(len(self._slices), np.bool_)
        going[places] = True
        leaves = going[filled // keys]
        filled, staying = filled[leaves], filled[~leaves]
        if not len(filled):
            return
        self._judge(int(self._state.counts(filled).sum()), len(filled))
        self._know_keys()
        of_whom = self._owners[filled % keys]
        filled = filled[np.argsort(of_whom, kind="stable")]
        times = _repeated([each.time for each in self._slices.values()], filled // keys)
        values = named_values(self._state.partials(filled))
        frame = rows_at(self._keys, filled % keys).hstack([times]).hstack(values)
        self._go_on(staying, going)
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

    def _go_on(self, groups: RowNumbers, gone: npt.NDArray[np.bool_]) -> None:
        """Keep some groups, when the slices of the others have gone."""
        before, slices, keys = self._state, self._slices, self._stride
        self._state, self._slices, self._batches = self._nothing()
        if not len(groups):
            return
        self._slices = {start: each for at, (start, each) in enumerate(slices.items()) if not gone[at]}
        numbers = np.full(len(gone) * keys, -1, np.intp)
        places = np.cumsum(~gone) - 1
        numbers[groups] = places[groups // keys] * keys + groups % keys
        self._state.absorb(before, numbers)
        self._batches = 1

    def _know_keys(self) -> None:
        """All keys by their numbers, in one piece, and who owns each."""
        if len(self._keys) < len(self._index):
            new = self._index.keys(np.arange(len(self._keys), len(self._index)))
            self._owners = np.concatenate([self._owners, owners(new, self._targets)])
            self._keys = pl.concat([self._keys, new], rechunk=True)

    def _nothing(self) -> tuple[AggregateState, dict[int, _Slice], int]:
        """What there is when nothing is put together: groups, slices, batches."""
        return AggregateState(self._setup.aggregation), {}, 0

    def _plain_ticks(self, frame: pl.DataFrame) -> Ticks | None:
        """The times of rows, if each is in a window for sure, or will be refused."""
        if not frame.height or BEHIND in frame.columns or WEIGHT in frame.columns:
            return None
        if self._windows.unknown(frame) is not None:
            return None
        ticks = self._windows.ticks(frame)
        return ticks if int(ticks.min()) >= self._reached else None

    def _groups(self, frame: pl.DataFrame, ticks: Ticks, out: Collector) -> Slots | None:
        """The number of the group of each row; `None` where there are too many, or some rows are in no window."""
        cut = self._windows.cut(ticks)
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
        new = sum(start not in self._slices for start in cut.slices.tolist())
        if (len(self._slices) + new) * stride > max(_GROUPS_MAX, new * stride):
            self._send(np.arange(len(self._slices)), out)
        elif stride != self._stride:
            self.flush(out)
        self._stride = stride
        codes = None if cut.codes is None else cut.codes.astype(np.intp)
        places = self._places(cut.slices, codes, frame.get_column(self._time))
        if codes is None:
            return slots + np.int32(places[0] * stride) if places[0] else slots
        return slots + (places * np.int32(stride)).astype(np.int32)[codes]

    def _places(self, slices: Ticks, codes: Codes | None, times: pl.Series) -> Slots:
        """The number of each slice among those that are put together; new ones get one."""
        spans = self._windows.around(slices)
        first, _ = spans.over(slices)
        for number, (start, until) in enumerate(
            zip(slices.tolist(), spans.high[first].tolist(), strict=True)
        ):
            if start not in self._slices:
                row = 0 if codes is None else int(np.argmax(codes == number))
                self._slices[start] = _Slice(times[row : row + 1], until)
        place_of = {start: place for place, start in enumerate(self._slices)}
        return np.array([place_of[start] for start in slices.tolist()], np.int32)


def _repeated(samples: list[pl.Series], places: npt.NDArray[np.signedinteger]) -> pl.Series:
    """For each place the value of that sample; each sample has one."""
    first = int(places[0])
    if (places == first).all():
        return samples[first].new_from_index(0, len(places))
    return pl.concat(samples, rechunk=True)[as_index(places)]
