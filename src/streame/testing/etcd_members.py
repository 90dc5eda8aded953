"""Members of etcd on loopback, to try something out: started, killed and stopped by their process ids."""

import http.client
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path

from streame.errors import StreameError

START_S = 20.0
ROOM_BYTES = 256 << 20


class EtcdDoesNotStart(StreameError):  # noqa: N818 - what happened
    """A member of etcd does not become healthy; the message has what it says."""


class EtcdMembers:
    """A cluster of etcd in processes of this machine, with its data in a folder that is removed.

    Args:
        program: the etcd server.
        members: how many; each has a name `m0`, `m1`, ...
        flags: more arguments for every member, such as those of TLS.
        scheme: `https` when the flags say so.
        peer_scheme: the same between the members.
        hosts: the address of each member, and the command before its command, when they are not just here.
    """

    def __init__(
        self,
        program: Path,
        members: int,
        flags: Sequence[str] = (),
        scheme: str = "http",
        peer_scheme: str = "http",
        hosts: Sequence[tuple[str, Sequence[str]]] = (),
    ) -> None:
        self._program = program
        self._flags, self._scheme, self._peer_scheme = flags, scheme, peer_scheme
        self._hosts = hosts or [("127.0.0.1", ())] * members
        self._folder = Path(_new_folder())
        ports = iter(free_ports(3 * members))
        self._ports = [(next(ports), next(ports), next(ports)) for _ in range(members)]
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The addresses that clients use, one a member."""
        return tuple(
            f"{host}:{client}" for (host, _), (client, _, _) in zip(self._hosts, self._ports, strict=True)
        )

    def start(self) -> None:
        """Start every member that does not run, and wait until all say that they are healthy.

        Raises:
            EtcdDoesNotStart: when they do not within twenty seconds.
        """
        for member in range(len(self._ports)):
            if member not in self._processes:
                self._processes[member] = self._spawn(member)
        deadline = time.monotonic() + START_S
        for member in self._processes:
            self._await_health(member, deadline)

    def kill(self, member: int) -> None:
        """Kill a member, as a crash would."""
        process = self._processes.pop(member)
        process.kill()
        process.wait()

    def stop(self) -> None:
        """Stop all members and remove their data."""
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait()
        self._processes.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def log(self, member: int) -> str:
        """What a member has said."""
        return (self._folder / f"m{member}.log").read_text(errors="replace")

    def _spawn(self, member: int) -> subprocess.Popen[bytes]:
        client, peer, health = self._ports[member]
        host, before = self._hosts[member]
        urls = {
            f"m{number}": f"{self._peer_scheme}://{self._hosts[number][0]}:{ports[1]}"
            for number, ports in enumerate(self._ports)
        }
        command: list[str | Path] = [
            *die_with_parent(), *before, self._program,
            "--name", f"m{member}", "--data-dir", self._folder / f"m{member}",
            "--listen-client-urls", f"{self._scheme}://{host}:{client}",
            "--advertise-client-urls", f"{self._scheme}://{host}:{client}",
            "--listen-peer-urls", f"{self._peer_scheme}://{host}:{peer}",
            "--initial-advertise-peer-urls", f"{self._peer_scheme}://{host}:{peer}",
            "--listen-metrics-urls", f"http://{host}:{health}",
            "--initial-cluster", ",".join(f"{name}={url}" for name, url in urls.items()),
            "--heartbeat-interval", "100", "--election-timeout", "600", # the least lease is then 1 s
            "--bcrypt-cost", "4", *self._flags,
        ]  # fmt: skip
        with (self._folder / f"m{member}.log").open("ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # noqa: S603

    def _await_health(self, member: int, deadline: float) -> None:
        host, port = self._hosts[member][0], self._ports[member][2]
        until(
            lambda: self._processes[member].poll() is not None or _is_healthy(host, port),
            deadline - time.monotonic(),
            every=0.05,
        )
        if self._processes[member].poll() is not None or not _is_healthy(host, port):
            text = self.log(member)[-2000:]
            raise EtcdDoesNotStart(f"member m{member} of etcd did not become healthy:\n{text}")


def until(condition: Callable[[], bool], seconds: float, every: float = 0.02) -> bool:
    """Wait until a condition holds; whether it did before the time was over."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            return False
        pause.wait(every)
    return True


def die_with_parent() -> list[str]:
    """A command before the command: it ends with the process that started it, however that ends."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _is_healthy(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=2)
    with closing(connection), suppress(OSError, http.client.HTTPException):
        connection.request("GET", "/health")
        return b'"true"' in connection.getresponse().read()
    return False


def _new_folder() -> str:
    """A folder that has the process in its name; those of processes that were killed are removed."""
    parent = _data_folder() or Path(tempfile.gettempdir())
    for folder in parent.glob("streame-etcd-*-*"):
        if not Path(f"/proc/{folder.name.split('-')[2]}").exists():
            shutil.rmtree(folder, ignore_errors=True)
    return tempfile.mkdtemp(prefix=f"streame-etcd-{os.getpid()}-", dir=parent)


def _data_folder() -> Path | None:
    """Memory where there is room: etcd 3.4 cannot be told not to sync."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
    if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > ROOM_BYTES:
        return memory
    return None
