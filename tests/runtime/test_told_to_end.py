"""A run that is told to end before it has started, as it happens to a node of a cluster whose attempt is over soon."""

from collections.abc import Callable

import polars as pl
import pytest

import streame as st
from streame.api.job import write_job
from streame.core.config import Config
from streame.plan.identity import plan_identity
from streame.plan.lower import lower
from streame.runtime.checkpointing import Durable
from streame.runtime.local import LocalRun
from streame.testing.memory_checkpoints import MemoryCheckpoints
from tests.durability.world import Shelf, ShelfSink

WAIT_S = 5.0
ROWS = pl.DataFrame({"n": range(100)})


def run_of(store: MemoryCheckpoints, shelf: Shelf) -> LocalRun:
    rows = st.scan_frames([ROWS], name="rows")
    writes = st.job([write_job(rows.node, lambda: ShelfSink(shelf), "out")]).writes
    config = Config(parallelism=1, checkpoint_interval_us=0)
    return LocalRun(lower(writes, config), config, durable=Durable(store, plan_identity(writes), {}))


def test_a_run_that_was_stopped_before_it_had_started_took_its_sources_for_ended() -> None:
    store, shelf = MemoryCheckpoints(), Shelf()
    stopped = run_of(store, shelf)
    stopped.stop()
    stopped.start()
    assert stopped.wait(WAIT_S)
    again = run_of(store, shelf)
    again.start()
    assert again.wait(WAIT_S)
    assert shelf.rows(ROWS.schema, folds=False).equals(ROWS)


@pytest.mark.parametrize("first", [LocalRun.stop, lambda run: None])
def test_a_run_that_failed_before_it_had_started_hung(first: Callable[[LocalRun], None]) -> None:
    failed = run_of(MemoryCheckpoints(), Shelf())
    first(failed)
    failed.abandon(ConnectionError("the other node is gone"))
    failed.start()
    with pytest.raises(ConnectionError, match="is gone"):
        failed.wait(WAIT_S)
