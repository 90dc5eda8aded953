"""Window aggregation: the groups of every window, said when the window closes, or before and after that too."""

from collections.abc import Iterable, Sequence
from typing import Self

import numpy as np
import polars as pl

from streame.core.messages import BATCH_ROWS_MAX, Batch
from streame.core.metrics import StateSize
from streame.core.time import WATERMARK_MAX, WATERMARK_MIN, Mask, Ticks
from streame.core.windows import Codes, WindowList, Windows
from streame.runtime.letters import RefusalPolicy
from streame.runtime.operator import Collector, Operator, OperatorContext
from streame.runtime.placement import Placed
from streame.runtime.window_intake import Intake, WindowIntake
from streame.runtime.window_results import WindowResults, WindowSetup
from streame.state.blocks import Blocks, Name
from streame.state.index import KeyIndex, Slots
from streame.state.pairs import Pairs
from streame.state.panes import Pane, groups_of
from streame.state.rows import as_index, rows_at
from streame.state.snapshot import Mine

_DAY_NS = 86_400_000_000_000
_KEYS_PER_GROUP, _SPARE_KEYS = 3, 65_536
"""How many keys are known at most: those that are in no group may come again."""

_ROWS_PER_KEY = 2
"""A slice that begins with at least half as many rows as there are keys is taken to have rows of most of them."""

_CLOSE_BY = 64
"""How many windows may lie between two slices that are dropped together."""


