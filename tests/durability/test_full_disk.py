"""The disk of a job that runs becomes full: it waits, says so once, and goes on by itself when there is room."""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

import streame as st
from tests.jobs.fakes import HANG_S
from tests.jobs.test_checkpoints import Feed, output, rows

BLOCK = 4096


class Ballast:
    """A file that takes room on a disk.

    Args:
        place: the disk.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        self._file = place / "ballast"

    def fill(self, used: float) -> None:
        """Let at least so much of the disk be used, from 0 to 1."""
        with self._file.open("ab", buffering=0) as file:
            while self._room(used):
                file.write(bytes(BLOCK))

    def remove(self) -> None:
        self._file.unlink()

    def _room(self, used: float) -> bool:
        found = os.statvfs(self._place)
        return found.f_bavail > (1 - used) * found.f_blocks


def until(handle: st.JobHandle, reached: Callable[[st.JobStatus], bool]) -> st.JobStatus:
    """Wait until a job has come so far."""
    while not reached(status := handle.status()):
        handle.wait(timeout=0.01)
        assert handle.status().seconds < HANG_S, status
    return status


class Steps(Feed):
    """Rows up to a number, which is raised by the test; then the end."""

    def __init__(self) -> None:
        super().__init__(0, ends=False)

    def go_on(self, upto: int, *, ends: bool = False) -> None:
        self._upto = upto
        self.bounded = ends

    def read(self, split: str, offset: object) -> Iterator[st.Chunk | None]:
        at = int(str(offset or 0))
        while at < self._upto or not self.bounded:
            stop = min(at + 7, self._upto)
            yield st.Chunk(rows(at, stop), stop) if at < stop else None
            at = stop


def said(caplog: pytest.LogCaptureFixture, level: int, part: str) -> int:
    """How often something was logged."""
    found = [each for each in caplog.records if each.name == "streame" and each.levelno == level]
    return sum(part in each.getMessage() for each in found)


def test_a_job_waits_for_room_says_so_once_and_goes_on(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "streame")
    source, ballast = Steps(), Ballast(small_disk)
    stream = st.scan(source, name="feed", event_time="at")
    grouped = stream.group_by_dynamic("at", every="10s", group_by="user").agg(
        n=pl.len(), sum=pl.col("n").sum()
    )
    job = grouped.sink_parquet(small_disk / "out", name="out")
    handle = job.start(checkpoints=small_disk / "checkpoints", checkpoint_interval="10ms")
    source.go_on(103)
    until(handle, lambda status: status.rows_in == 103 and bool(status.checkpoint))
    assert not caplog.records

    ballast.fill(1)
    source.go_on(200)
    status = until(handle, lambda status: status.state == "degraded")
    assert status.waits_for is not None
    assert "No space left on device" in status.waits_for
    assert said(caplog, logging.WARNING, "there is no room for") == 1
    source.go_on(300, ends=True)

    ballast.remove()
    assert handle.wait(HANG_S)
    status = handle.status()
    assert (status.state, status.waits_for, status.rows_in) == ("finished", None, 300)
    wanted = rows(0, 300).lazy().group_by_dynamic("at", every="10s", group_by="user")
    found = wanted.agg(n=pl.len(), sum=pl.col("n").sum()).select("at", "user", "n", "sum").sort("at", "user")
    assert output(small_disk / "out").equals(found.collect())
    assert said(caplog, logging.WARNING, "there is no room for") == 1
    assert said(caplog, logging.INFO, "there is room again for") == 1


def test_a_disk_that_fills_up_is_told_of_once_for_each_mark(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source, ballast = Steps(), Ballast(small_disk)
    stream = st.scan(source, name="feed", event_time="at")
    job = stream.sink_csv(small_disk / "out.csv")
    with job.start(checkpoints=small_disk / "checkpoints", checkpoint_interval="1ms") as handle:
        upto = 0

        def checkpoints(count: int) -> None:
            """Let so many be made."""
            nonlocal upto
            for _ in range(count):
                before = handle.status().checkpoint or 0
                upto += 7
                source.go_on(upto)
                until(handle, lambda status: (status.checkpoint or 0) > before)  # noqa: B023

        checkpoints(3)
        assert not caplog.records
        ballast.fill(0.82)
        checkpoints(4)
        assert said(caplog, logging.WARNING, f"the disk of {small_disk / 'checkpoints'} fills up") == 1
        assert not said(caplog, logging.ERROR, "")
        ballast.fill(0.96)
        checkpoints(4)
        assert said(caplog, logging.ERROR, "is nearly full") == 1
        assert len(caplog.records) == 2
        ballast.remove()
        checkpoints(3)
        ballast.fill(0.82)
        checkpoints(3)
        assert said(caplog, logging.WARNING, "fills up") == 2


def test_rows_that_are_put_while_the_disk_is_full_are_not_accepted(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    items, ballast = st.Queue(), Ballast(small_disk)
    job = st.scan_queue(items, {"n": pl.Int64}).sink_csv(small_disk / "out.csv")
    with job.start(checkpoints=small_disk / "checkpoints", checkpoint_interval="1h") as handle:
        items.put({"n": 1})
        ballast.fill(1)
        accepted = [1]

        def put_on() -> None:
            for number in range(2, 10**6):
                items.put({"n": number})
                accepted.append(number)

        with pytest.raises(st.NotAccepted, match="No space left on device"):
            put_on()
        assert handle.status().state == "degraded"
        assert said(caplog, logging.WARNING, "there is no room for rows of a source") == 1
        ballast.remove()
        until(handle, lambda status: status.state == "running")
        items.put({"n": 0})
        items.close()
        assert handle.wait(HANG_S)
    assert pl.read_csv(small_disk / "out.csv")["n"].to_list() == [*accepted, 0]
