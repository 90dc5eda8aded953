"""What is outside of a job and outlives it: output that others can see, and runs that crash and begin again."""

from collections.abc import Callable, Mapping, Sequence

import polars as pl

import streame as st
from streame.api.job import write_job
from streame.core.changes import fold
from streame.core.clock import Clock
from streame.core.config import Config
from streame.core.staging import Decided, Outbox, Staged
from streame.io.sink import TransactionalSink
from streame.plan.identity import plan_identity
from streame.plan.lower import lower
from streame.plan.nodes import Write
from streame.plan.optimizer import optimize
from streame.runtime.checkpointing import Durable
from streame.runtime.local import LocalRun
from streame.testing.memory_checkpoints import MemoryCheckpoints

HANGS_AFTER_S = 30.0


class CrashError(Exception):
    """The process has died."""


class Shelf:
    """The output of one sink that others can see, and what is hidden for now."""

    def __init__(self) -> None:
        self.visible: list[pl.DataFrame] = []
        self.hidden: list[pl.DataFrame] = []
        self.marker = 0

    def rows(self, schema: pl.Schema, *, folds: bool) -> pl.DataFrame:
        """What can be seen; of changes what they come to."""
        rows = pl.concat([pl.DataFrame(schema=schema), *self.visible])
        return fold(rows) if folds else rows


class ShelfSink(TransactionalSink):
    """A sink that puts frames on a shelf.

    Args:
        shelf: what outlives it.
    """

    separate = False

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._written: list[pl.DataFrame] = []

    def write(self, frame: pl.DataFrame) -> None:
        self._written.append(frame)

    def join_checkpoints(self, decided: Sequence[Decided], outbox: Outbox) -> None:
        for each in decided:
            self.publish(each)

    def stage(self) -> Staged:
        first = len(self._shelf.hidden)
        self._shelf.hidden += self._written
        self._written = []
        return Staged(list(range(first, len(self._shelf.hidden))))

    def publish(self, decided: Decided) -> None:
        if decided.checkpoint > self._shelf.marker:
            self._shelf.visible += [self._shelf.hidden[number] for number in decided.staged.pieces]
            self._shelf.marker = decided.checkpoint


class World:
    """Runs of one job that crash at checkpoints, and what has come of it."""

    def __init__(self) -> None:
        self.shelves: dict[str, Shelf] = {}
        self.store = MemoryCheckpoints()
        self.runs = 0

    def run(
        self,
        frames: Mapping[str, st.StreamDataFrame],
        *,
        parallelism: int,
        crash_at: Callable[[int], bool] = lambda number: False,
        clock: Clock | None = None,
        optimized: bool = True,
        memory_limit: int | None = None,
        apart: bool = False,
    ) -> bool:
        """Run a job, with checkpoints as fast as it goes, to its end or a crash.

        Args:
            frames: its outputs by name.
            parallelism: instances of every keyed operator.
            crash_at: whether it dies at a moment, see `MemoryCheckpoints`.
            clock: the wall clock.
            optimized: whether the plan is optimized.
            memory_limit: how many bytes keyed state may take in memory.
            apart: whether it is the graph of a cluster, in which several tasks read one source.

        Returns:
            Whether it has come to its end.
        """
        jobs = []
        for name, frame in frames.items():
            shelf = self.shelves.setdefault(name, Shelf())
            jobs.append(write_job(frame.node, lambda shelf=shelf: ShelfSink(shelf), name))  # type: ignore[misc]
        writes: Sequence[Write] = st.job(jobs).writes
        if optimized:
            writes = [node for node in optimize(writes) if isinstance(node, Write)]

        def on_write(number: int) -> None:
            if crash_at(number):
                raise CrashError

        self.runs += 1
        self.store.on_write = on_write
        durable = Durable(self.store, plan_identity(writes), {"parallelism": parallelism})
        config = Config(parallelism=parallelism, checkpoint_interval_us=0, memory_limit=memory_limit)
        run = LocalRun(lower(writes, config, apart=apart), config, clock, durable)
        run.start()
        try:
            assert run.wait(HANGS_AFTER_S), "the job hangs"
        except CrashError:
            return False
        return True
