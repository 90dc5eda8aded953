"""What is done to the nodes of a job. Each is given running nodes, and leaves it to its caller to see that nothing went wrong."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from streame.core.failpoints import EXIT_CODE
from tests.cluster.partings import WAYS, hosts_parted
from tests.cluster.processes import LEASE_S, Nodes

NIGHTLY = bool(os.environ.get("STREAME_NIGHTLY"))
TOGETHER_S = 0.1
PAUSE_S = LEASE_S + 1.0
HAND_OVER_S = 1.5
HAND_OVERS = 3
STEPS_DOWN = "does not lead any more"

LEADER_STEPS = (
    "C0.after",
    "C4.after",
    "C5.after",
    "S7.before",
    "S7.after",
    "S8.after",
    "C7.after",
    "C9.after",
)
FOLLOWER_STEPS = ("C1.after", "C2.after", "C3.after", "T6.before", "T6.after")
LOG_STEPS = ("cluster.W1.after", "cluster.W2.after", "W3.after", "W4.after")
TAKEOVER_STEPS = (
    "T0.before",
    "T0.after",
    "T1.after",
    "T5.after",
    "T6.before",
    "T2.after",
    "T4.after",
    "T6.after",
)


def random_kills(nodes: Nodes, kills: int) -> None:
    """Any node, several at the same moment, and those that take over."""
    wanted = nodes.killed + kills
    while nodes.killed < wanted:
        names = list(nodes.nodes)
        match int(nodes.random.integers(4)):
            case 0:
                victims = [nodes.leader()]
                nodes.kill(*victims)
            case 1:
                victims = [nodes.any_of(nodes.followers() or names)]
                nodes.kill(*victims)
            case 2:
                leader = nodes.leader()
                victims = [leader, nodes.any_of([name for name in names if name != leader])]
                nodes.kill(victims[0])
                nodes.rest(0.0, TOGETHER_S)
                nodes.kill(victims[1])
            case _:
                victims = [nodes.leader()]
                nodes.kill(*victims)
                victims.append(nodes.successor(victims[0]))
                nodes.rest(0.0, 0.5)
                nodes.kill(victims[1])
        nodes.rest(0.0, 0.5)
        nodes.start(*victims)
        nodes.rest(0.0, 1.0)
        if nodes.random.random() < 0.5:
            nodes.caught_up()
    nodes.caught_up()


def leader_steps(nodes: Nodes) -> None:
    """The leader ends at each step of a checkpoint."""
    took_s = []
    for step in LEADER_STEPS:
        leader = nodes.leader()
        nodes.arm(leader, f"{step}:exit:{nodes.random.integers(1, 4)}")
        nodes.ended(leader, EXIT_CODE)
        nodes.start(leader)
        took_s.append(nodes.caught_up())
    print(f"behind a leader that was killed, caught up after {', '.join(f'{each:.1f}' for each in took_s)} s")


def follower_steps(nodes: Nodes) -> None:
    """Another node ends at each of its steps; where it begins anew, because one more is killed."""
    everybody = tuple(nodes.nodes)
    for step in FOLLOWER_STEPS:
        nodes.takes_part(*everybody)
        victim, other = sorted(nodes.followers(), key=lambda _: nodes.random.random())
        again = step.startswith("T")
        nodes.arm(victim, f"{step}:exit:{1 if again else nodes.random.integers(1, 4)}")
        if again:
            nodes.kill(other)
        nodes.ended(victim, EXIT_CODE)
        nodes.start(*((victim, other) if again else (victim,)))
        nodes.caught_up()


def takeover_steps(nodes: Nodes) -> None:
    """All end when something is decided and not published, and then one after the other while it takes over."""
    everybody = tuple(nodes.nodes)
    leader = nodes.leader()
    nodes.arm(leader, "S7.before:exit")
    nodes.ended(leader, EXIT_CODE)
    nodes.kill(*(name for name in everybody if name != leader))
    for number, step in enumerate(TAKEOVER_STEPS):
        name = everybody[number % len(everybody)]
        nodes.start(name, failpoints=f"{step}:exit")
        nodes.ended(name, EXIT_CODE)
    nodes.start(*everybody)
    nodes.caught_up()
    nodes.takes_part(*everybody)


def rows_are_put(nodes: Nodes, kills: int) -> None:
    """The leader ends at each step of the log; then nodes are killed, paused and replaced."""
    for step in LOG_STEPS:
        leader = nodes.leader()
        nodes.arm(leader, f"{step}:exit:{nodes.random.integers(1, 4)}")
        nodes.ended(leader, EXIT_CODE)
        nodes.start(leader)
        nodes.caught_up()
    random_kills(nodes, kills)
    leader = nodes.leader()
    nodes.pause(leader)
    successor = nodes.successor(leader)
    nodes.rest(0.0, 1.0)
    nodes.resume(leader)
    nodes.takes_part(*nodes.nodes)
    nodes.until(lambda: nodes.sent(leader) == successor, "it does not say where rows are taken")
    nodes.caught_up()
    for name in [nodes.leader(), nodes.any_of(nodes.followers())]:
        nodes.terminate(name)
        nodes.caught_up()
        nodes.start(name)


def pauses(nodes: Nodes, count: int) -> None:
    """A leader that stands still longer than its lease, one that does so for a moment, and another node."""
    everybody = tuple(nodes.nodes)
    for number in range(count):
        nodes.takes_part(*everybody)
        leader, followers = nodes.leader(), nodes.followers()
        match number % 3:
            case 0:
                victim = leader
                nodes.pause(victim)
                nodes.successor(victim)
                nodes.caught_up()
            case 1:
                victim = nodes.any_of(followers)
                nodes.pause(victim)
                nodes.rest(PAUSE_S, PAUSE_S + 1.0)
            case _:
                victim = leader
                nodes.pause(victim)
                nodes.rest(0.1, LEASE_S)
        noticed = nodes.said(victim).count(STEPS_DOWN) + 1
        nodes.resume(victim)
        if number % 3 == 0:
            nodes.until(lambda: nodes.said(victim).count(STEPS_DOWN) >= noticed, "it has not noticed")  # noqa: B023 - called now
        nodes.caught_up()
    nodes.takes_part(*everybody)


def etcd_away(nodes: Nodes, count: int) -> None:
    """No node reaches etcd for a while, shorter and longer than a lease."""
    everybody = tuple(nodes.nodes)
    for number in range(count):
        proxies = [proxy for node in nodes.nodes.values() for proxy in node.etcd]
        assert proxies
        for proxy in proxies:
            if number % 2:
                proxy.cut()
            else:
                proxy.stall()
        longest_s = PAUSE_S + 1.0 if number % 3 else LEASE_S / 2
        nodes.rest(longest_s / 2, longest_s)
        for proxy in proxies:
            proxy.heal()
        nodes.caught_up()
    nodes.takes_part(*everybody)


def members_of_etcd_gone(nodes: Nodes) -> None:
    """The member that leads the others is killed, alone and together with the node that leads; then it comes back."""
    everybody = tuple(nodes.nodes)
    for is_together in (False, True):
        nodes.servers.kill(nodes.servers.leader())
        if is_together:
            leader = nodes.leader()
            nodes.kill(leader)
            nodes.successor(leader)
            nodes.start(leader)
        nodes.caught_up()
        nodes.servers.recover()
    nodes.takes_part(*everybody)
    nodes.caught_up()


def parted(nodes: Nodes, count: int) -> None:
    """The leader does not reach etcd while the others do; then it does not reach one of the others, while both reach etcd."""
    everybody = tuple(nodes.nodes)
    for number in range(count):
        nodes.takes_part(*everybody)
        leader = nodes.leader()
        if number % 2 == 0:
            cut = nodes.nodes[leader].etcd
            assert cut
            for proxy in cut:
                proxy.cut()
            nodes.successor(leader)
            nodes.caught_up()
        else:
            way = nodes.nodes[nodes.any_of(nodes.followers())].way
            assert way is not None
            cut = [way]
            way.cut("there" if nodes.random.random() < 0.3 else "both")
            nodes.caught_up()
        for proxy in cut:
            proxy.heal()
        nodes.caught_up()
    nodes.takes_part(*everybody)


def rescaled(nodes: Nodes) -> None:
    """One node, then three, then two; nodes come and go in order, the leader among them."""
    (first,) = nodes.nodes
    nodes.start("second", "third")
    nodes.takes_part(first, "second", "third")
    nodes.caught_up()
    nodes.terminate(nodes.any_of(nodes.followers()))
    nodes.caught_up()
    took_s = []
    for _ in range(HAND_OVERS):
        gone = next(name for name in nodes.nodes if not nodes.is_running(name))
        nodes.start(gone)
        nodes.takes_part(*nodes.nodes)
        nodes.caught_up()
        leader, began = nodes.leader(), time.monotonic()
        nodes.terminate(leader)
        nodes.successor(leader)
        took_s.append(time.monotonic() - began)
        nodes.caught_up()
    print(f"hand-overs took {', '.join(f'{each:.2f}' for each in took_s)} s")
    assert min(took_s) < HAND_OVER_S
    nodes.takes_part(*(name for name in nodes.nodes if nodes.is_running(name)))
    assert len(nodes.followers()) == 1


def strangers(nodes: Nodes) -> None:
    """A node that runs another plan is refused; of two nodes with one name one takes part."""
    everybody = tuple(nodes.nodes)
    nodes.start("stranger", job="other")
    nodes.ended("stranger", 1)
    assert "another one than that of node" in nodes.said("stranger")
    for is_leader in (False, True):
        twin = nodes.leader() if is_leader else nodes.any_of(nodes.followers())
        older = nodes.nodes.pop(twin).process
        assert older is not None
        nodes.start(twin)
        try:
            nodes.until(lambda: _are_two(nodes, twin), "the second one does not come")  # noqa: B023 - called now
            nodes.goes_on(2)
            before = nodes.view().attempt
            nodes.goes_on(6)
            assert nodes.view().attempt == before, "there is one attempt after the other"
            nodes.caught_up()
        finally:
            older.kill()
        nodes.caught_up()
        nodes.takes_part(*everybody)


def _are_two(nodes: Nodes, name: str) -> bool:
    """Whether two nodes of a name are there, and the leader or the newer one takes part."""
    view = nodes.view()
    ids = [entry.member.id for entry in view.nodes if entry.member.name == name]
    if len(ids) < 2 or view.attempt is None or view.leader is None:
        return False
    return view.attempt.place(ids[0] if view.leader.member.id == ids[0] else ids[1]) is not None


@dataclass(frozen=True)
class Scenario:
    """Something that is done to the nodes of a job.

    Args:
        job: which job.
        names: of the nodes that run at first.
        act: what is done.
        network: between nodes, and to etcd: as it is, with proxies that can be spoilt, or each on a host of its own.
        members: how many members etcd has.
    """

    job: str
    names: tuple[str, ...]
    act: Callable[[Nodes], None]
    network: Literal["plain", "proxies", "hosts"] = "plain"
    members: int = 1


THREE = ("first", "second", "third")

SCENARIOS = {
    "random kills": Scenario("fed", THREE, lambda nodes: random_kills(nodes, 140 if NIGHTLY else 9)),
    "kills of a job with two keys": Scenario(
        "rekeyed", THREE, lambda nodes: random_kills(nodes, 140 if NIGHTLY else 5)
    ),
    "kills of nodes that read": Scenario(
        "split", THREE, lambda nodes: random_kills(nodes, 140 if NIGHTLY else 5)
    ),
    "steps of the leader": Scenario("rekeyed", THREE, leader_steps),
    "steps of a follower": Scenario("fed", THREE, follower_steps),
    "steps of a node that reads": Scenario("split", THREE, follower_steps),
    "steps of a takeover": Scenario("fed", THREE, takeover_steps),
    "rows are put": Scenario("queued", THREE, lambda nodes: rows_are_put(nodes, 40 if NIGHTLY else 2)),
    "pauses": Scenario("rekeyed", THREE, lambda nodes: pauses(nodes, 100 if NIGHTLY else 3)),
    "etcd away": Scenario("fed", THREE, lambda nodes: etcd_away(nodes, 30 if NIGHTLY else 2), "proxies"),
    "members of etcd gone": Scenario("fed", THREE, members_of_etcd_gone, members=3),
    "parted": Scenario("rekeyed", THREE, lambda nodes: parted(nodes, 70 if NIGHTLY else 3), "proxies"),
    "nodes that read are parted": Scenario(
        "split", THREE, lambda nodes: parted(nodes, 70 if NIGHTLY else 2), "proxies"
    ),
    "hosts are parted": Scenario(
        "rekeyed", THREE, lambda nodes: hosts_parted(nodes, WAYS * 3 if NIGHTLY else WAYS[::2]), "hosts"
    ),
    "hosts that read are parted": Scenario(
        "split", THREE, lambda nodes: hosts_parted(nodes, WAYS * 3 if NIGHTLY else WAYS[1::2]), "hosts"
    ),
    "rescaled": Scenario("split", ("first",), rescaled),
    "strangers": Scenario("fed", THREE, strangers),
}
