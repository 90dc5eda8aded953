"""The small print of "the same answers": a test for each thing that Polars does and that is easily done otherwise."""

import math
from queue import Queue
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import streame as st
from streame.core.changes import fold
from streame.plan.nodes import Filter, Project, Write
from streame.plan.optimizer import optimize
from streame.testing import Driver, batch
from tests.plans.prelude import Splits, difference, in_order, run

inf, nan = math.inf, math.nan


def timed(rows: pl.DataFrame, name: str = "rows", **settings: Any) -> st.StreamDataFrame:
    """A stream of rows with the event time `at`."""
    return st.scan_frames([rows], name=name, event_time="at", **settings)


def same(stream: st.StreamDataFrame, expected: pl.DataFrame) -> None:
    """The rows, whatever their order, on one task and on several."""
    for parallelism in (1, 3):
        differs = difference(run(stream, parallelism, optimized=True), expected)
        assert not differs, differs


def test_rows_of_equal_time_lie_in_the_order_of_their_splits() -> None:
    splits = [batch("at:i k:s v:i\n 5 a 1\n 5 b 2"), batch("at:i k:s v:i\n 3 a 3\n 5 a 4\n 5 b 5")]
    aggs = {"first": pl.col("v").first(), "last": pl.col("v").last(), "all": pl.col("v")}
    for cuts in ([1], [2, 1], [100]):
        stream = st.scan(Splits(splits[::1], cuts, "plain"), event_time="at", watermark=5)
        same(stream.group_by("k").agg(**aggs), in_order(splits, "at").group_by("k").agg(**aggs))


def test_of_changes_only_what_they_come_to_is_told() -> None:
    rows = batch("at:i v:i\n 1 1\n 2 2\n 3 3")
    folds, said = [], []
    for cuts in ([rows], [rows[:1], rows[1:]]):
        stream = st.scan_frames([], schema=rows.schema).group_by(one=1).agg(pl.col("v").sum())
        with Driver(stream) as driver:
            for cut in cuts:
                driver.push(cut)
            changes = pl.concat(driver.take())
        said.append(changes.height)
        folds.append(fold(changes).rows())
    assert said == [1, 3]
    assert folds == [[(1, 6)], [(1, 6)]]


def test_rolling_rows_of_equal_time_see_each_other_and_go_out_behind_it() -> None:
    rows = batch("at:i v:i\n 1 1\n 2 2\n 2 4")
    clicks = st.scan_queue(Queue(), rows.schema, event_time="at")
    with Driver(clicks.rolling("at", period="5i").agg(pl.col("v").sum())) as driver:
        driver.push(rows)
        assert [frame.rows() for frame in driver.take()] == [[(1, 1)]], "another row of time 2 may come"
        driver.push(batch("at:i v:i\n 2 8"))
        assert driver.take() == []
        driver.push(batch("at:i v:i\n 3 0"))
        assert sorted(row for frame in driver.take() for row in frame.rows()) == [(2, 15)] * 3


def test_a_row_belongs_to_every_window_that_holds_it_also_before_the_first_row() -> None:
    rows = batch("at:i v:i\n 10 1\n 15 2")
    hopping = timed(rows).group_by_dynamic("at", every="5i", period="10i").agg(pl.col("v").sum())
    same(hopping, batch("at:i v:i\n 5 1\n 10 3\n 15 2"))
    both = timed(rows).group_by_dynamic("at", every="5i", closed="both").agg(pl.col("v").sum())
    same(both, batch("at:i v:i\n 5 1\n 10 3\n 15 2"))


def test_a_row_between_two_windows_is_counted_and_is_not_late() -> None:
    rows = batch("at:i\n 1\n 7\n 8\n 12")
    counts = timed(rows).group_by_dynamic("at", every="10i", period="5i").agg(n=pl.len())
    late: Queue[Any] = Queue()
    out: Queue[Any] = Queue()
    sinks = [counts.sink_queue(out, as_frames=True, name="counts"), counts.late.sink_queue(late, name="late")]
    with st.job(sinks).start() as handle:
        handle.wait()
        (metrics,) = [each for name, each in handle.metrics().items() if name.startswith("group_by_dynamic")]
    assert (metrics.gaps, metrics.late) == (2, 0)
    assert late.get() is st.END


@pytest.mark.parametrize("every", ["2h", "3h", "6h", "12h"])
@pytest.mark.parametrize("day", ["2024-03-31", "2024-10-27"])
def test_hours_of_a_zone_begin_where_truncate_says_whatever_the_first_row(every: str, day: str) -> None:
    hours = pl.datetime_range(
        pl.lit(day).str.to_datetime(), pl.lit(day).str.to_datetime() + pl.duration(hours=30), "30m"
    )
    at = pl.select(at=hours).select(
        pl.col("at").dt.replace_time_zone("UTC").dt.convert_time_zone("Europe/Berlin")
    )
    for first in (0, 3, 7):
        rows = at[first:]
        counts = timed(rows).group_by_dynamic("at", every=every).agg(n=pl.len())
        truncated = rows.group_by(pl.col("at").dt.truncate(every)).agg(n=pl.len())
        same(counts, truncated)


