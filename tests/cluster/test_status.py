"""`streame node`, `streame cluster status` and `drain` with real etcd and real processes."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import polars as pl
import pytest

from streame.cluster.inspection import Inspection, as_json
from streame.errors import ClusterError
from streame.testing.tcp_proxy import TcpProxy
from tests.cli.process import ENVIRONMENT, streame
from tests.services.etcd import EtcdServers

WAIT_S = 40.0

SHOP = """
import threading
from pathlib import Path
import polars as pl, streame as st

class Orders:
    bounded = True
    one_split = True
    def schema(self):
        return pl.Schema({"item": pl.Int64(), "at": pl.Datetime("us"), "qty": pl.Int64()})
    def splits(self):
        return ["all"]
    def read(self, split, offset):
        for number in range(offset or 0, 60):
            while number == 30 and not Path("go").exists():
                threading.Event().wait(0.02)
                yield None
            items = pl.int_range(0, 1000, eager=True).alias("item")
            times = pl.lit(number * 1_000_000).cast(pl.Datetime("us")).alias("at")
            yield st.Chunk(items.to_frame().select("item", times, pl.lit(1, pl.Int64).alias("qty")), number + 1)

def total(frame):
    return frame.with_columns(pl.col("qty") * 2)

orders = st.scan(Orders(), name="orders").map_batches(total, row_wise=True).with_event_time("at")
ITEMS = pl.DataFrame({"item": range(1000), "weight": range(1000)})
items = st.scan_frames([ITEMS], name="items").as_table("item", state="etcd")
weighed = orders.join(items, on="item", how="left", name="weights")
windows = weighed.group_by_dynamic("at", every="20s", group_by="item", name="windows").agg(
    n=pl.len(), qty=pl.col("qty").sum(), weight=pl.col("weight").max()
)
job = st.job([windows.sink_parquet("out/")], name="orders")
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def eventually(check: Callable[[], Any], why: str) -> Any:
    """What `check` gives, once it gives something."""
    deadline, rest = time.monotonic() + WAIT_S, threading.Event()
    while not (found := check()):
        assert time.monotonic() < deadline, why
        rest.wait(0.1)
    return found


