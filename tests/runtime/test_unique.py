"""Rows without repetition, step by step: when they go on, what is late, and what is kept."""

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


def taken(driver: Driver, sink: str | None = None) -> list[tuple[Any, ...]]:
    return [row for frame in driver.take(sink) for row in frame.rows()]


def test_the_first_row_goes_on_when_no_older_one_can_come() -> None:
    with Driver(clicks(5).unique("user")) as driver:
        driver.push(rows("ann 10 1\n ann 8 2\n bob 12 3"))
        assert taken(driver) == []
        driver.push(rows("ann 7 4\n cid 13 5"))
        assert taken(driver) == [("ann", 7, 4)], "no row before 8 can come now"
        driver.push(rows("cid 30 6"))
        assert sorted(taken(driver)) == [("bob", 12, 3), ("cid", 13, 5)]
        driver.push(rows("ann 31 7\n dan 32 8"))
    assert taken(driver) == [("dan", 32, 8)]


def test_of_equal_times_the_first_in_the_source_is_first() -> None:
    with Driver(clicks().unique("user"), splits={"clicks": ["a", "b"]}) as driver:
        driver.push(rows("ann 1 20\n ann 1 21"), split="b")
        driver.push(rows("ann 1 10\n ann 1 11"), split="a")
    assert taken(driver) == [("ann", 1, 10)]


def test_within_counts_from_the_row_that_was_kept() -> None:
    with Driver(clicks().unique("user", within=10)) as driver:
        driver.push(rows("ann 0 1\n ann 9 2\n ann 10 3\n bob 15 4\n ann 19 5\n ann 20 6"))
        driver.push(rows("ann 29 7\n ann 45 8\n bob 46 9"))
    assert taken(driver) == [
        ("ann", 0, 1),
        ("ann", 10, 3),
        ("bob", 15, 4),
        ("ann", 20, 6),
        ("ann", 45, 8),
        ("bob", 46, 9),
    ]


def test_rows_behind_their_watermark_are_late() -> None:
    frame = clicks(3).unique("user")
    job = st.job([frame.sink_queue(Queue(), name="out"), frame.late.sink_queue(Queue(), name="late")])
    with Driver(job) as driver:
        driver.push(rows("ann 10 1\n bob 6 2\n cid 7 3"))
    assert taken(driver, "sink late") == [("bob", 6, 2)]
    assert taken(driver, "sink out") == [("cid", 7, 3), ("ann", 10, 1)]


def test_a_row_without_a_time_is_refused() -> None:
    with Driver(clicks(on_error="dead_letter").unique("user")) as driver:
        driver.push(rows("ann 1 1\n bob . 2\n cid 2 3"))
    assert [row[0] for row in taken(driver)] == ["ann", "cid"]
    assert driver.rejected().select("operator", "kind", "offset").rows() == [("unique user", "time", 1)]


def test_the_last_row_takes_the_one_before_it_back() -> None:
    with Driver(clicks().unique("user", keep="last")) as driver:
        driver.push(rows("ann 10 1\n bob 5 2"))
        assert sorted(taken(driver)) == [("ann", 10, 1, 1), ("bob", 5, 2, 1)]
        driver.push(rows("ann 9 3\n ann 10 1\n bob . 4"))
        assert taken(driver) == [], "an older row, an equal one, and one of no time"
        driver.push(rows("ann 10 5\n ann 11 6"))
        assert taken(driver) == [("ann", 10, 1, -1), ("ann", 11, 6, 1)]


def test_the_last_of_equal_times_is_the_last_in_the_source() -> None:
    with Driver(clicks().unique("user", keep="last"), splits={"clicks": ["a", "b"]}) as driver:
        driver.push(rows("ann 1 20"), split="b")
        driver.push(rows("ann 1 10"), split="a")
        driver.push(rows("ann 1 21"), split="b")
    assert taken(driver) == [("ann", 1, 20, 1), ("ann", 1, 20, -1), ("ann", 1, 21, 1)]


