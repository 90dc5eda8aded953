"""Orders that come again and again, later each time: as many rows as a benchmark of checkpoints needs, in little memory."""

from collections.abc import Iterator, Sequence

import polars as pl

import streame as st
from streame.cli.bench.orders import SCHEMA, cut, orders

BATCH_ROWS = 65_536
ROWS = 2_000_000


class Repeated(st.Source):
    """The same orders over and over; an offset is the number of a batch.

    Args:
        rows: how many rows come.
        users: how many users place them.
        batch_rows: how many come at once.
    """

    bounded = True
    one_split = True

    def __init__(self, rows: int, users: int, batch_rows: int = BATCH_ROWS) -> None:
        self._batches: Sequence[pl.DataFrame] = cut(orders(min(rows, ROWS), users), batch_rows)
        height = sum(batch.height for batch in self._batches)
        self._times = max(1, rows // height)
        self._span = pl.duration(microseconds=100 * height)
        self.rows = self._times * height

    def schema(self) -> pl.Schema:
        """Those of orders."""
        return SCHEMA

    def splits(self) -> list[str]:
        """One."""
        return ["orders"]

    def read(self, split: str, offset: object) -> Iterator[st.Chunk]:
        """The batches from a number on."""
        for number in range(int(str(offset or 0)), self._times * len(self._batches)):
            time, batch = divmod(number, len(self._batches))
            yield st.Chunk(self._batches[batch].with_columns(pl.col("ts") + self._span * time), number + 1)
