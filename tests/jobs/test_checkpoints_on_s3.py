"""Jobs whose checkpoints are in an object store, on a real server."""

from itertools import count
from pathlib import Path

import pytest

import streame as st
from tests.jobs.test_checkpoints import expected, has_read, output, run_until, windows
from tests.storage.conftest import environment, s3_server
from tests.storage.s3_server import BUCKET, S3Server

__all__ = ["s3_server"]

_numbers = count(1)


@pytest.fixture
def place(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new prefix on the server."""
    for name, value in environment(s3_server).items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/job-{next(_numbers)}"


def test_a_job_goes_on_from_an_object_store_with_another_parallelism(place: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    job = windows(103, ends=False).sink_parquet(out, name="out")
    run_until(job, has_read(103), checkpoints=place, parallelism=2)
    status = windows(300, ends=True).sink_parquet(out, name="out").run(checkpoints=place, parallelism=3)
    assert (status.state, status.rows_in) == ("finished", 300 - 103)
    assert output(out).equals(expected(300))


def test_a_job_that_was_replaced_stops(place: str, tmp_path: Path) -> None:
    first = windows(103, ends=False).sink_console(name="out")
    second = windows(103, ends=True).sink_console(name="out")
    handle = first.start(checkpoints=place, checkpoint_interval="1h")
    second.run(checkpoints=place)
    handle.stop()
    with pytest.raises(st.Superseded):
        handle.wait()


def test_a_queue_needs_a_disk(place: str) -> None:
    job = st.scan_queue(st.Queue(), {"n": int}, name="pushed").sink_console()
    with pytest.raises(st.PlanError, match="needs a disk"):
        job.run(checkpoints=place)
