"""Top k: the best rows of each group, said anew whenever they change."""

from collections.abc import Sequence
from typing import Self

import numpy as np
import polars as pl

from streame.core.hidden import POSITION, WEIGHT
from streame.core.messages import BATCH_ROWS_MAX, Batch
from streame.core.metrics import StateSize
from streame.core.positions import POSITION_DTYPE
from streame.core.ranking import Ranking
from streame.runtime.operator import Collector, Operator
from streame.state.best_rows import BestRows
from streame.state.index import KeyIndex, Slots
from streame.state.ranked_rows import RankedRows
from streame.state.snapshot import Mine


class TopKOperator(Operator):
    """Keeps rows and says which of them are the best of their group.

    Args:
        k: how many rows of a group are told.
        ranking: which row is better.
        keys: the columns that name the group; none for one group of all rows.
        schema: the columns of the input.
        columns: those that come out.
        retractable: whether rows may be taken back; then all rows are kept, else the best alone.
        positions: whether rows carry their position, which tells the rows of a tie apart.
    """

    SAVED = ("_index", "_best", "_ranked")

    def __init__(
        self,
        *,
        k: int,
        ranking: Ranking,
        keys: Sequence[str],
        schema: pl.Schema,
        columns: Sequence[str],
        retractable: bool,
        positions: pl.DataType | None,
    ) -> None:
        self._keys = list(keys)
        self._columns = list(columns)
        stored = pl.Schema({**schema, **({POSITION: positions} if positions is not None else {})})
        self._stored = stored.names()
        self._index = KeyIndex(pl.Schema({name: schema[name] for name in keys})) if keys else None
        self._best = None if retractable else BestRows(stored, ranking, k)
        self._ranked = RankedRows(schema, ranking, k) if retractable else None

    def on_batch(self, port: int, batch: Batch, out: Collector) -> None:
        """Take the rows, and say what has changed."""
        frame = batch.frame
        if (
            POSITION in self._stored and POSITION not in frame.columns
        ):  # its source or a verb does not know it
            frame = frame.with_columns(pl.lit(None, POSITION_DTYPE).alias(POSITION))
        slots, groups = self._groups(frame)
        if self._best is not None:
            gone, entered = self._best.update(slots, frame.select(self._stored), groups)
        else:
            assert self._ranked is not None
            rows = frame.select(self._stored)
            gone, entered = self._ranked.update(slots, rows, frame[WEIGHT].to_numpy(), groups)
        said = pl.concat([self._weighted(gone, -1), self._weighted(entered, 1)])
        for part in said.iter_slices(BATCH_ROWS_MAX):
            if part.height:
                out.emit(Batch(part))

    def absorb(self, other: Self, mine: Mine) -> None:
        """See `Operator`."""
        if self._index is None or other._index is None:
            raise AssertionError("there is one instance where there are no keys")
        groups = self._index.absorb(other._index, mine)
        if self._best is not None and other._best is not None:
            self._best.absorb(other._best, groups)
        if self._ranked is not None and other._ranked is not None:
            self._ranked.absorb(other._ranked, groups)

    def state_size(self) -> StateSize:
        """The rows that are kept, and the groups."""
        kept = self._best if self._best is not None else self._ranked
        assert kept is not None
        keys = self._index.memory_bytes if self._index is not None else 0
        return StateSize(len(kept), kept.memory_bytes + keys)

    def _groups(self, frame: pl.DataFrame) -> tuple[Slots, int]:
        """The group of each row, and how many groups there are."""
        if self._index is None:
            return np.zeros(frame.height, np.int32), 1
        slots = self._index.slots(frame.select(self._keys))
        return slots, len(self._index)

    def _weighted(self, rows: pl.DataFrame, weight: int) -> pl.DataFrame:
        return rows.select(*self._columns, pl.lit(weight, dtype=pl.Int64).alias(WEIGHT))
