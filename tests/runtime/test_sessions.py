"""Sessions, step by step: when they close, what merges, what is late, and what is kept."""

from queue import Queue
from typing import Any

import numpy as np
import polars as pl
import pytest

import streame as st
from streame.core.aggregates import split_aggregates
from streame.core.expressions import parse_exprs
from streame.core.sessions import SessionRule
from streame.core.time import WATERMARK_MAX, EventTime
from streame.state import sessions as sessions_module
from streame.state import shared_keys
from streame.testing import Driver, batch

CLICKS = {"user": pl.String, "at": pl.Int64, "v": pl.Int64}


def clicks(watermark: int = 0, **settings: Any) -> st.StreamDataFrame:
    return st.scan_queue(Queue(), CLICKS, name="clicks", event_time="at", watermark=watermark, **settings)


def rows(text: str) -> pl.DataFrame:
    return batch(f"user:s at:i v:i\n{text}")


def taken(driver: Driver, sink: str | None = None) -> list[tuple[Any, ...]]:
    return sorted(row for frame in driver.take(sink) for row in frame.rows())


def visits(frame: st.StreamDataFrame, **settings: Any) -> st.StreamDataFrame:
    return frame.group_by_session("at", gap=10, group_by="user", **settings).agg(
        n=pl.len(), last=pl.col("v").last()
    )


def test_a_session_closes_when_the_watermark_is_a_gap_after_its_last_row() -> None:
    with Driver(visits(clicks())) as driver:
        driver.push(rows("ann 0 1\n ann 4 2\n bob 5 3"))
        driver.push(rows("bob 13 4"))
        assert taken(driver) == []
        driver.push(rows("cid 14 5"))
        assert taken(driver) == [("ann", 0, 4, 2, 2)]
        driver.push(rows("cid 22 6"))
        assert taken(driver) == []
        driver.push(rows("cid 23 7"))
        assert taken(driver) == [("bob", 5, 13, 2, 4)]
    assert taken(driver) == [("cid", 14, 23, 3, 7)]


def test_a_row_exactly_a_gap_later_begins_a_new_session() -> None:
    with Driver(visits(clicks(100))) as driver:
        driver.push(rows("ann 0 1\n ann 10 2\n ann 19 3"))
    assert taken(driver) == [("ann", 0, 0, 1, 1), ("ann", 10, 19, 2, 3)]


def test_a_late_bridge_makes_two_sessions_one() -> None:
    with Driver(visits(clicks(20))) as driver:
        driver.push(rows("ann 0 1\n ann 16 3\n bob 29 9"))
        driver.push(rows("ann 8 2"))
        assert taken(driver) == []
        driver.push(rows("bob 46 9"))
        assert taken(driver) == [("ann", 0, 16, 3, 3)]


def test_a_bridge_in_a_stream_of_changes_takes_both_sessions_back() -> None:
    with Driver(visits(clicks(20), emit="changes")) as driver:
        driver.push(rows("ann 0 1\n ann 16 3"))
        assert taken(driver) == [("ann", 0, 0, 1, 1, 1), ("ann", 16, 16, 1, 3, 1)]
        driver.push(rows("ann 8 2"))
        assert taken(driver) == [
            ("ann", 0, 0, 1, 1, -1),
            ("ann", 0, 16, 3, 3, 1),
            ("ann", 16, 16, 1, 3, -1),
        ]
        driver.push(rows("bob 90 0"))
        assert taken(driver) == [("bob", 90, 90, 1, 0, 1)], "it closes, and has been said"


def test_a_row_is_late_if_a_session_of_its_own_would_have_closed() -> None:
    frame = visits(clicks(2))
    with Driver(
        st.job([frame.sink_queue(Queue(), name="out"), frame.late.sink_queue(Queue(), name="late")])
    ) as driver:
        driver.push(rows("ann 20 1\n ann 27 2"))
        driver.push(rows("ann 16 3\n bob 16 4"))
        driver.push(rows("ann 15 5\n bob 15 6\n cid 9 7"))
        assert taken(driver, "sink late") == [("ann", 15, 5), ("bob", 15, 6), ("cid", 9, 7)]
    assert taken(driver, "sink out") == [("ann", 16, 27, 3, 2), ("bob", 16, 16, 1, 4)]


