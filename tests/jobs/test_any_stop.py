"""A job that is stopped, fails, moves to a savepoint or to another parallelism at any record gives what it would have given."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import settings
from hypothesis import strategies as hy
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

import streame as st
from streame.state.checkpoint.savepoints import make_savepoint
from tests.examples import examples
from tests.jobs.test_checkpoints import Feed, expected, output, run_until

PARALLELISM = hy.integers(1, 4)


class Told(Feed):
    """Rows up to a number; then it says so, and fails if it is to."""

    def __init__(self, upto: int, *, ends: bool, fails: bool = False) -> None:
        super().__init__(upto, ends=ends or fails)
        self.reached = threading.Event()
        self._fails = fails

    def read(self, split: str, offset: object) -> Iterator[st.Chunk | None]:
        for chunk in super().read(split, offset):
            if chunk is None:
                self.reached.set()
            yield chunk
        if self._fails:
            raise OSError("the cable was pulled")


class Stops(RuleBasedStateMachine):
    """What may happen to a job of windows, between its first row and its last."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.place = Path(self.folder.name) / "checkpoints 0"
        self.out = Path(self.folder.name) / "out"
        self.begin: Path | None = None
        self.upto = self.moves = 0
        self.has_stopped = False

    @rule(more=hy.integers(1, 60), parallelism=PARALLELISM)
    def stop(self, more: int, parallelism: int) -> None:
        """Some rows more, then a stop."""
        self.upto += more
        feed = Told(self.upto, ends=False)
        run_until(
            self.job(feed),
            lambda _: feed.reached.is_set(),
            checkpoints=self.place,
            parallelism=parallelism,
            savepoint=self.begin,
        )
        self.has_stopped = True

    @rule(more=hy.integers(1, 60), parallelism=PARALLELISM)
    def fail(self, more: int, parallelism: int) -> None:
        """Some rows more, then an error, so that there is no last checkpoint."""
        self.upto += more
        job = self.job(Told(self.upto, ends=False, fails=True))
        with pytest.raises(st.ConnectorError, match="cable"):
            job.run(
                checkpoints=self.place,
                parallelism=parallelism,
                savepoint=self.begin,
                checkpoint_interval="1ms",
            )

    @precondition(
        lambda self: self.has_stopped
    )  # after an error it depends on the time whether there is a checkpoint
    @rule()
    def move(self) -> None:
        """A savepoint; all checkpoints are gone, and the next run begins from it."""
        self.moves += 1
        self.begin = Path(self.folder.name) / f"savepoint {self.moves}"
        make_savepoint(self.place, self.begin)
        shutil.rmtree(self.place)
        self.place = Path(self.folder.name) / f"checkpoints {self.moves}"
        self.has_stopped = False

    def job(self, feed: Feed) -> st.Job:
        stream = st.scan(feed, name="feed", event_time="at")
        grouped = stream.group_by_dynamic("at", every="10s", group_by="user")
        return grouped.agg(n=pl.len(), sum=pl.col("n").sum()).sink_parquet(self.out, name="out")

    def teardown(self) -> None:
        """Run it to its end."""
        with self.folder:
            job = self.job(Told(self.upto, ends=True))
            job.run(checkpoints=self.place, savepoint=self.begin)
            assert output(self.out).equals(expected(self.upto))


TestStops = Stops.TestCase
TestStops.settings = settings(max_examples=examples(25), stateful_step_count=10)
