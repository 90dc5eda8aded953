"""A sink that keeps all rows in memory, for `collect()`."""

import polars as pl

from streame.io.sink import Sink


class MemorySink(Sink):
    """Keeps the frames that come."""

    separate = False

    def __init__(self) -> None:
        self._frames: list[pl.DataFrame] = []

    def open(self, schema: pl.Schema) -> None:
        """Begin anew."""
        self._frames = [pl.DataFrame(schema=schema)]

    def write(self, frame: pl.DataFrame) -> None:
        """Keep the frame."""
        self._frames.append(frame)

    def abort(self) -> None:
        """Forget the rows."""
        self._frames.clear()

    def frame(self) -> pl.DataFrame:
        """All rows, in the order in which they came."""
        return pl.concat(self._frames)