@pytest.mark.parametrize("cuts", [[3], [2, 1], [1, 1, 1]])
def test_a_row_does_not_reach_back_to_a_session_that_had_closed_before_it(cuts: list[int]) -> None:
    given = rows("ann 0 1\n ann 18 2\n ann 9 3")
    with Driver(visits(clicks())) as driver:
        for size in cuts:
            driver.push(given[:size])
            given = given[size:]
    assert taken(driver) == [("ann", 0, 0, 1, 1), ("ann", 9, 18, 2, 2)]


def test_lateness_takes_back_what_was_said_of_a_closed_session() -> None:
    with Driver(visits(clicks(), lateness=30)) as driver:
        driver.push(rows("ann 0 1\n bob 20 9"))
        assert taken(driver) == [("ann", 0, 0, 1, 1, 1)]
        driver.push(rows("ann 9 2"))
        assert taken(driver) == [("ann", 0, 0, 1, 1, -1), ("ann", 0, 9, 2, 2, 1)]
        driver.push(rows("ann 15 3"))
        assert taken(driver) == [("ann", 0, 9, 2, 2, -1)], "it is open again"
        driver.push(rows("bob 25 9"))
        assert taken(driver) == [("ann", 0, 15, 3, 3, 1)]


def test_results_said_every_ten_seconds() -> None:
    with Driver(visits(clicks(), emit="10s")) as driver:
        driver.push(rows("ann 0 1"))
        driver.push(rows("ann 5 2"))
        assert taken(driver) == []
        driver.advance("10s")
        assert taken(driver) == [("ann", 0, 5, 2, 2, 1)]
        driver.push(rows("ann 6 3"))
        driver.push(rows("bob 16 4"))
        assert taken(driver) == [("ann", 0, 5, 2, 2, -1), ("ann", 0, 6, 3, 3, 1)], "it has closed"
        driver.advance("10s")
        assert taken(driver) == [("bob", 16, 16, 1, 4, 1)]


def test_an_end_that_was_said_is_taken_back_before_event_time_is_said_to_have_passed_it() -> None:
    frame = visits(clicks(), emit="10s")
    with Driver(frame) as driver:
        driver.push(rows("ann 24 1\n bob 24 1"))
        driver.advance("10s")
        assert taken(driver) == [("ann", 24, 24, 1, 1, 1), ("bob", 24, 24, 1, 1, 1)]
        driver.push(rows("ann 30 2"))
        driver.push(rows("bob 33 2"))
        assert taken(driver) == [], "an end of 24 can still be taken back"
        driver.push(rows("ann 34 3"))
        assert taken(driver) == [
            ("ann", 24, 24, 1, 1, -1),
            ("ann", 24, 34, 3, 3, 1),
            ("bob", 24, 24, 1, 1, -1),
            ("bob", 24, 33, 2, 2, 1),
        ]


def test_one_session_over_all_keys_and_the_event_time_of_what_follows() -> None:
    frame = clicks().group_by_session("at", gap=10).agg(n=pl.len())
    assert frame.event_time == "end"
    counts = frame.group_by_dynamic("end", every="100i").agg(sessions=pl.len(), rows=pl.col("n").sum())
    with Driver(counts) as driver:
        driver.push(rows("ann 0 1\n bob 5 1\n ann 95 1\n bob 108 1"))
        assert taken(driver) == []
        driver.push(rows("cid 109 1"))
        assert taken(driver) == [(0, 2, 3)], "no session that ends before 100 can come now"


def test_rows_of_two_splits_meet_whoever_comes_first() -> None:
    with Driver(visits(clicks()), splits={"clicks": ["a", "b"]}) as driver:
        driver.push(rows("ann 0 1\n ann 50 2"), split="a")
        driver.push(rows("ann 8 3"), split="b")
        assert taken(driver) == []
        driver.push(rows("ann 60 4"), split="b")
        assert taken(driver) == [("ann", 0, 8, 2, 3)]


def test_a_row_without_a_time_is_refused_and_nothing_else() -> None:
    with Driver(visits(clicks(on_error="dead_letter"))) as driver:
        driver.push(rows("ann 0 1\n ann . 2\n ann 3 3"))
    assert taken(driver) == [("ann", 0, 3, 2, 3)]
    letters = driver.rejected()
    assert letters.select("operator", "kind", "offset").rows() == [("group_by_session at by user", "time", 1)]