@dataclass
class Shop:
    """A folder with the job, an etcd, and the nodes that were started."""

    folder: Path
    etcd: str
    name: str
    nodes: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    logs: list[IO[str]] = field(default_factory=list)

    def start(self, name: str, target: str = "shop.py:job") -> subprocess.Popen[str]:
        log = (self.folder / f"{name}.log").open("w")
        self.logs.append(log)
        arguments = ["node", target, "--address", f"127.0.0.1:{free_port()}", "--node", name, "--lease", "2s"]
        self.nodes[name] = subprocess.Popen(
            [sys.executable, "-m", "streame", *arguments, "--checkpoints", "checkpoints", "--checkpoint-interval", "500ms",
             "--json"],
            cwd=self.folder, stdout=subprocess.PIPE, stderr=log, text=True,
            env={**ENVIRONMENT, "STREAME_ETCD": self.etcd, "STREAME_CLUSTER_NAME": self.name, "STREAME_INSECURE": "1"},
        )  # fmt: skip
        return self.nodes[name]

    def cluster(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return streame(
            "cluster", *arguments, "--etcd", self.etcd, "--cluster-name", self.name, cwd=self.folder
        )

    def look(self) -> Inspection:
        return Inspection.of([self.etcd], self.name, None, None, None)

    def status(self) -> Any:
        with closing(self.look()) as look:
            report = json.loads(as_json(look.report()))
        assert (report["version"], report["cluster"]) == (1, self.name)
        assert [job["name"] for job in report["jobs"]] in ([], ["orders"])
        return report["jobs"][0] if report["jobs"] else None

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()


@pytest.fixture
def shop(tmp_path: Path, one_member: EtcdServers, prefix: str) -> Iterator[Shop]:
    (tmp_path / "shop.py").write_text(SHOP)
    found = Shop(tmp_path, one_member.endpoints[0], f"shop-{prefix.strip('/').rpartition('-')[2]}")
    yield found
    for process in found.nodes.values():
        if process.poll() is None:
            process.kill()
        process.communicate()
    for log in found.logs:
        log.close()


def works_on(shop: Shop, names: set[str]) -> Callable[[], Any]:
    """Gives the status when all these take part, all have answered, and a checkpoint was made."""

    def check() -> Any:
        ended = {name: shop.log(name) for name, process in shop.nodes.items() if process.poll() is not None}
        assert not ended, ended
        job = shop.status()
        if (
            job is None
            or job["state"] != "running"
            or not job["checkpoint"]
            or not job["checkpoint"]["state_bytes"]
        ):
            return None
        workers = names - {job["leader"]} or names
        told = {each["name"] for each in job["nodes"] if each["answers"]}
        return job if set(job["instances"]) == workers and told == names else None

    return check


def test_what_runs_where_is_told_and_nodes_are_drained_with_an_exact_result(shop: Shop) -> None:
    for name in ("a", "b", "c"):
        shop.start(name)
    job = eventually(works_on(shop, {"a", "b", "c"}), "three nodes do not work together")
    nodes = {each["name"]: each for each in job["nodes"]}
    assert [each["name"] for each in job["nodes"] if each["leads"]] == [job["leader"]]
    assert nodes[job["leader"]]["instances"] == []
    assert sorted(at for each in job["nodes"] for at in each["instances"]) == [0, 1, 2, 3]
    assert (job["epoch"] > 0, job["attempt"] > 0, job["checkpoint"]["epoch"]) == (True, True, job["epoch"])
    assert job["checkpoint"]["age_s"] >= 0
    operators = {each["name"]: each for each in job["operators"]}
    assert operators["orders"]["kind"] == "source"
    assert sorted(name for name, each in operators.items() if each["state_rows"]) == ["weights", "windows"]
    windows = operators["windows"]
    assert windows["state_rows"] in {1000, 2000}  # of one window or two, as it was a second ago
    assert len(windows["nodes"]) == 2

    said = shop.cluster("status").stdout
    assert f"job orders: running, {job['leader']} leads (epoch {job['epoch']}, attempt " in said
    assert f"node: name {job['leader']}, role leader, address 127.0.0.1:" in said

    leader, worker = job["leader"], next(name for name in nodes if name != job["leader"])
    done = shop.cluster("drain", worker, "--json")
    assert (done.returncode, json.loads(done.stdout)["ended"]) == (0, True), done.stderr
    assert shop.nodes[worker].wait(WAIT_S) == 0
    with closing(shop.look()) as look:
        assert look.await_end(look.drain(leader), WAIT_S)
    assert shop.nodes[leader].wait(WAIT_S) == 0
    (left,) = {"a", "b", "c"} - {worker, leader}
    with (
        closing(shop.look()) as look,
        pytest.raises(ClusterError, match=f"has no node '{worker}'; there are {left}"),
    ):
        look.drain(worker)

    (shop.folder / "go").touch()
    assert shop.nodes[left].wait(WAIT_S) == 0, shop.log(left)
    rows = pl.read_parquet(shop.folder / "out" / "*.parquet")
    assert rows.sort("at", "item").equals(
        pl.DataFrame({"item": list(range(1000)) * 3, "at": [at for at in (0, 20, 40) for _ in range(1000)]})
        .select(
            "item", (pl.col("at") * 1_000_000).cast(pl.Datetime("us")), pl.lit(20, pl.UInt32).alias("n"),
            pl.lit(40, pl.Int64).alias("qty"), pl.col("item").alias("weight"),
        )
        .select(rows.columns)
    )  # fmt: skip
    assert shop.status()["state"] == "finished"
    told = shop.log(left)
    for line in (
        f"node {leader} leads, in epoch",
        f", with {leader}",
        f"node {worker} is to be drained",
    ):
        assert line in told


def test_a_node_with_another_function_is_refused_and_the_first_goes_on(shop: Shop) -> None:
    first = shop.start("a")
    job = eventually(works_on(shop, {"a"}), "one node does not work")
    while job["rows_in"] < 30_000:
        job = shop.status()
    assert job["lag_s"] > 1e9
    assert "1970-01-01T00:00:29+00:00" in [each["watermark"] for each in job["operators"]]
    (shop.folder / "other").mkdir()
    (shop.folder / "other" / "shop.py").write_text(SHOP.replace('pl.col("qty") * 2', 'pl.col("qty") * 3'))
    second = shop.start("b", "other/shop.py:job")
    assert second.wait(WAIT_S) == 2
    assert "error: the program of this node is another one than that of node 'a'" in shop.log("b")
    assert first.poll() is None
    first.send_signal(signal.SIGTERM)
    assert first.wait(WAIT_S) == 0, shop.log("a")
    assert shop.status()["state"] == "down"


def test_a_node_that_was_to_be_drained_and_died_is_not_drained_at_its_next_start(shop: Shop) -> None:
    for name in ("a", "b"):
        shop.start(name)
    job = eventually(works_on(shop, {"a", "b"}), "two nodes do not work together")
    (worker,) = {"a", "b"} - {job["leader"]}
    shop.nodes[worker].send_signal(signal.SIGSTOP)
    assert shop.cluster("drain", worker, "--no-wait").returncode == 0
    shop.nodes[worker].kill()
    shop.nodes[worker].communicate()
    shop.start(worker)
    eventually(works_on(shop, {"a", "b"}), "the second start does not work")


def test_a_node_that_has_nothing_to_hand_over_ends_while_etcd_does_not_answer(shop: Shop) -> None:
    host, _, port = shop.etcd.rpartition(":")
    with TcpProxy(host, int(port)) as proxy:
        shop.etcd = proxy.address
        node = shop.start("a")
        eventually(works_on(shop, {"a"}), "one node does not work")
        proxy.stall()
        eventually(lambda: "does not lead any more" in shop.log("a"), "its lease is not lost")
        node.send_signal(signal.SIGTERM)
        assert node.wait(WAIT_S / 2) == 0, shop.log("a")


def test_a_table_that_is_too_large_for_etcd_ends_the_job_and_says_so(shop: Shop) -> None:
    (shop.folder / "large.py").write_text(SHOP.replace("range(1000)", "range(50_000)"))
    node = shop.start("a", "large.py:job")
    assert node.wait(WAIT_S) == 1
    assert "a job may have 262,144 in etcd; leave out state=" in shop.log("a")


def test_where_nothing_runs_that_is_said(shop: Shop) -> None:
    assert shop.status() is None
    done = shop.cluster("status", "--job", "orders")
    assert done.returncode == 1
    assert "has no job 'orders'; nothing has ever run in it" in done.stderr
    with (
        closing(shop.look()) as look,
        pytest.raises(ClusterError, match="has no node 'a'; no node is there at the moment"),
    ):
        look.drain("a")
