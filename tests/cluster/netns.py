"""Network namespaces: hosts of their own on this machine, joined by a bridge, which a test can part from each other.

Nothing of the machine's own network is touched, unless it is to join them: the bridge stands in a namespace too. It takes root,
Linux and `ip`.

A direction is cut by a wrong hardware address for the other host: packets leave, and nobody takes them, as behind a firewall
that drops them. That needs no packet filter, which neither every kernel nor every machine has.
"""

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count as counting
from pathlib import Path
from typing import Any

from tests.services.etcd import die_with_parent

STOP_S = 5.0
NOBODY = "02:00:00:00:ff:ff"
"""A hardware address that no host has."""

_CLONE_NEWNET = 0x40000000
_numbers = counting()


class NotAllowed(Exception):  # noqa: N818 - it says what is the matter with the machine
    """Namespaces cannot be made here; the message says why."""


@dataclass
class Hosts:
    """Some hosts, numbered from 0, each in a namespace with one address.

    Args:
        count: how many.
        name: how the names of their namespaces begin.
        network: which of several networks they are, as joined ones are apart on this machine.
    """

    count: int
    name: str
    network: int
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    def address(self, host: int) -> str:
        """The address of a host; it is none of loopback."""
        return f"10.231.{self.network}.{host + 1}"

    def start(self, host: int, *command: str, **settings: Any) -> subprocess.Popen[str]:
        """A process on a host; it is killed when the hosts are removed, if it has not ended."""
        prefix = [*die_with_parent(), *self.command(host)]
        process: subprocess.Popen[str] = subprocess.Popen([*prefix, *command], text=True, **settings)
        self.running.append(process)
        return process

    def command(self, host: int) -> list[str]:
        """The command before a command that lets it run on a host."""
        return ["ip", "netns", "exec", self.namespace(host)]

    def cut(self, sender: int, receiver: int) -> None:
        """Let nothing of a host's arrive at another one; the other direction stays."""
        self._neighbour(sender, receiver, NOBODY)

    def part(self, one: int, other: int) -> None:
        """Let two hosts be cut off from each other."""
        self.cut(one, other)
        self.cut(other, one)

    def isolate(self, host: int) -> None:
        """Part a host from all others."""
        for other in range(self.count):
            if other != host:
                self.part(host, other)

    def unplug(self, host: int) -> None:
        """Take a host's cable out: unlike one that is parted it notices, and knows no way to anybody."""
        _ip("-n", self.namespace(host), "link", "set", "eth0", "down")

    def heal(self) -> None:
        """Let every host reach every other one."""
        for host in range(self.count):
            _ip("-n", self.namespace(host), "link", "set", "eth0", "up")
        for sender in range(self.count):
            for receiver in range(self.count):
                if sender != receiver:
                    self._neighbour(sender, receiver, _hardware(receiver))

    def namespace(self, host: int) -> str:
        """The name of a host's namespace, as `ip netns` lists it."""
        return f"{self.name}-{host}"

    def _neighbour(self, sender: int, receiver: int, hardware: str) -> None:
        entry = [self.address(receiver), "lladdr", hardware, "dev", "eth0", "nud", "permanent"]
        _ip("-n", self.namespace(sender), "neigh", "replace", *entry)


@contextmanager
def hosts(count: int, *, joined: bool = False) -> Iterator[Hosts]:
    """Hosts that reach each other; they are removed at the end, with the processes that were started there.

    Args:
        count: how many.
        joined: whether this machine reaches them too, whatever is cut between them.

    Raises:
        NotAllowed: when this machine does not let us.
    """
    if (reason := _lacking()) is not None:
        raise NotAllowed(reason)
    number = next(_numbers)
    made = Hosts(count, f"streame-{os.getpid()}-{number}", number % 250)
    hub, machine = f"{made.name}-hub", f"streame-hosts{made.network}"
    _remove_leftovers()
    with ExitStack() as opened:
        for name in (hub, *map(made.namespace, range(count))):
            _ip("netns", "add", name)
            opened.callback(_ip, "netns", "delete", name)
        opened.callback(_stop, made.running)
        _ip("-n", hub, "link", "add", "bridge", "type", "bridge")
        _ip("-n", hub, "link", "set", "bridge", "up")
        for host in range(count):
            name, port = made.namespace(host), f"port{host}"
            _ip("-n", hub, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("-n", hub, "link", "set", port, "master", "bridge", "up")
            _ip("-n", name, "link", "set", "eth0", "address", _hardware(host), "up")
            _ip("-n", name, "address", "add", f"{made.address(host)}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "lo", "up")
        if joined:
            here = ["peer", "name", machine, "netns", str(os.getpid())]
            _ip("-n", hub, "link", "add", "port", "type", "veth", *here)
            opened.callback(_ip, "link", "delete", machine)
            _ip("-n", hub, "link", "set", "port", "master", "bridge", "up")
            _ip("link", "set", machine, "up")
            _ip("address", "add", made.address(253) + "/24", "dev", machine)
        made.heal()
        yield made


def why_not(*, joined: bool = False) -> str | None:
    """Why hosts cannot be made on this machine; `None` if they can, which is tried."""
    try:
        with hosts(1, joined=joined):
            return None
    except NotAllowed as reason:
        return str(reason)


def move_to(namespace: str) -> None:
    """Let this thread, and all that it starts from now on, be on another host."""
    with Path("/run/netns", namespace).open() as file:
        library = ctypes.CDLL(None, use_errno=True)
        if library.setns(file.fileno(), _CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), file.name)


def _lacking() -> str | None:
    if sys.platform != "linux":
        return "network namespaces are a thing of Linux"
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    if shutil.which("ip") is None:
        return "the command `ip` is not on PATH (Debian: iproute2)"
    return None


def _hardware(host: int) -> str:
    return f"02:00:00:00:00:{host + 1:02x}"


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        raise NotAllowed(f"`ip {' '.join(arguments)}` failed: {done.stderr.strip()[-300:]}")


def _stop(running: list[subprocess.Popen[str]]) -> None:
    for process in running:
        process.kill()
    for process in running:
        process.wait(STOP_S)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def _remove_leftovers() -> None:
    """Remove the namespaces of processes that were killed."""
    for path in Path("/run/netns").glob("streame-*-*"):
        owner = path.name.split("-")[1]
        if not Path(f"/proc/{owner}").exists():
            subprocess.run(["ip", "netns", "delete", path.name], check=False, capture_output=True)
