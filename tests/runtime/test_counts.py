"""Windows of a number of rows, step by step."""

from queue import Queue
from typing import Any

import numpy as np
import polars as pl
import pytest

import streame as st
from streame.testing import Driver, batch

CLICKS = {"user": pl.String, "at": pl.Int64, "v": pl.Int64}


def clicks(watermark: int = 0, **settings: Any) -> st.StreamDataFrame:
    return st.scan_queue(Queue(), CLICKS, name="clicks", event_time="at", watermark=watermark, **settings)


def rows(text: str) -> pl.DataFrame:
    return batch(f"user:s at:i v:i\n{text}")


def taken(driver: Driver) -> list[tuple[Any, ...]]:
    return [row for frame in driver.take() for row in frame.rows()]


def test_rows_are_counted_by_event_time_when_no_older_one_can_come() -> None:
    frame = clicks(5).group_by_count(2, group_by="user").agg(v=pl.col("v"))
    with Driver(frame) as driver:
        driver.push(rows("ann 10 1\n ann 8 2\n bob 9 3\n ann 12 4"))
        assert taken(driver) == []
        driver.push(rows("ann 7 5\n bob 15 6"))
        assert taken(driver) == [("ann", 7, 8, [5, 2])]
    assert sorted(taken(driver)) == [("ann", 10, 12, [1, 4]), ("bob", 9, 15, [3, 6])]


def test_what_is_left_comes_at_the_end() -> None:
    frame = clicks().group_by_count(3).agg(n=pl.len())
    with Driver(frame) as driver:
        driver.push(rows("ann 1 1\n ann 2 2\n bob 3 3\n ann 4 4\n bob 5 5"))
        assert taken(driver) == [(1, 3, 3)]
    assert taken(driver) == [(4, 5, 2)]


def test_event_time_ends_and_can_be_declared_again() -> None:
    frame = clicks().group_by_count(2, group_by="user").agg(n=pl.len())
    assert frame.event_time is None
    timed = frame.with_event_time("end", watermark=5)
    with Driver(timed.group_by_dynamic("end", every="10i").agg(pairs=pl.len())) as driver:
        driver.push(rows("ann 1 1\n bob 8 3\n ann 9 2\n bob 15 4\n cid 16 5"))
        assert taken(driver) == [(0, 1)]
    assert taken(driver) == [(10, 2)]


def test_a_row_without_a_time_is_refused_and_does_not_count() -> None:
    frame = clicks(on_error="dead_letter").group_by_count(2).agg(v=pl.col("v"))
    with Driver(frame) as driver:
        driver.push(rows("ann 1 1\n bob . 2\n cid 2 3"))
    assert taken(driver) == [(1, 2, [1, 3])]
    assert driver.rejected()["kind"].to_list() == ["time"]


def test_complete_windows_are_freed() -> None:
    frame = clicks().group_by_count(2, group_by="user").agg(v=pl.col("v"))
    with Driver(frame) as driver:
        (stage,) = [s for task in driver._tasks for s in task.stages() if s.name.startswith("group")]
        sizes = []
        for start in range(0, 400_000, 20_000):
            times = np.arange(start, start + 20_000)
            users = ((times + 1) // 2).astype(str)
            driver.push(pl.DataFrame({"user": users, "at": times, "v": times}))
            size = stage.operator.state_size()
            assert size.rows <= 60_000
            sizes.append(size.bytes)
    assert max(sizes[10:]) <= 1.2 * max(sizes[:10])


def test_explain_says_what_bounds_it() -> None:
    frame = clicks().group_by_count(2, group_by="user").agg(n=pl.len())
    assert "one for each key, bounded by the number of keys" in frame.explain()


@pytest.mark.parametrize("n", [0, -1, 2.0, True, "2"])
def test_wrong_numbers_of_rows(n: Any) -> None:
    with pytest.raises(st.PlanError, match="give how many rows make a group"):
        clicks().group_by_count(n)


def test_a_changes_stream_is_not_counted() -> None:
    with pytest.raises(st.PlanError, match="changes stream"):
        clicks().group_by("user").agg(pl.len()).group_by_count(2)
