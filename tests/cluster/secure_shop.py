"""A job whose rows come when a file says so, as a node of a secure cluster: `python -m tests.cluster.secure_shop SETTINGS`."""

import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

import streame as st

ROWS, CHUNK = 6_000, 200
SCHEMA = pl.Schema({"item": pl.Int64(), "qty": pl.Int64()})
CHECKPOINTS, OUT, GO = "checkpoints", "out", "go"


def orders() -> pl.DataFrame:
    """All rows."""
    numbers = pl.int_range(ROWS, eager=True)
    return pl.DataFrame({"item": numbers % 97, "qty": numbers})


class Orders:
    """They come once the file is there."""

    bounded = True

    def __init__(self, go: str) -> None:
        self.go = go

    def schema(self) -> pl.Schema:
        return SCHEMA

    def splits(self) -> list[str]:
        return ["all"]

    def read(self, split: str, offset: Any) -> Iterator[st.Chunk | None]:
        pause = threading.Event()
        while not Path(self.go).exists():
            yield None
        for start in range(offset or 0, ROWS, CHUNK):
            pause.wait(0.02)
            yield st.Chunk(orders()[start : start + CHUNK], start + CHUNK)


def job(folder: Path) -> st.Job:
    """How much of each item, as it changes."""
    totals = st.scan(Orders(str(folder / GO))).group_by("item").agg(n=pl.len(), qty=pl.col("qty").sum())
    return st.job([totals.sink_parquet(folder / OUT, changes=True)], name="orders")


def main(settings: dict[str, Any]) -> None:
    folder = Path(settings["folder"])
    tls = st.Tls(*map(Path, settings["tls"])) if settings["tls"] else None
    cluster = st.Cluster(
        etcd=settings["etcd"],
        address="127.0.0.1:0",
        name=settings["name"],
        node=settings["node"],
        tls=tls,
        insecure=tls is None,
        etcd_tls=st.Tls(*map(Path, settings["etcd_tls"])),
        etcd_user=settings["user"],
        etcd_password_file=settings["password_file"],
        lease="2s",
    )
    try:
        job(folder).run(cluster=cluster, checkpoints=folder / CHECKPOINTS, checkpoint_interval="300ms")
    except st.StreameError as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
