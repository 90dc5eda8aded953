"""The order of writes of a cluster is safe and live, and it is known which of its rules are needed."""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import fields

import pytest

from tests.model.cluster_checkpoints import Model, alone
from tests.model.cluster_world import Faults, Rules, World, check
from tests.model.explorer import Explored, Explorer

NIGHTLY = bool(os.environ.get("STREAME_NIGHTLY"))

pytestmark = pytest.mark.timeout(1800 if NIGHTLY else 120)

STATES_MAX = 20_000_000

DURABLE = World._fields.index("flying")
"""The fields of a world before this one are all that a new leader finds."""

ONE_OF_EACH = Faults(stuck=1, lost=1)

SAFE: dict[str, Model] = {
    "3 records, 3 epochs": Model(),
    "one of each fault": Model(records=2, epochs=2, faults=ONE_OF_EACH),
    "a sink that checks": Model(Rules(sink="checked"), records=2, epochs=2, faults=ONE_OF_EACH),
    "litter, and cut channels": Model(records=2, epochs=2, faults=Faults(cut=1), reduce=False),
    "records that are gone": Model(records=2, epochs=2, faults=Faults(dropped=1)),
}

SAFE_AT_NIGHT: dict[str, Model] = {
    "3 records, 3 epochs, one of each fault": Model(faults=ONE_OF_EACH),
    "4 records, 4 epochs": Model(records=4, epochs=4, faults=Faults(lost=1)),
    "3 records, 3 epochs, a sink that checks": Model(Rules(sink="checked"), faults=ONE_OF_EACH),
    "litter of everybody": Model(reduce=False),
}

MUTANTS: dict[str, tuple[Rules, str]] = {
    "the pointer is put blindly": (Rules(decide_by_epoch=False, decide_by_pointer=False), "doubled"),
    "the epoch is compared, not the pointer": (Rules(decide_by_pointer=False), "acknowledged"),
    "no fence": (Rules(fence=False), "doubled"),
    "the fence after the marker": (Rules(fence_before_marker=False), "doubled"),
    "a second fence without the marker": (Rules(marker_after_every_fence=False), "doubled"),
    "names that are overwritten": (Rules(create_only=False, attempt_in_names=False), "state"),
    "names without the attempt": (Rules(attempt_in_names=False), "stuck"),
    "a worker takes frames of any attempt": (Rules(worker_checks_attempt=False), "state"),
    "the leader takes acknowledgements of any attempt": (Rules(leader_checks_attempt=False), "doubled"),
    "publish before decide": (Rules(decide_before_publish=False), "doubled"),
    "no look at the marker": (Rules(check_marker=False), "doubled"),
    "no look at the marker in the transaction": (Rules("checked", check_marker=False), "doubled"),
    "no look at the sequence of frames": (Rules(check_sequence=False), "state"),
    "acknowledge before decide": (Rules(decide_before_acknowledge=False), "acknowledged"),
    "no acknowledgement at a takeover": (Rules(acknowledge_at_takeover=False), "kept"),
    "go on from the source's own offset": (
        Rules(offset_of_manifest=False, acknowledge_at_takeover=False),
        "state",
    ),
    "go on behind a lost offset": (Rules(stop_at_lost_offset=False), "state"),
    "delete what is not known": (Rules(garbage_is_older=False, garbage_is_below=False), "deleted"),
    "delete what only an older checkpoint has written": (Rules(referenced_is_no_garbage=False), "deleted"),
}
"""The rules that are left out, and the kind of what goes wrong then."""

ENOUGH: dict[str, Rules] = {
    "the pointer is compared, not the epoch": Rules(decide_by_epoch=False),
    "the epoch is compared, not the pointer, and no decision is sent twice": Rules(
        decide_by_pointer=False, retry_unknown_decision=False
    ),
    "names that are overwritten carry the attempt": Rules(create_only=False),
    "a sink that checks has no epoch in its row": Rules("checked", epoch_in_row=False),
    "an attempt needs no look at the epoch": Rules(attempt_by_epoch=False),
    "garbage by the number of the checkpoint alone": Rules(garbage_is_older=False),
    "garbage by the attempt alone": Rules(garbage_is_below=False),
}
"""Rules that may be left out if all others hold: a second guard."""


