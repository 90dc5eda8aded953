"""Deaths of a process, played within this one: what was written down at that moment is put back when the job has ended."""

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl

import streame as st
from streame.state.checkpoint.attempt_file import ATTEMPT


class DeathError(BaseException):
    """The process has died."""


class Process:
    """Starts jobs that may die.

    Args:
        folder: where they keep everything.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "checkpoints" / ATTEMPT
        self.deaths = 0
        self._left: bytes | None = None

    def die(self) -> None:
        """End the process here."""
        self._left = self.file.read_bytes()
        raise DeathError

    def at(self, deadly: Collection[int], column: str = "n") -> Callable[[pl.DataFrame], pl.DataFrame]:
        """A function for `map_batches` that dies when it sees one of these values."""

        def look(frame: pl.DataFrame) -> pl.DataFrame:
            if not set(deadly).isdisjoint(frame[column].to_list()):
                self.die()
            return frame

        return look

    def lives(self, make: Callable[[], st.Job], interval: str = "1h", **settings: object) -> bool:
        """Run a job once; returns whether it came to its end."""
        try:
            make().run(
                checkpoints=self.folder / "checkpoints",
                errors=self.folder / "errors",
                checkpoint_interval=interval,
                **settings,  # type: ignore[arg-type]
            )
        except DeathError:
            assert self._left is not None
            self.file.write_bytes(self._left)
            self.deaths += 1
            return False
        return True

    def runs_to_its_end(self, make: Callable[[], st.Job], deaths_max: int, interval: str = "1h") -> None:
        """Start a job again until it ends."""
        while not self.lives(make, interval):
            assert self.deaths <= deaths_max


class Pieces(st.Source):
    """Numbers in some splits, of which some are bad; cut into chunks in another way each time.

    Args:
        splits: the numbers of each.
        bad: those that are refused.
        random: draws the cuts.
        size: how long a chunk is at most.
    """

    bounded = True
    together = True

    def __init__(
        self,
        splits: dict[str, range],
        random: np.random.Generator,
        bad: Collection[int] = (),
        size: int = 100,
    ) -> None:
        self._splits = splits
        self._random = random
        self._bad = frozenset(bad)
        self._size = size

    def schema(self) -> pl.Schema:
        return pl.Schema({"n": pl.Int64()})

    def splits(self) -> Sequence[str]:
        return list(self._splits)

    def read(self, split: str, offset: object) -> Iterator[st.Chunk | None]:
        numbers, at = self._splits[split], int(str(offset or 0))
        while at < len(numbers):
            piece = numbers[at : at + int(self._random.integers(1, self._size))]
            at += len(piece)
            good = np.array([number for number in piece if number not in self._bad], np.int64)
            bad = [st.BadRow(each, "type", "bad", str(each).encode()) for each in piece if each in self._bad]
            frame = pl.DataFrame({"n": good}, self.schema())
            yield st.Chunk(frame, at, lambda good=good: good, bad)  # type: ignore[misc]
