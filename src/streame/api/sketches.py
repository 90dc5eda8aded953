"""Approximate aggregates for groups too large to keep: sketches of the datasketches library."""

from collections import deque
from dataclasses import dataclass, replace
from math import isnan
from typing import Any

import msgspec
import numpy as np
import polars as pl

from streame.core.user_aggregates import Aggregate
from streame.errors import PlanError

try:
    import datasketches  # type: ignore[import-untyped,unused-ignore]
except ImportError:  # an optional extra
    datasketches = None

_PRECISION = range(7, 22)
_DISTINCT_FIRST = 1_024
"""Columns of at least so many values are freed from repetitions before Python sees them."""


def approx_n_unique(column: str | pl.Expr, *, precision: int = 12) -> Aggregate:
    """About how many different values there are, for groups with too many to keep: a HyperLogLog sketch.

    Up to some hundred values it is exact, but for a stroke of bad luck; then its standard error is
    1.04 / sqrt(2**precision): 1.6 % at 12, 0.8 % at 14. A sketch takes at most 2**precision bytes. As in Polars null is a
    value, and both zeros are one. The result depends on the set of values alone, not on their order, the batches or the
    parallelism.

    Args:
        column: a column name, or a row-wise expression.
        precision: how many bits of a value's hash choose its register, 7 to 21.

    Returns:
        An aggregate for `agg`; a UInt32, named as the column unless told otherwise.

    Raises:
        PlanError: when the package datasketches is missing, or `precision` is out of its range.

    Example:
        >>> import polars as pl, streame as st
        >>> visits = st.scan_frames([pl.DataFrame({"page": ["a", "a", "b"], "user": [1, 1, 2]})])
        >>> visits.group_by("page").agg(st.approx_n_unique("user")).collect().sort("page").rows()
        [('a', 1), ('b', 1)]
    """
    _require_library("approx_n_unique")
    if precision not in _PRECISION:
        raise PlanError(f"approx_n_unique: precision={precision} is not possible; give 7 to 21")
    return ApproxNUnique(column, precision)


def approx_quantile(column: str | pl.Expr, quantile: float, *, size: int = 500) -> Aggregate:
    """About the quantile of a numeric column, for groups with too many values to keep: a t-digest.

    The rank of the result is off by less than 0.01 in the middle and 0.001 at the 0.99 quantile in all distributions
    that the tests try, and by less with a larger `size`; there is no proven bound. Groups of fewer than some
    hundred values give one of them. A digest takes at most about 20 bytes times `size`. The same rows in the same order
    give the same result; another order, or other windows that share them, may give one that differs within that error.
    Nulls and NaN are left out.

    Args:
        column: a column name, or a row-wise expression.
        quantile: between 0 and 1.
        size: about how many means of neighbouring values are kept, 10 to 10,000.

    Returns:
        An aggregate for `agg`; a Float64, null for no values, named as the column unless told otherwise.

    Raises:
        PlanError: when the package datasketches is missing, or an argument is out of its range.

    Example:
        >>> import polars as pl, streame as st
        >>> orders = st.scan_frames([pl.DataFrame({"item": ["a"] * 101, "qty": range(101)})])
        >>> orders.group_by("item").agg(p95=st.approx_quantile("qty", 0.95)).collect().rows()
        [('a', 95.0)]
    """
    _require_library("approx_quantile")
    if isnan(quantile) or not 0 <= quantile <= 1:
        raise PlanError(f"approx_quantile: quantile={quantile} is not possible; give 0 to 1")
    if not 10 <= size <= 10_000:
        raise PlanError(f"approx_quantile: size={size} is not possible; give 10 to 10,000")
    return ApproxQuantile(column, float(quantile), size)


def _require_library(what: str) -> None:
    if datasketches is None:
        raise PlanError(
            f"{what} needs the package datasketches; install it with: pip install 'streame[sketches]'"
        )


@dataclass(slots=True)
class Distinct:
    """A sketch of a set, and which of the values that it does not take are in it."""

    sketch: Any
    has_null: bool = False
    has_empty: bool = False


