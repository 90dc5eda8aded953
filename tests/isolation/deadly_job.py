"""A job in a process of its own whose functions kill it at some rows: `python -m tests.isolation.deadly_job FOLDER`."""

import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import polars as pl

import streame as st
from streame.core.deadletters import OnError

SCHEMA = {"id": pl.Int64, "key": pl.String}


def killing(deadly: set[int]) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """A function that ends the process when it sees one of these rows."""

    def look(frame: pl.DataFrame) -> pl.DataFrame:
        if not deadly.isdisjoint(frame["id"].to_list()):
            os.kill(os.getpid(), signal.SIGKILL)
        return frame

    return look


def job(folder: Path, items: st.Queue, deadly: set[int], on_error: OnError) -> st.Job:
    """Files and a queue, each with a function that kills, a keyed state and files of output."""
    kill = killing(deadly)

    def summed(rows: pl.DataFrame, total: int, group: st.Group) -> tuple[pl.DataFrame, int]:
        kill(rows)
        sums = rows["id"].cum_sum() + total
        return rows.select("id", "key", total=sums), int(sums[-1])

    files = st.scan_ndjson(folder / "in", SCHEMA, name="files", on_error=on_error)
    queued = st.scan_queue(items, SCHEMA, name="queued", on_error=on_error)
    counts = files.map_batches(kill).group_by("key", name="counts").agg(n=pl.len(), sum=pl.col("id").sum())
    schema = {**SCHEMA, "total": pl.Int64}
    totals = queued.group_by("key", name="totals").map_with_state(summed, state=0, schema=schema, ttl=None)
    return st.job(
        [
            files.sink_parquet(folder / "files", name="files"),
            counts.sink_ndjson(folder / "counts.ndjson", changes=True, name="counts"),
            totals.sink_parquet(folder / "totals", name="totals"),
        ],
        name="deadly",
    )


def main(folder: Path) -> None:
    """Run it as `settings.json` says: on the first start rows are put into the queue, and the process is killed."""
    settings = json.loads((folder / "settings.json").read_text("utf-8"))
    rows, deadly = settings["queued"], set(settings["deadly"])
    first = not (folder / "put").exists()
    items = st.Queue()
    made = job(folder, items, set() if first else deadly, settings["on_error"])
    errors = folder / "errors" if settings["errors"] else None
    with made.start(
        checkpoints=folder / "checkpoints",
        checkpoint_interval="1h" if first else settings["interval"],
        errors=errors,
    ) as handle:
        if first:
            items.put_many(rows)
            (folder / "put").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        with suppress(st.NotAccepted):  # the end is in the log already
            items.close()
        handle.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
