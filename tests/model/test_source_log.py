"""The log of a source in a cluster loses and doubles nothing that was answered, and each of its rules is known."""

import os
from dataclasses import fields

import pytest

from tests.model.explorer import Explored, Explorer
from tests.model.source_log import Model, Rules, World, check, elect

NIGHTLY = bool(os.environ.get("STREAME_NIGHTLY"))

pytestmark = pytest.mark.timeout(1800 if NIGHTLY else 120)

STATES_MAX = 20_000_000

SAFE: dict[str, Model] = {
    "2 rows, 2 epochs": Model(stuck=0),
    "1 row, 3 epochs": Model(records=1, epochs=3),
    "1 row, litter": Model(records=1, reduce=False),
}

SAFE_AT_NIGHT: dict[str, Model] = {
    "2 rows, 3 epochs": Model(epochs=3),
    "2 rows, litter": Model(reduce=False),
    "3 rows, 3 epochs": Model(records=3, sends=1, epochs=3),
}

MUTANTS: dict[str, tuple[Rules, str]] = {
    "the directory is listed": (Rules(head=False), "lost"),
    "answered before it is sealed": (Rules(seal_before_answer=False), "lost"),
    "repeated rows are not dropped": (Rules(drop_repeated=False), "doubled"),
    "the table is not part of the state": (Rules(table_in_state=False), "doubled"),
    "the table has only the highest number": (Rules(table_of_all=False), "lost"),
    "the head is put blindly": (Rules(seal_by_epoch=False, seal_by_head=False), "lost"),
    "the epoch is compared, not the head": (Rules(seal_by_head=False), "lost"),
    "the head is compared, not the epoch": (Rules(seal_by_epoch=False), "stuck"),
    "segments that are overwritten": (Rules(create_only=False, epoch_in_names=False), "lost"),
}

ENOUGH: dict[str, Rules] = {
    "segments that are overwritten have the epoch in their names": Rules(create_only=False),
    "of each number the segment of the highest epoch": Rules(chain=False),
}
"""Rules that may be left out if all others hold: a second guard."""


def explore(model: Model) -> Explored:
    """Every state of a model: it is right, and from it the client gets all its answers."""
    known: set[World] = set()

    def check_all(world: World) -> None:
        check(world)
        if world.leaders and world.leaders[-1].phase != "stopped":
            model.finishes(world, known)
        model.finishes(elect(world), known)

    return Explorer(model.steps, check_all).explore(model.start(), STATES_MAX)


@pytest.mark.parametrize("name", SAFE | SAFE_AT_NIGHT if NIGHTLY else SAFE)
def test_the_order_is_safe_and_live(name: str) -> None:
    explored = explore((SAFE | SAFE_AT_NIGHT)[name])
    print(f"{name}: {explored}")
    assert explored.wrong is None, str(explored)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_rule_is_needed(name: str) -> None:
    rules, kind = MUTANTS[name]
    explored = explore(Model(rules, epochs=2 if rules.seal_by_head or not rules.seal_by_epoch else 1))
    print(f"{name}: {explored.wrong} ({explored.states:,} states)")
    assert explored.wrong is not None
    assert explored.wrong.partition(":")[0] == kind, str(explored)


@pytest.mark.parametrize("name", ENOUGH)
def test_a_second_guard_is_not_needed(name: str) -> None:
    explored = explore(Model(ENOUGH[name], records=1))
    print(f"{name}: {explored}")
    assert explored.wrong is None, str(explored)


def test_every_rule_is_left_out_somewhere() -> None:
    tried = [rules for rules, _ in MUTANTS.values()] + list(ENOUGH.values())
    assert [each.name for each in fields(Rules) if all(getattr(rules, each.name) for rules in tried)] == []
