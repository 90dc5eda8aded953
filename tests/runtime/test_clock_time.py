"""Windows over the wall clock: rows belong to the window in which they come, and windows close by themselves."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

import streame as st
from streame.core.clock import ManualClock
from streame.errors import PlanError
from streame.testing import Driver, batch
from tests.properties.running import collected

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def clicks() -> st.StreamDataFrame:
    """A stream without event time."""
    return st.scan_rows([], {"page": pl.String, "n": pl.Int64}, name="clicks")


def counted(stream: st.StreamDataFrame, every: str = "10s", **settings: Any) -> st.StreamDataFrame:
    """Rows per page and window."""
    return stream.group_by_dynamic(st.now(), every=every, group_by="page", **settings).agg(rows=pl.len())


def taken(pipeline: Driver) -> list[tuple[Any, ...]]:
    """What has come out: page, seconds since the clock began, rows."""
    rows = [row for frame in pipeline.take() for row in frame.sort("page", "now").rows()]
    return [(page, (at - EPOCH).total_seconds(), count) for page, at, count in rows]


@pytest.mark.parametrize("parallelism", [1, 3])
def test_a_window_closes_by_the_clock(parallelism: int) -> None:
    with Driver(counted(clicks()), parallelism=parallelism) as pipeline:
        pipeline.push(batch("page:s n:i\n a 1\n b 1"))
        pipeline.advance("9s")
        pipeline.push(batch("page:s n:i\n a 1"))
        assert taken(pipeline) == []
        pipeline.advance("1s")
        assert sorted(taken(pipeline)) == [("a", 0, 2), ("b", 0, 1)]
        pipeline.push(batch("page:s n:i\n a 1"))
        pipeline.advance("1h")
        assert taken(pipeline) == [("a", 10, 1)]
        pipeline.push(batch("page:s n:i\n a 1"))
        pipeline.end()
        assert taken(pipeline) == [("a", 3610, 1)]


def test_overlapping_windows_close_one_after_the_other() -> None:
    with Driver(counted(clicks(), period="20s", closed="right")) as pipeline:
        pipeline.advance("5s")
        pipeline.push(batch("page:s n:i\n a 1"))
        pipeline.advance("5s")
        assert taken(pipeline) == []  # a row at its very end would still belong to it
        pipeline.advance("1s")
        assert taken(pipeline) == [("a", -10, 1)]
        pipeline.advance("10s")
        assert taken(pipeline) == [("a", 0, 1)]


def test_windows_of_a_day_are_those_of_the_time_zone() -> None:
    stream = clicks().group_by_dynamic(st.now("day", time_zone="Europe/Berlin"), every="1d")
    clock = ManualClock()
    with Driver(stream.agg(pl.col("n").sum()), clock) as pipeline:
        pipeline.push(batch("page:s n:i\n a 1"))
        pipeline.advance("22h")
        pipeline.push(batch("page:s n:i\n a 10"))
        assert pipeline.take() == []
        pipeline.advance("1h")
        pipeline.push(batch("page:s n:i\n a 100"))
        (found,) = pipeline.take()
        assert found["n"].to_list() == [11]
        assert found["day"].to_list() == [EPOCH - timedelta(hours=1)]


def test_early_results_and_event_time_before_do_no_harm() -> None:
    stream = st.scan_rows([], {"page": pl.String, "at": pl.Int64}, event_time="at", name="clicks")
    with Driver(counted(stream, emit="changes")) as pipeline:
        pipeline.push(batch("page:s at:i\n a 100\n a 1"))
        assert [frame["rows"].to_list() for frame in pipeline.take()] == [[2]]
    assert counted(stream).event_time == "now"


def test_nothing_is_late() -> None:
    stream = st.scan_rows([], {"page": pl.String, "at": pl.Int64}, event_time="at", name="clicks")
    with Driver(counted(stream).late) as pipeline:
        pipeline.push(batch("page:s at:i\n a 100\n a 1"))
        pipeline.advance("1m")
        pipeline.push(batch("page:s at:i\n a 2"))
        assert pipeline.take() == []


def test_only_what_is_needed_is_read() -> None:
    rows = st.scan_frames([pl.DataFrame({"page": ["a", "b", "a"], "n": [1, 2, 3], "text": ["x", "y", "z"]})])
    totals = rows.group_by_dynamic(st.now(), every="1d", group_by="page").agg(pl.col("n").sum())
    assert "2 of 3 columns leave the source" in totals.explain()
    for optimized, parallelism in ((True, 1), (False, 3)):
        found = collected(totals, optimized=optimized, parallelism=parallelism)
        summed = found.group_by("page").agg(pl.col("n").sum())  # midnight may come in between
        assert sorted(summed.rows()) == [("a", 4), ("b", 2)]


def test_explain_says_that_it_is_not_repeatable() -> None:
    text = counted(clicks()).explain()
    assert "event time now: when a row comes, by the wall clock" in text
    assert "not repeatable: which rows meet in a window depends on when they are read" in text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: st.now(time_zone="Berlin"), "now: there is no time zone 'Berlin'"),
        (
            lambda: counted(clicks().with_columns(now=pl.lit(1))),
            "there is a column 'now' already; give the windows another name",
        ),
        (
            lambda: counted(clicks().group_by("page").agg(pl.col("n").sum())),
            "a row of a changes stream would be taken back in another window",
        ),
    ],
)
def test_what_cannot_be_is_refused(make: Any, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        make()
