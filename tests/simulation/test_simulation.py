"""Whole clusters in a simulated world keep every promise, whatever goes wrong; and if a rule is missing, it shows.

`STREAME_NIGHTLY=1` runs fifty times as many seeds. `noticed.txt` has a seed for each rule that notices when it is missing; where
it does not do so any more, since another version of the code does something else with it, others are tried, and `-s` tells which.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.examples import FACTOR
from tests.simulation.mutants import MUTANTS
from tests.simulation.runs import APART_FROM
from tests.simulation.workers import Workers

HERE = Path(__file__).parent
NIGHTLY = os.environ.get("STREAME_NIGHTLY") == "1"
SEEDS = 100_000 if NIGHTLY else int(2_000 * min(1.0, FACTOR))
MUTANT_SEEDS = 4_000 if NIGHTLY else 1_000

RARE = (
    "election",
    "crash",
    "pause",
    "cut",
    "break",
    "leave",
    "slow store",
    "rescale",
    "ambush",
    "lease lost",
    "attempt number above 3",
    "no answer to ptr",
    "late at etcd",
    "late at store",
    "late at sink",
    "published before",
    "fenced",
)
"""What must happen among all seeds: a simulation in which nothing happens finds nothing."""

pytestmark = pytest.mark.timeout(40_000 if NIGHTLY else 3_000)


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with Workers() as workers:
        yield workers


def test_nothing_goes_wrong_whatever_fails(workers: Workers) -> None:
    kept = [int(seed) for seed in (HERE / "seeds.txt").read_text().split()]
    apart = range(APART_FROM, APART_FROM + SEEDS // 4)
    report = workers.simulate(sorted({*range(SEEDS - SEEDS // 4), *apart, *kept}))
    print(dict(report.counts))
    assert not report.failed, "\n\n".join(report.failed.values())
    assert not [what for what in RARE if not report.counts[what]]


def test_a_seed_gives_the_same_run_again(workers: Workers) -> None:
    with Workers(1) as other:
        assert workers.simulate(range(6)).digests == other.simulate(range(6)).digests


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_rule_that_is_missing_is_noticed(workers: Workers, mutant: str) -> None:
    noticed = dict(line.split() for line in (HERE / "noticed.txt").read_text().splitlines())
    report = workers.simulate([int(noticed[mutant])] if mutant in noticed else [], mutant)
    if not report.failed:
        several = [*range(MUTANT_SEEDS), *range(APART_FROM, APART_FROM + MUTANT_SEEDS)]
        report = workers.simulate(several, mutant)
        print(f"\nnoticed.txt: {mutant} {', '.join(report.failed)}")
    assert report.failed, f"2 x {MUTANT_SEEDS} seeds have not noticed: {mutant}"