def test_a_second_row_takes_the_single_one_back() -> None:
    with Driver(clicks().unique("user", keep="none")) as driver:
        driver.push(rows("ann 1 1\n bob 2 2\n cid 3 3\n cid 3 4"))
        assert sorted(taken(driver)) == [("ann", 1, 1, 1), ("bob", 2, 2, 1)]
        driver.push(rows("ann 4 5\n ann 5 6\n cid 6 7"))
        assert taken(driver) == [("ann", 1, 1, -1)]
        driver.push(rows("ann 7 8"))
        assert taken(driver) == []


def test_rows_that_are_taken_back_are_counted() -> None:
    sizes = clicks().group_by("user").agg(n=pl.len()).select("n")
    with Driver(sizes.unique()) as driver:
        driver.push(rows("ann 1 1\n bob 2 2"))
        assert taken(driver) == [(1, 1)]
        driver.push(rows("ann 3 3"))
        assert taken(driver) == [(2, 1)], "bob still has one"
        driver.push(rows("bob 4 4"))
        assert taken(driver) == [(1, -1)]


def test_computed_keys_do_not_come_out() -> None:
    with Driver(clicks().unique(pl.col("user").str.to_lowercase())) as driver:
        driver.push(rows("ann 1 1\n ANN 2 2\n Bob 3 3"))
    assert taken(driver) == [("ann", 1, 1), ("Bob", 3, 3)]


def test_columns_that_nobody_reads_are_not_kept() -> None:
    text = clicks().unique("user").select("user").explain()
    assert "2 of 3 columns leave the source" in text


def test_event_time_goes_on_behind_the_first_rows() -> None:
    counts = clicks().unique("user", within=10).group_by_dynamic("at", every="10i").agg(n=pl.len())
    with Driver(counts) as driver:
        driver.push(rows("ann 0 1\n ann 5 2\n bob 9 3"))
        assert taken(driver) == []
        driver.push(rows("bob 10 4"))
        assert taken(driver) == [(0, 2)]


def test_keys_are_forgotten_when_within_is_over() -> None:
    with Driver(clicks().unique("user", within=1_000)) as driver:
        (stage,) = [s for task in driver._tasks for s in task.stages() if s.name.startswith("unique")]
        sizes = []
        for start in range(0, 400_000, 20_000):
            times = np.arange(start, start + 20_000)
            driver.push(pl.DataFrame({"user": times.astype(str), "at": times, "v": times}))
            sizes.append(stage.operator.state_size())
    assert max(size.rows for size in sizes) < 60_000
    assert max(size.bytes for size in sizes[10:]) <= 1.2 * max(size.bytes for size in sizes[:10])


def test_explain_says_what_is_unbounded() -> None:
    assert "state: every key that there was: unbounded" in clicks().unique("user").explain()
    assert "state: one row per key: unbounded" in clicks().unique("user", keep="last").explain()
    bounded = clicks().unique("user", within=10).explain()
    assert "for 10 ticks after a row others are repeats of it" in bounded
    assert "unbounded" not in bounded


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"subset": "nobody"}, "'nobody' does not exist"),
        ({"keep": "some"}, "keep='some' does not exist"),
        ({"within": "10s"}, "integer column"),
        ({"within": 0}, "finds no repeats"),
        ({"within": 10, "keep": "last"}, "within is not possible with keep='last'"),
        ({"subset": pl.col("v").sum()}, "refused"),
        ({"subset": []}, "names no column"),
    ],
)
def test_wrong_arguments(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(st.PlanError, match=message):
        clicks().unique(**settings)


def test_what_unique_is_not_for() -> None:
    with pytest.raises(st.PlanError, match="the stream has none"):
        clicks().drop("at").unique("user", within="1h")
    with pytest.raises(st.PlanError, match="compared as a whole"):
        clicks().group_by("user").agg(pl.len()).unique("len")
    with pytest.raises(st.PlanError, match="cannot be a key"):
        clicks().with_columns(both=pl.struct("user", "v")).unique()