def test_a_row_for_which_an_aggregate_fails_is_refused_alone() -> None:
    schema = {"at": pl.Int64, "s": pl.String}
    stream = st.scan_queue(Queue(), schema, event_time="at", on_error="dead_letter")
    frame = stream.group_by_session("at", gap=10).agg(v=pl.col("s").cast(pl.Int64).sum())
    with Driver(frame) as driver:
        driver.push(batch('at:i s:s\n 0 "1"\n 1 x\n 2 "2"'))
    assert taken(driver) == [(0, 2, 3)]
    assert driver.rejected()["offset"].to_list() == [1]


def test_closed_sessions_and_their_keys_are_freed() -> None:
    with Driver(visits(clicks())) as driver:
        (stage,) = [
            stage for task in driver._tasks for stage in task.stages() if stage.name.startswith("group")
        ]
        sizes = []
        for start in range(0, 400_000, 20_000):
            times = np.arange(start, start + 20_000)
            frame = pl.DataFrame({"user": times.astype(str), "at": times, "v": times})
            driver.push(frame)
            size = stage.operator.state_size()
            assert size.rows <= 12
            sizes.append(size.bytes)
    assert max(sizes[10:]) <= 1.2 * max(sizes[:10])


def test_sessions_keep_their_values_when_others_are_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions_module, "_SLACK_SESSIONS", 0)
    monkeypatch.setattr(shared_keys, "_SLACK_KEYS", 0)
    schema = pl.Schema({"v": pl.Int64})
    exprs = [pl.col("v").sum(), pl.col("v").alias("all")]
    aggregation = split_aggregates(parse_exprs(exprs, {}, schema, where="test"), schema, where="test")
    rule = SessionRule(EventTime("at", pl.Int64()), gap=10, lateness=0, emission="on_close")
    sessions = sessions_module.Sessions(rule, aggregation)
    index = shared_keys.SharedKeys(pl.Schema({"k": pl.Int64}), [sessions])
    said = []
    for step in range(40):
        keys = pl.DataFrame({"k": [0, step, step]})
        frame = pl.DataFrame({"v": [1, step, step]})
        times = np.array([step * 5] * 3)
        sessions.add(index.slots(keys), times, times, aggregation.prepare(frame))
        closed = sessions.close(step * 5 - 10)
        slots, results = sessions.results(closed)
        said += index.keys(slots).hstack(results).rows()
        sessions.expire(step * 5 - 10)
        index.settle()
    assert said == [(step, step * 5, step * 5, 2 * step, [step] * 2) for step in range(1, 36)]
    slots, results = sessions.results(sessions.close(WATERMARK_MAX))
    found = sorted(index.keys(slots).hstack(results).rows())
    assert found == [
        (0, 0, 195, 40, [1, 0, 0] + [1] * 39),
        *((k, k * 5, k * 5, 2 * k, [k] * 2) for k in range(36, 40)),
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gap": 0}, "gap=0 makes every row a session"),
        ({"gap": "10s"}, "integer column"),
        ({"gap": 10, "group_by": "nobody"}, "'nobody' does not exist"),
        ({"gap": 10, "group_by": pl.col("user").alias("end")}, "the key 'end' has the name"),
        ({"gap": 10, "emit": "sometimes"}, "cannot read the duration"),
    ],
)
def test_wrong_arguments(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(st.PlanError, match=message):
        clicks().group_by_session("at", **settings)


def test_only_event_time_makes_sessions() -> None:
    with pytest.raises(st.PlanError, match="goes by event time, and that is 'at'"):
        clicks().group_by_session("v", gap=10)
    with pytest.raises(st.PlanError, match="the stream has none"):
        clicks().drop("at").group_by_session("v", gap=10)
    with pytest.raises(st.PlanError, match="changes stream"):
        clicks().group_by("user", "at").agg(pl.len()).group_by_session("at", gap=10)


def test_explain_says_what_bounds_it() -> None:
    text = visits(clicks(), lateness=5).explain()
    assert "gap 10 ticks" in text
    assert "one row of values per session until it has been closed for 5 ticks" in text
