"""Sinks that can say exactly which rows came, in whatever order."""

from collections.abc import Iterable

import polars as pl
import polars.selectors as cs

import streame as st
from streame.cli.bench.case import Numbers

DIFF = "_diff"
LOW_BITS = 0xFFFF_FFFF


def digest(frames: Iterable[pl.DataFrame]) -> Numbers:
    """Numbers that are the same for the same rows, whatever the order of rows and columns and the width of integers.

    Floats are only added up: their last digits depend on the order in which a sum was made. All other columns of a
    row count together. A row that is taken back counts as one that never came.
    """
    numbers: dict[str, float] = {"rows": 0, "mixed": 0}
    for frame in frames:
        rows = frame.drop(DIFF, strict=False)
        weights = (
            frame[DIFF] if DIFF in frame.columns else pl.repeat(1, frame.height, dtype=pl.Int8, eager=True)
        )
        exact = rows.select(~cs.float()).select(cs.integer().cast(pl.Int64), ~cs.integer())
        hashes = exact.select(sorted(exact.columns)).hash_rows() & LOW_BITS
        numbers["rows"] += int(weights.cast(pl.Int64).sum())
        numbers["mixed"] += int((hashes.cast(pl.Int64) * weights).sum())
        numbers["columns"] = rows.width
        for column in rows.select(cs.float()).iter_columns():
            numbers[column.name] = numbers.get(column.name, 0.0) + float((column * weights).sum())
    return numbers


class KeepingSink(st.Sink):
    """Keeps what it gets: the digest is worked out when the clock has stopped."""

    separate = False

    def __init__(self) -> None:
        self.frames: list[pl.DataFrame] = []

    def write(self, frame: pl.DataFrame) -> None:
        """Keep some rows."""
        self.frames.append(frame)

    def digest(self) -> Numbers:
        """What came, in numbers."""
        return digest(self.frames)
