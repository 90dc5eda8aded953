"""What a job says of its checkpoints and of its state."""

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import polars as pl
import pytest

import streame as st
from streame.core.failpoints import arm
from tests.jobs.fakes import HANG_S
from tests.jobs.test_checkpoints import has_read, run_until, windows


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    arm("")


def on_disk(place: Path, *parts: str) -> int:
    """How many bytes the files of some folders have."""
    return sum(path.stat().st_size for part in parts for path in (place / part).rglob("*") if path.is_file())


def test_a_job_without_checkpoints_has_none(tmp_path: Path) -> None:
    status = windows(50, ends=True).sink_parquet(tmp_path / "out").run()
    assert (status.checkpoint, status.checkpoints) == (None, None)


def test_the_last_checkpoint_is_told_of(tmp_path: Path) -> None:
    place = tmp_path / "checkpoints"
    status = windows(50, ends=True).sink_parquet(tmp_path / "out").run(checkpoints=place)
    found = status.checkpoints
    assert found is not None
    assert found.number == status.checkpoint == 1
    assert found.decided_at_us is not None
    assert found.age_s is not None
    assert found.duration_s is not None
    written_s = (place / "m/1.json").stat().st_mtime
    assert abs(found.decided_at_us / 1e6 - written_s) < 10
    assert 0 <= found.age_s < HANG_S
    assert 0 < found.duration_s < status.seconds
    assert found.new_bytes == on_disk(place, "m", "state")
    assert found.state_bytes == on_disk(place, "state")
    assert (found.full_disk_failures, found.log_bytes) == (0, 0)
    assert json.loads(json.dumps(asdict(status)))["checkpoints"]["number"] == 1


def test_tries_that_found_no_room_are_counted(tmp_path: Path) -> None:
    job = windows(103, ends=False).sink_parquet(tmp_path / "out")
    arm("S1.written:enospc:1,S4.written:enospc:2")
    handle = job.start(checkpoints=tmp_path / "checkpoints", checkpoint_interval="1ms")
    while (status := handle.status()).checkpoint is None:
        assert not handle.wait(0.01)
        assert status.seconds < HANG_S
    handle.stop()
    handle.wait()
    found = handle.status().checkpoints
    assert found is not None
    assert found.full_disk_failures in {1, 2}


def test_the_log_of_a_queue_is_counted_until_it_is_freed(tmp_path: Path) -> None:
    items, place = st.Queue(), tmp_path / "checkpoints"
    job = st.scan_queue(items, {"text": pl.String}).sink_ndjson(tmp_path / "out.ndjson")
    with job.start(checkpoints=place, checkpoint_interval="1h") as handle:
        items.put_many([{"text": os.urandom(30_000).hex()}] * 10)
        status = handle.status()
        assert status.checkpoints is not None
        assert status.checkpoints.number is None
        assert 10 * 60_000 < status.checkpoints.log_bytes == on_disk(place, "wal")
    assert handle.status().checkpoints is not None


def test_a_log_whose_rows_are_in_a_checkpoint_is_freed(tmp_path: Path) -> None:
    items = st.Queue()
    job = st.scan_queue(items, {"text": pl.String}).sink_ndjson(tmp_path / "out.ndjson")
    with job.start(checkpoints=tmp_path / "checkpoints", checkpoint_interval="10ms") as handle:
        for _ in range(20):
            items.put({"text": os.urandom(500_000).hex()})
        while True:
            status = handle.status()
            assert status.seconds < HANG_S, status
            if status.checkpoints is not None and 0 < status.checkpoints.log_bytes < 10_000_000:
                break
            handle.wait(0.01)


def test_state_on_disk_is_in_the_status(tmp_path: Path) -> None:
    seen = threading.Event()

    def frames() -> Iterator[pl.DataFrame]:
        for at in range(0, 300_000, 10_000):
            yield pl.DataFrame(
                {"key": range(at, at + 10_000), "text": ["some text that takes room"] * 10_000}
            )
        seen.wait(HANG_S)

    source = st.scan_frames(frames(), schema={"key": pl.Int64, "text": pl.String})
    job = source.group_by("key").agg(pl.col("text").last()).sink_ndjson(tmp_path / "out.ndjson", changes=True)
    with job.start(memory_limit="20MB") as handle:
        while not (status := handle.status()).state_disk_bytes:
            assert not handle.wait(0.01)
            assert status.seconds < HANG_S
        seen.set()
        handle.wait()
    assert status.state_bytes > 0


def test_a_run_that_goes_on_knows_the_last_checkpoint_and_its_time(tmp_path: Path) -> None:
    place, job = tmp_path / "checkpoints", windows(103, ends=False).sink_parquet(tmp_path / "out")
    run_until(job, has_read(103), checkpoints=place)
    number = max(int(path.stem) for path in (place / "m").glob("*.json"))
    with job.start(checkpoints=place, checkpoint_interval="1h") as handle:
        found = handle.status().checkpoints
        assert found is not None
        assert (found.number, found.duration_s, found.new_bytes) == (number, None, None)
        assert found.decided_at_us is not None
        assert found.age_s is not None
        assert 0 <= found.age_s < HANG_S
