"""Panes: the groups of some slices of time, and the windows made of them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streame.core.aggregates import Aggregation
from streame.core.metrics import StateSize
from streame.core.time import WATERMARK_MIN, Ticks
from streame.core.windows import Codes, WindowList
from streame.state.aggregates import AggregateState
from streame.state.blocks import Block
from streame.state.index import Slots
from streame.state.pairs import Pairs, Places
from streame.state.rows import RowNumbers, with_room

Mask = npt.NDArray[np.bool_]


class Pane(Block):
    """The groups of slices that one batch began; a group is a key in a slice.

    What is begun together ends together: the whole pane is dropped when no window over it is needed any more. So it
    is one slice where slices hold many rows, and many slices where they hold few.

    Args:
        slices: the first tick of each slice.
        since: for each slice the time up to which windows do not count its rows; they came too late for those.
        until: when the last window over it ends.
        aggregation: what is computed for each group.
        retractable: whether rows may be taken back.
    """

    SAVED = ("pairs", "state", "_touched")

    def __init__(
        self, slices: Ticks, since: Ticks, until: int, aggregation: Aggregation, *, retractable: bool
    ) -> None:
        self.slices = slices
        self.until = until
        self.pairs = Pairs(len(slices))
        self.state = AggregateState(aggregation, retractable=retractable)
        self._since = since
        self._touched: Mask = np.zeros(0, np.bool_)

    def filled(self) -> Mask | None:
        """Which groups have rows; `None` where all have."""
        if not self.pairs.may_be_empty:
            return None
        filled = self.state.counts(np.arange(len(self.pairs))) > 0
        return None if filled.all() else filled

    def absorb(self, other: "Pane", groups: RowNumbers, numbers: Slots) -> None:
        """See `Block`."""
        absorbed = np.full(len(other.pairs), -1, np.int32)
        absorbed[groups] = numbers
        self.state.absorb(other.state, absorbed)
        if other.is_touched:
            touched = absorbed[other.touched()]
            self._touched = with_room(self._touched, len(self.pairs), False)
            self._touched[touched[touched >= 0]] = True

    def group(self, places: Places | int, slots: Slots, *, touch: bool) -> Slots:
        """The group of each row, the new ones among them.

        Args:
            places: the number of the slice of each row, or of all.
            slots: the slot of the key of each row.
            touch: whether to remember that these groups change.
        """
        numbers = self.pairs.numbers(places, slots)
        if touch:
            self._touched = with_room(self._touched, len(self.pairs), False)
            self._touched[numbers] = True
        return numbers

    @property
    def is_touched(self) -> bool:
        """Whether any group has changed since the last `forget_touched`."""
        return len(self._touched) > 0

    def touched(self) -> Codes:
        """The groups that have changed since the last `forget_touched`."""
        return np.flatnonzero(self._touched)

    def forget_touched(self) -> None:
        """Nothing has changed."""
        self._touched = np.zeros(0, np.bool_)

    def windows(self, spans: WindowList) -> tuple[Codes, Codes]:
        """For each slice the first of these windows that counts its rows, and the first behind that does not."""
        first, behind = spans.over(self.slices)
        if (self._since > WATERMARK_MIN).any():
            first = np.maximum(first, np.searchsorted(spans.high, self._since, side="right"))
        return first, np.maximum(first, behind)

    def size(self) -> StateSize:
        """How many groups there are, and about how much memory they take."""
        values, filled = self.state.size(), self.filled()
        groups = len(self.pairs) if filled is None else int(np.count_nonzero(filled))
        return StateSize(groups, values.bytes + self.pairs.memory_bytes + self._touched.nbytes)


@dataclass(frozen=True, slots=True)
class WindowGroups:
    """Groups of windows; a group is a key in a window.

    Args:
        state: where their values are.
        numbers: the number of each group in the state.
        windows: the number of its window.
        slots: the slot of its key.
    """

    state: AggregateState
    numbers: Codes
    windows: Codes
    slots: Slots

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, chosen: "slice | Codes | Mask") -> "WindowGroups":
        return WindowGroups(self.state, self.numbers[chosen], self.windows[chosen], self.slots[chosen])

    def in_order(self) -> "WindowGroups":
        """The groups of the first window first; those of one window as they are."""
        if (self.windows[1:] >= self.windows[:-1]).all():
            return self
        return self[np.argsort(self.windows, kind="stable")]


def groups_of(
    spans: WindowList, panes: Iterable[Pane], aggregation: Aggregation, *, touched: bool, retractable: bool
) -> Iterator[WindowGroups]:
    """The groups of some windows, with the values of all their slices.

    Args:
        spans: the windows, at least one.
        panes: all panes.
        aggregation: what is computed for each group.
        touched: whether to leave out the groups in no slice of which something has changed.
        retractable: whether rows may be taken back.
    """
    low, high = int(spans.low[0]), int(spans.high[-1])
    near = [pane for pane in panes if pane.slices[0] < high and pane.until > low]
    over = [(pane, *pane.windows(spans)) for pane in near]
    over = [(pane, first, behind) for pane, first, behind in over if (first < behind).any()]
    slices = np.zeros(len(spans) + 1, np.int64)
    for _, first, behind in over:
        np.add.at(slices, first, 1)
        np.add.at(slices, behind, -1)
    if slices.cumsum().max(initial=0) <= 1 and all((behind - first).max() <= 1 for _, first, behind in over):
        for pane, first, behind in over:
            yield _of_one_slice(pane, first, behind, touched=touched)
    elif over:
        yield _of_several_slices(
            len(spans), over, AggregateState(aggregation, retractable=retractable), touched=touched
        )


_Over = tuple[Pane, Codes, Codes]


def _of_one_slice(pane: Pane, first: Codes, behind: Codes, *, touched: bool) -> WindowGroups:
    """The groups of windows that have one slice each: those of the slice."""
    numbers = pane.touched() if touched else np.arange(len(pane.pairs))
    slots = pane.pairs.slots[numbers] if touched else pane.pairs.slots
    filled = None if touched else pane.filled()
    if filled is not None:
        assert len(first) == 1, first
        numbers, slots = numbers[filled], slots[filled]
    if len(first) == 1:
        return WindowGroups(pane.state, numbers, np.full(len(numbers), first[0]), slots)
    places = pane.pairs.places[numbers] if touched else pane.pairs.places
    window = np.where(first < behind, first, -1)[places]
    groups = WindowGroups(pane.state, numbers, window, slots)
    return groups[window >= 0] if (first >= behind).any() else groups


def _of_several_slices(
    count: int, over: Iterable[_Over], state: AggregateState, *, touched: bool
) -> WindowGroups:
    """The groups of windows that share slices: the values of all their slices are merged."""
    pairs = Pairs(count)
    if touched:
        for pane, first, behind in over:
            changed = pane.touched()
            for window in _one_window_each(pane, first, behind):
                chosen = changed[window[changed] >= 0]
                pairs.numbers(window[chosen], pane.pairs.slots[chosen])
    number_of = pairs.find if touched else pairs.numbers
    for pane, first, behind in over:
        for window in _one_window_each(pane, first, behind):
            chosen = np.flatnonzero(window >= 0)
            numbers = np.full(len(window), -1, np.int32)
            numbers[chosen] = number_of(window[chosen], pane.pairs.slots[chosen])
            state.absorb(pane.state, numbers)
    return WindowGroups(state, np.arange(len(pairs)), pairs.places.astype(np.intp), pairs.slots)


def _one_window_each(pane: Pane, first: Codes, behind: Codes) -> Iterator[Codes]:
    """For each group of a pane the number of a window that it is in or -1; again and again, until all had their turn."""
    filled = pane.filled()
    for turn in range(int((behind - first).max())):
        window = np.where(first + turn < behind, first + turn, -1)[pane.pairs.places]
        yield window if filled is None else np.where(filled, window, -1)