class ApproxNUnique(Aggregate):
    """About the number of different values of a column.

    Args:
        column: what is counted.
        precision: the binary logarithm of the number of registers.
    """

    dtype = pl.UInt32()

    def __init__(self, column: str | pl.Expr, precision: int) -> None:
        super().__init__(column)
        self._precision = precision

    def output_dtype(self, *dtypes: pl.DataType) -> pl.DataType:
        """A count; of values that have an encoding."""
        (dtype,) = dtypes
        if dtype.is_nested() or dtype == pl.Object:
            raise PlanError(
                f"values of dtype {dtype} cannot be counted; use their fields, or a text made from them"
            )
        return self.dtype

    def create(self) -> Distinct:
        """An empty set."""
        return Distinct(datasketches.hll_sketch(self._precision))

    def add(self, state: Distinct, *columns: pl.Series) -> Distinct:
        """Put the values in."""
        (column,) = columns
        if len(column) >= _DISTINCT_FIRST:
            column = column.unique()
        if column.null_count():
            state.has_null = True
            column = column.drop_nulls()
        values = _hashable(column)
        if "" in values:
            state.has_empty = True  # the library passes over empty texts
        deque(map(state.sketch.update, values), maxlen=0)
        return state

    def merge(self, state: Distinct, other: Distinct) -> Distinct:
        """The union."""
        union = datasketches.hll_union(self._precision)
        union.update(state.sketch)
        union.update(other.sketch)
        sketch = union.get_result(datasketches.HLL_8)
        return Distinct(sketch, state.has_null or other.has_null, state.has_empty or other.has_empty)

    def finish(self, state: Distinct) -> int:
        """The number of values."""
        union = datasketches.hll_union(self._precision)
        # A sketch that was never merged estimates from the order in which values came; a merged one does not.
        union.update(state.sketch)
        union.update(state.sketch)
        estimate: int = round(union.get_estimate())
        return estimate + state.has_null + state.has_empty

    def encode(self, state: Distinct) -> bytes:
        """The bytes of a state."""
        return msgspec.msgpack.encode(replace(state, sketch=state.sketch.serialize_compact()))

    def decode(self, data: bytes) -> Distinct:
        """The state of some bytes."""
        state = msgspec.msgpack.decode(data, type=Distinct)
        return replace(state, sketch=datasketches.hll_sketch.deserialize(state.sketch))


def _hashable(column: pl.Series) -> list[Any]:
    """The values as integers of 64 bits, floats or texts, different ones for different values."""
    dtype = column.dtype
    if dtype == pl.UInt64:
        column = column.reinterpret(signed=True)
    elif dtype == pl.Binary:
        column = column.bin.encode("hex")
    elif dtype.is_float():
        column = column.cast(pl.Float64)
    elif (
        dtype.is_temporal()
        or dtype == pl.Boolean
        or (dtype.is_integer() and dtype not in {pl.Int128, pl.UInt128})
    ):
        column = column.cast(pl.Int64)
    else:
        column = column.cast(pl.String)
    return column.to_list()


@dataclass(slots=True)
class Ranks:
    """A digest of the finite values, and how many are not finite."""

    digest: Any
    below: int = 0
    above: int = 0


class ApproxQuantile(Aggregate):
    """About a quantile of a numeric column.

    Args:
        column: the column.
        quantile: between 0 and 1.
        size: how many centroids the digest has.
    """

    dtype = pl.Float64()

    def __init__(self, column: str | pl.Expr, quantile: float, size: int) -> None:
        super().__init__(column)
        self._quantile = quantile
        self._size = size

    def output_dtype(self, *dtypes: pl.DataType) -> pl.DataType:
        """A float; of numbers."""
        (dtype,) = dtypes
        if not dtype.is_numeric():
            raise PlanError(f"the quantile of a column of dtype {dtype} is not possible; cast it to a number")
        return self.dtype

    def create(self) -> Ranks:
        """No values."""
        return Ranks(datasketches.tdigest_double(self._size))

    def add(self, state: Ranks, *columns: pl.Series) -> Ranks:
        """Put the values in."""
        values = columns[0].cast(pl.Float64).to_numpy(writable=True)  # with NaN in the place of null
        finite = np.isfinite(values)
        if not finite.all():
            state.above += int((values == np.inf).sum())
            state.below += int((values == -np.inf).sum())
            values = values[finite]
        state.digest.update(values)
        return state

    def merge(self, state: Ranks, other: Ranks) -> Ranks:
        """The values of both."""
        state.digest.merge(other.digest)
        return Ranks(state.digest, state.below + other.below, state.above + other.above)

    def finish(self, state: Ranks) -> float | None:
        """The quantile."""
        digest = self._copy(state.digest)
        inside = 0 if digest.is_empty() else int(digest.get_total_weight())
        count = inside + state.below + state.above
        if not count:
            return None
        rank = self._quantile * count - state.below
        if rank < 0 or not (inside or state.above):
            return -np.inf
        if not inside or rank > inside:
            return np.inf
        return float(digest.get_quantile(rank / inside))

    def encode(self, state: Ranks) -> bytes:
        """The bytes of a state."""
        return msgspec.msgpack.encode(replace(state, digest=self._copy(state.digest).serialize()))

    def decode(self, data: bytes) -> Ranks:
        """The state of some bytes."""
        state = msgspec.msgpack.decode(data, type=Ranks)
        return replace(state, digest=datasketches.tdigest_double.deserialize(state.digest))

    def _copy(self, digest: Any) -> Any:
        """Another digest of the same values: to ask one is to merge neighbours in it that might yet have met others."""
        other = datasketches.tdigest_double(self._size)
        other.merge(digest)
        return other
