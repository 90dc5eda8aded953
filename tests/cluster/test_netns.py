"""Hosts in network namespaces: they reach each other, are parted, also in one direction, and are removed."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.netns import Hosts, hosts, why_not

LISTENER = """
import socket, sys
listener = socket.create_server((sys.argv[1], 7000))
print("listening", flush=True)
connection, _ = listener.accept()
while data := connection.recv(100):
    print(data.decode(), flush=True)
    connection.sendall(data.upper())
"""
CALLER = """
import socket, sys
connection = socket.create_connection((sys.argv[1], 7000), 5)
for line in sys.stdin:
    connection.settimeout(float(line.split()[1]))
    connection.sendall(line.split()[0].encode())
    try:
        print(connection.recv(100).decode(), flush=True)
    except TimeoutError:
        print("nothing", flush=True)
"""


@pytest.fixture
def three() -> Iterator[Hosts]:
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    with hosts(3) as made:
        yield made


def started(made: Hosts, host: int, program: str, address: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return made.start(host, sys.executable, "-c", program, address, stdin=pipe, stdout=pipe)


def heard(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


class Pair:
    """A connection between two hosts, over which words go and come back in capitals."""

    def __init__(self, made: Hosts) -> None:
        self.listener = started(made, 0, LISTENER, made.address(0))
        assert heard(self.listener) == "listening"
        self.caller = started(made, 1, CALLER, made.address(0))

    def say(self, word: str, within_s: float) -> str:
        assert self.caller.stdin is not None
        self.caller.stdin.write(f"{word} {within_s}\n")
        self.caller.stdin.flush()
        return heard(self.caller)


def test_a_connection_is_parted_and_goes_on_when_healed(three: Hosts) -> None:
    pair = Pair(three)
    assert pair.say("a", 5) == "A"
    three.part(0, 1)
    assert pair.say("b", 0.3) == "nothing"
    three.heal()
    assert pair.say("c", 5)[:1] == "B"  # TCP sends again what was not acknowledged
    assert [heard(pair.listener)[:1] for _ in range(2)] == ["a", "b"]


@pytest.mark.parametrize(("sender", "receiver", "arrives"), [(1, 0, False), (0, 1, True)])
def test_one_direction_is_cut(three: Hosts, sender: int, receiver: int, arrives: bool) -> None:
    pair = Pair(three)
    assert pair.say("a", 5) == "A"
    assert heard(pair.listener) == "a"
    three.cut(sender, receiver)
    assert pair.say("b", 0.3) == "nothing"
    if arrives:
        assert heard(pair.listener) == "b"
    three.heal()
    assert pair.say("c", 5)[:1] == "B"


def test_a_host_without_its_cable_knows_no_way(three: Hosts) -> None:
    three.unplug(1)
    command = [*three.command(1), "ip", "route", "get", three.address(0)]
    assert "unreachable" in subprocess.run(command, capture_output=True, text=True, check=False).stderr
    three.heal()
    assert Pair(three).say("a", 5) == "A"


def test_others_are_not_cut(three: Hosts) -> None:
    three.isolate(2)
    assert Pair(three).say("a", 5) == "A"


def test_nothing_is_left(three: Hosts) -> None:
    with hosts(2) as made:  # the names are others, though the addresses are the same
        names = [made.namespace(0), f"{made.name}-hub"]
        assert all(Path("/run/netns", name).exists() for name in names)
        process = made.start(0, "sleep", "60")
    assert process.returncode is not None
    assert not any(Path("/run/netns", name).exists() for name in names)
