"""A job that never ends by itself and has no checkpoints says at its start what a crash would take."""

import logging
import queue
from pathlib import Path

import polars as pl
import pytest

import streame as st
from tests.jobs.test_checkpoints import Feed, windows

WAY_OUT = 'Give run(checkpoints="a directory/"), --checkpoints or STREAME_CHECKPOINTS'


def started(job: st.Job, caplog: pytest.LogCaptureFixture, **settings: object) -> list[str]:
    """Run a job for a moment; returns what it has said."""
    caplog.clear()
    with job.start(**settings):  # type: ignore[arg-type]
        pass
    return warned(caplog)


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was said of it; other things may have been said too, as of a disk that is full."""
    found = [each for each in caplog.records if "has no checkpoints" in each.getMessage()]
    assert all((each.name, each.levelno) == ("streame", logging.WARNING) for each in found)
    return [each.getMessage() for each in found]


def test_what_would_be_lost_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    items: queue.Queue[object] = queue.Queue()
    orders = st.scan_queue(items, {"item": pl.String}, name="orders")
    feed = st.scan(Feed(10, ends=False), name="feed")
    counted = orders.group_by("item", name="per item").agg(pl.len())
    job = st.job([counted.sink_queue(queue.Queue()), feed.sink_csv(tmp_path / "out.csv")], name="shop")
    (said,) = started(job, caplog)
    assert said == (
        "job 'shop' has no checkpoints, and its sources 'orders' and 'feed' do not end by themselves. After a crash "
        "or a stop the next run begins anew: what 'per item' keeps is lost; rows that were taken from 'orders' and not "
        "yet worked on are gone; 'feed' is read from its beginning, so that its rows come out again. "
        f"{WAY_OUT} to go on instead"
    )


def test_a_job_without_state_whose_source_can_be_read_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = st.scan(Feed(10, ends=False), name="feed").sink_csv(tmp_path / "out.csv")
    (said,) = started(job, caplog)
    assert "its source 'feed' does not end by itself" in said
    assert "keeps" not in said
    assert "are gone" not in said
    assert WAY_OUT in said


def test_it_is_said_at_every_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    job = windows(10, ends=False).sink_csv(tmp_path / "out.csv")
    assert len(started(job, caplog)) == len(started(job, caplog)) == 1


def test_nothing_is_said_where_nothing_would_be_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ends, goes_on = windows(10, ends=True), windows(10, ends=False)
    assert started(ends.sink_csv(tmp_path / "out.csv"), caplog) == []
    assert started(goes_on.sink_csv(tmp_path / "on.csv"), caplog, checkpoints=tmp_path / "checkpoints") == []
    caplog.clear()
    ends.collect()
    assert warned(caplog) == []


def test_nothing_is_said_of_a_job_that_does_not_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    job = windows(10, ends=False).sink_csv(tmp_path / "file" / "out.csv")
    with pytest.raises(st.ConnectorError):
        job.start()
    assert warned(caplog) == []
