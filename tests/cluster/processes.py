"""A job on several node processes that a test kills, pauses and parts, and the proof that its output is as if nothing was."""

import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any, TypeVar

import numpy as np

from streame.cluster.etcd.client import EtcdClient
from streame.cluster.etcd.settings import EtcdSettings
from streame.cluster.view import Keys, View, view_of
from streame.core.failpoints import EXIT_CODE, VARIABLE
from streame.testing.tcp_proxy import TcpProxy
from tests.cluster.loads import FedRows, Load, PutRows
from tests.cluster.sites import Site
from tests.services.etcd import EtcdServers
from tests.services.nursery import Forked, nursery

CATCH_UP_S = 30.0
"""Whatever is done to nodes: so long after it all that was let out is in the output."""

LEASE_S = 2.0
INTERVAL = "400ms"
POLL_S = 0.05
LOG_LINES = 40
DUMP_S = 0.5

Found = TypeVar("Found")


class Stuck(AssertionError):  # noqa: N818 - what happened
    """Something has not happened in time."""


@dataclass
class Node:
    """A node: the process that it is now, and how it is reached.

    Args:
        name: of the node.
        address: where it listens.
        etcd: the proxies through which it reaches the members of etcd, if there are any.
        way: the proxy through which others reach it, if there is one.
        job: what it runs.
        more: what it is told besides.
    """

    name: str
    address: str
    etcd: list[TcpProxy]
    way: TcpProxy | None
    job: str
    more: dict[str, Any]
    process: Forked | None = None


