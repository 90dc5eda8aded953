"""Joins over event time, step by step: when rows come out, what is late, what is kept, and how far the watermark is."""

from collections.abc import Iterator
from queue import Queue
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hst

import streame as st
from streame.core.changes import DIFF
from streame.core.joining import JOIN_HOWS, asof_columns, join_columns, join_keys
from streame.core.time import WATERMARK_MAX, EventTime
from streame.io.memory import MemorySink
from streame.runtime.joining import JoinSide
from streame.runtime.operator import Operator
from streame.runtime.operators.asof_join import AsofJoinOperator
from streame.runtime.operators.interval_join import IntervalJoinOperator
from streame.runtime.operators.stream_join import StreamJoinOperator
from streame.testing import Driver, batch
from tests.examples import examples
from tests.runtime.recorder import OperatorBench

ORDERS = pl.Schema({"at": pl.Int64(), "user": pl.String(), "item": pl.String()})
PAYMENTS = pl.Schema({"paid": pl.Int64(), "user": pl.String(), "cents": pl.Int64()})


def orders(name: str = "orders", delay: int = 0) -> st.StreamDataFrame:
    return st.scan_frames([], schema=ORDERS, name=name, event_time="at", watermark=delay)


def payments(delay: int = 0) -> st.StreamDataFrame:
    return st.scan_frames([], schema=PAYMENTS, name="payments", event_time="paid", watermark=delay)


def taken(driver: Driver, sink: str | None = None) -> list[Any]:
    return [row for frame in driver.take(sink) for row in frame.rows()]


def test_a_row_without_a_match_leaves_when_none_can_come_any_more() -> None:
    joined = orders(delay=5).join_interval(payments(), on="user", lower=0, upper=10, how="left")
    driver = Driver(joined)
    driver.push(batch("at:i user:s item:s\n 10 ann tea\n 12 bob rice\n 40 cid nuts"), to="orders")
    assert taken(driver) == []
    driver.push(batch("paid:i user:s cents:i\n 20 ann 5"), to="payments")
    assert taken(driver) == [(10, "ann", "tea", 20, 5)]
    driver.push(batch("paid:i user:s cents:i\n 22 zoe 1"), to="payments")
    assert taken(driver) == []
    driver.push(batch("paid:i user:s cents:i\n 23 zoe 1"), to="payments")
    assert taken(driver) == [(12, "bob", "rice", None, None)]
    driver.close()
    assert taken(driver) == [(40, "cid", "nuts", None, None)]


def test_semi_and_anti_joins_say_each_row_once() -> None:
    for how, expected in (("semi", [["tea"], [], ["rice"]]), ("anti", [[], ["nuts"], []])):
        joined = orders().join_interval(payments(), on="user", lower=-5, upper=5, how=how)  # type: ignore[arg-type]
        driver = Driver(joined.select("item"))
        driver.push(batch("paid:i user:s cents:i\n 10 ann 1\n 11 ann 2"), to="payments")
        driver.push(
            batch("at:i user:s item:s\n 12 ann tea\n 12 bob nuts\n 17 cid rice\n 40 z z"), to="orders"
        )
        found = [[row[0] for row in taken(driver)]]
        driver.push(batch("paid:i user:s cents:i\n 18 zoe 1"), to="payments")
        found.append([row[0] for row in taken(driver)])
        driver.push(batch("paid:i user:s cents:i\n 18 cid 1\n 19 cid 1\n 20 cid 1"), to="payments")
        found.append([row[0] for row in taken(driver)])
        assert found == expected
        driver.close()


@pytest.mark.parametrize("verb", ["interval", "asof", "ttl"])
def test_late_rows_of_both_sides_go_aside(verb: str) -> None:
    joined = {
        "interval": lambda: orders().join_interval(payments(), on="user", lower=-100, upper=100),
        "asof": lambda: orders().join_asof(
            payments(), left_on="at", right_on="paid", by="user", tolerance=100
        ),
        "ttl": lambda: orders().join(payments(), on="user", ttl=100),
    }[verb]()
    job = st.job([st.sink(joined.select("item", "cents"), MemorySink(), name="on time"), st.sink(joined.late, MemorySink(), name="late")])  # fmt: skip
    driver = Driver(job)
    driver.push(batch("at:i user:s item:s\n 20 ann tea\n 19 ann late\n 20 ann more"), to="orders")
    driver.push(batch("paid:i user:s cents:i\n 10 ann 5\n 9 ann 6\n 90 bob 7"), to="payments")
    driver.push(batch("at:i user:s item:s\n 30 ann rice"), to="orders")
    driver.close()
    assert sorted(taken(driver, "sink on time")) == [("more", 5), ("rice", 5), ("tea", 5)]
    assert sorted(taken(driver, "sink late"), key=repr) == [
        (19, "ann", "late", None, None, None),
        (None, None, None, 9, "ann", 6),
    ]


