"""A sink that keeps all rows in memory, for `collect()`."""

import polars as pl

from streame.core.changes import fold, net
from streame.io.sink import Sink

_CHANGES_MIN = 1_000_000


class MemorySink(Sink):
    """Keeps the frames that come.

    Args:
        folds: whether they are changes, of which the table is wanted that they lead to.
    """

    separate = False

    def __init__(self, *, folds: bool = False) -> None:
        self._folds = folds
        self._frames: list[pl.DataFrame] = []
        self._changes = 0
        self._changes_max = _CHANGES_MIN

    def open(self, schema: pl.Schema) -> None:
        """Begin anew."""
        self._frames = [pl.DataFrame(schema=schema)]

    def write(self, frame: pl.DataFrame) -> None:
        """Keep the frame; of many changes, what they come to."""
        self._frames.append(frame)
        if not self._folds:
            return
        self._changes += frame.height
        if self._changes > self._changes_max:
            self._frames = [net(pl.concat(self._frames))]
            self._changes = self._frames[0].height
            self._changes_max = max(_CHANGES_MIN, 2 * self._changes)

    def abort(self) -> None:
        """Forget the rows."""
        self._frames.clear()

    def frame(self) -> pl.DataFrame:
        """All rows, in the order in which they came."""
        rows = pl.concat(self._frames)
        return fold(rows) if self._folds else rows
