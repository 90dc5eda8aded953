"""Random plans that crash at random checkpoints, and go on with another parallelism, give what Polars gives.

`STREAME_EXAMPLES=10` runs ten times as many.
"""

from functools import partial
from operator import eq
from random import Random

import polars as pl
import pytest
from polars.exceptions import PanicException

import streame as st
from tests.durability.world import World
from tests.examples import FACTOR
from tests.plans import prelude
from tests.plans.generator import plan

PLANS = 500
CHUNK = 50

pytestmark = pytest.mark.timeout(600)


def rows_of(stream: st.StreamDataFrame, random: Random) -> tuple[pl.DataFrame, str]:
    """What becomes visible of a job that crashes up to three times, and how it went."""
    world, story, ended = World(), "", False
    crashes = random.choice((1, 1, 2, 3))
    while not ended:
        parallelism = random.choice((1, 2, 3, 4))
        last = world.store.number + random.choice((1, 1, 2, 3, 5))
        moment = random.choice((last, -last)) if crashes else 0
        crashes -= 1
        memory_limit = random.choice((None, None, 1, 1, 30_000))
        apart = random.random() < 0.5
        graph = "of a cluster" if apart else "of one process"
        story += f"; parallelism {parallelism} {graph}, memory {memory_limit} until {moment or 'the end'}"
        ended = world.run(
            {"out": stream},
            parallelism=parallelism,
            crash_at=partial(eq, moment),
            memory_limit=memory_limit,
            apart=apart,
        )
    (shelf,) = world.shelves.values()
    schema = pl.Schema({**stream.schema, **({"_diff": pl.Int64()} if stream.node.is_changes else {})})
    return shelf.rows(schema, folds=stream.node.is_changes), story


@pytest.mark.parametrize("chunk", range(max(1, int(PLANS * FACTOR) // CHUNK)))
def test_plans_that_crash_give_what_polars_gives(chunk: int, seed: int) -> None:
    for number in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        one, stream, expected = plan(seed + number)
        story = ""
        try:
            found, story = rows_of(stream, Random(seed + number))
            differs = prelude.difference(found, expected)
        except (Exception, PanicException) as error:
            raise AssertionError(f"seed {seed + number}{story}\n{one.script('')}") from error
        assert not differs, f"seed {seed + number}{story}: {differs}\n\n{one.script('')}"