def test_an_asof_join_waits_for_the_watermark() -> None:
    joined = orders().join_asof(payments(), left_on="at", right_on="paid", by="user", strategy="nearest")
    driver = Driver(joined.select("at", "user", "cents"))
    driver.push(batch("at:i user:s item:s\n 10 ann tea\n 10 bob rice\n 50 cid nuts"), to="orders")
    driver.push(batch("paid:i user:s cents:i\n 6 ann 1\n 8 ann 2\n 10 zoe 3"), to="payments")
    assert taken(driver) == []
    driver.push(batch("paid:i user:s cents:i\n 12 bob 4\n 12 zoe 5"), to="payments")
    assert taken(driver) == []
    # A payment of ann's at 12 would be as far as that at 8, and later.
    driver.push(batch("paid:i user:s cents:i\n 13 zoe 5"), to="payments")
    assert taken(driver) == [(10, "bob", 4), (10, "ann", 2)]
    driver.close()
    assert taken(driver) == [(50, "cid", None)]


def test_what_was_said_for_the_lack_of_a_match_is_taken_back() -> None:
    sides = orders().drop("at"), payments().drop("paid")
    driver = Driver(sides[0].join(sides[1], on="user", how="left", ttl=None))
    driver.push(batch("at:i user:s item:s\n 1 ann tea\n 2 bob rice"), to="orders")
    assert taken(driver) == [("ann", "tea", None, 1), ("bob", "rice", None, 1)]
    driver.push(batch("paid:i user:s cents:i\n 1 ann 5\n 1 ann 6"), to="payments")
    assert taken(driver) == [("ann", "tea", None, -1), ("ann", "tea", 5, 1), ("ann", "tea", 6, 1)]
    driver.push(batch("at:i user:s item:s\n 1 ann milk"), to="orders")
    assert sorted(taken(driver)) == [("ann", "milk", 5, 1), ("ann", "milk", 6, 1)]
    driver.close()


def test_an_update_of_one_side_takes_back_before_it_says_anew() -> None:
    counts = payments().group_by("user").agg(n=pl.len())
    driver = Driver(orders().drop("at").join(counts, on="user", how="left", ttl=None))
    driver.push(batch("at:i user:s item:s\n 1 ann tea"), to="orders")
    driver.push(batch("paid:i user:s cents:i\n 1 ann 5"), to="payments")
    driver.push(batch("paid:i user:s cents:i\n 1 ann 5"), to="payments")
    assert [row[2:] for row in taken(driver)] == [(None, 1), (None, -1), (1, 1), (1, -1), (2, 1)]
    driver.close()


def test_a_window_behind_a_join_waits_for_what_the_join_may_still_put_out() -> None:
    joined = orders().join_interval(payments(), on="user", lower=0, upper=10, how="left")
    driver = Driver(joined.group_by_dynamic("at", every="10i").agg(n=pl.len(), paid=pl.col("cents").count()))
    driver.push(batch("at:i user:s item:s\n 5 ann tea\n 9 bob rice\n 90 cid nuts"), to="orders")
    driver.push(batch("paid:i user:s cents:i\n 19 bob 5"), to="payments")
    assert taken(driver) == []
    driver.push(batch("paid:i user:s cents:i\n 20 bob 5"), to="payments")
    assert taken(driver) == [(0, 2, 1)]
    driver.close()


def test_rows_that_wait_for_a_table_hold_the_watermark_back() -> None:
    table = st.scan_queue(Queue(), {"user": pl.String, "name": pl.String}, name="users").as_table("user")
    named = orders().join(table, on="user", how="left", wait="10i")
    driver = Driver(named.group_by_dynamic("at", every="10i").agg(names=pl.col("name")))
    driver.push(batch("user:s name:s\n bob Bob"), to="users")
    driver.push(batch("at:i user:s item:s\n 5 ann tea\n 6 bob rice\n 15 bob nuts"), to="orders")
    assert taken(driver) == []
    driver.push(batch("user:s name:s\n ann Ann"), to="users")
    driver.push(batch("at:i user:s item:s\n 15 cid tea"), to="orders")
    assert taken(driver) == [(0, ["Ann", "Bob"])]
    driver.push(batch("at:i user:s item:s\n 25 bob tea"), to="orders")
    assert taken(driver) == []
    driver.push(batch("at:i user:s item:s\n 26 bob tea"), to="orders")
    assert taken(driver) == [(10, ["Bob", None])]
    driver.end("users")
    driver.close()


def test_rows_leave_a_table_that_is_a_changes_stream() -> None:
    cents = st.scan_queue(Queue(), PAYMENTS, name="payments").group_by("user").agg(pl.col("cents").max())
    best = cents.filter(pl.col("cents") < 10).as_table("user")
    driver = Driver(orders().drop("at").join(best, on="user", how="left"))
    for paid, expected in ((5, 5), (7, 7), (11, None), (3, None)):
        driver.push(pl.DataFrame({"paid": [0], "user": ["ann"], "cents": [paid]}), to="payments")
        driver.push(batch("at:i user:s item:s\n 1 ann tea"), to="orders")
        assert taken(driver) == [("ann", "tea", expected)]
    driver.close()


