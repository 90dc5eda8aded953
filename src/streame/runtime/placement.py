"""Placement: which slices of time the rows of a batch belong to, and which rows came too late to count."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.core.hidden import BEHIND, arrivals
from streame.core.time import WATERMARK_MAX, WATERMARK_MIN, Ticks
from streame.core.windows import Codes, Numbers, WindowList, Windows
from streame.runtime.operator import Collector

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Placed:
    """The rows of a batch that count, and their slices.

    Args:
        kept: which rows count; `None` where all do. What follows is about those.
        slices: the first tick of each slice.
        since: for each slice the time up to which windows do not count its rows; they came too late for those.
        codes: the number of the slice of each row; `None` where all are in the only one.
        until: when the last window over any of them ends.
        closing: when the first window over any of them ends that is still open.
    """

    kept: Mask | None
    slices: Ticks
    since: Ticks
    codes: Numbers | None
    until: Ticks
    closing: int


def place(
    frame: pl.DataFrame, ticks: Ticks, windows: Windows, *, closed: int, lateness: int, out: Collector
) -> Placed | None:
    """Find the slices of rows; count those in gaps between windows, and send those on that are late.

    A row is late for a window that ended, and was kept for its lateness, before the watermark that the row's own
    split had reached just before it. For other windows the same row may count: its slice is then split in two.

    Args:
        frame: the rows, at least one.
        ticks: their times.
        windows: the windows.
        closed: the watermark, up to which windows are closed.
        lateness: for how long a window counts rows after it has closed.
        out: where late rows go.
    """
    cut = windows.cut(ticks)
    kept, codes = None, cut.codes
    if cut.outside is not None:
        out.count_gap(int(np.count_nonzero(cut.outside)))
        kept = ~cut.outside
        frame, codes = frame.filter(pl.Series(kept)), None if codes is None else codes[kept]
    if not len(cut.slices):
        return None
    spans = windows.around(cut.slices)
    slices = _Slices(cut.slices, np.full(len(cut.slices), WATERMARK_MIN), *spans.over(cut.slices))
    given_up = closed if closed in {WATERMARK_MIN, WATERMARK_MAX} else closed - lateness
    if BEHIND in frame.columns or (slices.until(spans) <= given_up).any():
        codes = np.zeros(frame.height, np.intp) if codes is None else codes.astype(np.intp)
        slices, late = _each_row(frame, codes, slices, spans, windows.ns_per_tick, lateness)
        late |= (slices.until(spans) <= given_up)[codes]
        if late.any():
            out.late(arrivals(frame.filter(pl.Series(late))))
            codes = codes[~late]
            if kept is None:
                kept = ~late
            else:
                kept[np.flatnonzero(kept)[late]] = False
        used, codes = np.unique(codes, return_inverse=True)
        if not len(used):
            return None
        slices, codes = slices[used], codes if len(used) > 1 else None
    still_open = np.maximum(slices.first, spans.high.searchsorted(closed, side="right"))
    ends = spans.high[still_open[still_open < slices.behind]]
    closing = int(ends.min(initial=WATERMARK_MAX))
    return Placed(kept, slices.starts, slices.since, codes, slices.until(spans), closing)


@dataclass(frozen=True, slots=True)
class _Slices:
    """Slices, and which windows are over each: from `first` to the one before `behind`."""

    starts: Ticks
    since: Ticks
    first: Codes
    behind: Codes

    def __getitem__(self, chosen: Codes) -> "_Slices":
        return _Slices(self.starts[chosen], self.since[chosen], self.first[chosen], self.behind[chosen])

    def until(self, spans: WindowList) -> Ticks:
        """When the last window over each ends."""
        return spans.high[self.behind - 1]

    def split(self, numbers: Codes, passed: Codes, spans: WindowList) -> "_Slices":
        """With a copy of these slices at the end, for rows that came too late for the first `passed` windows."""
        more = _Slices(self.starts[numbers], spans.high[passed - 1], passed, self.behind[numbers])
        pairs = (
            (getattr(self, name), getattr(more, name)) for name in ("starts", "since", "first", "behind")
        )
        return _Slices(*(np.append(ours, theirs) for ours, theirs in pairs))


def _each_row(
    frame: pl.DataFrame, codes: Codes, slices: _Slices, spans: WindowList, ns_per_tick: int, lateness: int
) -> tuple[_Slices, Mask]:
    """Which rows are late by the watermark of their own split; rows late for some windows get slices of their own.

    `codes`, the number of the slice of each row, are changed for those.
    """
    late = np.zeros(frame.height, np.bool_)
    if BEHIND not in frame.columns:
        return slices, late
    marks = frame[BEHIND]
    rows = np.flatnonzero(marks.is_not_null().to_numpy())
    reached = marks.drop_nulls().to_numpy() // ns_per_tick - lateness
    passed, numbers = spans.high.searchsorted(reached, side="right"), codes[rows]
    late[rows] = passed >= slices.behind[numbers]
    partly = (passed > slices.first[numbers]) & ~late[rows]
    if not partly.any():
        return slices, late
    (of, since), which = np.unique([numbers[partly], passed[partly]], axis=1, return_inverse=True)
    codes[rows[partly]] = len(slices.starts) + which.reshape(-1)
    return slices.split(of, since, spans), late