NO_TIME = batch("at:i k:s v:i\n 1 a 1\n . a 2\n 3 b 4")

GROUPING: dict[str, Any] = {
    "group_by_dynamic": lambda rows: rows.group_by_dynamic("at", every="2i").agg(pl.col("v").sum()),
    "group_by_session": lambda rows: rows.group_by_session("at", gap=1).agg(pl.col("v").sum()),
    "rolling": lambda rows: rows.rolling("at", period="1i").agg(pl.col("v").sum()),
}


@pytest.mark.parametrize("verb", GROUPING)
def test_a_row_without_a_time_is_a_bad_row_for_grouping(verb: str) -> None:
    with pytest.raises(st.DataError, match="the event time at is null"):
        GROUPING[verb](timed(NO_TIME)).collect()
    assert GROUPING[verb](timed(NO_TIME, on_error="drop")).collect()["v"].sum() == 5
    with Driver(GROUPING[verb](timed(NO_TIME, on_error="dead_letter"))) as driver:
        driver.push(NO_TIME)
        letters = driver.rejected()
    assert letters.select("source", "offset", "kind").rows() == [("rows", 1, "time")]
    assert b'"v":2' in letters["raw"][0]


def test_an_asof_join_keeps_left_rows_without_a_time() -> None:
    prices = batch("at:i price:i\n 0 10\n 2 20")
    found = timed(NO_TIME).join_asof(timed(prices, "prices"), on="at").select("v", "price")
    same(found, batch("v:i price:i\n 1 10\n 2 .\n 4 20"))


def test_ties_of_an_asof_join() -> None:
    left = batch("at:i k:s\n 10 a\n 10 .")
    right = batch("at:i k:s n:i\n 6 a 1\n 6 a 2\n 14 a 3\n 14 a 4\n 10 . 5")
    expected: dict[Any, int] = {"backward": 2, "forward": 3, "nearest": 4}
    for strategy, number in expected.items():
        joined = timed(left).join_asof(timed(right, "right"), on="at", by="k", strategy=strategy)
        same(joined.select("k", "n"), batch(f"k:s n:i\n a {number}\n . ."))


ODD = pl.DataFrame({"k": [None, nan, -0.0, 0.0, 1.0], "n": [1, 2, 3, 4, 5]})
OTHER = pl.DataFrame({"k": [None, nan, 0.0, inf], "m": [10, 20, 30, 40]})


@pytest.mark.parametrize("how", ["inner", "left", "full", "semi", "anti"])
@pytest.mark.parametrize("nulls_equal", [False, True])
def test_null_is_not_null_nan_is_nan_and_zero_has_no_sign_in_joins(how: Any, nulls_equal: bool) -> None:
    one, other = st.scan_frames([ODD], name="one"), st.scan_frames([OTHER], name="other")
    joined = one.join(other, on="k", how=how, nulls_equal=nulls_equal, ttl=None)
    same(joined, ODD.join(OTHER, on="k", how=how, nulls_equal=nulls_equal))


def test_what_aggregates_of_nothing_are() -> None:
    rows = pl.DataFrame(
        {"k": ["a", "a", "b"], "v": [None, None, 1], "f": [nan, 1.0, nan], "b": [None, None, True]},
        schema={"k": pl.String, "v": pl.Int64, "f": pl.Float64, "b": pl.Boolean},
    )
    aggs = {
        "sum": pl.col("v").sum(),
        "any": pl.col("b").any(),
        "all": pl.col("b").all(),
        "kinds": pl.col("v").n_unique(),
        "most": pl.col("f").max(),
        "least": pl.col("f").min(),
        "mean": pl.col("v").mean(),
        "half": pl.col("f").drop_nans().quantile(0.5),
        "some": pl.col("v").filter(pl.col("v") > 5).sum(),
    }
    stream = st.scan_frames([rows])
    expected = rows.group_by("k").agg(**aggs)
    same(stream.group_by("k").agg(**aggs), expected)
    nothing = expected.filter(pl.col("k") == "a").row(0, named=True)
    assert (nothing["sum"], nothing["any"], nothing["all"], nothing["kinds"]) == (0, False, True, 1)
    assert nothing["most"] == 1.0


def test_a_quantile_is_the_nearest_value() -> None:
    rows = pl.DataFrame({"k": [1] * 4, "v": [1.0, 2.0, 3.0, 4.0]})
    found = st.scan_frames([rows]).group_by("k").agg(q=pl.col("v").quantile(0.5)).collect()
    assert found["q"].to_list() == [3.0]


