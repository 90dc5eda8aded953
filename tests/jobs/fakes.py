"""Sources and sinks that do what a test tells them."""

import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import polars as pl

import streame as st

HANG_S = 20.0
"""A wait that takes this long means that something hangs."""


class Numbers(st.Source):
    """Gives the numbers from 0 on, a batch at a time, for ever or up to `count`; can raise after some."""

    def __init__(self, count: int | None = None, *, size: int = 100, fails_at: int | None = None) -> None:
        self.bounded = count is not None
        self.given = 0
        self.opened = 0
        self.closed = 0
        self._count = count
        self._size = size
        self._fails_at = fails_at

    def schema(self) -> pl.Schema:
        return pl.Schema({"n": pl.Int64()})

    def splits(self) -> Sequence[str]:
        return ["all"]

    def read(self, split: str, offset: object) -> Iterator[st.Chunk | None]:
        self.opened += 1
        self.given = int(str(offset or 0))
        try:
            while self._count is None or self.given < self._count:
                if self._fails_at is not None and self.given >= self._fails_at:
                    raise OSError("the cable is cut")
                start = self.given
                stop = start + self._size if self._count is None else min(self._count, start + self._size)
                self.given = stop
                frame = pl.DataFrame({"n": np.arange(start, stop, dtype=np.int64)})
                yield st.Chunk(frame, stop, _offsets(start, stop))
        finally:
            self.closed += 1


def _offsets(start: int, stop: int) -> Callable[[], np.ndarray[tuple[int], np.dtype[np.int64]]]:
    return lambda: np.arange(start, stop, dtype=np.int64)


class Silent(st.Source):
    """Never gives a row and never ends."""

    bounded = False

    def __init__(self, schema: pl.Schema) -> None:
        self._schema = schema
        self.waiting = threading.Event()

    def schema(self) -> pl.Schema:
        return self._schema

    def splits(self) -> Sequence[str]:
        return ["all"]

    def read(self, split: str, offset: object) -> Iterator[st.Chunk | None]:
        while True:
            self.waiting.set()
            yield None


class Gate(st.Sink):
    """A sink that waits before each batch until it is opened; then it keeps what comes."""

    def __init__(self, *, is_open: bool = False) -> None:
        self.gate = threading.Event()
        self.reached = threading.Event()
        self.frames: list[pl.DataFrame] = []
        self.ended: str | None = None
        if is_open:
            self.gate.set()

    @property
    def rows(self) -> int:
        """How many rows came through."""
        return sum(frame.height for frame in self.frames)

    def write(self, frame: pl.DataFrame) -> None:
        self.reached.set()
        assert self.gate.wait(HANG_S), "nobody opened the gate"
        self.frames.append(frame)

    def close(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = "aborted"


class Broken(st.Sink):
    """A sink that raises in one of its methods."""

    def __init__(self, method: str) -> None:
        self._method = method

    def open(self, schema: pl.Schema) -> None:
        self._maybe("open")

    def write(self, frame: pl.DataFrame) -> None:
        self._maybe("write")

    def close(self) -> None:
        self._maybe("close")

    def _maybe(self, method: str) -> None:
        if method == self._method:
            raise PermissionError(f"no {method} for you")
