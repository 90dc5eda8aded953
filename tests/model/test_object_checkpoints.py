"""The order of writes on an object store is safe and live, and each of its rules is needed."""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import fields

import pytest

from tests.model.explorer import Explored, Explorer, Wrong
from tests.model.object_checkpoints import Model
from tests.model.object_world import Owner, Rules, World, check

BOUNDS: dict[str, list[tuple[int, int, int]]] = {
    "seconds": [(1, 2, 1), (2, 2, 0)],
    "minutes": [(2, 2, 1)],
    "hours": [(1, 3, 0), (3, 2, 1), (2, 2, 2), (2, 3, 0), (1, 3, 1)],
}
"""Records, owners and requests without an answer."""

STATES_MAX = 20_000_000

BOUND = BOUNDS[os.environ.get("STREAME_MODEL_BOUND", "seconds")]

SECOND_GUARDS = {"epoch_in_names"}
"""Rules of which the model shows that the others do without them."""

SOMETIMES: dict[str, Callable[[World], bool]] = {
    "a manifest comes back after it was removed": lambda world: any(
        manifest != world.history[checkpoint - 1] for checkpoint, manifest in world.manifests
    ),
    "an old owner publishes what a newer one has published": lambda world: any(
        owner.phase == "send" and owner.request is not None and owner.request.name == world.marker
        for owner in world.owners
    ),
    "an old owner is the faster one while a newer one closes": lambda world: any(
        owner.phase == "put"
        and owner.then == "look_at_claim"
        and owner.request is not None
        and any(
            number == owner.request.name and manifest.epoch < owner.epoch
            for number, manifest in world.manifests
        )
        for owner in world.owners
    ),
    "a request without an answer was carried out": lambda world: any(
        owner.phase == "back"
        and owner.request is not None
        and (owner.request.name, owner.request.content) in world.manifests
        for owner in world.owners
    ),
    "two owners are at work": lambda world: sum(bool(owner.owns) for owner in world.owners) == 2,
    "an old owner stops": lambda world: any(owner.phase == "stop" for owner in world.owners),
}


def explore(model: Model, seen: Counter[str] | None = None) -> Explored:
    """Every state of a model: it is right, and from it the job can be brought to its end."""
    known: set[World] = set()

    def check_all(world: World) -> None:
        check(world)
        newest = max(world.owners, key=lambda owner: owner.epoch)
        if newest.phase not in {"stopped", "done", "idle"} and newest.epoch == len(world.epochs):
            model.finishes(world, world.owners.index(newest), known)
        model.finishes(world._replace(owners=(Owner(),)), 0, known)
        if seen is not None:
            seen.update(name for name, holds in SOMETIMES.items() if holds(world))

    return Explorer(model.steps, check_all).explore(model.start(), STATES_MAX)


def test_the_order_is_safe_and_live() -> None:
    seen: Counter[str] = Counter()
    for records, owners, stuck in BOUND:
        explored = explore(Model(records=records, owners=owners, stuck=stuck), seen)
        print(f"{records} records, {owners} owners, {stuck} lost requests: {explored}")
        assert explored.wrong is None, str(explored)
    assert seen.keys() == SOMETIMES.keys(), "the model is not as bad as the world"


@pytest.mark.parametrize("rule", [each.name for each in fields(Rules) if each.name not in SECOND_GUARDS])
def test_each_rule_is_needed(rule: str) -> None:
    explored = explore(Model(Rules(**{rule: False}), records=2, owners=2, stuck=1))
    print(f"without {rule}: {explored}")
    assert explored.wrong is not None


@pytest.mark.parametrize("rule", sorted(SECOND_GUARDS))
def test_a_second_guard_is_not_needed(rule: str) -> None:
    explored = explore(Model(Rules(**{rule: False}), records=2, owners=2, stuck=0))
    assert explored.wrong is None, str(explored)


def test_the_explorer_finds_the_shortest_way() -> None:
    def check(number: int) -> None:
        if number == 12:
            raise Wrong("it is twelve")

    explorer = Explorer(lambda number: [("double", number * 2), ("one more", number + 1)], check)
    explored = explorer.explore(1, 1000)
    assert explored.wrong == "it is twelve"
    assert explored.trace == ("double", "one more", "double", "double")
    assert Explorer(lambda number: [("next", (number + 1) % 5)], check).explore(0, 10) == Explored(5, None)
