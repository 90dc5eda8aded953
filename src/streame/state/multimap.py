"""A multimap: the numbers of rows by key slot and time, found for many keys at once."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streame.core.messages import BATCH_ROWS_MAX
from streame.core.time import Mask, Ticks
from streame.state.index import Slots
from streame.state.rows import RowNumbers

_RATIO = 4
_WORD_BITS = 63

Packed = npt.NDArray[np.int64]
Pairs = tuple[RowNumbers, RowNumbers]


@dataclass(frozen=True, slots=True)
class _Packing:
    """How a slot and a time become one word, in the order of both.

    Args:
        first: the earliest time.
        last: the latest time.
        slot_max: the largest slot.
        bits: how many bits the time takes.
        shift: how many of its low bits do not fit; then the word tells times only roughly apart.
    """

    first: int
    last: int
    slot_max: int
    bits: int
    shift: int

    def pack(self, slots: Slots, times: Ticks) -> Packed:
        """The words; slots and times must be in bounds."""
        # The difference may need 64 bits, and is never negative.
        since = times.view(np.uint64) - np.uint64(self.first & (2**64 - 1))
        if self.shift:
            since >>= np.uint64(self.shift)
        return (slots.astype(np.int64) << self.bits) | since.view(np.int64)

    def slots(self, words: Packed) -> Slots:
        """The slots in the words."""
        return (words >> self.bits).astype(np.int32)


@dataclass(frozen=True, slots=True)
class _Run:
    """Rows sorted by slot and time."""

    packing: _Packing
    words: Packed
    rows: RowNumbers
    times: Ticks

    def without(self, renumbered: RowNumbers) -> "_Run":
        """The rows that have a new number."""
        rows = renumbered[self.rows]
        kept = rows >= 0
        return _Run(self.packing, self.words[kept], rows[kept], self.times[kept])


@dataclass(frozen=True, slots=True)
class _Found:
    """The part of a run that belongs to each probe: `counts[i]` rows from `starts[i]` on."""

    run: _Run
    probes: RowNumbers
    starts: RowNumbers
    counts: RowNumbers


class Matches:
    """The rows found for each probe, as pairs of a probe's number and a row's number.

    They can be iterated over several times; each time they come in pieces of at most `BATCH_ROWS_MAX` pairs, in no
    particular order. The rows of one probe may lie in several pieces.
    """

    def __init__(
        self,
        found: Sequence[_Found],
        lower: Ticks,
        upper: Ticks,
        is_live: Callable[[RowNumbers], Mask] | None,
    ) -> None:
        self._found = found
        self._lower = lower
        self._upper = upper
        self._is_live = is_live

    def __iter__(self) -> Iterator[Pairs]:
        waiting: list[Pairs] = []
        count = 0
        for found in self._found:
            for probes, rows in self._expanded(found):
                if count + len(rows) > BATCH_ROWS_MAX:
                    yield _joined(waiting)
                    waiting, count = [], 0
                waiting.append((probes, rows))
                count += len(rows)
        if count:
            yield _joined(waiting)

    @property
    def most(self) -> int:
        """How many pairs there are at most."""
        return sum(int(found.counts.sum()) for found in self._found)

    def _expanded(self, found: _Found) -> Iterator[Pairs]:
        """The pairs of one run."""
        for probes, places in _pieces(found):
            rows = found.run.rows[places]
            kept: Mask | None = None
            if found.run.packing.shift:
                times = found.run.times[places]
                kept = (self._lower[probes] <= times) & (times <= self._upper[probes])
            if self._is_live is not None:
                live = self._is_live(rows)
                kept = live if kept is None else kept & live
            if kept is None or kept.all():
                yield probes, rows
            elif kept.any():
                yield probes[kept], rows[kept]


class MultiMap:
    """Row numbers by slot and time.

    They lie in sorted runs, each several times as long as the next: adding costs a few copies of a row, and
    looking up a search in each run.
    """

    def __init__(self) -> None:
        self._runs: list[_Run] = []

    @property
    def memory_bytes(self) -> int:
        """The size of the runs."""
        return sum(run.words.nbytes + run.rows.nbytes + run.times.nbytes for run in self._runs)

    def add(self, slots: Slots, times: Ticks, first: int) -> None:
        """Take rows.

        Args:
            slots: the slot of each row, not negative.
            times: the time of each row.
            first: the number of the first row; the others follow.
        """
        if not len(slots):
            return
        self._runs.append(_sorted_run(slots, times, np.arange(first, first + len(slots))))
        while len(self._runs) > 1 and len(self._runs[-2].rows) <= _RATIO * len(self._runs[-1].rows):
            self._runs[-2:] = [_merged(self._runs[-2:])]

    def find(
        self, slots: Slots, lower: Ticks, upper: Ticks, is_live: Callable[[RowNumbers], Mask] | None = None
    ) -> Matches:
        """The rows of each slot whose times lie between two bounds, both included.

        Args:
            slots: the slot of each probe; -1 finds nothing.
            lower: the earliest time for each probe.
            upper: the latest time for each probe.
            is_live: says which rows count.
        """
        probes = np.flatnonzero(slots >= 0)
        if not self._runs or not len(probes):
            return Matches([], lower, upper, is_live)
        # Sorted probes walk through a run instead of jumping about in it.
        whole = _packing(int(slots.max()), int(lower.min()), int(lower.max()))
        probes = probes[np.argsort(whole.pack(slots[probes], lower[probes]))]
        sorted_slots, low, high = slots[probes], lower[probes], upper[probes]
        least, most = int(low.min()), int(high.max())
        found = [
            _search(run, probes, sorted_slots, low, high)
            for run in self._runs
            if run.packing.last >= least and run.packing.first <= most
        ]
        return Matches([each for each in found if len(each.probes)], lower, upper, is_live)

    def keep(self, renumbered: RowNumbers) -> None:
        """Drop rows and give the others new numbers.

        Args:
            renumbered: by old number the new one, -1 for a row to drop.
        """
        runs = [run.without(renumbered) for run in self._runs]
        self._runs = [run for run in runs if len(run.rows)]

    def move(self, slots: Slots) -> None:
        """Give the keys new slots.

        Args:
            slots: by old slot the new one.
        """
        if self._runs:
            run = _merged(self._runs)
            self._runs = [_sorted_run(slots[run.packing.slots(run.words)], run.times, run.rows)]


def _packing(slot_max: int, first: int, last: int) -> _Packing:
    slot_bits = max(1, slot_max.bit_length())
    time_bits = (last - first).bit_length()
    shift = max(0, slot_bits + time_bits - _WORD_BITS)
    return _Packing(first, last, slot_max, time_bits - shift, shift)


def _sorted_run(slots: Slots, times: Ticks, rows: RowNumbers) -> _Run:
    packing = _packing(int(slots.max()), int(times.min()), int(times.max()))
    words = packing.pack(slots, times)
    order = np.argsort(words)
    return _Run(packing, words[order], rows[order], times[order])


def _merged(runs: Sequence[_Run]) -> _Run:
    """Runs made one."""
    times = np.concatenate([run.times for run in runs])
    rows = np.concatenate([run.rows for run in runs])
    slots = np.concatenate([run.packing.slots(run.words) for run in runs])
    packing = _packing(int(slots.max()), int(times.min()), int(times.max()))
    words = packing.pack(slots, times)
    # Each part is in order, or nearly: what merges is faster here than what sorts.
    order = np.argsort(words, kind="stable")
    return _Run(packing, words[order], rows[order], times[order])


def _search(run: _Run, probes: RowNumbers, slots: Slots, lower: Ticks, upper: Ticks) -> _Found:
    """The part of a run that belongs to each probe; those that find nothing are left out."""
    packing = run.packing
    known = np.minimum(slots, packing.slot_max)
    starts = np.searchsorted(run.words, packing.pack(known, np.clip(lower, packing.first, packing.last)))
    ends = np.searchsorted(
        run.words, packing.pack(known, np.clip(upper, packing.first, packing.last)), side="right"
    )
    counts = ends - starts
    inside = (slots <= packing.slot_max) & (lower <= packing.last) & (upper >= packing.first)
    hits = np.flatnonzero(inside & (counts > 0))
    return _Found(run, probes[hits], starts[hits], counts[hits])


def _pieces(found: _Found) -> Iterator[Pairs]:
    """Probes and places in the run, one pair for each row found, in pieces of a bounded size."""
    ends = np.cumsum(found.counts)
    total = int(ends[-1])
    for start in range(0, total, BATCH_ROWS_MAX):
        end = min(start + BATCH_ROWS_MAX, total)
        first, last = np.searchsorted(ends, [start + 1, end])
        chosen = slice(int(first), int(last) + 1)
        begins, counts = found.starts[chosen].copy(), found.counts[chosen].copy()
        skipped = start - int(ends[first] - found.counts[first])
        begins[0] += skipped
        counts[0] -= skipped
        counts[-1] -= int(ends[last]) - end
        offsets = begins - (np.cumsum(counts) - counts)
        yield np.repeat(found.probes[chosen], counts), np.arange(end - start) + np.repeat(offsets, counts)


def _joined(pieces: Sequence[Pairs]) -> Pairs:
    if len(pieces) == 1:
        return pieces[0]
    probes, rows = zip(*pieces, strict=True)
    return np.concatenate(probes), np.concatenate(rows)
