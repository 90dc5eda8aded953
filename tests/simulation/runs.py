"""One simulation from one seed."""

import traceback
from collections import Counter
from dataclasses import dataclass, field
from random import Random

from streame.testing.simulation.world import World
from tests.simulation.faults import Nemesis, draw
from tests.simulation.plans import PLANS

FAULTS_S = 6.0
END_S = 66.0

APART_FROM = 1_000_000
"""From this seed on all nodes read, each its own splits; below it the leader alone does."""


@dataclass
class Result:
    """What has come out of a seed.

    Args:
        seed: the seed.
        error: what was wrong; empty if nothing was.
        digest: of all that has happened.
        seconds: how long it has taken in its own time.
        steps: how many steps its threads have made.
        counts: how often each rare event has happened.
        lines: what has happened.
    """

    seed: int
    error: str
    digest: str
    seconds: float
    steps: int
    counts: Counter[str] = field(default_factory=Counter)
    lines: list[str] = field(default_factory=list)


def run(seed: int) -> Result:
    """Run a seed."""
    rng = Random(seed)
    plan = rng.choice(PLANS)(rng, FAULTS_S)
    profile = draw(rng, FAULTS_S)
    names = ["red", "green", "blue", "gold"][: rng.choice((2, 3, 4))]
    settings = {
        "checkpoint_interval": rng.choice(("300ms", "600ms", "1s")),
        "parallelism": rng.choice((2, 2, 3)),
    }
    world = World(
        seed, plan, names, is_fenced=rng.random() < 0.5, apart=seed >= APART_FROM, settings=settings
    )
    world.oracle.lines.append(
        f"{type(plan).__name__}, {profile}, {names}, {settings}, fenced={world.is_fenced}, apart={world.apart}"
    )
    error = ""
    try:
        world.run(Nemesis(profile), END_S)
    except Exception as found:
        error = "".join(traceback.format_exception(found))
    oracle = world.oracle
    oracle.counts["messages"] += world.net.messages
    return Result(seed, error, oracle.digest(), world.sim.now, world.sim.steps, oracle.counts, oracle.lines)
