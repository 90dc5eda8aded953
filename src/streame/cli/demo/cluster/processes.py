"""The processes of the demo, on this machine: members of etcd and nodes. All are ended by their process ids."""

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from streame.cli.demo.cluster.node import CLUSTER, NodeReport, NodeSettings
from streame.cluster.certificates import make_certificates
from streame.cluster.identity import Identity
from streame.cluster.security import Tls
from streame.core.clock import SystemClock, to_datetime
from streame.errors import StreameError
from streame.testing.etcd_members import EtcdMembers, die_with_parent, free_ports, until

ETCD, WATCHER = "etcd", "watcher"
START_S = 60.0
END_S = 5.0
ERRORS_SHOWN = 2_000


class NodeProcess:
    """A node.

    Args:
        settings: what it is told.
    """

    def __init__(self, settings: NodeSettings) -> None:
        self.name = settings.name
        self.report: NodeReport | None = None
        self.killed = False
        self._errors = settings.files / f"{self.name}.log"
        command = [
            *die_with_parent(), sys.executable, "-m", "streame.cli.demo.cluster.node",
            msgspec.json.encode(settings).decode(),
        ]  # fmt: skip
        with self._errors.open("wb") as log:
            # A Ctrl-C is for the demo, which then ends the nodes.
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )
        self._reader = threading.Thread(target=self._read, name=f"reports of {self.name}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether its process is there."""
        return self._process.poll() is None

    def begin(self) -> None:
        """It has loaded its program: let it take part.

        Raises:
            StreameError: when it has not, or has ended.
        """
        if not until(lambda: self.report is not None or not self.runs, START_S) or not self.runs:
            raise StreameError(f"{self.name} does not start:\n{self.errors()}")
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """Kill it, as a crash would."""
        self.killed = True
        self._process.kill()

    def stop(self) -> None:
        """End it, if it has not ended."""
        self._process.kill()
        self._process.wait()
        self._reader.join(END_S)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()

    def check(self) -> None:
        """Make sure that it has not ended by itself before the job.

        Raises:
            StreameError: when it has.
        """
        done = self.report is not None and self.report.ended
        if not (self.runs or self.killed or done):
            raise StreameError(
                f"{self.name} has ended, with exit code {self._process.returncode}:\n{self.errors()}"
            )

    def errors(self) -> str:
        """The last that it has said on standard error."""
        return self._errors.read_text(errors="replace")[-ERRORS_SHOWN:]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith(b"\n"):
                self.report = msgspec.json.decode(line, type=NodeReport)


def certificates(folder: Path, nodes: Sequence[str]) -> dict[str, Tls]:
    """Those of the nodes, of etcd and of the demo itself, as `streame certs` makes them.

    Args:
        folder: where `certs/` is made.
        nodes: the names of the nodes.
    """
    identities = [Identity.of(CLUSTER, "node", name) for name in (*nodes, ETCD, WATCHER)]
    return make_certificates(folder / "certs", identities, (), to_datetime(SystemClock().now_us()), 1)


@contextmanager
def etcd_running(program: Path, members: int, tls: Tls) -> Iterator[EtcdMembers]:
    """Members of etcd that speak only to who has a certificate of the same authority."""
    ca, certificate, key = str(tls.ca), str(tls.certificate), str(tls.key)
    flags = (
        "--client-cert-auth", "--trusted-ca-file", ca, "--cert-file", certificate, "--key-file", key,
        "--peer-client-cert-auth", "--peer-trusted-ca-file", ca, "--peer-cert-file", certificate,
        "--peer-key-file", key,
    )  # fmt: skip
    servers = EtcdMembers(program, members, flags, "https", "https")
    try:
        servers.start()
        yield servers
    finally:
        servers.stop()


@contextmanager
def nodes_running(settings: Sequence[NodeSettings]) -> Iterator[list[NodeProcess]]:
    """Nodes that begin at the same time."""
    nodes: list[NodeProcess] = []
    try:
        for each in settings:
            nodes.append(NodeProcess(each))  # noqa: PERF401 - those before are stopped if one cannot be started
        for node in nodes:
            node.begin()
        yield nodes
    finally:
        for node in nodes:
            node.stop()


def settings_of(
    names: Sequence[str], etcd: EtcdMembers, folder: Path, rows: int, rows_per_s: int
) -> list[NodeSettings]:
    """What each node is told."""
    ports = free_ports(len(names))
    return [
        NodeSettings(name, f"127.0.0.1:{port}", etcd.endpoints, str(folder), rows, rows_per_s)
        for name, port in zip(names, ports, strict=True)
    ]