class WindowOperator(Operator):
    """Groups rows by key and window.

    What is kept: the groups of every slice of time that a window needs that may still say something, the keys in
    them, and, if results may be taken back, the last result said of each group.

    Args:
        setup: what is to be done.
        policy: what becomes of rows without an event time, or for which an aggregate cannot be computed.
    """

    SAVED = ("_index", "_panes", "_results", "_most_groups", "_closed", "_next_close", "_timer_us")

    def __init__(self, setup: WindowSetup, policy: RefusalPolicy) -> None:
        self._setup = setup
        self._policy = policy
        self._windows = Windows(setup.rule)
        self._results = WindowResults(setup)
        self._index = KeyIndex(setup.key) if setup.key else None
        self._panes = Blocks(self._pane)
        self._most_groups = 0
        self._closed = WATERMARK_MIN
        self._next_close = WATERMARK_MAX
        self._timer_us: int | None = None

    def open(self, context: OperatorContext) -> None:
        """Remember the clock."""
        self._context = context
        self._intake = WindowIntake(self._setup, self._policy, self._windows, context)

    def absorb(self, other: Self, mine: Mine) -> None:
        """Take the keys that are owned, their groups in all slices, and what was said of them."""
        assert self._index is not None
        assert other._index is not None
        used = np.flatnonzero(other._used_slots(other._index))
        keys = other._index.keys(used)
        owned = np.flatnonzero(mine(keys))
        slots: Slots = np.full(len(other._index), -1, np.int32)
        slots[used[owned]] = self._index.slots(rows_at(keys, owned))
        self._panes.absorb(other._panes, slots)
        self._results.absorb(other._results, slots)
        self._most_groups = max(self._most_groups, self._panes.groups)
        self._closed = max(self._closed, other._closed)
        self._next_close = min(self._next_close, other._next_close)
        timers = [self._timer_us, other._timer_us]
        self._timer_us = min((each for each in timers if each is not None), default=None)

    def on_batch(self, port: int, batch: Batch, out: Collector) -> None:
        """Take the rows into their slices, and say what has changed if that is asked for."""
        setup = self._setup
        intake = self._intake.run(batch, self._closed, out)
        if intake is None:
            return
        placed, touched = intake.placed, self._take(intake)
        self._next_close = min(self._next_close, placed.closing)
        match setup.emission:
            case "changes":
                self._say_changed(placed.slices, touched, WATERMARK_MAX, out)
            case "on_close" if setup.is_changes:
                self._say_changed(placed.slices, touched, self._closed, out)
            case int(every_us) if self._timer_us is None:
                self._timer_us = self._context.clock.now_us() + every_us
                self._context.set_timer(self._timer_us)

    def on_timer(self, time_us: int, out: Collector) -> None:
        """Say what has changed since the last time."""
        self._timer_us = None
        panes = [pane for pane in self._panes if pane.is_touched]
        if panes:
            self._say_changed(np.concatenate([pane.slices for pane in panes]), panes, WATERMARK_MAX, out)

    def on_watermark(self, time: int, out: Collector) -> None:
        """Close windows, give up those that were kept, and say from when on results may come."""
        extremes = {WATERMARK_MIN, WATERMARK_MAX}
        closed = time if time in extremes else time // self._windows.ns_per_tick
        if closed != self._closed:
            self._advance(closed, out)
        out.watermark(self._least_label())

    def state_size(self) -> StateSize:
        """Groups and what was said of them."""
        sizes = [pane.size() for pane in self._panes] + [self._results.size()]
        keys = self._index.memory_bytes if self._index is not None else 0
        return StateSize(sum(size.rows for size in sizes), sum(size.bytes for size in sizes) + keys)

    @property
    def _given_up(self) -> int:
        """Up to where windows count no more rows."""
        return self._closed if abs(self._closed) >= WATERMARK_MAX else self._closed - self._setup.lateness

    def _advance(self, closed: int, out: Collector) -> None:
        """Say the windows that close now, and free what is not needed any more."""
        before, given_up_before = self._closed, self._given_up
        self._closed = closed
        if self._closed >= self._next_close:
            self._close(before, self._closed, out)
        if isinstance(self._setup.emission, int) and self._setup.lateness:
            self._close(given_up_before, self._given_up, out)
        self._most_groups = max(self._most_groups, self._panes.groups)
        self._panes.expire(self._given_up)
        self._results.expire(self._given_up)
        self._forget_keys()

    def _take(self, intake: Intake) -> list[Pane]:
        """Add rows to the groups of their slices; the panes that were changed."""
        setup, placed, index, weights = self._setup, intake.placed, self._index, intake.weights
        names: list[Name] = list(zip(placed.slices.tolist(), placed.since.tolist(), strict=True))
        slots = np.zeros(intake.height, np.int32) if index is None else index.slots(intake.keys)
        absent = self._panes.absent(names)
        if len(absent):
            self._begin(placed, absent, names, intake.height)
        touched = []
        for pane, places, rows in self._panes.share(names, placed.codes):
            part = intake.rows
            if part.width:
                part = part[rows if isinstance(rows, slice) else as_index(rows)]
            numbers = pane.group(places, slots[rows], touch=setup.is_changes)
            if intake.is_partial:
                pane.state.add_partials(numbers, part)
            else:
                pane.state.add(numbers, part, None if weights is None else weights[rows])
            touched.append(pane)
        self._panes.rest(touched)
        return touched

    def _begin(self, placed: Placed, absent: Codes, names: Sequence[Name], rows: int) -> None:
        """New panes for slices that have none; slices far apart get panes of their own."""
        keys = 0 if self._index is None else len(self._index)
        has_most_keys = keys <= _ROWS_PER_KEY * rows and not (
            self._setup.is_changes or self._setup.retractable
        )
        slices = placed.slices[absent]
        order = np.argsort(slices, kind="stable")
        apart = np.flatnonzero(np.diff(slices[order]) > _CLOSE_BY * self._windows.step) + 1
        for chosen in np.split(absent[order], apart):
            begun = [names[each] for each in chosen.tolist()]
            pane = self._pane(begun, int(placed.until[chosen].max()))
            if has_most_keys and len(chosen) == 1:
                pane.pairs.take_all(keys)
            self._panes.add(pane, begun)

    def _pane(self, names: Sequence[Name], until: int) -> Pane:
        """A pane of some slices, named by their first tick and the time up to which windows do not count their rows."""
        slices, since = np.array(names, np.int64).T.copy()
        setup = self._setup
        return Pane(slices, since, until, setup.aggregation, retractable=setup.retractable)

    def _close(self, before: int, upto: int, out: Collector) -> None:
        """Say all groups of the windows that end in (before, upto]."""
        panes = [pane for pane in self._panes if pane.slices[0] < upto and pane.until > before]
        if panes and self._setup.emission != "changes":
            slices = np.concatenate([pane.slices for pane in panes])
            self._say(self._ending(slices, before, upto), out, touched=False)
        still_open = (self._first_end(pane) for pane in self._panes if pane.until > self._closed)
        self._next_close = min(still_open, default=WATERMARK_MAX)

    def _say_changed(self, slices: Ticks, panes: Sequence[Pane], upto: int, out: Collector) -> None:
        """Say what has changed in the windows over some slices that end up to a time."""
        self._say(self._ending(slices, self._given_up, upto), out, touched=True)
        for pane in panes:
            pane.forget_touched()

    def _say(self, spans: WindowList, out: Collector, *, touched: bool) -> None:
        """Emit the groups of some windows, or only what has changed in them."""
        if not len(spans):
            return
        setup = self._setup
        found = groups_of(
            spans, self._panes, setup.aggregation, touched=touched, retractable=setup.retractable
        )
        for groups in filter(len, found):
            if setup.is_changes:
                _emit(self._results.corrections(groups.in_order(), spans, self._index), out)
            else:
                _emit([self._results.final(groups.in_order(), spans, self._index)], out)

    def _ending(self, slices: Ticks, before: int, upto: int) -> WindowList:
        """The windows over slices that end in (before, upto]."""
        spans = self._windows.around(np.unique(slices))
        first, behind = spans.high.searchsorted([before, upto], side="right")
        return spans[first:behind]

    def _first_end(self, pane: Pane) -> int:
        """When the first window over a pane ends that is still open."""
        spans = self._windows.around(pane.slices)
        first, behind = pane.windows(spans)
        first = np.maximum(first, spans.high.searchsorted(self._closed, side="right"))
        return int(spans.high[first[first < behind]].min(initial=WATERMARK_MAX))

    def _least_label(self) -> int:
        """The least event time that a result may have from now on."""
        label = self._windows.least_label(self._given_up)
        if label == WATERMARK_MAX:
            return label
        time = label * self._windows.ns_per_tick
        return time - time % _DAY_NS if self._setup.rule.time.dtype == pl.Date else time

    def _forget_keys(self) -> None:
        """Drop the keys that are in no group any more, once they are most of the keys."""
        index = self._index
        if index is None or len(index) <= _KEYS_PER_GROUP * self._most_groups + _SPARE_KEYS:
            return
        self._most_groups = self._panes.groups
        live = self._used_slots(index)
        self._index = KeyIndex(self._setup.key)
        self._index.slots(index.keys(np.flatnonzero(live)))
        slots = (np.cumsum(live) - 1).astype(np.int32)
        for pairs in self._pairs():
            pairs.renumber(slots)

    def _pairs(self) -> list[Pairs]:
        """All groups of which something is known."""
        return [pane.pairs for pane in self._panes] + self._results.pairs

    def _used_slots(self, index: KeyIndex) -> Mask:
        """Which slots have a group."""
        used = np.zeros(len(index), np.bool_)
        for pairs in self._pairs():
            used[pairs.slots] = True
        return used


def _emit(frames: Iterable[pl.DataFrame], out: Collector) -> None:
    """Send rows on in batches of the usual size."""
    for frame in frames:
        for part in frame.iter_slices(BATCH_ROWS_MAX):
            if part.height:
                out.emit(Batch(part))
