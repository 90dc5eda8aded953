"""A node of the benchmarks of the cluster, and the jobs that they run."""

import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl

import streame as st
from streame.cli.bench.counting import CountingSink
from streame.cli.bench.orders import USERS
from streame.cli.bench.repeated import BATCH_ROWS, Repeated
from streame.cli.bench.windows import tumbling
from streame.cluster.cluster import Cluster
from streame.runtime.signals import stop_on_signals

INTERVAL = "1s"
TICK_INTERVAL = "200ms"
TICK_ROWS = 2_000
TICK_S = 0.02
LEASE = "2s"
JOB = "bench"


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What a node is told.

    Args:
        kind: which job.
        etcd: the address of etcd.
        port: where the node listens.
        folder: where checkpoints, output and the file that says go are.
        rows: how many rows the source has.
        parallelism: how many instances the keyed operators have.
        batch_rows: how many rows come at once.
    """

    kind: str
    etcd: str
    port: int
    folder: str
    rows: int
    parallelism: int
    batch_rows: int = BATCH_ROWS

    def start(self) -> st.JobHandle:
        """Take part in the job."""
        interval = TICK_INTERVAL if self.kind == "ticks" else INTERVAL
        return self.job().start(
            checkpoints=Path(self.folder) / "checkpoints",
            checkpoint_interval=interval,
            parallelism=self.parallelism,
            cluster=Cluster([self.etcd], f"127.0.0.1:{self.port}", "bench", insecure=True, lease=LEASE),
        )

    def job(self) -> st.Job:
        """The job."""
        place = Path(self.folder)
        match self.kind:
            case "ticks":
                ticks = st.scan(Ticks(), name="ticks")
                counts = ticks.group_by("key").agg(n=pl.len(), last=pl.col("n").max())
                return st.job([counts.sink_ndjson(f"{place / 'out'}/", changes=True)], name=JOB)
            case "slow":
                rows = st.scan(Gate(self.rows, USERS, place / "go", self.batch_rows), name="orders")
                slow = rows.group_by("user_id").map_with_state(
                    _slowly, state=0, schema={"n": pl.Int64}, ttl=None
                )
                return st.job([st.sink(slow, CountingSink("n"))], name=JOB)
            case "keyed":
                rows = st.scan(Gate(self.rows, USERS, place / "go", self.batch_rows), name="orders")
                firsts = rows.select("ts", "user_id", "price", "qty").unique("user_id", keep="any")
                return st.job([st.sink(firsts, CountingSink("qty"))], name=JOB)
            case _:
                gate = Gate(self.rows, USERS, place / "go", self.batch_rows)
                orders = st.scan(gate, name="orders", event_time="ts", watermark="0s")
                query = tumbling(orders) if self.kind == "windows" else _raw(orders)
                return st.job([st.sink(query, CountingSink("n"))], name=JOB)

    def command(self) -> list[str]:
        """How another process becomes this node."""
        # Not with -m: the classes here would be those of `__main__`, and nodes compare what they run.
        begin = "import sys; from streame.cli.bench.cluster_node import main; main(sys.argv[1])"
        return [sys.executable, "-P", "-c", begin, json.dumps(asdict(self))]


class Gate(Repeated):
    """Orders that wait for a file."""

    def __init__(self, rows: int, users: int, go: Path, batch_rows: int) -> None:
        super().__init__(rows, users, batch_rows)
        self._go = go

    def read(self, split: str, offset: object) -> Iterator[st.Chunk | None]:  # type: ignore[override]
        """The batches from a number on, once the file is there."""
        while not self._go.exists():
            threading.Event().wait(0.02)
            yield None
        yield from super().read(split, offset)


class Ticks(st.Source):
    """Some rows every twenty milliseconds, for ever; an offset is the number of a batch."""

    bounded = False
    one_split = True

    def schema(self) -> pl.Schema:
        """A key and a number."""
        return pl.Schema({"key": pl.Int64, "n": pl.Int64})

    def splits(self) -> list[str]:
        """One."""
        return ["ticks"]

    def read(self, split: str, offset: object) -> Iterator[st.Chunk | None]:
        """The batches from a number on."""
        number = int(str(offset or 0))
        while True:
            threading.Event().wait(TICK_S)
            n = np.arange(number * TICK_ROWS, (number + 1) * TICK_ROWS)
            number += 1
            yield st.Chunk(pl.DataFrame({"key": n % 1_000, "n": n}), number)


def _raw(orders: st.StreamDataFrame) -> st.StreamDataFrame:
    """What keeps all rows of its groups, so that every row goes to the other node."""
    return orders.group_by_dynamic("ts", every="10s", group_by="user_id").agg(n=pl.col("price").median())


def _slowly(rows: pl.DataFrame, seen: int, group: st.Group) -> tuple[pl.DataFrame, int]:
    threading.Event().wait(0.001)
    return pl.DataFrame({"n": [seen]}, schema={"n": pl.Int64}), seen + rows.height


def main(text: str) -> None:
    """Take part until the job or the process ends."""
    handle = NodeSettings(**json.loads(text)).start()
    with stop_on_signals(handle.stop):
        handle.wait()
