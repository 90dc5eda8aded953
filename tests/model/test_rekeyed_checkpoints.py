"""Checkpoints of a plan that re-keys are safe and live, and each of their rules is needed."""

import os
from dataclasses import fields

import pytest

from tests.model.explorer import Explored, Explorer
from tests.model.rekeyed_checkpoints import Model, Rules, World

NIGHTLY = bool(os.environ.get("STREAME_NIGHTLY"))

pytestmark = pytest.mark.timeout(1800 if NIGHTLY else 120)

STATES_MAX = 20_000_000

SAFE: dict[str, Model] = {
    "one record a split, two attempts": Model(records=1),
    "one record a split, a cut channel": Model(records=1, checkpoints=1, cuts=1),
    "two records a split, one attempt": Model(attempts=0, checkpoints=1),
}

SAFE_AT_NIGHT: dict[str, Model] = {
    "two records a split, two attempts": Model(),
    "one record a split, three attempts, deaths, a cut channel": Model(
        records=1, attempts=2, cuts=1, deaths=True
    ),
    "three records a split": Model(records=3, checkpoints=1, attempts=0),
}

MUTANTS: dict[str, tuple[Rules, str]] = {
    "the barrier of one channel is enough": (Rules(align_all=False), "lost"),
    "records behind an early barrier are taken": (Rules(hold_early_channels=False), "doubled"),
    "a barrier overtakes records": (Rules(barrier_in_order=False), "lost"),
    "acknowledged before it is durable": (Rules(write_before_acknowledge=False), "missing"),
    "frames of an old attempt are taken": (Rules(check_attempt=False), "doubled"),
    "connected again without a look at the sequence": (Rules(check_sequence=False), "lost"),
    "not everybody is in the manifest": (Rules(all_participants=False), "lost"),
    "offsets as the leader believes them": (Rules(offsets_of_readers=False), "doubled"),
}


def explore(model: Model) -> Explored:
    """Every state of a model: it is right, and from it the job can be brought to its end."""
    known: set[World] = set()
    return Explorer(model.steps, lambda world: model.finishes(world, known)).explore(
        model.start(), STATES_MAX
    )


@pytest.mark.parametrize("name", SAFE | SAFE_AT_NIGHT if NIGHTLY else SAFE)
def test_the_order_is_safe_and_live(name: str) -> None:
    explored = explore((SAFE | SAFE_AT_NIGHT)[name])
    print(f"{name}: {explored}")
    assert explored.wrong is None, str(explored)


@pytest.mark.parametrize("name", MUTANTS)
def test_each_rule_is_needed(name: str) -> None:
    rules, kind = MUTANTS[name]
    explored = explore(
        Model(rules, records=1, cuts=int(not rules.check_sequence), deaths=not rules.write_before_acknowledge)
    )
    print(f"{name}: {explored.wrong} ({explored.states:,} states)")
    assert explored.wrong is not None
    assert explored.wrong.partition(":")[0] == kind, str(explored)


def test_every_rule_is_left_out_once() -> None:
    left_out = [
        each.name for each in fields(Rules) for rules, _ in MUTANTS.values() if not getattr(rules, each.name)
    ]
    assert left_out == [each.name for each in fields(Rules)]
