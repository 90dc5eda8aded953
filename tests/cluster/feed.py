"""A source of numbered rows that a test lets out, and that can be read again: all that is read is made of row numbers."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import streame as st

SPLITS = 3
KEYS = 8
"""So many keys are in each split, and in no other one."""

ROWS = 40
"""Of a block, which is what is let out in one go in each split."""

BEGIN = datetime(2024, 5, 1, 12)  # noqa: DTZ001 - event time has no zone here
POLL_S = 0.05
SCHEMA = pl.Schema({"key": pl.Int64(), "seq": pl.Int64(), "at": pl.Datetime("ms"), "cents": pl.Int64()})


def block(split: int, number: int) -> pl.DataFrame:
    """The rows of one block."""
    seq = np.arange(number * ROWS, (number + 1) * ROWS)
    mixed = (seq * 2_654_435_761 + split * 40_503) % 1_000_003
    return pl.DataFrame(
        {
            "key": split + SPLITS * (mixed % KEYS),
            "seq": seq,
            "at": np.datetime64(BEGIN, "ms") + (seq * 100 - mixed % 2_000).astype("timedelta64[ms]"),
            "cents": mixed % 997,
        },
        schema=SCHEMA,
    )


class Feed(st.Source):
    """The rows that were let out so far, until it is said that there are no more.

    Args:
        folder: where it stands how many blocks are let out.
    """

    bounded = True
    together = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def schema(self) -> pl.Schema:
        return SCHEMA

    def splits(self) -> Sequence[str]:
        return [str(split) for split in range(SPLITS)]

    def read(self, split: str, offset: Any) -> Iterator[st.Chunk | None]:
        number = 0 if offset is None else offset
        while True:
            blocks, ended = let_out(self._folder)
            if number < blocks:
                number += 1
                yield st.Chunk(block(int(split), number - 1), number)
            elif ended:
                return
            else:
                threading.Event().wait(POLL_S)
                yield None


class SplitFeed(Feed):
    """The same, read by all nodes, each its own splits."""

    splits_apart = True


def let_out(folder: Path) -> tuple[int, bool]:
    """How many blocks of each split may be read, and whether they are all."""
    blocks, ended = (folder / "feed").read_text().split()
    return int(blocks), ended == "ended"


@dataclass
class Tap:
    """Lets rows out, again and again in a thread of its own while it is open.

    Args:
        folder: of the job.
        every_s: how long to wait between two blocks.
    """

    folder: Path
    every_s: float = 0.8

    def __post_init__(self) -> None:
        self.blocks = 0
        self._say()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tap", daemon=True)
        self._thread.start()

    @property
    def rows(self) -> int:
        """How many rows are let out."""
        return self.blocks * ROWS * SPLITS

    def close(self) -> None:
        """Let out nothing more, and say that this was all."""
        self._closing.set()
        self._thread.join()
        self._say(ended=True)

    def _run(self) -> None:
        while not self._closing.wait(self.every_s):
            self.blocks += 1
            self._say()

    def _say(self, *, ended: bool = False) -> None:
        new = self.folder / "feed.new"
        new.write_text(f"{self.blocks} {'ended' if ended else 'open'}")
        new.replace(self.folder / "feed")
