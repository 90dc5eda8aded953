"""Real processes that are killed, stopped, damaged and let fail: nothing is lost, doubled, out of order or stuck.

`make test` kills 25 times; with `STREAME_NIGHTLY` set, as `make test-nightly` does, it is 500 times and more jobs.
"""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir
from pathlib import Path

import pytest

from streame.cli.chaos.attempt import Process
from streame.cli.chaos.campaign import Campaign, Settings, Undisturbed
from streame.cli.chaos.proof import lines, rows, troubles, unreached
from streame.cli.chaos.run import Tried
from streame.cli.load import load_job
from streame.core.failpoints import NAMES
from tests.chaos.recorded import write_rows
from tests.services.nursery import nursery
from tests.storage.small_file_system import small_file_system

PIPELINES = Path(__file__).parent / "pipelines.py"
NIGHTLY = bool(os.environ.get("STREAME_NIGHTLY"))
INTERVAL = "20ms"
AT_ONCE = 2
PARALLELISM = (1, 3) if NIGHTLY else (1, 2)
IN_ORDER = {"sink named": ("key",), "sink numbered": ("key",)}

pytestmark = pytest.mark.timeout(7200 if NIGHTLY else 600)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the rows that the jobs read."""
    folder = tmp_path_factory.mktemp("recorded")
    write_rows(folder, seed=5, files=40 if NIGHTLY else 12, rows=200 if NIGHTLY else 100)
    return folder


@pytest.fixture(autouse=True)
def _there(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The jobs read in the current folder."""
    monkeypatch.chdir(recorded)


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """Where the runs write; removed, because it is much."""
    folder = tmp_path / "runs"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def forked(arguments: Sequence[str], environment: Mapping[str, str], pipe: int, log: int) -> Process:
    """A process that need not import everything first."""
    return nursery().start(
        arguments, stdout=log, stderr=log, env=environment, cwd=Path.cwd(), pass_fds=[pipe]
    )


def tried_on(name: str, settings: Settings, scratch: Path) -> Campaign:
    target = f"{PIPELINES}:{name}"
    return Campaign(target, load_job(target), settings, scratch, forked)


@pytest.fixture(scope="module")
def undisturbed(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """What the job with a bit of all gives when it is left alone."""
    settings = Settings(interval=INTERVAL, parallelism=PARALLELISM, keys=IN_ORDER)
    with chdir(recorded):
        return tried_on("everything", settings, tmp_path_factory.mktemp("undisturbed")).undisturbed()


def proved(
    name: str, settings: Settings, scratch: Path, undisturbed: Undisturbed | None = None
) -> list[Tried]:
    """Disturb a job, and see that nothing went wrong."""
    campaign = tried_on(name, settings, scratch)
    undisturbed = undisturbed or campaign.undisturbed()
    assert not undisturbed.difference, undisturbed.difference
    tried = list(campaign.tried(undisturbed))
    print(f"{name}, seed {settings.seed}", *lines(rows(tried)), sep="\n")
    assert not (found := list(troubles(tried))), "\n".join(found)
    return tried


def happened(tried: list[Tried], kind: str) -> int:
    return sum(each.happened for each in tried if each.script.kind == kind)


def test_a_job_that_is_killed_25_times_gives_what_it_gives_undisturbed(
    undisturbed: Undisturbed, scratch: Path, seed: int
) -> None:
    wanted = Settings(
        kills=120 if NIGHTLY else 22, stops=20 if NIGHTLY else 2, damages=40 if NIGHTLY else 3,
        failpoints="none", seed=seed, interval=INTERVAL, parallelism=PARALLELISM, at_once=AT_ONCE, keys=IN_ORDER,
    )  # fmt: skip
    tried = proved("everything", wanted, scratch, undisturbed)
    assert happened(tried, "kill") + happened(tried, "damage") >= wanted.kills + wanted.damages
    assert happened(tried, "stop") >= 1
    assert any(outcome.resumed for each in tried for _, outcome in each.outcomes[1:])


def test_a_job_that_ends_at_every_failpoint_gives_what_it_gives_undisturbed(scratch: Path, seed: int) -> None:
    wanted = Settings(
        kills=0, stops=0, damages=0, failpoints="all" if NIGHTLY else "once",
        seed=seed, interval=INTERVAL, parallelism=PARALLELISM, at_once=AT_ONCE, keys=IN_ORDER,
    )  # fmt: skip
    tried = proved("everything" if NIGHTLY else "small", wanted, scratch)
    assert unreached(tried) == []


def test_failpoints_that_no_run_can_come_to_are_told_and_not_tried(scratch: Path) -> None:
    campaign = tried_on("small", Settings(), scratch)
    of_logs = ["W1.after", "W1.write", "W2.after", "W3.after", "W4.after"]
    of_clusters = [name for name in NAMES if name.startswith(("C", "T", "cluster."))]
    assert campaign.untried == sorted([*of_logs, *of_clusters])
    assert {"C5.after", "T1.after", "cluster.W1.after"} <= set(of_clusters)
    assert not [script.name for script in campaign.everything() if "W1" in str(script)]


@pytest.mark.skipif(not NIGHTLY, reason="for the night")
@pytest.mark.parametrize("name", ["windows", "changes", "joins", "states"])
def test_jobs_of_all_kinds_give_what_they_give_undisturbed(name: str, scratch: Path, seed: int) -> None:
    wanted = Settings(
        kills=95, stops=10, damages=20, failpoints="none",
        seed=seed, interval=INTERVAL, at_once=AT_ONCE, keys=IN_ORDER,
    )  # fmt: skip
    assert happened(proved(name, wanted, scratch), "kill") >= wanted.kills


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with little room."""
    with small_file_system(tmp_path / "small", "32m") as place:
        yield place


def test_a_job_whose_disk_is_full_goes_on_when_there_is_room(
    undisturbed: Undisturbed, small_disk: Path, scratch: Path, seed: int
) -> None:
    wanted = Settings(
        kills=0, stops=0, damages=0, failpoints="none",
        seed=seed, interval=INTERVAL, keys=IN_ORDER, small_disk=small_disk, fills=5 if NIGHTLY else 1,
    )  # fmt: skip
    tried = proved("everything", wanted, scratch, undisturbed)
    waited = [outcome for each in tried for _, outcome in each.outcomes if outcome.waited]
    assert waited
    assert all(outcome.end == "finished" for outcome in waited)
