"""What is said about a job that runs."""

from dataclasses import replace

import pytest

import streame as st
from streame.cli.progress import Speed, line, summary


def status(seconds: float, rows: int, state: str = "running", rejected: int = 0) -> st.JobStatus:
    return st.JobStatus("orders", state, seconds, rows, rows, rejected)  # type: ignore[arg-type]


def test_speed_is_that_of_the_last_two_seconds() -> None:
    speed = Speed()
    assert speed.of(status(0, 0)) == 0
    assert speed.of(status(1, 1_000)) == 1_000
    assert speed.of(status(2, 1_000)) == 500
    assert speed.of(status(4, 9_000)) == 4_000
    assert speed.of(status(5, 9_000)) == pytest.approx(8_000 / 3)


def test_speed_begins_again_with_counters_that_do() -> None:
    speed = Speed()
    assert speed.of(status(1, 1_000)) == 1_000
    assert speed.of(status(2, 0)) == 0
    assert speed.of(status(3, 500)) == 250
    assert speed.of(status(3, 100)) == 0
    assert speed.of(status(4, 200)) == 200


def test_lines() -> None:
    assert line(status(3, 1_200), 400).plain == "orders  1,200 rows in, 1,200 out  400 rows/s  3 s"
    stopping = line(status(3, 1, "stopping", 1), 0).plain
    assert (
        stopping
        == "orders  1 rows in, 1 out, 1 rejected  0 rows/s  3 s  stopping: what was read is worked on"
    )
    full = replace(status(3, 1, "degraded"), waits_for="checkpoint 4: No space left on device")
    assert line(full, 0).plain.endswith(
        "  the disk is full: no room for checkpoint 4: No space left on device"
    )
    assert (
        summary(status(2, 10, "finished")).plain == "orders finished: 10 rows in, 10 out in 2.00 s (5 rows/s)"
    )
