"""State that does not fit into the memory limit of a node: it is on disk, and goes to other nodes as any other."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import streame as st
from streame.testing.etcd_members import free_ports
from tests.services.etcd import EtcdServers

WAIT_S = 60.0
KEYS, ROUNDS, BATCH = 20_000, 2, 10_000
TEXT = "some text that takes room"

pytestmark = pytest.mark.timeout(180)


class Texts(st.Source):
    """A text for each key, again and again; at the second round it says that it waits, until it is to go on."""

    bounded = True
    one_split = True

    def __init__(self, folder: Path) -> None:
        self._waits, self._go = folder / "waits", folder / "go"

    def schema(self) -> pl.Schema:
        return pl.Schema({"key": pl.Int64(), "text": pl.String(), "n": pl.Int64()})

    def splits(self) -> list[str]:
        return ["all"]

    def read(self, split: str, offset: object) -> Iterator[st.Chunk | None]:
        for at in range(int(str(offset or 0)), KEYS * ROUNDS, BATCH):
            while at == KEYS and not self._go.exists():
                self._waits.touch()
                threading.Event().wait(0.02)
                yield None
            keys = pl.int_range(at % KEYS, at % KEYS + BATCH, eager=True).alias("key").to_frame()
            yield st.Chunk(
                keys.with_columns(text=pl.lit(TEXT), n=pl.lit(at // KEYS + 1, pl.Int64)), at + BATCH
            )


def eventually(check: Callable[[], bool], why: str) -> None:
    deadline, rest = time.monotonic() + WAIT_S, threading.Event()
    while not check():
        assert time.monotonic() < deadline, why
        rest.wait(0.05)


def test_state_on_the_disk_of_a_node_goes_over_to_the_next_one(
    one_member: EtcdServers, tmp_path: Path
) -> None:
    texts = st.scan(Texts(tmp_path), name="texts")
    totals = texts.group_by("key").agg(text=pl.col("text").last(), n=pl.col("n").sum())
    job = st.job([totals.sink_parquet(f"{tmp_path / 'totals'}/", changes=True)], name="texts")

    def node(name: str) -> st.JobHandle:
        (port,) = free_ports(1)
        cluster = st.Cluster(
            one_member.endpoints, f"127.0.0.1:{port}", tmp_path.name.replace("_", "-"), node=name,
            insecure=True, lease="2s",
        )  # fmt: skip
        return job.start(
            checkpoints=tmp_path / "checkpoints",
            checkpoint_interval="500ms",
            memory_limit="1MB",
            cluster=cluster,
        )

    with node("first") as first, node("second") as second:
        eventually(lambda: second.status().state_disk_bytes > 0, "the follower has nothing on disk")
        eventually((tmp_path / "waits").exists, "the first round has not come")
        second.stop()
        second.wait()
        eventually(lambda: first.status().state_disk_bytes > 0, "the leader, now alone, has nothing on disk")
        (tmp_path / "go").touch()
        first.wait()
    changes = pl.scan_parquet(tmp_path / "totals" / "*.parquet")
    last = changes.group_by("key", "text", "n").agg(pl.col("_diff").sum()).filter(pl.col("_diff") != 0)
    expected = pl.DataFrame({"key": range(KEYS)}).with_columns(
        text=pl.lit(TEXT), n=pl.lit(3, pl.Int64), _diff=pl.lit(1, pl.Int64)
    )
    assert_frame_equal(last.collect(), expected, check_row_order=False)