def test_a_changes_stream_meets_a_table_that_ends() -> None:
    names = st.scan_frames([pl.DataFrame({"user": ["ann"], "name": ["Ann"]})], name="names")
    counts = orders().group_by("user").agg(n=pl.len())
    driver = Driver(counts.join(names.as_table("user")))
    driver.push(pl.DataFrame({"user": ["ann"], "name": ["Ann"]}), to="names")
    driver.end("names")
    driver.push(batch("at:i user:s item:s\n 1 ann tea\n 2 bob tea"), to="orders")
    driver.push(batch("at:i user:s item:s\n 3 ann tea"), to="orders")
    assert taken(driver) == [("ann", 1, "Ann", 1), ("ann", 1, "Ann", -1), ("ann", 2, "Ann", 1)]
    driver.close()
    endless = st.scan_queue(Queue(), {"user": pl.String}, name="users").as_table("user")
    with pytest.raises(st.PlanError, match=r"changes stream.*ttl=None"):
        counts.join(endless)


@pytest.mark.parametrize("how", JOIN_HOWS)
def test_a_join_of_streams_without_end_keeps_little(how: Any) -> None:
    driver = Driver(orders().join_interval(payments(), on="user", lower=-50, upper=50, how=how))
    (stage,) = [
        stage for task in driver._tasks for stage in task.stages() if "Join" in type(stage.operator).__name__
    ]
    sizes = []
    for start in range(0, 40_000, 1_000):
        times = pl.Series(range(start, start + 1_000))
        users = pl.select(pl.format("user {}", times)).to_series()
        driver.push(pl.DataFrame({"at": times, "user": users, "item": "tea"}), to="orders")
        driver.push(pl.DataFrame({"paid": times, "user": users.reverse(), "cents": times}), to="payments")
        sizes.append(stage.operator.state_size())
    assert max(size.rows for size in sizes) <= 2_200
    assert max(size.bytes for size in sizes[20:]) <= 1.2 * max(size.bytes for size in sizes[:20]) < 3_000_000
    driver.close()


SIDES = (
    JoinSide(ORDERS, tuple(ORDERS), EventTime("at", pl.Int64())),
    JoinSide(PAYMENTS, tuple(PAYMENTS), EventTime("paid", pl.Int64())),
)
ON = (("user",), ("user",))
KEYS = join_keys(ORDERS, PAYMENTS, ON, nulls_equal=False, verb="join")


def operators() -> Iterator[tuple[str, Operator]]:
    """Joins over event time, and the column that says when a row of theirs happened."""
    for how in JOIN_HOWS:
        columns = join_columns(ORDERS, PAYMENTS, ON, how, suffix="_right", coalesce=None, verb="join")
        time = "paid" if how == "right" else "at"
        if how == "full":
            continue
        for lower, upper in ((-3, 5), (2, 5), (-5, -2)):
            yield (
                time,
                IntervalJoinOperator(*SIDES, keys=KEYS, columns=columns, how=how, lower=lower, upper=upper),
            )
        yield time, StreamJoinOperator(*SIDES, keys=KEYS, columns=columns, how=how, ttl=4)
    columns = asof_columns(ORDERS, PAYMENTS, ["user"], suffix="_right", verb="join")
    for strategy in ("backward", "forward", "nearest"):
        for tolerance in (None, 3):
            yield (
                "at",
                AsofJoinOperator(*SIDES, keys=KEYS, columns=columns, strategy=strategy, tolerance=tolerance),
            )


USERS = hst.sampled_from("ab")
STEPS = hst.lists(
    hst.one_of(
        hst.tuples(hst.integers(0, 1), hst.lists(hst.tuples(hst.integers(0, 6), USERS), max_size=4)),
        hst.tuples(hst.just(2), hst.integers(1, 3)),
    ),
    max_size=20,
)


@given(STEPS)
@settings(max_examples=examples(24))
def test_no_row_is_older_than_what_was_said_before(steps: list[Any]) -> None:
    for time, operator in operators():
        bench, now = OperatorBench(operator), 0
        for port, argument in [*steps, (2, None)]:
            if port == 2:
                now = WATERMARK_MAX if argument is None else now + argument
                bench.watermark(now)
            else:
                ticks, users = ([row[part] for row in argument] for part in range(2))
                columns = [
                    [now + tick for tick in ticks],
                    users,
                    [str(port)] * len(ticks) if port == 0 else ticks,
                ]
                bench.push(pl.DataFrame(columns, schema=(ORDERS, PAYMENTS)[port]), port)
            said = bench.out.watermarks[-2 if port == 2 else -1 :][:1]
            before = said[0] if said and len(bench.out.watermarks) > (port == 2) else None
            out, bench.out.batches = bench.out.batches, []
            assert before is None or all((each.frame[time].drop_nulls() >= before).all() for each in out)
        assert operator.state_size().rows <= 2
        assert bench.out.watermarks == sorted(mark for mark in bench.out.watermarks if mark is not None)
        assert not bench.out.lates


def test_changes_say_their_weight() -> None:
    frame = orders().drop("at").join(payments().drop("paid"), on="user", how="left", ttl=None)
    driver = Driver(frame)
    driver.push(batch("at:i user:s item:s\n 1 ann tea"), to="orders")
    driver.close()
    assert driver.take()[0].columns == ["user", "item", "cents", DIFF]
