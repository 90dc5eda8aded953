"""A process whose threads put rows into an `st.Queue`, and say of each row that it was accepted."""

import json
import os
import sys
import threading
from pathlib import Path

import polars as pl

import streame as st

SCHEMA = {"producer": pl.Int64, "n": pl.Int64}
PRODUCERS = 3


def job(items: st.Queue, folder: Path) -> st.Job:
    rows = st.scan_queue(items, SCHEMA, name="rows")
    counts = rows.group_by("producer", name="counts").agg(n=pl.len())
    return st.job(
        [
            rows.sink_ndjson(folder / "rows.ndjson", name="rows"),
            rows.sink_parquet(folder / "parts", name="parts"),
            counts.sink_ndjson(folder / "counts.ndjson", changes=True, name="counts"),
        ],
        name="queue",
    )


def put(items: st.Queue, producer: int, first: int, last: int, pipe: int) -> None:
    """Put the numbers from `first` on, up to `last`, some of them together."""
    number = first
    while number < last:
        count = min(1 + number % 3, last - number)
        numbers = range(number, number + count)
        items.put_many([{"producer": producer, "n": each} for each in numbers])
        os.write(pipe, b"".join(json.dumps([producer, each]).encode() + b"\n" for each in numbers))
        number += count


def main(folder: Path, first: int, last: int, pipe: int) -> None:
    items = st.Queue(maxsize=100)
    with job(items, folder).start(checkpoints=folder / "checkpoints", checkpoint_interval="20ms") as handle:
        threads = [
            threading.Thread(target=put, args=(items, producer, first, last, pipe))
            for producer in range(PRODUCERS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        items.close()
        handle.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
