"""A job in a process of its own, for tests that end the process: `python -m tests.durability.job FOLDER`."""

import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl

import streame as st

ROWS = 5_000
BATCH_ROWS = 500
KEYS = 100


def rows() -> pl.DataFrame:
    """The input."""
    n = pl.int_range(0, ROWS, eager=True)
    at = (n * 1_000).cast(pl.Datetime("us"))
    return pl.DataFrame({"at": at, "key": n % KEYS, "n": n})


def windows(frame: pl.DataFrame) -> pl.DataFrame:
    """What Polars makes of it."""
    found = frame.lazy().group_by_dynamic("at", every="100ms", group_by="key").agg(pl.col("n").sum())
    return found.select("at", "key", "n").sort("at", "key").collect()


class Orders(st.Source):
    """The rows in batches, and a checkpoint between any two of them."""

    bounded = True
    one_split = True
    handle: st.JobHandle | None = None

    def schema(self) -> pl.Schema:
        return rows().schema

    def splits(self) -> list[str]:
        return ["all"]

    def read(self, split: str, offset: object) -> Iterator[st.Chunk | None]:
        frame, first = rows(), int(str(offset or 0))
        for at in range(first, ROWS, BATCH_ROWS):
            yield st.Chunk(frame[at : at + BATCH_ROWS], at + BATCH_ROWS)
            before = self.checkpoint
            while self.checkpoint == before:
                yield None

    @property
    def checkpoint(self) -> int | None:
        """The last checkpoint of the job."""
        return None if self.handle is None else self.handle.status().checkpoint


def main(folder: Path) -> None:
    """Run it, with checkpoints as fast as they go."""
    source = Orders()
    orders = st.scan(source, event_time="at", name="orders")
    grouped = orders.group_by_dynamic("at", every="100ms", group_by="key").agg(pl.col("n").sum())
    job = st.job([grouped.sink_parquet(folder / "windows"), orders.sink_csv(folder / "rows.csv")])
    source.handle = job.start(checkpoints=folder / "checkpoints", checkpoint_interval="1ms")
    source.handle.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
