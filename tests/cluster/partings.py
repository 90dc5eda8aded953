"""What is done to the network of nodes on hosts: parted from each other and from etcd, both ways and one way, or unplugged."""

import time
from collections.abc import Callable, Sequence

from tests.cluster.netns import Hosts
from tests.cluster.processes import LEASE_S, Nodes
from tests.cluster.sites import Site


class Network:
    """The hosts of some nodes, with what can happen to them; each is healed by the caller."""

    def __init__(self, nodes: Nodes, site: Site) -> None:
        self._nodes, self._site, self._hosts = nodes, site, site.hosts

    def leader_is_alone(self) -> None:
        """The leader reaches nobody: another one leads."""
        self._lose_leader(Hosts.isolate)

    def leader_is_unplugged(self) -> None:
        """The same, but it can tell at once."""
        self._lose_leader(Hosts.unplug)

    def leader_hears_etcd_no_more(self) -> None:
        """What it asks arrives, the answers do not."""
        self._lose_leader(lambda hosts, leader: hosts.cut(self._site.etcd_host, leader))

    def etcd_hears_the_leader_no_more(self) -> None:
        """What it asks does not arrive."""
        self._lose_leader(lambda hosts, leader: hosts.cut(leader, self._site.etcd_host))

    def follower_is_alone(self) -> None:
        """A follower reaches nobody: the others go on."""
        self._hosts.isolate(self._a_follower())

    def leader_and_follower_are_parted(self) -> None:
        """They do not reach each other, but etcd and the third node."""
        self._hosts.part(self._leader(), self._a_follower())

    def follower_hears_the_leader_no_more(self) -> None:
        """One of these ways is cut."""
        self._hosts.cut(self._leader(), self._a_follower())

    def leader_hears_a_follower_no_more(self) -> None:
        """The other one."""
        self._hosts.cut(self._a_follower(), self._leader())

    def followers_are_parted(self) -> None:
        """The leader reaches both; rows go from one to the other."""
        self._hosts.part(*map(self._place, self._nodes.followers()))

    def etcd_is_alone(self) -> None:
        """Nobody reaches etcd for longer than a lease: all wait."""
        self._hosts.isolate(self._site.etcd_host)
        self._nodes.rest(LEASE_S, 2 * LEASE_S)
        self._hosts.heal()

    def _lose_leader(self, how: Callable[[Hosts, int], None]) -> None:
        leader = self._nodes.leader()
        how(self._hosts, self._place(leader))
        self._nodes.successor(leader)

    def _leader(self) -> int:
        return self._place(self._nodes.leader())

    def _a_follower(self) -> int:
        return self._place(self._nodes.any_of(self._nodes.followers()))

    def _place(self, name: str) -> int:
        return list(self._nodes.nodes).index(name)


WAYS: list[Callable[[Network], None]] = [
    Network.leader_is_alone,
    Network.leader_and_follower_are_parted,
    Network.follower_is_alone,
    Network.follower_hears_the_leader_no_more,
    Network.leader_hears_etcd_no_more,
    Network.followers_are_parted,
    Network.leader_is_unplugged,
    Network.leader_hears_a_follower_no_more,
    Network.etcd_is_alone,
    Network.etcd_hears_the_leader_no_more,
]


def hosts_parted(nodes: Nodes, ways: Sequence[Callable[[Network], None]]) -> None:
    """All goes on while the network is spoilt in one way after the other, and behind each."""
    site = nodes.site
    assert site is not None
    network, took_s = Network(nodes, site), []
    for spoil in ways:
        nodes.takes_part(*nodes.nodes)
        began = time.monotonic()
        spoil(network)
        nodes.goes_on(2)
        nodes.caught_up()
        took_s.append(f"{spoil.__name__}: {time.monotonic() - began:.1f} s")
        site.hosts.heal()
        nodes.caught_up()
    nodes.takes_part(*nodes.nodes)
    print(f"new output of all nodes that are left: {', '.join(took_s)}")
