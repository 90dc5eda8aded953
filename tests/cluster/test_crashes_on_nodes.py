"""Random plans on several nodes that crash at random checkpoints, and go on with other nodes, give what Polars gives.

`STREAME_EXAMPLES=10` runs ten times as many.
"""

import json
from pathlib import Path
from random import Random
from time import monotonic

import polars as pl
import pytest

import streame as st
from streame.api.job import write_job
from streame.plan.nodes import Write
from streame.plan.optimizer import optimize
from streame.runtime.local import LocalRun
from streame.testing.memory_checkpoints import MemoryCheckpoints
from tests.cluster.test_plans_on_nodes import some_slots
from tests.cluster.together import run_together
from tests.durability.world import CrashError, Shelf, ShelfSink
from tests.examples import FACTOR
from tests.plans.generator import plan
from tests.plans.prelude import difference

PLANS = 100
CHUNK = 50

pytestmark = pytest.mark.timeout(600)


def writes_of(stream: st.StreamDataFrame, shelf: Shelf) -> list[Write]:
    job = st.job([write_job(stream.node, lambda: ShelfSink(shelf), "out")])
    return [node for node in optimize(job.writes) if isinstance(node, Write)]


def rows_of(stream: st.StreamDataFrame, random: Random) -> tuple[pl.DataFrame, str]:
    """What becomes visible of a job that crashes up to three times, and how it went."""
    store, shelf, story, ended = MemoryCheckpoints(), Shelf(), "", False
    writes = writes_of(stream, shelf)
    crashes = random.choice((0, 1, 1, 2, 3))
    while not ended:
        slots = some_slots(random)
        last = store.number + random.choice((1, 1, 2, 3, 5))
        moment = random.choice((last, -last)) if crashes else 0
        crashes -= 1
        story += f"; slots {slots} until {moment or 'the end'}"

        def on_write(number: int, moment: int = moment) -> None:
            if number == moment:
                raise CrashError

        store.on_write = on_write
        try:
            run_together(writes, slots, store=store)
            ended = True
        except CrashError:
            pass
    schema = pl.Schema({**stream.schema, **({"_diff": pl.Int64()} if stream.node.is_changes else {})})
    return shelf.rows(schema, folds=stream.node.is_changes), story


@pytest.mark.parametrize("chunk", range(max(1, int(PLANS * FACTOR) // CHUNK)))
def test_plans_whose_nodes_crash_give_what_polars_gives(chunk: int, seed: int) -> None:
    for number in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        one, stream, expected = plan(seed + number)
        story = ""
        try:
            found, story = rows_of(stream, Random(seed + number))
            differs = difference(found, expected)
        except Exception as error:
            raise AssertionError(f"seed {seed + number}{story}\n{one.script('')}") from error
        assert not differs, f"seed {seed + number}{story}: {differs}\n\n{one.script('')}"


def lines(*values: int) -> str:
    return "".join(json.dumps({"a": value}) + "\n" for value in values)


@pytest.mark.parametrize("stops", [[[1, 2], [1, 1, 2], [0, 0]]])
def test_what_is_read_by_other_nodes_is_in_the_last_checkpoint_or_read_again(
    stops: list[list[int]], tmp_path: Path
) -> None:
    folder, store, shelf = tmp_path / "in", MemoryCheckpoints(), Shelf()
    folder.mkdir()
    stream = st.scan_ndjson(folder, {"a": pl.Int64}, follow=True)
    value = 0
    for round_number, slots in enumerate(stops):
        for number in range(8):
            with (folder / f"{round_number}-{number}.ndjson").open("w") as file:
                file.write(lines(value, value + 1))
            with (folder / f"0-{number}.ndjson").open("a") as file:
                file.write(lines(value + 2))
            value += 3

        def some_came(run: LocalRun, wanted: int = value - 10) -> None:
            began = monotonic()
            while len(seen(shelf)) < wanted and monotonic() - began < 20:
                run.wait(0.02)

        run_together(writes_of(stream, shelf), slots, store=store, wait=some_came)
        assert len(set(seen(shelf))) == len(seen(shelf)), "no row came twice"

    def all_came(run: LocalRun) -> None:
        began = monotonic()
        while len(seen(shelf)) < value and monotonic() - began < 20:
            run.wait(0.02)

    run_together(writes_of(stream, shelf), [1, 2, 3], store=store, wait=all_came)
    assert seen(shelf) == list(range(value))


def seen(shelf: Shelf) -> list[int]:
    return sorted(shelf.rows(pl.Schema({"a": pl.Int64}), folds=False)["a"].to_list())
