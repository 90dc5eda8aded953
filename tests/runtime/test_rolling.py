"""Rolling windows, step by step: when a row is answered, what is late, and what is kept."""

from datetime import timedelta
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


def test_a_row_is_answered_when_no_other_of_its_time_can_come() -> None:
    frame = clicks().rolling("at", period="10i", group_by="user").agg(pl.col("v"))
    with Driver(frame) as driver:
        driver.push(rows("ann 0 1\n ann 5 2\n bob 5 3"))
        assert taken(driver) == [("ann", 0, [1])]
        driver.push(rows("ann 5 4"))
        assert taken(driver) == []
        driver.push(rows("ann 10 5"))
        assert sorted(taken(driver)) == [("ann", 5, [1, 2, 4]), ("ann", 5, [1, 2, 4]), ("bob", 5, [3])]
    assert taken(driver) == [("ann", 10, [2, 4, 5])]


def test_rows_of_equal_time_keep_the_order_of_the_source() -> None:
    frame = clicks().rolling("at", period="10i").agg(first=pl.col("v").first(), all=pl.col("v"))
    with Driver(frame) as driver:
        driver.push(rows("ann 0 7\n bob 0 3\n cid 0 9\n ann 0 1\n bob 5 2"))
    assert taken(driver) == [(0, 7, [7, 3, 9, 1])] * 4 + [(5, 7, [7, 3, 9, 1, 2])]


def test_a_window_ahead_is_waited_for() -> None:
    frame = clicks().rolling("at", period="10i", offset="0i").agg(pl.col("v"))
    with Driver(frame) as driver:
        driver.push(rows("ann 0 1\n ann 4 2\n ann 10 3"))
        assert taken(driver) == []
        driver.push(rows("ann 11 4"))
        assert taken(driver) == [(0, [2, 3])]
        driver.push(rows("ann 15 5"))
        assert taken(driver) == [(4, [3, 4])]
    assert taken(driver) == [(10, [4, 5]), (11, [5]), (15, [])]


def test_event_time_goes_on() -> None:
    frame = clicks().rolling("at", period="10i").agg(n=pl.len())
    assert frame.event_time == "at"
    with Driver(frame.group_by_dynamic("at", every="10i").agg(most=pl.col("n").max())) as driver:
        driver.push(rows("ann 0 1\n ann 9 2"))
        assert taken(driver) == []
        driver.push(rows("ann 10 2"))
        assert taken(driver) == [(0, 2)]


def test_rows_behind_their_watermark_are_late_and_in_no_window() -> None:
    frame = clicks(3).rolling("at", period="10i").agg(pl.col("v"))
    job = st.job([frame.sink_queue(Queue(), name="out"), frame.late.sink_queue(Queue(), name="late")])
    with Driver(job) as driver:
        driver.push(rows("ann 10 1\n bob 6 2\n cid 7 3"))
    assert taken(driver, "sink late") == [("bob", 6, 2)]
    assert taken(driver, "sink out") == [(7, [3]), (10, [3, 1])]


def test_bad_rows_are_refused_and_in_no_window() -> None:
    schema = {"at": pl.Int64, "s": pl.String}
    stream = st.scan_queue(Queue(), schema, event_time="at", on_error="dead_letter")
    frame = stream.rolling("at", period="10i").agg(v=pl.col("s").cast(pl.Int64).sum())
    with Driver(frame) as driver:
        driver.push(batch('at:i s:s\n 0 "1"\n 1 x\n . "5"\n 2 "2"'))
    assert taken(driver) == [(0, 1), (2, 3)]
    assert driver.rejected().select("offset", "kind").rows() == [(2, "time"), (1, "compute")]


def test_a_sum_that_does_not_fit_is_an_error() -> None:
    stream = st.scan_queue(Queue(), {"at": pl.Int64, "v": pl.Int32}, event_time="at")
    frame = stream.rolling("at", period="1000i").agg(pl.col("v").sum())
    big = pl.DataFrame({"at": range(100), "v": [2**30] * 100}, schema={"at": pl.Int64, "v": pl.Int32})
    with (
        pytest.raises(st.DataError, match="the value of 'v' cannot be computed as Int32"),
        Driver(frame) as driver,
    ):
        driver.push(big)


