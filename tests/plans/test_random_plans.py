"""A thousand random plans give what Polars gives; one that does not is made small and printed as a script.

`STREAME_EXAMPLES=10` runs ten times as many. `python -m tests.plans 12345` prints the script of a seed.
"""

from collections import Counter

import pytest

from tests.examples import FACTOR
from tests.plans.generator import VERBS, plan, refused
from tests.plans.model import Step
from tests.plans.running import failure_of
from tests.plans.shrinking import shrunk

PLANS = 1_000
CHUNK = 100

pytestmark = pytest.mark.timeout(600)

drawn: Counter[str] = Counter()


@pytest.mark.parametrize("chunk", range(max(1, int(PLANS * FACTOR) // CHUNK)))
def test_random_plans_give_what_polars_gives(chunk: int, seed: int) -> None:
    for number in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        one, stream, expected = plan(seed + number)
        drawn.update({part.verb for part in one.parts if isinstance(part, Step)})
        found = failure_of(stream, expected, one)
        if found is not None:
            smallest, how = shrunk(one, found)
            comment = f"Seed {seed + number}: {how.text}"
            pytest.fail(f"seed {seed + number}: {how.text}\n\n{smallest.script(comment)}", pytrace=False)


def test_every_verb_is_drawn() -> None:
    """A verb that is refused, or that Polars cannot answer, each time it is drawn would be tested by nobody."""
    if drawn.total() < 1_000:
        pytest.skip("few plans have run")
    assert not refused, refused
    assert {verb.__name__ for verb in VERBS} <= drawn.keys()