SOMETIMES: dict[str, Callable[[World], bool]] = {
    "an old leader publishes": lambda world: any(
        leader.phase == "publish" and leader.holds and world.marker < leader.view.checkpoint
        for leader in world.leaders[:-1]
    ),
    "an old leader takes the sink from the newest one": lambda world: any(
        leader.holds and world.leaders[-1].phase == "publish" for leader in world.leaders[:-1]
    ),
    "a leader finds what is decided and not published": lambda world: any(
        leader.phase == "publish" and not leader.number for leader in world.leaders
    ),
    "a decision without an answer was carried out": lambda world: (
        not world.faults.stuck
        and world.pointer.checkpoint > 0
        and any(
            leader.phase == "reread" and leader.view.checkpoint < world.pointer.checkpoint
            for leader in world.leaders
        )
    ),
    "a leader has a second attempt": lambda world: any(leader.number == 2 for leader in world.leaders),
}


def explore(model: Model, seen: Counter[str] | None = None) -> Explored:
    """Every state of a model: it is right, and from it the job can be brought to its end."""
    known: set[World] = set()
    left: set[tuple[object, ...]] = set()

    def check_all(world: World) -> None:
        check(world)
        if seen is not None:
            seen.update(name for name, holds in SOMETIMES.items() if holds(world))
        if model.faults.dropped:
            return  # without its records a job ends
        if world.leaders and world.leaders[-1].phase not in {"stopped", "done"}:
            model.finishes(alone(world), known)
        if (durable := (*world[:DURABLE], len(world.leaders))) not in left:
            left.add(durable)
            model.finishes(alone(model.elect(world)), known)

    return Explorer(model.steps, check_all).explore(model.start(), STATES_MAX)


def small(rules: Rules) -> Model:
    """The faults that a rule is for, and one of the usual ones."""
    if not rules.decide_by_pointer and rules.decide_by_epoch:
        return Model(rules, records=2, epochs=1, faults=Faults(stuck=1))
    cut, dropped = int(not rules.check_sequence), int(not rules.stop_at_lost_offset)
    return Model(rules, records=2, epochs=2, faults=Faults(1, cut, 1, dropped))


def test_the_order_is_safe_and_live() -> None:
    seen: Counter[str] = Counter()
    for name, model in (SAFE | SAFE_AT_NIGHT if NIGHTLY else SAFE).items():
        explored = explore(model, seen)
        print(f"{name}: {explored}")
        assert explored.wrong is None, str(explored)
    assert seen.keys() == SOMETIMES.keys(), "the model is not as bad as the world"


@pytest.mark.parametrize("name", MUTANTS)
def test_a_rule_is_needed(name: str) -> None:
    rules, kind = MUTANTS[name]
    explored = explore(small(rules))
    print(f"{name}: {explored.wrong} ({explored.states:,} states)")
    assert explored.wrong is not None
    assert explored.wrong.partition(":")[0] == kind, str(explored)


@pytest.mark.parametrize("name", ENOUGH)
def test_a_second_guard_is_not_needed(name: str) -> None:
    rules = ENOUGH[name]
    epochs, stuck = (2, 1) if NIGHTLY else (2, 0) if rules.retry_unknown_decision else (1, 1)
    explored = explore(Model(rules, records=2, epochs=epochs, faults=Faults(stuck)))
    print(f"{name}: {explored}")
    assert explored.wrong is None, str(explored)


def test_every_rule_is_left_out_somewhere() -> None:
    tried = [rules for rules, _ in MUTANTS.values()] + list(ENOUGH.values())
    never = [each.name for each in fields(Rules) if not any(_is_off(rules, each.name) for rules in tried)]
    assert never == []


def _is_off(rules: Rules, name: str) -> bool:
    return bool(getattr(rules, name) != getattr(Rules(), name))


def test_worlds_that_count_as_one_show_the_same() -> None:
    def shown(*, reduce: bool) -> set[tuple[object, ...]]:
        seen: set[tuple[object, ...]] = set()
        model = Model(records=2, epochs=2, faults=Faults(stuck=int(NIGHTLY)), reduce=reduce)

        def check_and_see(world: World) -> None:
            check(world)
            seen.add((world.pointer, world.rows, world.marker, world.acknowledged, len(world.leaders)))

        assert Explorer(model.steps, check_and_see).explore(model.start(), STATES_MAX).wrong is None
        return seen

    assert shown(reduce=True) == shown(reduce=False)
