"""Counts of nulls, and sums of integers."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.core.aggregates import Nulls, Total
from streame.state.aggregates.accumulator import GroupValues
from streame.state.aggregates.batch import Batch, Groups, Weights, grown

_Words = npt.NDArray[np.int64]

_BITS = 32
_LIMB = 2**_BITS - 1
_LIMBS = 4
_WORD_MAX = 2**63 - 1
_CARRY_AFTER_ROWS = 2**30


class TooLargeError(Exception):
    """A sum needs more than 128 bits.

    Args:
        total: which one.
    """

    def __init__(self, total: Total) -> None:
        super().__init__(total.name)
        self.total = total


class NullCounts(GroupValues):
    """How many values of a column are null; costs nothing while none is."""

    BY_GROUP = ("_counts",)
    SAVED = ("_counts", "_size")

    def __init__(self, spec: Nulls) -> None:
        self._spec = spec
        self._size = 0
        self._counts: _Words | None = None

    def resize(self, size: int) -> None:
        """See `GroupValues`."""
        self._size = size
        if self._counts is not None:
            self._counts = grown(self._counts, size, 0)

    def add(self, batch: Batch) -> None:
        """See `GroupValues`."""
        column = batch.column(self._spec.column)
        if column.null_count():
            nulls = column.is_null().cast(pl.Int64).to_numpy()
            self._add(batch.groups, nulls if batch.weights is None else nulls * batch.weights)

    def values(self, groups: Groups) -> Sequence[pl.Series]:
        """See `GroupValues`."""
        counts = np.zeros(len(groups), np.int64) if self._counts is None else self._counts[groups]
        return [pl.Series(self._spec.name, counts)]

    def parts(self, groups: Groups) -> Sequence[pl.Series]:
        """See `GroupValues`."""
        return self.values(groups)

    def merge(self, groups: Groups, parts: Sequence[pl.Series]) -> None:
        """See `GroupValues`."""
        counts = parts[0].to_numpy()
        if counts.any():
            self._add(groups, counts)

    def _add(self, groups: Groups, counts: _Words) -> None:
        if self._counts is None:
            self._counts = np.zeros(self._size, np.int64)
        np.add.at(self._counts, groups, counts)

    @property
    def nbytes(self) -> int:
        """See `GroupValues`."""
        return 0 if self._counts is None else self._counts.nbytes


class IntegerTotals(GroupValues):
    """Sums of integers, decimals and durations, and counts of true values, exact to 128 bits.

    They are kept in 64 bits as long as it is certain that these suffice: no sum can have grown by more than the
    number of rows times the largest value among them. Beyond that, a sum is four limbs of 32 bits in words of 64,
    the last one with the sign, which pass on their carries now and then.
    """

    BY_GROUP = ("_sums",)
    SAVED = ("_sums", "_limbs", "_bound", "_rows_since_carry")

    def __init__(self, spec: Total) -> None:
        self._spec = spec
        self._sums: _Words = np.zeros(0, np.int64)
        self._limbs: list[_Words] | None = None
        self._bound = 0
        self._rows_since_carry = 0

    def resize(self, size: int) -> None:
        """See `GroupValues`."""
        if self._limbs is None:
            self._sums = grown(self._sums, size, 0)
        else:
            self._limbs = [grown(limb, size, 0) for limb in self._limbs]

    def add(self, batch: Batch) -> None:
        """See `GroupValues`."""
        column = _integers(batch.column(self._spec.column))
        narrow = column if column.dtype == pl.Int64 else column.cast(pl.Int64, strict=False)
        if narrow.null_count():
            self._add_limbs(batch.groups, _limbs_of_int128(column.cast(pl.Int128)), batch.weights)
        else:
            self._add_words(batch.groups, narrow.to_numpy(), batch.weights)

    def values(self, groups: Groups) -> Sequence[pl.Series]:
        """See `GroupValues`."""
        if self._limbs is None:
            return [pl.Series(self._spec.name, self._sums[groups])]
        low, high = self._two_words(groups)
        if (high == low >> 63).all():
            return [pl.Series(self._spec.name, low)]
        return [_int128(low, high).alias(self._spec.name)]

    def parts(self, groups: Groups) -> Sequence[pl.Series]:
        """See `GroupValues`."""
        low, high = self._two_words(groups)
        return [pl.Series(low), pl.Series(high)]

    def merge(self, groups: Groups, parts: Sequence[pl.Series]) -> None:
        """See `GroupValues`."""
        low, high = (part.to_numpy() for part in parts)
        if (high == low >> 63).all():
            self._add_words(groups, low, None)
        else:
            limbs = [low & _LIMB, low >> _BITS & _LIMB, high & _LIMB, high >> _BITS]
            self._add_limbs(groups, limbs, None)

    def _add_words(self, groups: Groups, words: _Words, weights: Weights | None) -> None:
        if self._fits(words, weights):
            np.add.at(self._sums, groups, words if weights is None else words * weights)
        else:
            self._add_limbs(groups, [words & _LIMB, words >> _BITS], weights)

    def _fits(self, words: _Words, weights: Weights | None) -> bool:
        """Whether 64 bits certainly suffice for the sums with these values."""
        if self._limbs is not None:
            return False
        growth = _peak(words) * len(words) * (1 if weights is None else _peak(weights))
        if self._bound + growth > _WORD_MAX:
            self._bound = _peak(self._sums)
        self._bound += growth
        return self._bound <= _WORD_MAX

    def _add_limbs(self, groups: Groups, limbs: Sequence[_Words], weights: Weights | None) -> None:
        """Add values that are given as limbs, of which the last one has the sign."""
        if self._limbs is None:
            sums = self._sums
            self._limbs = [sums & _LIMB, sums >> _BITS, np.zeros_like(sums), np.zeros_like(sums)]
            self._sums = np.zeros(0, np.int64)
        self._rows_since_carry += len(groups) * (1 if weights is None else _peak(weights))
        if self._rows_since_carry > _CARRY_AFTER_ROWS:
            self._limbs = _carried(self._limbs)
            self._rows_since_carry = len(groups)
        for limb, values in zip(self._limbs, limbs, strict=False):
            np.add.at(limb, groups, values if weights is None else values * weights)

    def _two_words(self, groups: Groups) -> tuple[_Words, _Words]:
        """The sums as their lower and upper 64 bits."""
        if self._limbs is None:
            low = self._sums[groups]
            return low, low >> 63
        a, b, c, d = _carried([limb[groups] for limb in self._limbs])
        if len(groups) and _peak(d) >= 2 ** (_BITS - 1):
            raise TooLargeError(self._spec)
        return a | b << _BITS, c | d << _BITS

    @property
    def nbytes(self) -> int:
        """See `GroupValues`."""
        return self._sums.nbytes + sum(limb.nbytes for limb in self._limbs or ())


def _integers(column: pl.Series) -> pl.Series:
    """The integers behind the values, 0 for null."""
    if column.dtype == pl.Boolean:
        column = column.cast(pl.Int64)
    elif not column.dtype.is_integer():
        column = column.to_physical()
    return column.fill_null(0) if column.null_count() else column


def _peak(words: _Words) -> int:
    """The largest distance from 0."""
    return max(int(words.max()), -int(words.min())) if len(words) else 0


def _carried(limbs: Sequence[_Words]) -> list[_Words]:
    """The same numbers with limbs from 0 to 2^32 - 1, but for the last one."""
    carry: _Words | int = 0
    carried = []
    for limb in limbs[:-1]:
        full = limb + carry
        carried.append(full & _LIMB)
        carry = full >> _BITS
    return [*carried, limbs[-1] + carry]


def _limbs_of_int128(column: pl.Series) -> list[_Words]:
    x, limb = pl.col("x"), pl.lit(_LIMB, dtype=pl.Int128)
    parts = [x // pl.lit(2 ** (_BITS * i), dtype=pl.Int128) for i in range(_LIMBS)]
    exprs = [part & limb for part in parts[:-1]] + parts[-1:]
    frame = (
        column.alias("x").to_frame().select(expr.cast(pl.Int64).alias(str(i)) for i, expr in enumerate(exprs))
    )
    return [frame.to_series(i).to_numpy() for i in range(_LIMBS)]


def _int128(low: _Words, high: _Words) -> pl.Series:
    frame = pl.DataFrame([pl.Series("low", low.view(np.uint64)), pl.Series("high", high)])
    word = pl.lit(2**64, dtype=pl.Int128)
    return frame.select(pl.col("high").cast(pl.Int128) * word + pl.col("low").cast(pl.Int128)).to_series()
