"""A node of the demo, in a process of its own: it takes part in the job, and says on standard output what it does.

A program of yours needs only the line with `job(...).start(...)`, or `.run(...)`.
"""

import sys
import threading
from collections import Counter
from pathlib import Path

import msgspec

import streame as st
from streame.cli.demo.cluster.job import job
from streame.cluster.cluster import Cluster, ClusterRun
from streame.cluster.security import Tls
from streame.runtime.runner import Program, Run
from streame.runtime.signals import stop_on_signals

CLUSTER = "flights"
SAY_S = 0.2
LEASE = "3s"
INTERVAL = "500ms"
KILLED = "killed"


class NodeSettings(msgspec.Struct, frozen=True):
    """What a node is told.

    Args:
        name: its name, which its certificate has too.
        address: where it listens.
        etcd: the members of etcd.
        folder: where certificates, checkpoints and output are.
        rows, rows_per_s: see `job`.
    """

    name: str
    address: str
    etcd: tuple[str, ...]
    folder: str
    rows: int
    rows_per_s: int

    @property
    def files(self) -> Path:
        """The folder as a path."""
        return Path(self.folder)

    def cluster(self) -> Cluster:
        """The cluster, as this node sees it; etcd knows it by the same certificate."""
        certs = self.files / "certs"
        tls = Tls(certs / "ca.pem", certs / f"{self.name}.pem", certs / f"{self.name}.key")
        return Cluster(self.etcd, self.address, CLUSTER, tls=tls, lease=LEASE)


class NodeReport(msgspec.Struct, frozen=True):
    """What a node says of itself, five times a second.

    Args:
        read: flights that it has read, in the attempt that runs.
        rows: rows that each instance on it has taken in that attempt, the operators that are shared out together.
        ended: whether the job has ended for it.
    """

    read: int
    rows: dict[int, int]
    ended: bool = False


class Watched:
    """Runs a job on a cluster, and keeps the run to look at its instances.

    Args:
        cluster: the cluster.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.run: ClusterRun | None = None

    @property
    def parallelism(self) -> int:
        """See `Runner`."""
        return self._cluster.parallelism

    def start(self, program: Program) -> Run:
        """See `Runner`."""
        self.run = self._cluster.start(program)
        return self.run

    def report(self, handle: st.JobHandle, *, ended: bool) -> NodeReport:
        """What there is to say now."""
        metrics = handle.metrics()
        read = metrics["flights"].rows_in if "flights" in metrics else 0
        counters = {} if self.run is None else self.run.by_instance()
        # A node that does not read has nothing but instances; a single one of them may have the number 0.
        shared = {name for name, instance in counters if instance > 0}
        shown = shared or {name for name, _ in counters if not read}
        rows: Counter[int] = Counter()
        for (name, instance), each in counters.items():
            if name in shown:
                rows[instance] += each.rows_in
        return NodeReport(read, dict(rows), ended)


def main() -> None:
    """Take part until the job has ended."""
    settings = msgspec.json.decode(sys.argv[1], type=NodeSettings)
    watched = Watched(settings.cluster())
    over = threading.Event()
    folder = settings.files
    flights = job(folder / "out", settings.rows, settings.rows_per_s, folder / KILLED)
    _say(NodeReport(0, {}))
    sys.stdin.readline()  # all nodes begin at the same time
    handle = flights.start(
        cluster=watched,
        checkpoints=folder / "checkpoints",
        checkpoint_interval=INTERVAL,
        errors=folder / "out/errors",
    )
    with stop_on_signals(handle.stop):
        while not over.is_set():
            if handle.wait(SAY_S):
                over.set()
            _say(watched.report(handle, ended=over.is_set()))


def _say(report: NodeReport) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
