"""The driver steps the real tasks by hand, and gives the same as a run."""

import queue
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import streame as st
from streame.errors import PlanError
from streame.testing import Driver, batch

ORDERS = {"user": pl.String, "amount": pl.Int64}


def orders(**settings: Any) -> st.StreamDataFrame:
    return st.scan_rows([], ORDERS, name="orders", **settings)


def taken(driver: Driver, sink: str | None = None) -> pl.DataFrame:
    return pl.concat(driver.take(sink))


def test_rows_come_out_as_they_are_pushed() -> None:
    with Driver(orders().filter(pl.col("amount") > 3)) as pipeline:
        pipeline.push(batch("user:s amount:i\n ann 5\n bob 2"))
        assert_frame_equal(taken(pipeline), batch("user:s amount:i\n ann 5"))
        pipeline.push(batch("user:s amount:i\n cid 1"))
        assert pipeline.take() == []
        pipeline.push([{"user": "dan", "amount": 9}])
        assert_frame_equal(taken(pipeline), batch("user:s amount:i\n dan 9"))


def test_bad_rows_are_rejected_with_their_position() -> None:
    numbers = st.scan_rows([], {"n": pl.String}, on_error="dead_letter", required=["n"])
    with Driver(numbers.cast(pl.Int64)) as pipeline:
        pipeline.push([{"n": "1"}, {"n": None}, 5, {"n": "x"}])
        pipeline.push(batch("n:s\n y\n 2"))
        assert taken(pipeline)["n"].to_list() == [1, 2]
        letters = pipeline.rejected().select("offset", "kind").sort("offset").rows()
    assert letters == [(1, "null"), (2, "type"), (3, "compute"), (4, "compute")]


def test_an_error_is_raised_where_the_row_is_pushed() -> None:
    pipeline = Driver(orders().with_columns(pl.col("user").cast(pl.Int64)))
    with pytest.raises(st.DataError, match="offset 1"):
        pipeline.push(batch("user:s amount:i\n 5 5\n bob 2"))
    pipeline.close()


def test_a_waiting_row_leaves_when_the_time_has_come() -> None:
    names = st.scan_queue(queue.Queue(), {"user": pl.String, "name": pl.String}, name="names")
    joined = orders().join(names.as_table("user"), how="left", wait="10s")
    with Driver(joined) as pipeline:
        pipeline.push(batch("user:s amount:i\n ann 1\n bob 2"), to="orders")
        assert pipeline.take() == []
        pipeline.advance("9s")
        pipeline.push(batch("user:s name:s\n ann Ann"), to="names")
        assert_frame_equal(taken(pipeline), batch("user:s amount:i name:s\n ann 1 Ann"))
        pipeline.advance("1s")
        assert_frame_equal(taken(pipeline), batch("user:s amount:i name:s\n bob 2 ."))


def test_timers_fire_in_the_order_in_which_they_are_due() -> None:
    tables = [
        st.scan_queue(queue.Queue(), {"user": pl.String, name: pl.String}, name=name).as_table("user")
        for name in ("first", "second")
    ]
    joined = orders()
    for table, wait in zip(tables, ("3s", "4s"), strict=True):
        joined = joined.join(table, how="left", wait=wait, name=f"wait {wait}")
    with Driver(joined) as pipeline:
        pipeline.push(batch("user:s amount:i\n ann 1"), to="orders")
        pipeline.advance("7s")
        assert taken(pipeline).rows() == [("ann", 1, None, None)]


def test_a_bounded_table_must_end_before_rows_come_out() -> None:
    names = st.scan_rows([], {"user": pl.String, "name": pl.String}, name="names")
    with Driver(orders().join(names.as_table("user")), parallelism=3) as pipeline:
        pipeline.push(batch("user:s amount:i\n ann 1"), to="orders")
        pipeline.push(batch("user:s name:s\n ann Ann"), to="names")
        assert pipeline.take() == []
        pipeline.end("names")
        assert taken(pipeline).rows() == [("ann", 1, "Ann")]
        with pytest.raises(PlanError, match="has ended"):
            pipeline.push(batch("user:s name:s\n ann Ann"), to="names")


def test_a_job_is_driven_without_its_sinks(tmp_path: Path) -> None:
    big = orders().filter(pl.col("amount") > 3)
    job = st.job([big.sink_ndjson(tmp_path / "big", name="big"), big.select("user").sink_ndjson(tmp_path / "users", name="users")])  # fmt: skip
    with Driver(job) as pipeline:
        pipeline.push(batch("user:s amount:i\n ann 5"))
        with pytest.raises(PlanError, match=r"say which sink is meant; there are '.*big', '.*users'"):
            pipeline.take()
        assert [taken(pipeline, sink).width for sink in pipeline.sinks] == [2, 1]
    assert list(tmp_path.iterdir()) == []


def test_what_waits_comes_out_at_the_close() -> None:
    names = st.scan_queue(queue.Queue(), {"user": pl.String, "name": pl.String}, name="names")
    pipeline = Driver(orders().join(names.as_table("user"), how="left", wait=None))
    pipeline.push(batch("user:s amount:i\n ann 1"), to="orders")
    pipeline.close()
    pipeline.close()
    assert taken(pipeline).rows() == [("ann", 1, None)]
