"""Results of windows: from groups to the rows that are put out, and to what is taken back."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl

from streame.core.aggregates import Aggregation
from streame.core.emission import Emission, says_changes
from streame.core.frames import frame_of
from streame.core.metrics import StateSize
from streame.core.time import Ticks
from streame.core.windows import WINDOW_ENDS, WindowList, WindowRule
from streame.runtime.emit import changes
from streame.state.blocks import Blocks, Name
from streame.state.index import KeyIndex, Slots
from streame.state.pairs import Pairs
from streame.state.panes import WindowGroups
from streame.state.rows import rows_at
from streame.state.snapshot import Savable
from streame.state.told import Told

_DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class WindowSetup:
    """What a window aggregation is to do.

    Args:
        rule: which windows there are.
        key: the names and dtypes under which the keys come out.
        key_columns: the columns of the input that they are in.
        aggregation: what is computed for each group. Where the label is a data point, that is its first output.
        include_boundaries: whether the ends of the window are put out.
        emission: when results are said.
        lateness: for how many ticks a window counts rows after it has closed.
        retractable: whether the input is a changes stream.
        computed_keys: the key columns that the user's rows do not have.
    """

    rule: WindowRule
    key: pl.Schema
    key_columns: tuple[str, ...]
    aggregation: Aggregation
    include_boundaries: bool = False
    emission: Emission = "on_close"
    lateness: int = 0
    retractable: bool = False
    computed_keys: tuple[str, ...] = ()

    @property
    def is_changes(self) -> bool:
        """Whether what is put out may be taken back."""
        return says_changes(self.emission) or self.lateness > 0


class WindowResults(Savable):
    """Makes rows of the groups of windows.

    Args:
        setup: what is computed.
    """

    SAVED = ("_told",)

    def __init__(self, setup: WindowSetup) -> None:
        self._setup = setup
        self._told = Blocks(self._of_windows)

    def final(self, groups: WindowGroups, spans: WindowList, index: KeyIndex | None) -> pl.DataFrame:
        """The rows of groups that will not change any more."""
        if self._setup.retractable:
            groups = groups[groups.state.counts(groups.numbers) > 0]
        names = self._names(groups, spans, index)
        return frame_of([*names, *groups.state.results(groups.numbers).get_columns()])

    def corrections(
        self, groups: WindowGroups, spans: WindowList, index: KeyIndex | None
    ) -> Iterator[pl.DataFrame]:
        """What a changes stream says of groups: -1 of the rows that hold no longer, +1 of those that hold now."""
        now = groups.state.counts(groups.numbers) > 0
        new = groups.state.results(groups.numbers)
        used, codes = np.unique(groups.windows, return_inverse=True)
        windows = list(zip(spans.low[used].tolist(), spans.high[used].tolist(), strict=True))
        absent = self._told.absent(windows)
        if len(absent):
            names = [windows[each] for each in absent.tolist()]
            self._told.add(self._of_windows(names, names[-1][1]), names)
        for told, places, rows in self._told.share(windows, codes):
            part = groups[rows]
            after, there = new[rows] if isinstance(rows, slice) else rows_at(new, rows), now[rows]
            numbers = told.pairs.numbers(places, part.slots)
            before, was = told.said.last(numbers)
            yield changes(frame_of(self._names(part, spans, index)), before, after, was, there)
            told.said.say(numbers[there], after.filter(pl.Series(there)))
            told.said.forget(numbers[was & ~there])

    def absorb(self, other: Self, slots: Slots) -> None:
        """Take what others remember; `slots` says by slot there which slot it is here, -1 to leave it out."""
        self._told.absorb(other._told, slots)

    def expire(self, time: int) -> None:
        """Forget what was said of windows that nothing is taken back from any more."""
        self._told.expire(time)

    @property
    def pairs(self) -> list[Pairs]:
        """The groups of which something is remembered."""
        return [told.pairs for told in self._told]

    def size(self) -> StateSize:
        """How many rows are remembered, and about how much memory they take."""
        return StateSize(self._told.groups, sum(told.memory_bytes for told in self._told))

    def _of_windows(self, windows: Sequence[Name], until: int) -> Told:
        return Told(len(windows), until, self._setup.aggregation.outputs)

    def _names(self, groups: WindowGroups, spans: WindowList, index: KeyIndex | None) -> list[pl.Series]:
        """The columns in front of the results: keys, ends of the window, label."""
        rule, columns = self._setup.rule, []
        if index is not None:
            columns += index.keys(groups.slots).get_columns()
        if self._setup.include_boundaries:
            for name, ticks in zip(WINDOW_ENDS, (spans.start, spans.end), strict=True):
                columns.append(_times(name, ticks[groups.windows], rule.boundary_dtype))
        if rule.label != "datapoint":
            ticks = spans.start if rule.label == "left" else spans.end
            columns.append(_times(rule.time.column, ticks[groups.windows], rule.time.dtype))
        return columns


def _times(name: str, ticks: Ticks, dtype: pl.DataType) -> pl.Series:
    """Ticks of a calendar as a column of a dtype."""
    if dtype == pl.Date:
        ticks = ticks // _DAY_US
    return pl.Series(name, ticks).cast(pl.Int32 if dtype == pl.Date else pl.Int64).cast(dtype)
