"""What is left of attempts: the error that ends a job, wherever it is found, and no memory of those that are over."""

import gc
import json
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pytest

import streame as st
from streame.cluster.etcd.client import EtcdClient
from streame.cluster.etcd.settings import EtcdSettings
from streame.cluster.part import PartRun
from streame.cluster.view import Keys, view_of
from streame.errors import StreameError
from streame.testing.etcd_members import free_ports
from tests.cluster.test_memory_limit import eventually
from tests.services.etcd import EtcdServers

WAIT_S = 30.0

pytestmark = pytest.mark.timeout(120)


@dataclass
class Nodes:
    """Nodes of one job, all in this process."""

    folder: Path
    etcd: EtcdServers
    running: ExitStack = field(default_factory=ExitStack)

    def start(self, name: str) -> st.JobHandle:
        """A node that reads a folder with the others."""
        lines = st.scan_ndjson(
            self.folder / "in", {"a": pl.Int64}, follow=True, on_error="fail", name="lines"
        )
        counts = (
            lines.group_by("a")
            .agg(n=pl.len())
            .sink_ndjson(f"{self.folder / 'out'}/", changes=True, name="out")
        )
        (port,) = free_ports(1)
        return st.job([counts], name="counts").start(
            checkpoints=self.folder / "checkpoints",
            checkpoint_interval="300ms",
            cluster=st.Cluster(
                self.etcd.endpoints, f"127.0.0.1:{port}", self.folder.name.replace("_", "-"), node=name,
                insecure=True, lease="2s",
            ),
        )  # fmt: skip

    def work(self, *names: str) -> bool:
        """Whether an attempt of exactly these has made a checkpoint."""
        cluster = self.folder.name.replace("_", "-")
        with closing(EtcdClient(EtcdSettings(self.etcd.endpoints))) as etcd:
            keys = Keys(cluster, "counts")
            view = view_of(etcd.range(keys.prefix), keys)
        if view.attempt is None or view.pointer is None or view.pointer.attempt != view.attempt.attempt:
            return False
        return sorted(names) == sorted(member.name for member in view.attempt.members)


@pytest.fixture
def nodes(tmp_path: Path, one_member: EtcdServers) -> Iterator[Nodes]:
    (tmp_path / "in").mkdir()
    for split in range(8):
        rows = "".join(json.dumps({"a": split * 1000 + each}) + "\n" for each in range(1000))
        (tmp_path / "in" / f"{split}.ndjson").write_text(rows)
    found = Nodes(tmp_path, one_member)
    with found.running:
        yield found


def test_what_makes_the_job_fail_on_one_node_ends_it_on_all(nodes: Nodes) -> None:
    names = ("first", "second", "third")
    handles = [nodes.start(name) for name in names]
    eventually(lambda: nodes.work(*names), "they do not work together")
    with (nodes.folder / "in" / "3.ndjson").open("a") as file:
        file.write("garbage\n")
    for handle in handles:
        with pytest.raises(StreameError, match=r"source 'lines', split '.*3\.ndjson"):
            handle.wait(WAIT_S)
        assert handle.status().state == "failed"


def test_nothing_is_kept_of_attempts_that_are_over(nodes: Nodes) -> None:
    pair = ("first", "second")
    for name in pair:
        nodes.running.callback(nodes.start(name).stop)
    for _ in range(3):
        third = nodes.start("third")
        eventually(lambda: nodes.work(*pair, "third"), "the third one does not work")
        third.stop()
        third.wait(WAIT_S)
        del third
        eventually(lambda: nodes.work(*pair), "the others do not go on")

    def kept() -> int:
        gc.collect()
        return sum(type(each) is PartRun and each.run is not None for each in gc.get_objects())

    eventually(lambda: kept() <= 2, f"of {kept()} attempts something is kept, of two nodes")
