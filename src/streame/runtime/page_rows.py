"""Rows of pages: those that have come for the pages of an operator, and are sorted by page before they are visited."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.core.messages import BATCH_ROWS_MAX, Batch, Offsets, Positions
from streame.runtime.paging import PageNumbers
from streame.state.rows import as_index

_RUNS = 12
"""So many sorted runs make up all that may wait: sorting one takes as much memory again as it has."""


class PageRows:
    """Rows with the numbers of their pages, in the order in which they came.

    Attributes:
        nbytes: about their size in memory.
    """

    def __init__(self) -> None:
        self.nbytes = 0
        self._runs: list[_Run] = []

    def put(self, port: int, batch: Batch, numbers: PageNumbers, room: int) -> None:
        """Rows more.

        Args:
            port: the input that they came on.
            batch: the rows.
            numbers: the number of the page of each.
            room: how many bytes may wait in all.
        """
        last = self._runs[-1] if self._runs else None
        if last is None or last.is_sorted or not last.goes_with(port, batch):
            last = _Run(port, batch)
            self._runs.append(last)
        self.nbytes += last.add(batch, numbers)
        if last.nbytes * _RUNS >= room:
            last.sort()

    def take(self) -> "SortedRows":
        """All rows, sorted by page; they wait no more."""
        runs, self._runs, self.nbytes = self._runs, [], 0
        for run in runs:
            run.sort()
        return SortedRows(runs)


class SortedRows:
    """Rows of which those of one page are at hand.

    Args:
        runs: sorted runs, in the order in which their rows came.
    """

    def __init__(self, runs: "Sequence[_Run]") -> None:
        self._runs = runs
        self._counts = np.zeros(0, np.int64)
        for run in runs:
            self._counts = _sum(self._counts, np.diff(run.starts))

    def has(self, page: int) -> bool:
        """Whether there are any for a page."""
        return page < len(self._counts) and bool(self._counts[page])

    def of(self, page: int) -> Iterator[tuple[int, Batch]]:
        """The rows of a page, with their inputs, as few batches as can be."""
        if not self.has(page):
            return
        together: list[_Run] = []
        for run in self._runs:
            if not run.count(page):
                continue
            if together and together[0].kind != run.kind:
                yield from _batches(together, page)
                together = []
            together.append(run)
        yield from _batches(together, page)


class _Run:
    """Rows that came one after the other on one input, with the same columns, from one split.

    Args:
        port: the input.
        batch: a batch of such rows.
    """

    def __init__(self, port: int, batch: Batch) -> None:
        self.port = port
        self.frame: pl.DataFrame
        self.positions: list[Positions] = []
        self.starts: npt.NDArray[np.int64] = np.zeros(1, np.int64)
        self.order: npt.NDArray[np.uint32] = np.empty(0, np.uint32)
        self.nbytes = 0
        self.is_sorted = False
        self.kind = _kind(port, batch)
        self._frames: list[pl.DataFrame] = []
        self._numbers: list[PageNumbers] = []

    def goes_with(self, port: int, batch: Batch) -> bool:
        """Whether a batch can be handed over together with these rows."""
        return self.kind == _kind(port, batch)

    def add(self, batch: Batch, numbers: PageNumbers) -> int:
        """Rows more; returns about how many bytes they take."""
        self._frames.append(batch.frame)
        self._numbers.append(numbers)
        if batch.positions is not None:
            self.positions.append(batch.positions)
        more = int(batch.frame.estimated_size()) + 4 * len(numbers)
        self.nbytes += more
        return more

    def sort(self) -> None:
        """Bring the rows of each page together, in the order in which they came."""
        if self.is_sorted:
            return
        numbers = np.concatenate(self._numbers)
        self.order = np.argsort(numbers, kind="stable").astype(np.uint32)
        self.starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(numbers))])
        index = as_index(self.order.view(np.int32))
        self.frame = pl.concat(self._frames, rechunk=True)[index]
        self._frames, self._numbers = [], []
        if not self.positions:
            self.order = np.empty(0, np.uint32)
        self.is_sorted = True

    def count(self, page: int) -> int:
        """How many rows there are of a page."""
        return int(self.starts[page + 1] - self.starts[page]) if page + 1 < len(self.starts) else 0

    def rows(self, page: int) -> pl.DataFrame:
        """The rows of a page."""
        return self.frame.slice(self.starts[page], self.count(page))

    def offsets(self, page: int) -> Offsets:
        """Where in their split the rows of a page came from."""
        every = np.concatenate([each.offsets() for each in self.positions])
        found: Offsets = every[self.order[self.starts[page] : self.starts[page + 1]]]
        return found


def _batches(runs: Sequence[_Run], page: int) -> Iterator[tuple[int, Batch]]:
    """The rows of a page in runs that go together."""
    first = runs[0]
    frame = pl.concat([run.rows(page) for run in runs], rechunk=True) if len(runs) > 1 else first.rows(page)
    for start in range(0, frame.height, BATCH_ROWS_MAX):
        positions = _positions(runs, page, start) if first.positions else None
        yield first.port, Batch(frame[start : start + BATCH_ROWS_MAX], positions)


def _positions(runs: Sequence[_Run], page: int, start: int) -> Positions:
    def offsets() -> Offsets:
        return np.concatenate([run.offsets(page) for run in runs])[start : start + BATCH_ROWS_MAX]

    first = runs[0].positions[0]
    return Positions(first.source, first.split, offsets)


def _kind(port: int, batch: Batch) -> tuple[object, ...]:
    """What is equal of batches that can be handed over as one."""
    positions = batch.positions
    return port, batch.frame.schema, None if positions is None else (positions.source, positions.split)


def _sum(left: npt.NDArray[np.int64], right: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The sum of two arrays, of which the shorter one ends in zeros."""
    longer, shorter = (left, right) if len(left) >= len(right) else (right, left)
    total = longer.copy()
    total[: len(shorter)] += shorter
    return total