def test_a_user_function_of_each_window() -> None:
    class Spread(st.Aggregate):
        dtype = pl.Int64

        def create(self) -> list[Any]:
            return []

        def add(self, state: list[Any], *columns: pl.Series) -> list[Any]:
            (values,) = columns
            return [min([*state[:1], values.min()]), max([*state[1:], values.max()])]

        def merge(self, state: list[Any], other: list[Any]) -> list[Any]:
            return [min(state[0], other[0]), max(state[1], other[1])] if state and other else state or other

        def finish(self, state: list[Any]) -> int:
            return int(state[1] - state[0])

    frame = clicks().rolling("at", period="10i").agg(spread=Spread("v"))
    with Driver(frame) as driver:
        driver.push(rows("ann 0 1\n ann 5 9\n ann 10 3\n ann 15 4"))
    assert taken(driver) == [(0, 0), (5, 8), (10, 6), (15, 1)]


def test_old_rows_and_their_keys_are_freed() -> None:
    frame = clicks().rolling("at", period="1000i", group_by="user").agg(pl.col("v").sum())
    with Driver(frame) as driver:
        (stage,) = [s for task in driver._tasks for s in task.stages() if s.name.startswith("rolling")]
        sizes = []
        for start in range(0, 400_000, 20_000):
            times = np.arange(start, start + 20_000)
            driver.push(pl.DataFrame({"user": (times // 10).astype(str), "at": times, "v": times}))
            size = stage.operator.state_size()
            assert size.rows <= 1_001
            sizes.append(size.bytes)
    assert max(sizes[10:]) <= 1.2 * max(sizes[:10])


def test_many_small_steps_through_a_long_window() -> None:
    frame = clicks().rolling("at", period="5000i").agg(pl.col("v").sum(), middle=pl.col("v").median())
    times = np.arange(6_000)
    everything = pl.DataFrame({"user": ["ann"] * 6_000, "at": times, "v": times % 17})
    found = []
    with Driver(frame) as driver:
        driver.push(everything[:5_900])
        for start in range(5_900, 6_000, 10):
            driver.push(everything[start : start + 10])
        found += driver.take()
    found += driver.take()
    expected = everything.rolling("at", period="5000i").agg(pl.col("v").sum(), middle=pl.col("v").median())
    assert pl.concat(found).equals(expected)


def test_the_hour_after_a_clock_was_put_forward_goes_by_the_definition() -> None:
    zone = "Europe/Berlin"
    given = batch(
        "at:z v:i\n 2024-03-31T01:15:00+00:00 1\n 2024-04-01T00:30:00+00:00 2\n 2024-04-01T01:00:00+00:00 3"
    )
    at = given["at"].dt.convert_time_zone(zone)
    stream = st.scan_frames([given.with_columns(at)], event_time="at")
    found = stream.rolling("at", period="1d").agg(pl.col("v")).collect()
    assert found["v"].to_list() == [[1], [2], [1, 2, 3]], "half past two was not there the day before"


def test_explain_says_what_bounds_it() -> None:
    text = clicks().rolling("at", period="10i", offset="-4i").agg(pl.len()).explain()
    assert "period 10i, offset -4i, closed right" in text
    assert "the rows of the last 10 ticks, and those whose time has not come" in text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"period": "0i"}, "holds nothing"),
        ({"period": "-5i"}, "holds nothing"),
        ({"period": "10s"}, "does not fit at"),
        ({"period": "10i", "closed": "middle"}, "closed='middle' does not exist"),
        ({"period": "10i", "group_by": "nobody"}, "'nobody' does not exist"),
        ({"period": "10i", "group_by": pl.col("user").alias("at")}, "the key 'at' has the name"),
    ],
)
def test_wrong_arguments(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(st.PlanError, match=message):
        clicks().rolling("at", **settings)


def test_what_windows_cannot_be_made_of() -> None:
    with pytest.raises(st.PlanError, match="goes by event time, and that is 'at'"):
        clicks().rolling("v", period="10i")
    days = st.scan_frames([batch("at:d\n 2024-01-01")], event_time="at")
    with pytest.raises(st.PlanError, match="30 years at most"):
        days.rolling("at", period="31y")
    assert days.rolling("at", period=timedelta(days=2)).agg(pl.len()).collect()["len"].to_list() == [1]