def test_top_k_has_nan_first_null_last_and_of_ties_the_earliest() -> None:
    rows = pl.DataFrame(
        {"at": [4, 3, 2, 1, 2, 5], "v": [1.0, nan, None, 1.0, 1.0, -inf], "n": range(6)},
        schema={"at": pl.Int64, "v": pl.Float64, "n": pl.Int64},
    )
    for k, expected in [(1, [1]), (2, [1, 3]), (3, [1, 3, 4]), (4, [0, 1, 3, 4]), (5, [0, 1, 3, 4, 5])]:
        found = timed(rows, watermark=10).top_k(k, by="v").collect()
        assert sorted(found["n"]) == expected


def test_of_equal_rows_any_is_the_first() -> None:
    rows = batch("at:i k:s n:i\n 5 a 1\n 3 a 2\n 3 a 3\n 4 b 4")
    keeps: list[Any] = ["any", "first"]
    for keep in keeps:
        found = timed(rows, watermark=10).unique("k", keep=keep)
        same(found, batch("at:i k:s n:i\n 3 a 2\n 4 b 4"))


def test_floats_that_are_taken_back_leave_nothing_behind() -> None:
    schema = {"user": pl.String, "v": pl.Float64}
    orders = st.scan_frames([], schema=schema)
    last = orders.group_by("user").agg(v=pl.col("v").max())
    totals = last.group_by(all=1).agg(sum=pl.col("v").sum(), n=pl.len())
    said: list[pl.DataFrame] = []
    with Driver(totals.select("sum", "n")) as driver:
        for user, v in [
            ("ann", 1.0),
            ("bob", -inf),
            ("cid", nan),
            ("bob", 5e15),
            ("cid", 1.0),
            ("bob", 1e16),
        ]:
            driver.push(pl.DataFrame({"user": [user], "v": [v]}, schema=schema))
            said += driver.take()
            (row,) = fold(pl.concat(said)).rows()
        assert row == (1e16 + 2, 3)


def test_a_sum_of_floats_forgets_what_was_taken_back() -> None:
    """1e16 + 1 - 1e16 is 1: the large one moves to another group."""
    schema = {"user": pl.String, "shop": pl.String, "v": pl.Float64}
    orders = st.scan_frames([], schema=schema, event_time=None)
    latest = orders.unique("user", keep="last").group_by("shop").agg(v=pl.col("v").sum())
    with Driver(latest) as driver:
        for row in [
            ("ann", "web", 1e16),
            ("bob", "web", 1.0),
            ("ann", "mall", nan),
            ("ann", "mall", inf),
            ("ann", "x", 2.0),
        ]:
            driver.push(pl.DataFrame([row], schema=schema, orient="row"))
        found = fold(pl.concat(driver.take()))
    assert sorted(found.rows()) == [("web", 1.0), ("x", 2.0)]


def test_no_rule_moves_anything_across_what_can_fail() -> None:
    rows = pl.DataFrame({"text": ["1", "two", "3"], "v": [1, 2, 3]})
    stream = st.scan_frames([rows], on_error="dead_letter").cast({"text": pl.Int64}).filter(pl.col("v") != 2)
    (write,) = optimize([Write(stream.node, lambda: None, "out")])  # type: ignore[arg-type, return-value]
    assert isinstance(write, Write)
    assert isinstance(write.input, Filter)
    assert isinstance(write.input.input, Project)
    with Driver(stream) as driver:
        driver.push(rows)
        assert driver.rejected()["kind"].to_list() == ["compute"]
        assert_frame_equal(pl.concat(driver.take()), pl.DataFrame({"text": [1, 3], "v": [1, 3]}))


def test_a_panic_of_polars_is_an_error_of_the_row(tmp_path: Any) -> None:
    path = tmp_path / "rows.ndjson"
    path.write_text('{"v": 5}\n{"v": 300}\n{"v": -7}\n')
    rows = st.scan_ndjson(path, {"v": pl.Int8}, on_error="dead_letter")
    assert rows.collect()["v"].to_list() == [5, -7]


def test_counts_and_sums_are_wide_or_an_error() -> None:
    rows = pl.DataFrame({"k": [1, 1], "v": [2**31 - 1, 1]}, schema={"k": pl.Int64, "v": pl.Int32})
    stream = st.scan_frames([rows])
    with pytest.raises(st.StreameError, match=r"(?i)int32|i32|does not fit"):
        stream.group_by("k").agg(pl.col("v").sum()).collect()
    wide = stream.group_by("k").agg(v=pl.col("v").sum().cast(pl.Int64))
    assert wide.collect()["v"].to_list() == [2**31]
