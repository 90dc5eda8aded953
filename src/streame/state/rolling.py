"""Results of rolling windows: what the rows of each come to."""

import numpy as np
import polars as pl
from polars.exceptions import PanicException, PolarsError

from streame.core.aggregates import TIME, Aggregation
from streame.core.hidden import unused
from streame.core.ordering import begins, by_slot
from streame.core.rolling import RollingRule, rolling_values
from streame.state.aggregates import AggregateState
from streame.state.multimap import Matches
from streame.state.recent import RecentRows
from streame.state.rows import RowNumbers, as_index

_PAIRS_MAX = 2_000_000
"""How many rows of windows are added up at once."""

_WASTE_MAX = 8
"""How many rows Polars may roll over for each that is asked for, where the results need all rows of a window."""


class RollingResults:
    """Computes the results of windows, in one of two ways.

    Where windows share many rows, Polars rolls over all rows of a key, and what only moves on by a row costs little.
    Where they share few, or few are asked for, the rows of each window are added up.

    Args:
        rule: which rows a window holds.
        aggregation: what is computed of them.
        recent: where the rows are, as `Aggregation.prepare` gave them but for what orders them.
    """

    def __init__(self, rule: RollingRule, aggregation: Aggregation, recent: RecentRows) -> None:
        self._rule = rule
        self._aggregation = aggregation
        self._recent = recent
        self._values = rolling_values(aggregation)
        taken = {*aggregation.prepared, *aggregation.rowful_columns, *aggregation.outputs}
        self._group, self._index = unused("__slot", taken), unused("__at", taken)

    def of(self, asked: RowNumbers) -> pl.DataFrame:
        """The results of the windows of some rows, which follow each other.

        Raises:
            DataError: when one cannot be computed.
        """
        lower, upper = self._rule.bounds(self._recent.times(asked))
        windows = self._recent.find(self._recent.slots(asked), lower, upper)
        around = self._around(asked)
        if self._rolls(len(asked), windows.most, around.most):
            rolled = self._rolled(asked, around)
            if rolled is not None:
                return rolled
        if windows.most > _PAIRS_MAX and len(asked) > 1:
            return pl.concat([self.of(half) for half in np.array_split(asked, 2)])
        return self._added_up(len(asked), windows)

    def _rolls(self, asked: int, pairs: int, rows: int) -> bool:
        """Whether it pays to roll over all rows."""
        if self._values is None or pairs <= 2 * rows:
            return False
        return not self._aggregation.kept or rows <= _WASTE_MAX * asked

    def _around(self, asked: RowNumbers) -> Matches:
        """All rows of the keys of some rows that are in any of their windows, and these rows themselves."""
        order = by_slot(self._recent.slots(asked))
        slots, times = self._recent.slots(asked[order]), self._recent.times(asked[order])
        lower, upper = self._rule.bounds(times)
        at = np.flatnonzero(begins(slots))
        first = np.minimum.reduceat(np.minimum(lower, times), at)
        last = np.maximum.reduceat(np.maximum(upper, times), at)
        return self._recent.find(slots[at], first, last)

    def _added_up(self, count: int, windows: Matches) -> pl.DataFrame:
        state = AggregateState(self._aggregation)
        for numbers, rows in windows:
            frame = self._recent.gather(rows)
            if self._aggregation.needs_order:  # later rows have larger numbers
                frame = frame.with_columns(pl.Series(TIME, rows))
            state.add(numbers, frame)
        return state.results(np.arange(count))

    def _rolled(self, asked: RowNumbers, around: Matches) -> pl.DataFrame | None:
        """The results that Polars computes; `None` where it cannot, or does not go by the definition."""
        numbers = np.sort(np.concatenate([rows for _, rows in around]))
        numbers = numbers[by_slot(self._recent.slots(numbers))]
        slots, times = self._recent.slots(numbers), self._recent.times(numbers)
        starts, _ = self._rule.bounds(times)
        if (starts[1:] < starts[:-1])[~begins(slots)[1:]].any():  # on a day on which a clock was put forward
            return None
        frame = self._recent.gather(numbers)
        index = self._rule.time.series(self._index, times)
        group = pl.Series(self._group, slots)
        frame = pl.DataFrame([*frame.get_columns(), index, group])
        asked_for = np.flatnonzero((numbers >= asked[0]) & (numbers <= asked[-1]))
        chosen = as_index(asked_for[np.argsort(numbers[asked_for])])
        aggregation = self._aggregation
        assert self._values is not None
        try:
            values = self._rule.rolled(frame, self._group, self._index, self._values)[chosen]
            rowful = None
            if aggregation.rowful:
                exprs = list(aggregation.rowful.values())
                rowful = self._rule.rolled(frame, self._group, self._index, exprs)[chosen]
                rowful = rowful.cast({name: aggregation.outputs[name] for name in aggregation.rowful})
                if not _is_finite(rowful):
                    return None
        except (PolarsError, PanicException):  # adding up will say of which result
            return None
        return aggregation.finish(values.get_columns(), rowful)


def _is_finite(frame: pl.DataFrame) -> bool:
    """Whether no number is NaN or infinite: the median of two infinities is NaN where Polars rolls, and nowhere else."""
    return all(column.is_finite().all() for column in frame.iter_columns() if column.dtype.is_float())
