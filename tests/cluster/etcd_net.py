"""Three members of etcd and the network to each of them, which a test can spoil."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Literal

from streame.testing.tcp_proxy import TcpProxy
from tests.cluster.netns import Hosts
from tests.services.etcd import EtcdServers

Loss = Literal["killed", "stopped", "cut off", "parted"]


@dataclass
class Net:
    """Three members, and a network to each of them that a test can spoil."""

    servers: EtcdServers
    proxies: list[TcpProxy]
    hosts: Hosts | None = None

    def endpoints(self, first: int = 0) -> list[str]:
        """The members as clients see them, one in front: it is asked as long as it answers."""
        return [self.proxies[(first + each) % 3].address for each in range(3)]

    def everywhere(self, change: Callable[[TcpProxy], None]) -> None:
        """Do the same on the way to every member."""
        for proxy in self.proxies:
            change(proxy)

    def lose(self, member: int, how: Loss) -> None:
        """Let a member be of no use any more."""
        match how:
            case "killed":
                self.servers.kill(member)
            case "stopped":
                self.servers.pause(member)
            case "cut off":
                self.proxies[member].cut()
            case "parted":
                assert self.hosts is not None
                self.hosts.isolate(member)


@contextmanager
def net_to(servers: EtcdServers) -> Iterator[Net]:
    """A good network to servers, until a test spoils it."""
    with ExitStack() as opened:
        addresses = [endpoint.split(":") for endpoint in servers.endpoints]
        yield Net(servers, [opened.enter_context(TcpProxy(host, int(port))) for host, port in addresses])
