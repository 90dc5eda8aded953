"""Isolation writes down which rows are at work before they are, and nothing when all is well."""

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import polars as pl
import pytest

from streame.errors import CheckpointError
from streame.io.source import Chunk
from streame.runtime.isolation import Isolation, Leave
from streame.state.checkpoint.attempt import CRASHES_MAX, FIRST_ALLOWANCE, Attempt, Portion
from streame.state.checkpoint.attempt_file import ATTEMPT, AttemptFile
from streame.state.checkpoint.sealed import seal
from tests.storage.memory_disk import MemoryDisk, RecordedDisk
from tests.storage.power_cut import Power

NO_REFUSALS = {"a": None, "b": None}


def chunk(rows: int) -> Chunk:
    return Chunk(pl.DataFrame({"n": np.arange(rows)}), rows)


def started(
    disk: Any,
    checkpoint: int = 0,
    crashes: int = 0,
    used_up: Callable[[], None] = lambda: None,
    held_back: Callable[[], Collection[str]] = tuple,
) -> Isolation:
    """A process, after so many that died."""
    for _ in range(crashes):
        Isolation(AttemptFile(disk, "dir"), checkpoint, NO_REFUSALS)
    isolation = Isolation(AttemptFile(disk, "dir"), checkpoint, NO_REFUSALS)
    isolation.begin(used_up, held_back)
    return isolation


def written(disk: Any) -> Attempt:
    attempt = AttemptFile(disk, "dir").read()
    assert attempt is not None
    return attempt


def test_a_healthy_run_writes_once() -> None:
    disk = RecordedDisk(MemoryDisk())
    isolation = started(disk)
    before = len(disk.log)
    for number in range(1, 5):
        assert isolation.leave("a", "s", chunk(100)) == Leave(100)
        isolation.gone_on()
        isolation.close()
        isolation.decided(number, calm=False)
    assert len(disk.log) == before
    isolation.ended()
    assert disk.log[before:] == [("remove", ATTEMPT, None)]


def test_rows_are_written_down_before_they_have_leave_and_so_few_go_at_once() -> None:
    disk, used_up = MemoryDisk(), list[int]()
    isolation = started(disk, 4, CRASHES_MAX, used_up=lambda: used_up.append(1))
    assert isolation.leave("a", "s", chunk(3_000)) == Leave(3_000)
    assert written(disk).in_flight == (Portion("a", "s", 3_000),)
    isolation.gone_on()
    assert not used_up
    assert isolation.leave("b", "s", chunk(3_000)) == Leave(FIRST_ALLOWANCE - 3_000)
    isolation.gone_on()
    assert used_up
    assert isolation.leave("a", "s", chunk(1)) == Leave()
    isolation.close()
    assert isolation.decided(5, calm=False)
    assert isolation.leave("a", "s", chunk(1)) == Leave(1)
    assert (written(disk).checkpoint, written(disk).in_flight) == (5, (Portion("a", "s", 1),))


def test_nothing_goes_on_between_a_barrier_and_the_decision() -> None:
    isolation = started(MemoryDisk(), 4, CRASHES_MAX)
    assert isolation.leave("a", "s", chunk(10)) == Leave(10)
    isolation.close()
    assert isolation.leave("a", "s", chunk(10)) == Leave()


def test_a_round_of_small_chunks_costs_few_writes() -> None:
    disk = RecordedDisk(MemoryDisk())
    isolation = started(disk, 4, CRASHES_MAX)
    before, given = len(disk.log), 0
    while isolation.leave("a", "s", chunk(1)).rows:
        given += 1
    assert given == FIRST_ALLOWANCE
    assert len(disk.log) - before < 4 * 15


def test_rows_that_were_noted_and_not_let_out_are_still_suspects() -> None:
    disk = MemoryDisk()
    isolation = started(disk, 4, CRASHES_MAX)
    isolation.leave("a", "s", chunk(3_000))
    assert started(disk, 4).leave("a", "s", chunk(10)) == Leave(10)
    isolation = started(disk, 4)  # the rows are 10 of 3,000 suspects now
    assert written(disk).suspects == (Portion("a", "s", 10),)
    isolation.leave("a", "s", chunk(1))
    isolation.close()
    isolation.decided(5, calm=False)
    isolation.leave("a", "s", chunk(1))
    assert written(disk).suspects == (Portion("a", "s", 9),)


def test_rows_that_wait_for_a_table_are_not_let_out_with_it() -> None:
    held = {"a"}
    isolation = started(MemoryDisk(), 0, CRASHES_MAX, held_back=lambda: held)
    assert isolation.leave("a", "s", chunk(10)) == Leave()
    assert isolation.leave("b", "s", chunk(FIRST_ALLOWANCE + 10)) == Leave(FIRST_ALLOWANCE)
    isolation.extend()
    assert isolation.leave("b", "s", chunk(10)) == Leave(10)
    held.clear()
    assert isolation.leave("a", "s", chunk(10)) == Leave()
    isolation.close()
    isolation.decided(1, calm=False)
    assert isolation.leave("a", "s", chunk(10)) == Leave(10)


def test_a_full_disk_is_waited_for_but_not_at_the_start() -> None:
    disk = MemoryDisk()
    isolation = started(disk, 4, CRASHES_MAX)
    disk.room = sum(map(len, disk.files.values()))
    assert isolation.leave("a", "s", chunk(1)) == Leave()
    with pytest.raises(CheckpointError, match=f"dir/{ATTEMPT} cannot be written .*; make room"):
        started(disk, 4)
    disk.room = None
    assert isolation.leave("a", "s", chunk(1)) == Leave(1)


@pytest.mark.parametrize("content", [b"", b"torn", seal("attempt", b"{}"), seal("attempt", b"no JSON")])
def test_a_file_that_cannot_be_read_is_no_memory(content: bytes) -> None:
    disk = MemoryDisk({ATTEMPT: content})
    assert AttemptFile(disk, "dir").read() is None
    assert not started(disk, 4).is_careful


def test_a_power_cut_leaves_what_was_noted_last_or_before() -> None:
    disk, power = RecordedDisk(MemoryDisk()), Power()
    file = AttemptFile(disk, "dir")
    attempts = [Attempt(1), Attempt(1).let_out("a", "s", 1, None), Attempt(2)]
    before: Attempt | None = None
    for attempt in attempts:
        done = len(disk.log)
        file.write(attempt)
        for op in disk.log[done:]:
            power.apply(op)
            for files in power.cuts():
                assert AttemptFile(MemoryDisk(files), "dir").read() in {before, attempt}
        for files in power.cuts():
            assert AttemptFile(MemoryDisk(files), "dir").read() == attempt
        before = attempt
