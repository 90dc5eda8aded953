"""How the values of each kind of accumulator are kept."""

from collections.abc import Sequence
from itertools import groupby

from streame.core.aggregates import Accumulator, Deviation, Distinct, Edge, Extreme, Nulls, Own, Total
from streame.state.aggregates.accumulator import GroupValues
from streame.state.aggregates.distinct import DistinctCounts
from streame.state.aggregates.distinct_taken_back import DistinctCountsTakenBack
from streame.state.aggregates.edges import Edges
from streame.state.aggregates.edges_taken_back import EdgesTakenBack
from streame.state.aggregates.extremes import extremes_of
from streame.state.aggregates.extremes_taken_back import ExtremesTakenBack
from streame.state.aggregates.floats import Deviations, FloatTotals
from streame.state.aggregates.precise import PreciseDeviations, PreciseTotals
from streame.state.aggregates.totals import IntegerTotals, NullCounts
from streame.state.aggregates.user import UserStates


def group_values(accumulators: Sequence[Accumulator], *, retractable: bool) -> list[GroupValues]:
    """What keeps these accumulators for many groups.

    Args:
        accumulators: what is to be kept.
        retractable: whether rows may be taken back.
    """
    edges = [each for each in accumulators if isinstance(each, Edge)]
    others = [each for each in accumulators if not isinstance(each, Edge)]
    kept = [(_taken_back if retractable else _growing)(each) for each in others]
    return [*kept, *(_edges_taken_back(edges) if retractable else _edges(edges))]


def _growing(spec: Nulls | Total | Deviation | Extreme | Distinct | Own) -> GroupValues:
    """Values that rows are only ever added to."""
    match spec:
        case Nulls():
            return NullCounts(spec)
        case Total():
            return FloatTotals(spec) if spec.dtype.is_float() else IntegerTotals(spec)
        case Deviation():
            return Deviations(spec)
        case Extreme():
            return extremes_of(spec)
        case Distinct():
            return DistinctCounts(spec)
        case Own():
            return UserStates(spec)


def _taken_back(spec: Nulls | Total | Deviation | Extreme | Distinct | Own) -> GroupValues:
    """Values of rows that may be taken back."""
    match spec:
        case Nulls():
            return NullCounts(spec)
        case Total():
            return PreciseTotals(spec) if spec.dtype.is_float() else IntegerTotals(spec)
        case Deviation():
            return PreciseDeviations(spec)
        case Extreme():
            return ExtremesTakenBack(spec)
        case Distinct():
            return DistinctCountsTakenBack(spec)
        case Own():
            return UserStates(spec)


def _edges(specs: Sequence[Edge]) -> list[GroupValues]:
    """First and last values; those of the same row are kept together."""

    def row(spec: Edge) -> tuple[bool, str]:
        return spec.last, spec.mask or ""

    return [Edges(list(same)) for _, same in groupby(sorted(specs, key=row), key=row)]


def _edges_taken_back(specs: Sequence[Edge]) -> list[GroupValues]:
    """First and last values of rows that may be taken back; those of the same column are kept together."""

    def column(spec: Edge) -> tuple[str, str]:
        return spec.column, spec.mask or ""

    return [EdgesTakenBack(list(same)) for _, same in groupby(sorted(specs, key=column), key=column)]