@dataclass
class Nodes:
    """The nodes of a job.

    Args:
        servers: etcd.
        folder: of the job.
        job: its name.
        cluster: the name of the cluster, which no other test has.
        random: where what is random comes from.
        is_proxied: whether a test can spoil the network between nodes, and to etcd.
        load: what goes into the job.
        site: the hosts on which the nodes run; without, they run side by side.
    """

    servers: EtcdServers
    folder: Path
    job: str
    cluster: str
    random: np.random.Generator
    load: Load
    is_proxied: bool = False
    site: Site | None = None
    nodes: dict[str, Node] = field(default_factory=dict)
    killed: int = 0

    def __post_init__(self) -> None:
        settings = EtcdSettings(self.servers.endpoints) if self.site is None else self.site.etcd_settings()
        self._etcd = EtcdClient(settings)
        self._keys = Keys(self.cluster, self.job)
        self._opened = contextlib.ExitStack()
        self._gone: set[str] = set()
        self._opened.callback(self._etcd.close)

    def start(self, *names: str, failpoints: str = "", job: str | None = None) -> None:
        """Let nodes run, each as a new process."""
        for name in names:
            node = self.nodes.get(name) or self._made(name)
            node.job = job or self.job
            settings = {
                "node": name, "cluster": self.cluster, "folder": str(self.folder), "job": node.job,
                "etcd": [proxy.address for proxy in node.etcd] or list(self.servers.endpoints),
                "address": node.address, "proxy_port": None if node.way is None else node.way.port,
                "interval": INTERVAL, **node.more,
            }  # fmt: skip
            with self._log(name).open("ab") as log:
                arguments = ["tests.cluster.member", json.dumps(settings)]
                node.process = nursery().start(
                    arguments,
                    stdout=log.fileno(),
                    stderr=log.fileno(),
                    env={**os.environ, VARIABLE: failpoints},
                )

    def kill(self, *names: str) -> None:
        """Kill nodes, all at the same moment."""
        for process in [self._signal(name, signal.SIGKILL) for name in names]:
            assert process.wait(CATCH_UP_S) == -signal.SIGKILL
        self.killed += len(names)
        self._forget(*names)

    def pause(self, name: str) -> None:
        """Let a node stand still."""
        self._signal(name, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Let a node that stood still go on."""
        self._signal(name, signal.SIGCONT)

    def terminate(self, name: str) -> None:
        """Tell a node to hand its work over, and wait until it has ended in order."""
        self._signal(name, signal.SIGTERM)
        self.ended(name, 0)

    def arm(self, name: str, failpoints: str) -> None:
        """Say where a node that runs is to end."""
        (self.folder / f"{name}.armed").write_text(failpoints)
        self._signal(name, signal.SIGUSR1)

    def ended(self, name: str, code: int, seconds: float = CATCH_UP_S) -> None:
        """Wait until a node has ended by itself with a code."""
        process = self.nodes[name].process
        assert process is not None
        with contextlib.suppress(TimeoutExpired):
            process.wait(seconds)
        found = process.returncode
        if found != code:
            raise Stuck(f"node {name} should have ended with {code}; it has {found} after {seconds:g} s")
        self.killed += code == EXIT_CODE
        self._forget(name)

    def is_running(self, name: str) -> bool:
        """Whether a node has not ended."""
        process = self.nodes[name].process
        return process is not None and process.returncode is None

    def view(self) -> View:
        """What etcd says of the job."""
        return view_of(self._etcd.range(self._keys.prefix, timeout_s=5.0), self._keys)

    def leader(self, seconds: float = CATCH_UP_S) -> str:
        """The name of the node that leads an attempt now; waits for it."""

        def leading() -> str:
            view = self.view()
            if view.leader is None or not view.is_current or view.leader.member.id in self._gone:
                return ""
            return view.leader.member.name

        return self.until(leading, "nobody leads", seconds)

    def successor(self, before: str) -> str:
        """The name of the node that leads instead of another one; waits for it."""

        def another() -> str:
            leader = self.view().leader
            is_new = leader is not None and leader.member.id not in self._gone
            return (
                leader.member.name if leader is not None and is_new and leader.member.name != before else ""
            )

        return self.until(another, "nobody took over")

    def sent(self, name: str) -> str:
        """Where a node sends those who put rows on it: the name of a node."""
        process = self.nodes[name].process
        assert process is not None
        file = self.folder / f"{name}-{process.pid}.sent"
        address = file.read_text() if file.exists() else ""
        return next((each.name for each in self.nodes.values() if each.address == address), "")

    def followers(self) -> list[str]:
        """The names of the others that take part now."""
        self.leader()
        entry = self.view().attempt
        assert entry is not None
        return [member.name for member in entry.members[1:]]

    def takes_part(self, *names: str, seconds: float = CATCH_UP_S) -> None:
        """Wait until exactly these nodes take part, each as the process that it is now."""

        def together() -> bool:
            view = self.view()
            if view.attempt is None or not view.is_current:
                return False
            present = {entry.member.id for entry in view.nodes} - self._gone
            members = [member for member in view.attempt.members if member.id in present]
            return sorted(names) == sorted(member.name for member in members)

        self.until(together, f"not exactly {', '.join(names)} take part", seconds)

    def checkpoint(self) -> int:
        """The number of the last checkpoint."""
        pointer = self.view().pointer
        return 0 if pointer is None else pointer.number

    def goes_on(self, checkpoints: int = 1, seconds: float = CATCH_UP_S) -> None:
        """Wait for more checkpoints."""
        wanted = self.checkpoint() + checkpoints
        self.until(lambda: self.checkpoint() >= wanted, f"there is no checkpoint {wanted}", seconds)

    def caught_up(self, seconds: float = CATCH_UP_S) -> float:
        """Wait until all rows of this moment are in the output; how many seconds that took."""
        began = time.monotonic()
        self.until(self.load.written(), "rows that the job was given are not in its output", seconds)
        return time.monotonic() - began

    def rest(self, least_s: float, most_s: float) -> None:
        """Wait for a random time: when something is done to nodes is not up to them."""
        threading.Event().wait(self.random.uniform(least_s, most_s))

    def any_of(self, names: Sequence[str]) -> str:
        """One of the names, by chance."""
        return names[int(self.random.integers(len(names)))]

    def until(self, condition: Callable[[], Found], what: str, seconds: float = CATCH_UP_S) -> Found:
        """Wait for something; returns what was found."""
        deadline, pause = time.monotonic() + seconds, threading.Event()
        while not (found := condition()):
            if time.monotonic() > deadline:
                raise Stuck(f"after {seconds:g} s: {what}")
            pause.wait(POLL_S)
        return found

    def finish(self) -> None:
        """Let the job come to its end, and see that its output is right."""
        self.load.end()
        deadline = time.monotonic() + CATCH_UP_S
        for name in self.nodes:
            if self.is_running(name):
                self.ended(name, 0, max(0.0, deadline - time.monotonic()))
        found = self.load.troubles()
        assert not found, found

    def close(self) -> None:
        """End all that runs."""
        self.load.close()
        for name in self.nodes:
            if self.is_running(name):
                self._signal(name, signal.SIGKILL)
        self._opened.close()

    def logs(self) -> str:
        """The end of what each node has said, and where its threads are."""
        found = [f"load {os.getloadavg()[0]:.1f}; etcd says: {self.view()}"]
        for name in self.nodes:
            said = self.said(name)
            found += [f"--- {name}", *said.splitlines()[-LOG_LINES:]]
            if self.is_running(name):
                self.resume(name)
                self._signal(name, signal.SIGUSR2)
                threading.Event().wait(DUMP_S)
                found.append(self.said(name).removeprefix(said))
        return "\n".join(found)

    def said(self, name: str) -> str:
        """All that a node has said."""
        log = self._log(name)
        return log.read_text(errors="replace") if log.exists() else ""

    def _made(self, name: str) -> Node:
        more: dict[str, Any] = {}
        address = f"127.0.0.1:{_free_port()}"
        if self.site is not None:
            address, more = self.site.address(len(self.nodes)), self.site.settings(name, len(self.nodes))
        proxies = []
        for each in (address, *self.servers.endpoints) if self.is_proxied else ():
            host, number = each.rsplit(":", 1)
            proxies.append(self._opened.enter_context(TcpProxy(host, int(number))))
        way = proxies[0] if proxies else None
        self.nodes[name] = Node(name, address, proxies[1:], way, self.job, more)
        return self.nodes[name]

    def _forget(self, *names: str) -> None:
        """What etcd still says of processes that have ended is no news of those that follow."""
        self._gone |= {entry.member.id for entry in self.view().nodes if entry.member.name in names}

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _signal(self, name: str, number: int) -> Forked:
        process = self.nodes[name].process
        assert process is not None
        assert process.returncode is None, f"node {name} has ended already"
        process.send_signal(number)
        return process


@contextlib.contextmanager
def running(
    servers: EtcdServers,
    folder: Path,
    job: str,
    names: Sequence[str],
    seed: int,
    *,
    is_proxied: bool = False,
    site: Site | None = None,
) -> Iterator[Nodes]:
    """A job on some nodes, all of which take part. What they have said is shown when something is wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    cluster = f"c{os.getpid()}-{folder.name}".lower() if site is None else site.signer.cluster
    load = PutRows(folder) if job == "queued" else FedRows(folder, job)
    made = Nodes(servers, folder, job, cluster, np.random.default_rng(seed), load, is_proxied, site)
    try:
        made.start(*names)
        made.takes_part(*names)
        made.caught_up()
        yield made
    except BaseException as error:
        error.add_note(f"seed {seed}, folder {folder}\n{made.logs()}")
        raise
    finally:
        made.close()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
