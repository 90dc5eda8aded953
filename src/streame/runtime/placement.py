"""Placement: which slices of time the rows of a batch belong to, and which rows came too late to count."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.core.hidden import BEHIND, user_frame
from streame.core.time import WATERMARK_MAX, WATERMARK_MIN, Ticks
from streame.core.windows import Codes, WindowList, Windows
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
    codes: Codes | None
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
    slices, codes = cut.slices, cut.codes
    kept = None if codes is None or codes.min() >= 0 else codes >= 0
    if kept is not None:
        out.count_gap(len(ticks) - int(np.count_nonzero(kept)))
    if not len(slices):
        return None
    spans = windows.around(slices)
    first, behind = spans.over(slices)
    since = np.full(len(slices), WATERMARK_MIN)
    given_up = closed if closed in {WATERMARK_MIN, WATERMARK_MAX} else closed - lateness
    over = spans.high[behind - 1] <= given_up
    if over.any() or BEHIND in frame.columns:
        codes = np.zeros(len(ticks), np.intp) if codes is None else codes
        late = over[codes] & (codes >= 0)
        if BEHIND in frame.columns:
            rows, passed = _passed(frame, codes, spans, windows, lateness)
            late[rows] |= passed >= behind[codes[rows]]
            partly = ~late[rows] & (passed > first[codes[rows]])
            if partly.any():
                rows, passed = rows[partly], passed[partly]
                extra, which = np.unique([codes[rows], passed], axis=1, return_inverse=True)
                codes[rows] = len(slices) + which.reshape(-1)
                slices, since = (
                    np.append(slices, slices[extra[0]]),
                    np.append(since, spans.high[extra[1] - 1]),
                )
                first, behind = np.append(first, extra[1]), np.append(behind, behind[extra[0]])
        if late.any():
            out.late(user_frame(frame.filter(pl.Series(late))))
            kept = ~late if kept is None else kept & ~late
        codes = codes if kept is None else codes[kept]
        used, codes = np.unique(codes, return_inverse=True)
        if not len(used):
            return None
        slices, since, first, behind = slices[used], since[used], first[used], behind[used]
        codes = codes if len(used) > 1 else None
    elif kept is not None and codes is not None:
        codes = codes[kept] if len(slices) > 1 else None
    still_open = np.maximum(first, spans.high.searchsorted(closed, side="right"))
    ends = spans.high[still_open[still_open < behind]]
    return Placed(kept, slices, since, codes, spans.high[behind - 1], int(ends.min(initial=WATERMARK_MAX)))


def _passed(
    frame: pl.DataFrame, codes: Codes, spans: WindowList, windows: Windows, lateness: int
) -> tuple[Codes, Codes]:
    """The rows behind their split's watermark, and how many of the windows were given up at that watermark."""
    marks = frame[BEHIND]
    rows = np.flatnonzero(marks.is_not_null().to_numpy() & (codes >= 0))
    reached = marks.fill_null(0).to_numpy()[rows] // windows.ns_per_tick
    return rows, spans.high.searchsorted(reached - lateness, side="right")
