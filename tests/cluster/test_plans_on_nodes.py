"""Random plans whose tasks are on several nodes give what Polars gives: every kind of row goes over the wire.

`STREAME_EXAMPLES=10` runs ten times as many.
"""

from random import Random

import polars as pl
import pytest

import streame as st
from streame.io.memory import MemorySink
from streame.plan.nodes import Write
from streame.plan.optimizer import optimize
from tests.cluster.together import run_together
from tests.examples import FACTOR
from tests.plans.generator import plan
from tests.plans.prelude import difference

PLANS = 200
CHUNK = 50

pytestmark = pytest.mark.timeout(600)


def rows_of(stream: st.StreamDataFrame, slots: list[int]) -> pl.DataFrame:
    sink = MemorySink(folds=stream.node.is_changes)
    written = optimize((Write(stream.node, lambda: sink, "out"),))
    run_together([node for node in written if isinstance(node, Write)], slots)
    return sink.frame()


def some_slots(random: Random) -> list[int]:
    """Where the instances are: mostly not on the leader."""
    nodes, least = random.choice((2, 3, 3, 4)), random.choice((0, 1, 1, 1))
    return [random.randrange(least, nodes) for _ in range(random.choice((2, 2, 3, 4, 7)))]


@pytest.mark.parametrize("chunk", range(max(1, int(PLANS * FACTOR) // CHUNK)))
def test_plans_on_several_nodes_give_what_polars_gives(chunk: int, seed: int) -> None:
    for number in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        one, stream, expected = plan(seed + number)
        slots = some_slots(Random(seed + number))
        try:
            differs = difference(rows_of(stream, slots), expected)
        except Exception as error:
            raise AssertionError(f"seed {seed + number}, slots {slots}\n{one.script('')}") from error
        assert not differs, f"seed {seed + number}, slots {slots}: {differs}\n\n{one.script('')}"
