"""How the values of each kind of accumulator are kept."""

from collections.abc import Sequence
from itertools import groupby

from streame.core.aggregates import Accumulator, Deviation, Distinct, Edge, Extreme, Nulls, Total
from streame.state.aggregates.accumulator import GroupValues
from streame.state.aggregates.distinct import DistinctCounts
from streame.state.aggregates.edges import Edges
from streame.state.aggregates.extremes import ArrayExtremes, CellExtremes
from streame.state.aggregates.floats import Deviations, FloatTotals
from streame.state.aggregates.multiset import multisets_of
from streame.state.aggregates.physical import array_dtype
from streame.state.aggregates.precise import PreciseDeviations, PreciseTotals
from streame.state.aggregates.totals import IntegerTotals, NullCounts


def group_values(accumulators: Sequence[Accumulator], *, retractable: bool) -> list[GroupValues]:
    """What keeps these accumulators for many groups.

    Args:
        accumulators: what is to be kept.
        retractable: whether rows may be taken back.
    """
    single = [each for each in accumulators if isinstance(each, Nulls | Total | Deviation)]
    others = [each for each in accumulators if not isinstance(each, Nulls | Total | Deviation)]
    kept = [_linear(each, retractable=retractable) for each in single]
    if retractable:
        return [*kept, *multisets_of(others)]
    edges = [each for each in others if isinstance(each, Edge)]
    return [*kept, *_edges(edges), *(_growing(each) for each in others if not isinstance(each, Edge))]


def _linear(spec: Nulls | Total | Deviation, *, retractable: bool) -> GroupValues:
    """Values from which a row can be subtracted."""
    match spec:
        case Nulls():
            return NullCounts(spec)
        case Total() if spec.dtype.is_float():
            return PreciseTotals(spec) if retractable else FloatTotals(spec)
        case Total():
            return IntegerTotals(spec)
        case Deviation():
            return PreciseDeviations(spec) if retractable else Deviations(spec)


def _growing(spec: Extreme | Distinct) -> GroupValues:
    """Values that rows are only ever added to."""
    match spec:
        case Extreme():
            return CellExtremes(spec) if array_dtype(spec.dtype) is None else ArrayExtremes(spec)
        case Distinct():
            return DistinctCounts(spec)


def _edges(specs: Sequence[Edge]) -> list[GroupValues]:
    """First and last values; those of the same row are kept together."""

    def row(spec: Edge) -> tuple[bool, str]:
        return spec.last, spec.mask or ""

    return [Edges(list(same)) for _, same in groupby(sorted(specs, key=row), key=row)]
