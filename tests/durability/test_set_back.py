"""An output that was set back is written anew from what is kept: for a hundred checkpoints, or an hour."""

import shutil
from pathlib import Path

import polars as pl
import pytest

import streame as st
from tests.durability.test_full_disk import Steps, until

EARLY, LATE = 3, 110


def run(folder: Path, source: Steps, upto: int) -> None:
    """Run the job until it has made some more checkpoints, with a copy of an early output."""
    with started(folder, source) as handle:
        for number in range(1, upto + 1):
            source.go_on(7 * number)
            until(handle, lambda status: (status.checkpoint or 0) >= number)  # noqa: B023
            if number == EARLY:
                shutil.copy(folder / "out.csv", folder / "early.csv")


def started(folder: Path, source: Steps) -> st.JobHandle:
    stream = st.scan(source, name="feed", event_time="at")
    job = stream.select("n").sink_csv(folder / "out.csv", name="out")
    return job.start(checkpoints=folder / "checkpoints", checkpoint_interval="1ms")


def test_a_file_that_is_more_than_a_hundred_checkpoints_behind_is_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streame.state.checkpoint.history.PER_SECOND", 10**9)  # however fast the machine is
    source = Steps()
    run(tmp_path, source, LATE)
    shutil.copy(tmp_path / "early.csv", tmp_path / "out.csv")
    source.go_on(7 * LATE, ends=True)
    started(tmp_path, source).wait()
    assert pl.read_csv(tmp_path / "out.csv")["n"].to_list() == list(range(7 * LATE))


def test_one_that_is_further_behind_than_what_is_kept_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streame.state.checkpoint.history.KEPT", 10)
    monkeypatch.setattr("streame.state.checkpoint.history.KEPT_US", 0)
    source = Steps()
    run(tmp_path, source, 20)
    shutil.copy(tmp_path / "early.csv", tmp_path / "out.csv")
    with pytest.raises(st.SinkRegressed, match="the oldest whose output is kept"):
        started(tmp_path, source)
