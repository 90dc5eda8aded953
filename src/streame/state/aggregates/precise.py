"""Sums of floats from which rows can be taken back.

A sum is two floats, of which the second holds what the first has rounded off: 106 bits instead of 53, so that
1e16 + 1 - 1e16 is 1. NaN and the infinities are counted apart, for nothing could be taken back from them.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.core.aggregates import Deviation, Total
from streame.state.aggregates.accumulator import GroupValues
from streame.state.aggregates.batch import Batch, Groups, Weights, grown, order_by_group
from streame.state.aggregates.floats import floats_of
from streame.state.aggregates.touched import ByGroup

_Floats = npt.NDArray[np.float64]
_Pair = tuple[_Floats, _Floats]

_SCALE = -70
"""Values are kept times 2^-70, so that a sum beyond the largest float can come back below it."""

_SQUARE_MAX = 2.0**450
"""Beyond this a value has no square in the reach of floats: it counts as infinite."""

_SPLIT = 2.0**27 + 1


class PreciseTotals(GroupValues):
    """Sums of floats that rows are added to and taken back from."""

    SAVED = ("_sums", "_odd")

    def __init__(self, spec: Total) -> None:
        self._spec = spec
        self._sums = _PairSums()
        self._odd = _OddCounts()

    def resize(self, size: int) -> None:
        """See `GroupValues`."""
        self._sums.resize(size)
        self._odd.resize(size)

    def add(self, batch: Batch) -> None:
        """See `GroupValues`."""
        groups, values, weights = _present(batch, self._spec.column)
        values = self._odd.sort_out(groups, values, weights, np.isfinite(values))
        scaled = np.ldexp(values if weights is None else values * weights, _SCALE)
        self._sums.add(groups, scaled, np.zeros_like(scaled))

    def values(self, groups: Groups) -> Sequence[pl.Series]:
        """See `GroupValues`."""
        sums = np.ldexp(self._sums.high[groups], -_SCALE)
        return [pl.Series(self._spec.name, self._odd.onto(groups, sums))]

    def parts(self, groups: Groups) -> Sequence[pl.Series]:
        """See `GroupValues`."""
        return [*self._sums.parts(groups), *self._odd.parts(groups)]

    def merge(self, groups: Groups, parts: Sequence[pl.Series]) -> None:
        """See `GroupValues`."""
        high, low, *odd = (part.to_numpy() for part in parts)
        self._sums.add(groups, high, low)
        self._odd.merge(groups, odd)

    def forget(self, groups: Groups) -> None:
        """See `GroupValues`."""
        self._sums.forget(groups)

    @property
    def nbytes(self) -> int:
        """See `GroupValues`."""
        return self._sums.nbytes + self._odd.nbytes


class PreciseDeviations(GroupValues):
    """Sums of squared distances from the mean, of rows that may be taken back: `sum(x^2) - sum(x)^2 / n`."""

    BY_GROUP = ("_counts",)
    SAVED = ("_counts", "_sums", "_squares", "_odd")

    def __init__(self, spec: Deviation) -> None:
        self._spec = spec
        self._counts: Weights = np.zeros(0, np.int64)
        self._sums = _PairSums()
        self._squares = _PairSums()
        self._odd = _OddCounts()

    def resize(self, size: int) -> None:
        """See `GroupValues`."""
        self._counts = grown(self._counts, size, 0)
        for each in (self._sums, self._squares, self._odd):
            each.resize(size)

    def add(self, batch: Batch) -> None:
        """See `GroupValues`."""
        groups, values, weights = _present(batch, self._spec.column)
        values = self._odd.sort_out(groups, values, weights, np.abs(values) <= _SQUARE_MAX)
        np.add.at(self._counts, groups, 1 if weights is None else weights)
        sign = np.ones_like(values) if weights is None else weights.astype(np.float64)
        self._sums.add(groups, values * sign, np.zeros_like(values))
        high, low = _square(values)
        self._squares.add(groups, high * sign, low * sign)

    def values(self, groups: Groups) -> Sequence[pl.Series]:
        """See `GroupValues`."""
        counts = np.maximum(self._counts[groups], 1).astype(np.float64)
        mean_square = _divide(_square(self._sums.high[groups], self._sums.low[groups]), counts)
        high, _ = _add(
            self._squares.high[groups], self._squares.low[groups], -mean_square[0], -mean_square[1]
        )
        deviations = np.maximum(high, 0)
        odd = np.isfinite(self._odd.onto(groups, np.zeros(len(groups))))
        return [pl.Series(self._spec.name, np.where(odd, deviations, np.nan))]

    def parts(self, groups: Groups) -> Sequence[pl.Series]:
        """See `GroupValues`."""
        sums, squares = self._sums.parts(groups), self._squares.parts(groups)
        return [pl.Series(self._counts[groups]), *sums, *squares, *self._odd.parts(groups)]

    def merge(self, groups: Groups, parts: Sequence[pl.Series]) -> None:
        """See `GroupValues`."""
        counts, high, low, high2, low2, *odd = (part.to_numpy() for part in parts)
        np.add.at(self._counts, groups, counts)
        self._sums.add(groups, high, low)
        self._squares.add(groups, high2, low2)
        self._odd.merge(groups, odd)

    def forget(self, groups: Groups) -> None:
        """See `GroupValues`."""
        self._sums.forget(groups)
        self._squares.forget(groups)

    @property
    def nbytes(self) -> int:
        """See `GroupValues`."""
        return self._counts.nbytes + self._sums.nbytes + self._squares.nbytes + self._odd.nbytes


class _PairSums(ByGroup):
    """A sum in two floats for each group."""

    SAVED = BY_GROUP = ("high", "low")

    def __init__(self) -> None:
        self.high: _Floats = np.zeros(0)
        self.low: _Floats = np.zeros(0)

    def resize(self, size: int) -> None:
        self.high, self.low = grown(self.high, size, 0), grown(self.low, size, 0)

    def add(self, groups: Groups, high: _Floats, low: _Floats) -> None:
        """Add values, first those of each group among themselves, two by two."""
        if not len(groups):
            return
        order = order_by_group(groups)
        groups, (high, low) = _sum_runs(groups[order], high[order], low[order])
        self.high[groups], self.low[groups] = _add(self.high[groups], self.low[groups], high, low)

    def parts(self, groups: Groups) -> list[pl.Series]:
        return [pl.Series(self.high[groups]), pl.Series(self.low[groups])]

    def forget(self, groups: Groups) -> None:
        self.high[groups] = 0
        self.low[groups] = 0

    @property
    def nbytes(self) -> int:
        return self.high.nbytes + self.low.nbytes


class _OddCounts(ByGroup):
    """How many values of each group are NaN, infinity and minus infinity; nothing while none is."""

    SAVED = ("_size", "_counts")

    _KINDS = (np.isnan, lambda values: values > 0, lambda values: values < 0)

    def __init__(self) -> None:
        self._size = 0
        self._counts: list[Weights] = []

    def resize(self, size: int) -> None:
        self._size = size
        self._counts = [grown(each, size, 0) for each in self._counts]

    def sort_out(
        self, groups: Groups, values: _Floats, weights: Weights | None, fine: npt.NDArray[np.bool_]
    ) -> _Floats:
        """Count what is not fine, and give 0 for it."""
        odd = np.flatnonzero(~fine)
        if not len(odd):
            return values
        counts = [_is_kind(values[odd]).astype(np.int64) for _is_kind in self._KINDS]
        if weights is not None:
            counts = [each * weights[odd] for each in counts]
        self.merge(groups[odd], counts)
        return np.where(fine, values, 0.0)

    def merge(self, groups: Groups, counts: Sequence[Weights]) -> None:
        if not any(each.any() for each in counts):
            return
        if not self._counts:
            self._counts = [np.zeros(self._size, np.int64) for _ in self._KINDS]
        for each, count in zip(self._counts, counts, strict=True):
            np.add.at(each, groups, count)

    def parts(self, groups: Groups) -> list[pl.Series]:
        counts = self._counts or [np.zeros(self._size, np.int64)] * len(self._KINDS)
        return [pl.Series(each[groups]) for each in counts]

    def onto(self, groups: Groups, sums: _Floats) -> _Floats:
        """The sums with what was counted."""
        if not self._counts:
            return sums
        nan, up, down = (each[groups] > 0 for each in self._counts)
        sums = np.where(up, np.inf, np.where(down, -np.inf, sums))
        return np.where(nan | (up & down), np.nan, sums)

    @property
    def nbytes(self) -> int:
        return sum(each.nbytes for each in self._counts)


def _present(batch: Batch, name: str) -> tuple[Groups, _Floats, Weights | None]:
    """Groups, values and weights of the rows that are not null."""
    column = batch.column(name)
    if not column.null_count():
        return batch.groups, floats_of(column), batch.weights
    chosen = column.is_not_null().to_numpy()
    weights = None if batch.weights is None else batch.weights[chosen]
    return batch.groups[chosen], floats_of(column.drop_nulls()), weights


def _sum_runs(groups: Groups, high: _Floats, low: _Floats) -> tuple[Groups, _Pair]:
    """One sum for each run of equal groups: every round adds neighbours in pairs."""
    while True:
        same = groups[1:] == groups[:-1]
        if not same.any():
            return groups, (high, low)
        starts = np.flatnonzero(np.concatenate([[True], ~same]))
        lengths = np.diff(np.append(starts, len(groups)))
        place = np.arange(len(groups)) - np.repeat(starts, lengths)
        left = np.flatnonzero(place % 2 == 0)
        paired = left[np.append(same, False)[left]]
        high[paired], low[paired] = _add(high[paired], low[paired], high[paired + 1], low[paired + 1])
        groups, high, low = groups[left], high[left], low[left]


def _two_sum(a: _Floats, b: _Floats) -> _Pair:
    """The rounded sum, and what was rounded off."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _add(a: _Floats, a_low: _Floats, b: _Floats, b_low: _Floats) -> _Pair:
    high, low = _two_sum(a, b)
    lower, lowest = _two_sum(a_low, b_low)
    high, low = _two_sum(high, low + lower)
    return _two_sum(high, low + lowest)


def _halves(a: _Floats) -> _Pair:
    """The upper and the lower half of the bits."""
    shifted = a * _SPLIT
    upper = shifted - (shifted - a)
    return upper, a - upper


def _product(a: _Floats, b: _Floats) -> _Pair:
    """The rounded product, and what was rounded off."""
    product = a * b
    (a_up, a_down), (b_up, b_down) = _halves(a), _halves(b)
    return product, ((a_up * b_up - product) + a_up * b_down + a_down * b_up) + a_down * b_down


def _square(a: _Floats, a_low: _Floats | None = None) -> _Pair:
    high, low = _product(a, a)
    return _two_sum(high, low if a_low is None else low + 2 * a * a_low)


def _divide(a: _Pair, b: _Floats) -> _Pair:
    quotient = a[0] / b
    high, low = _product(quotient, b)
    rest = ((a[0] - high) - low) + a[1]
    return _two_sum(quotient, rest / b)
