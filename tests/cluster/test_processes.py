"""Node processes that are killed, paused, parted, replaced: nothing is lost, doubled, out of order or stuck.

What is done is in `scenarios.py`. Several jobs run at the same time, since most of it is waiting for leases.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.cluster.netns import NotAllowed
from tests.cluster.processes import running
from tests.cluster.scenarios import NIGHTLY, SCENARIOS, Scenario
from tests.cluster.sites import site
from tests.services.etcd import EtcdServers

AT_ONCE = 2
KILLS = 300 if NIGHTLY else 25

pytestmark = pytest.mark.timeout(7200 if NIGHTLY else 600)


@pytest.fixture(scope="module")
def results(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, Future[int]]]:
    """How many processes ended in each of the scenarios that were asked for."""
    folder, seed = tmp_path_factory.mktemp("nodes"), int(request.config.option.hypothesis_seed)
    wanted = {item.callspec.params["name"] for item in request.session.items if _is_ours(item)}  # type: ignore[attr-defined]

    members = {SCENARIOS[name].members for name in wanted if SCENARIOS[name].network != "hosts"}
    servers = {each: _servers(request, each) for each in members}

    def played(number: int, scenario: Scenario) -> int:
        own = folder / f"s{number}"
        with ExitStack() as opened:
            place = None
            if scenario.network == "hosts":
                place = opened.enter_context(site(folder / f"signed{number}", len(scenario.names)))
            nodes = opened.enter_context(running(
                servers[scenario.members] if place is None else place.servers,
                own, scenario.job, scenario.names, seed + number,
                is_proxied=scenario.network == "proxies", site=place,
            ))  # fmt: skip
            scenario.act(nodes)
            nodes.finish()
            return nodes.killed

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="scenario") as pool:
        yield {
            name: pool.submit(played, number, scenario)
            for number, (name, scenario) in enumerate(SCENARIOS.items())
            if name in wanted
        }
        pool.shutdown(cancel_futures=True)


def _servers(request: pytest.FixtureRequest, members: int) -> EtcdServers:
    """An etcd that other tests may use as well, but not at the same time."""
    found: EtcdServers = request.getfixturevalue("one_member" if members == 1 else "_three_members")
    found.recover()
    return found


def _is_ours(item: pytest.Item) -> bool:
    return getattr(item, "originalname", "") == test_nothing_is_lost_and_nothing_doubled.__name__


@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_is_lost_and_nothing_doubled(name: str, results: dict[str, Future[int]]) -> None:
    try:
        results[name].result()
    except NotAllowed as reason:
        pytest.skip(str(reason))


def test_nodes_were_killed(results: dict[str, Future[int]]) -> None:
    if len(results) < len(SCENARIOS):
        pytest.skip("only some of the scenarios were asked for")
    killed = sum(result.result() for name, result in results.items() if SCENARIOS[name].network != "hosts")
    print(f"{killed} node processes were killed")
    assert killed >= KILLS
