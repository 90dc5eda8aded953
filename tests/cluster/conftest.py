"""The etcd servers of a test session, and the worlds that every contract test runs in."""

import os
import ssl
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path

import pytest

from streame.cluster.etcd.client import EtcdClient
from streame.cluster.etcd.settings import EtcdSettings
from tests.cluster.worlds import RealWorld, TwinWorld, World
from tests.services.etcd import EtcdServers
from tests.services.install import Unavailable, etcd_program

REQUIRED = "STREAME_REQUIRE_SERVICES"
_numbers = count(1)


def etcd_or_skip() -> Path:
    """The program; without it the test is skipped, or fails where the services are required."""
    try:
        return etcd_program()
    except Unavailable as reason:
        if os.environ.get(REQUIRED) == "1":
            pytest.fail(f"{REQUIRED}=1, but: {reason}", pytrace=False)
        pytest.skip(str(reason))


def started(
    members: int,
    *flags: str,
    scheme: str = "http",
    hosts: Sequence[tuple[str, Sequence[str]]] = (),
    tls: ssl.SSLContext | None = None,
) -> EtcdServers:
    """Running servers, or no test: see `etcd_or_skip`."""
    etcd_or_skip()
    servers = EtcdServers(members, flags, scheme, hosts, tls)
    try:
        servers.start()
    except BaseException:
        servers.stop()
        raise
    return servers


@pytest.fixture(scope="session")
def one_member() -> Iterator[EtcdServers]:
    """An etcd of one member."""
    servers = started(1)
    yield servers
    servers.stop()


@pytest.fixture(scope="session")
def _three_members() -> Iterator[EtcdServers]:
    servers = started(3)
    yield servers
    servers.stop()


@pytest.fixture
def three_members(_three_members: EtcdServers) -> Iterator[EtcdServers]:
    """An etcd of three members, all of which run, whatever the test before did to them."""
    _three_members.recover()
    yield _three_members
    _three_members.recover()


@pytest.fixture
def prefix() -> str:
    """A prefix that no other test uses."""
    return f"/streame/test-{next(_numbers)}/"


@pytest.fixture
def connect() -> Iterator[Callable[..., EtcdClient]]:
    """Makes clients, which are closed behind the test."""
    clients: list[EtcdClient] = []

    def made(*endpoints: str, **settings: object) -> EtcdClient:
        clients.append(EtcdClient(EtcdSettings(endpoints, **settings)))  # type: ignore[arg-type] # as given
        return clients[-1]

    yield made
    for client in clients:
        client.close()


@pytest.fixture(params=["twin", "one member", "three members"])
def world(request: pytest.FixtureRequest, prefix: str, connect: Callable[..., EtcdClient]) -> Iterator[World]:
    """The twin, an etcd of one member, or of three."""
    if request.param == "twin":
        yield TwinWorld(prefix)
    else:
        servers = request.getfixturevalue(request.param.replace(" ", "_"))
        yield RealWorld(prefix, servers, connect(*servers.endpoints))
