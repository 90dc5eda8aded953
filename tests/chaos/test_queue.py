"""What `st.Queue.put` has accepted is in the output once, whenever the process is killed, and at every step of the log."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from streame.core.failpoints import EXIT_CODE, VARIABLE
from tests.chaos.queue_child import PRODUCERS
from tests.services.nursery import nursery

ROOT = Path(__file__).parent.parent.parent
NIGHTLY = bool(os.environ.get("STREAME_NIGHTLY"))
KILLS = 60 if NIGHTLY else 6
ROWS_MAX = 100_000
LAST_ROWS = 50
STEPS = ("W1.write", "W1.after", "W2.after", "W3.after", "W4.after")

pytestmark = pytest.mark.timeout(3600 if NIGHTLY else 300)


class Producer:
    """A process that puts rows until it is killed, or has put all.

    Args:
        folder: where its job writes.
        first: the number of the first row of each producer.
        last: the number behind the last one.
        failpoints: where it ends.
    """

    def __init__(self, folder: Path, first: int, last: int, failpoints: str = "") -> None:
        reading, writing = os.pipe()
        self.process = nursery().start(
            ["tests.chaos.queue_child", str(folder), str(first), str(last), str(writing)],
            stdout=1, stderr=2, env={**os.environ, VARIABLE: failpoints}, pass_fds=[writing],
        )  # fmt: skip
        os.close(writing)
        self._pipe = os.fdopen(reading, "rb")

    def accepted(self) -> Iterator[tuple[int, int]]:
        """What was accepted, as it is said; ends with the process."""
        with self._pipe:
            for line in self._pipe:
                if line.endswith(b"\n"):
                    producer, number = json.loads(line)
                    yield producer, number


def assert_all_is_there(folder: Path, accepted: set[tuple[int, int]]) -> None:
    """No row that was accepted is lost, and none is doubled or out of order, in any sink."""
    lines = pl.read_ndjson(folder / "rows.ndjson")
    for rows in (lines, pl.read_parquet(folder / "parts" / "part-*.parquet")):
        found = rows.rows()
        assert len(set(found)) == len(found), "a row is doubled"
        assert not (accepted - set(found)), "an accepted row is lost"
        for producer_number in range(PRODUCERS):
            numbers = rows.filter(producer=producer_number)["n"]
            assert numbers.is_sorted(), "the rows of a producer are out of order"
    counts = pl.read_ndjson(folder / "counts.ndjson").group_by("producer", "n").agg(pl.col("_diff").sum())
    held = counts.filter(pl.col("_diff") != 0).select("producer", "n").sort("producer")
    assert held.rows() == lines.group_by("producer").len("n").sort("producer").rows()


def test_every_row_that_was_accepted_is_in_the_output_once(tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    accepted: set[tuple[int, int]] = set()
    for first in range(0, KILLS * ROWS_MAX, ROWS_MAX):
        producer, wanted = Producer(tmp_path, first, first + ROWS_MAX), int(random.integers(1, 400))
        for count, row in enumerate(producer.accepted(), start=1):
            accepted.add(row)
            if count == wanted:
                producer.process.kill()
        assert producer.process.wait() == -signal.SIGKILL
    last = Producer(tmp_path, KILLS * ROWS_MAX, KILLS * ROWS_MAX + LAST_ROWS)
    accepted |= set(last.accepted())
    assert last.process.wait() == 0
    assert_all_is_there(tmp_path, accepted)


@pytest.mark.parametrize(("step", "action"), [*((step, "exit") for step in STEPS), ("W1.write", "torn")])
def test_a_process_that_ends_at_a_step_of_the_log_loses_nothing(
    tmp_path: Path, seed: int, step: str, action: str
) -> None:
    random = np.random.default_rng(seed)
    accepted: set[tuple[int, int]] = set()
    later = int(random.integers(2, 60))
    for first, nth in ((0, later), (ROWS_MAX, 1)):
        producer = Producer(tmp_path, first, first + ROWS_MAX, f"{step}:{action}:{nth}")
        accepted |= set(producer.accepted())
        assert producer.process.wait() == EXIT_CODE
    assert accepted, "nothing was put before the process has ended"
    last = Producer(tmp_path, 2 * ROWS_MAX, 2 * ROWS_MAX + LAST_ROWS)
    accepted |= set(last.accepted())
    assert last.process.wait() == 0
    assert_all_is_there(tmp_path, accepted)
