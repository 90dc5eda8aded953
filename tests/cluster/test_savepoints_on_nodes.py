"""Savepoints between one process and a cluster, both ways: the output is as if nothing was moved."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import streame as st
from streame.cluster.checkpoints import Place
from streame.cluster.cluster import open_place
from streame.cluster.etcd.client import EtcdClient
from streame.cluster.etcd.interface import Outcome, Transaction
from streame.cluster.etcd.settings import EtcdSettings
from streame.cluster.inspection import Inspection
from streame.cluster.savepoints import begin_from
from streame.cluster.view import Keys
from streame.errors import CheckpointError, PlanChanged
from streame.state.checkpoint.savepoints import any_plan, make_savepoint
from streame.testing.etcd_members import free_ports
from tests.services.etcd import EtcdServers

WAIT_S = 40.0
ITEMS, BATCHES, HALF = 200, 60, 30


class Orders(st.Source):
    """A batch for every second, the second half once a file is there."""

    bounded = True
    one_split = True

    def __init__(self, go: Path) -> None:
        self._go = go

    def schema(self) -> pl.Schema:
        return pl.Schema({"item": pl.Int64(), "at": pl.Datetime("us"), "qty": pl.Int64()})

    def splits(self) -> list[str]:
        return ["all"]

    def read(self, split: str, offset: object) -> Iterator[st.Chunk | None]:
        for number in range(int(str(offset or 0)), BATCHES):
            while number == HALF and not self._go.exists():
                threading.Event().wait(0.02)
                yield None
            yield st.Chunk(batch(number), number + 1)


def batch(number: int) -> pl.DataFrame:
    items = pl.int_range(0, ITEMS, eager=True).alias("item").to_frame()
    at = pl.lit(number * 1_000_000).cast(pl.Datetime("us")).alias("at")
    return items.select("item", at, (pl.col("item") + number).alias("qty"))


def eventually(check: Callable[[], bool], why: str) -> None:
    deadline, rest = time.monotonic() + WAIT_S, threading.Event()
    while not check():
        assert time.monotonic() < deadline, why
        rest.wait(0.05)


@dataclass
class Shop:
    """A job, and where it is run."""

    folder: Path
    etcd: str
    interval: str = "200ms"
    running: list[st.JobHandle] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.folder.name.replace("_", "-")

    def job(self, every: str = "20s") -> st.Job:
        orders = st.scan(Orders(self.folder / "go"), name="orders", event_time="at", watermark="0s")
        windows = orders.group_by_dynamic("at", every=every, group_by="item").agg(
            n=pl.len(), qty=pl.col("qty").sum()
        )
        totals = orders.group_by("item").agg(qty=pl.col("qty").sum())
        written = [
            windows.sink_parquet(f"{self.folder / 'windows'}/"),
            totals.sink_ndjson(f"{self.folder / 'totals'}/", changes=True),
        ]
        return st.job(written, name="shop")

    def one(self, savepoint: Path | None = None) -> st.JobHandle:
        """Run it in this process alone."""
        return self.job().start(
            checkpoints=self.folder / "one", checkpoint_interval="200ms", savepoint=savepoint
        )

    def node(self, savepoint: Path | None = None, job: st.Job | None = None) -> st.JobHandle:
        """Run another node of it."""
        (port,) = free_ports(1)
        cluster = st.Cluster([self.etcd], f"127.0.0.1:{port}", self.name, insecure=True, lease="2s")
        handle = (job or self.job()).start(
            checkpoints=self.folder / "many",
            checkpoint_interval="200ms",
            cluster=cluster,
            savepoint=savepoint,
        )
        self.running.append(handle)
        return handle

    def place(self) -> Place:
        store = open_place(str(self.folder / "many"), {})
        return Place(store, EtcdClient(EtcdSettings((self.etcd,))), Keys(self.name, "shop"), "shop")

    def half_way(self, handle: st.JobHandle) -> None:
        """Wait for all that comes before the file is there, and for a checkpoint."""
        eventually(lambda: handle.status().rows_in >= HALF * ITEMS, "half of the rows have not come")
        eventually(lambda: _checkpoint(handle) > 0, "there was no checkpoint")

    def go(self) -> None:
        (self.folder / "go").touch()

    def check(self) -> None:
        """The output is that of all rows, each counted once."""
        rows = pl.concat([batch(number) for number in range(BATCHES)])
        expected = (
            rows.with_columns(pl.col("at").dt.truncate("20s"))
            .group_by("item", "at")
            .agg(n=pl.len(), qty=pl.col("qty").sum())
        )
        found = pl.read_parquet(self.folder / "windows" / "*.parquet").select(expected.columns)
        assert_frame_equal(found, expected, check_row_order=False)
        changes = pl.read_ndjson(self.folder / "totals" / "*.ndjson")
        last = changes.group_by("item", "qty").agg(pl.col("_diff").sum()).filter(pl.col("_diff") != 0)
        totals = rows.group_by("item").agg(pl.col("qty").sum(), pl.lit(1, pl.Int64).alias("_diff"))
        assert_frame_equal(last, totals, check_row_order=False)

    def close(self) -> None:
        for handle in self.running:
            handle.stop()


def _checkpoint(handle: st.JobHandle) -> int:
    found = handle.status().checkpoints
    return 0 if found is None else found.number or 0


@pytest.fixture
def shop(tmp_path: Path, one_member: EtcdServers) -> Iterator[Shop]:
    found = Shop(tmp_path, one_member.endpoints[0])
    yield found
    found.close()


def saved(shop: Shop) -> Path:
    """A savepoint of the job in one process, half way."""
    handle = shop.one()
    shop.half_way(handle)
    handle.stop()
    handle.wait(WAIT_S)
    make_savepoint(shop.folder / "one", shop.folder / "kept")
    return shop.folder / "kept"


def test_a_job_of_one_process_goes_on_in_a_cluster(shop: Shop) -> None:
    kept = saved(shop)
    shop.go()
    for handle in [shop.node(kept), shop.node(kept)]:
        assert handle.wait(WAIT_S)
    shop.check()


def test_a_job_of_a_cluster_goes_on_in_one_process(shop: Shop) -> None:
    handle = shop.node()
    shop.half_way(handle)
    look = Inspection.of([shop.etcd], shop.name, None, None, None)
    handle.stop()
    handle.wait(WAIT_S)
    number = look.make_savepoint("shop", str(shop.folder / "many"), shop.folder / "kept")
    look.close()
    assert number > 0
    shop.go()
    assert shop.one(shop.folder / "kept").wait(WAIT_S)
    shop.check()


def test_a_running_job_is_copied(shop: Shop) -> None:
    handle = shop.node()
    shop.half_way(handle)
    look = Inspection.of([shop.etcd], shop.name, None, None, None)
    number = look.make_savepoint("shop", str(shop.folder / "many"), shop.folder / "kept")
    with pytest.raises(CheckpointError, match="a savepoint needs a new folder"):
        look.make_savepoint("shop", str(shop.folder / "many"), shop.folder / "kept")
    with pytest.raises(CheckpointError, match="there is no such folder"):
        look.make_savepoint("shop", str(shop.folder / "wrong"), shop.folder / "kept again")
    assert not (shop.folder / "wrong").exists()
    look.close()
    assert number > 0
    shop.go()
    assert handle.wait(WAIT_S)
    shop.check()


def test_of_two_copies_one_counts(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    kept, place = saved(shop), shop.place()
    begin_from(place, kept, any_plan)
    first = place.etcd.get(place.keys.pointer).entry
    with caplog.at_level("INFO", "streame"):
        begin_from(place, kept, any_plan)
    assert "goes on from its own checkpoint" in caplog.text
    assert place.etcd.get(place.keys.pointer).entry == first
    shop.go()
    assert shop.node().wait(WAIT_S)
    shop.check()


def test_a_copy_that_was_not_finished_does_no_harm(shop: Shop) -> None:
    kept, place = saved(shop), shop.place()

    class Died(Exception):  # noqa: N818 - what happened
        """The process that copies has gone."""

    class Dying(EtcdClient):
        def transact(self, transaction: Transaction, *, timeout_s: float | None = None) -> Outcome:
            raise Died

    dying = Dying(EtcdSettings((shop.etcd,)))
    with pytest.raises(Died):
        begin_from(Place(place.store, dying, place.keys, place.job), kept, any_plan)
    dying.close()
    assert place.etcd.get(place.keys.pointer).entry is None
    shop.go()
    assert shop.node(kept).wait(WAIT_S)
    shop.check()


def test_a_job_that_runs_already_is_not_taken_back(shop: Shop) -> None:
    kept = saved(shop)
    for written in ("windows", "totals"):
        shutil.rmtree(shop.folder / written)
    shop.interval = "1h"
    handle = shop.node()
    eventually(lambda: handle.status().rows_in >= HALF * ITEMS, "half of the rows have not come")
    with pytest.raises(CheckpointError, match="did not begin from this savepoint"):
        shop.node(kept)
    shop.go()
    assert handle.wait(WAIT_S)


def test_a_savepoint_of_another_plan_is_refused(shop: Shop) -> None:
    kept, place = saved(shop), shop.place()
    with pytest.raises(PlanChanged):
        shop.node(kept, shop.job(every="30s"))
    with pytest.raises(CheckpointError, match="is a savepoint of job 'shop', not of 'another'"):
        begin_from(Place(place.store, place.etcd, Keys(shop.name, "another"), "another"), kept, any_plan)
    assert place.etcd.get(place.keys.pointer).entry is None


def test_counts_of_a_queue_go_to_a_cluster_and_back(shop: Shop) -> None:
    def job(queue: st.Queue) -> st.Job:
        rows = st.scan_queue(queue, {"key": pl.Int64}, name="rows")
        counts = rows.group_by("key").agg(n=pl.len())
        return st.job([counts.sink_ndjson(f"{shop.folder / 'counts'}/", changes=True)], name="shop")

    def put_and_stop(queue: st.Queue, handle: st.JobHandle) -> None:
        eventually(lambda: _takes(queue), "no row is taken")
        for key in range(1, 10):
            queue.put({"key": key % 3})
        handle.stop()
        assert handle.wait(WAIT_S)

    def _takes(queue: st.Queue) -> bool:
        try:
            queue.put({"key": 0}, timeout=1)
        except st.NotAccepted:
            return False
        return True

    queue = st.Queue()
    put_and_stop(queue, job(queue).start(checkpoints=shop.folder / "one", checkpoint_interval="200ms"))
    make_savepoint(shop.folder / "one", shop.folder / "kept")

    queue = st.Queue()
    put_and_stop(queue, shop.node(shop.folder / "kept", job(queue)))
    look = Inspection.of([shop.etcd], shop.name, None, None, None)
    look.make_savepoint("shop", str(shop.folder / "many"), shop.folder / "kept again")
    look.close()

    queue = st.Queue()
    more = {"checkpoints": shop.folder / "two", "savepoint": shop.folder / "kept again"}
    put_and_stop(queue, job(queue).start(checkpoint_interval="200ms", **more))  # type: ignore[arg-type]
    changes = pl.read_ndjson(shop.folder / "counts" / "*.ndjson")
    last = changes.group_by("key", "n").agg(pl.col("_diff").sum()).filter(pl.col("_diff") != 0)
    assert dict(last.select("key", "n").rows()) == {0: 12, 1: 9, 2: 9}
