"""Group by, batch by batch: what is said, what is taken back, and when."""

from typing import Any

import polars as pl
import pytest

import streame as st
from streame.core.config import Config
from streame.core.time import WATERMARK_MAX
from streame.io.memory import MemorySink
from streame.plan.lower import lower
from streame.plan.nodes import Write
from streame.runtime.operator import Operator
from streame.testing import Driver, batch
from tests.runtime.recorder import OperatorBench


def sales(**settings: Any) -> st.StreamDataFrame:
    """A stream of sales."""
    return st.scan_rows([], {"item": pl.String, "qty": pl.Int64}, name="sales", **settings)


def said(driver: Driver) -> list[tuple[Any, ...]]:
    """The rows that came out since the last call, in order."""
    return [row for frame in driver.take() for row in frame.rows()]


def test_every_batch_says_what_it_has_changed() -> None:
    totals = sales().group_by("item").agg(pl.col("qty").sum(), n=pl.len())
    with Driver(totals) as driver:
        driver.push(batch("item:s qty:i\n tea 2\n cup 3\n tea 5"))
        assert said(driver) == [("tea", 7, 2, 1), ("cup", 3, 1, 1)]
        driver.push(batch("item:s qty:i\n cup 1\n pot 9"))
        assert said(driver) == [("cup", 3, 1, -1), ("cup", 4, 2, 1), ("pot", 9, 1, 1)]
    assert said(driver) == []


def test_a_result_that_stays_is_not_said_again() -> None:
    with Driver(sales().group_by("item").agg(pl.col("qty").max())) as driver:
        driver.push(batch("item:s qty:i\n tea 5\n cup 1"))
        said(driver)
        driver.push(batch("item:s qty:i\n tea 2\n cup 2"))
        assert said(driver) == [("cup", 1, -1), ("cup", 2, 1)]


def test_null_is_a_key_and_nan_equals_nan() -> None:
    rows = st.scan_rows([], {"k": pl.Float64, "v": pl.Int64}, name="rows")
    with Driver(rows.group_by("k").len("n")) as driver:
        driver.push(pl.DataFrame({"k": [None, float("nan"), 0.0], "v": [1, 1, 1]}))
        driver.push(pl.DataFrame({"k": [None, -float("nan"), -0.0], "v": [1, 1, 1]}))
        assert [row[1:] for row in said(driver)] == [(1, 1)] * 3 + [(1, -1)] * 3 + [(2, 1)] * 3


def test_a_column_may_be_two_keys_and_an_aggregate_may_read_a_key() -> None:
    with Driver(
        sales().group_by("qty", double=pl.col("qty") * 2, again="qty").agg(n=pl.col("qty").sum())
    ) as driver:
        driver.push(batch("item:s qty:i\n tea 2\n cup 2"))
        assert said(driver) == [(2, 4, 2, 4, 1)]


def test_on_close_says_every_result_once_at_the_end() -> None:
    totals = sales().group_by("item", emit="on_close").agg(pl.col("qty").sum())
    assert not totals.node.is_changes
    with Driver(totals) as driver:
        driver.push(batch("item:s qty:i\n tea 2\n cup 3"))
        driver.push(batch("item:s qty:i\n tea 5"))
        assert said(driver) == []
    assert said(driver) == [("tea", 7), ("cup", 3)]


def test_every_ten_seconds_says_what_has_changed_since() -> None:
    with Driver(sales().group_by("item", emit="10s").agg(pl.col("qty").sum())) as driver:
        driver.push(batch("item:s qty:i\n tea 2\n cup 3"))
        driver.push(batch("item:s qty:i\n tea 5"))
        driver.advance("9s")
        assert said(driver) == []
        driver.advance("1s")
        assert said(driver) == [("tea", 7, 1), ("cup", 3, 1)]
        driver.advance("30s")
        assert said(driver) == []
        driver.push(batch("item:s qty:i\n tea 1\n pot 1"))
        driver.push(batch("item:s qty:i\n tea -1"))
        driver.advance("10s")
        assert said(driver) == [("pot", 1, 1)]
        driver.push(batch("item:s qty:i\n cup 1"))
    assert said(driver) == [("cup", 3, -1), ("cup", 4, 1)]


def test_more_groups_than_a_batch_holds_are_said_in_several() -> None:
    keys = pl.DataFrame({"item": [str(n) for n in range(60_000)], "qty": range(60_000)})
    with Driver(sales().group_by("item").len()) as driver:
        driver.push(keys)
        driver.push(keys)
        frames = driver.take()
    assert [frame.height for frame in frames] == [32_768, 27_232, 65_536, 54_464]
    # What a key was and what it is stand in the same batch.
    assert frames[2]["_diff"].to_list() == [-1] * 32_768 + [1] * 32_768
    assert frames[2]["item"][:32_768].equals(frames[2]["item"][32_768:])


def test_the_results_of_a_second_group_by_follow_those_of_the_first() -> None:
    counts = sales().group_by("item").agg(n=pl.col("qty").sum())
    by_count = counts.group_by("n").agg(items=pl.len(), first=pl.col("item").min(), last=pl.col("item").max())
    with Driver(by_count) as driver:
        driver.push(batch("item:s qty:i\n tea 1\n cup 1\n pot 2"))
        assert said(driver) == [(1, 2, "cup", "tea", 1), (2, 1, "pot", "pot", 1)]
        driver.push(batch("item:s qty:i\n tea 1"))
        assert said(driver) == [
            (1, 2, "cup", "tea", -1), (2, 1, "pot", "pot", -1), (1, 1, "cup", "cup", 1), (2, 2, "pot", "tea", 1),
        ]  # fmt: skip
        driver.push(batch("item:s qty:i\n cup 5"))
        assert said(driver) == [(1, 1, "cup", "cup", -1), (6, 1, "cup", "cup", 1)]


def test_having_holds_as_long_as_it_is_true() -> None:
    items = sales().group_by("item").having(pl.col("qty").sum() > 3, pl.len() < 3).agg(pl.col("qty").max())
    with Driver(items) as driver:
        driver.push(batch("item:s qty:i\n tea 2\n cup 1"))
        assert said(driver) == []
        driver.push(batch("item:s qty:i\n tea 3"))
        assert said(driver) == [("tea", 3, 1)]
        driver.push(batch("item:s qty:i\n tea 3"))
        assert said(driver) == [("tea", 3, -1)]


def test_first_and_last_go_by_event_time_where_there_is_one() -> None:
    rows = st.scan_rows([], {"k": pl.String, "at": pl.Int64, "v": pl.Int64}, name="rows")
    ends = (
        rows.with_event_time("at", watermark=10)
        .group_by("k")
        .agg(pl.col("v").first().alias("a"), b=pl.col("v").last())
    )
    with Driver(ends) as driver:
        driver.push(batch("k:s at:i v:i\n x 5 50\n x . 0"))
        driver.push(batch("k:s at:i v:i\n x 3 30\n x 7 70\n x 7 71"))
        assert said(driver) == [("x", 0, 50, 1), ("x", 0, 50, -1), ("x", 0, 71, 1)]


def test_a_row_that_an_aggregate_fails_for_is_set_aside() -> None:
    rows = st.scan_rows([], {"k": pl.String, "v": pl.String}, name="rows", on_error="dead_letter")
    totals = rows.group_by("k").agg(pl.col("v").cast(pl.Int64).sum())
    for parallelism in (1, 2):
        with Driver(totals, parallelism=parallelism) as driver:
            driver.push(batch("k:s v:s\n a 1\n a one\n b 2"))
            assert sorted(said(driver)) == [("a", 1, 1), ("b", 2, 1)]
            driver.push(batch("k:s v:s\n b two"))
            assert said(driver) == []
            letters = driver.rejected()
            assert letters.select("split", "offset", "operator", "kind").rows() == [
                ("pushed", 1, "group_by k", "compute"), ("pushed", 3, "group_by k", "compute"),
            ]  # fmt: skip


def test_a_row_that_is_taken_back_is_refused_once() -> None:
    rows = st.scan_rows([], {"k": pl.String, "v": pl.String}, name="rows", on_error="dead_letter")
    numbers = rows.group_by("k").agg(pl.col("v").max()).with_columns(pl.col("v").cast(pl.Int64))
    with Driver(numbers.group_by("v").len()) as driver:
        driver.push(batch("k:s v:s\n a 1\n b b"))
        driver.push(batch("k:s v:s\n a 2\n b c"))
        assert said(driver) == [(1, 1, 1), (1, 1, -1), (2, 1, 1)]
        assert driver.rejected().height == 2


def test_the_event_time_of_a_key_goes_on_and_ends_where_it_is_no_key() -> None:
    rows = st.scan_rows([], {"at": pl.Int64, "v": pl.Int64}, event_time="at", name="rows")
    assert rows.group_by("at", "v").len().event_time == "at"
    assert rows.group_by(when="at").len().event_time == "when"
    assert rows.group_by("v").len().event_time is None
    assert rows.group_by("at", emit="10s").len().event_time is None
    assert rows.group_by(pl.col("at") // 10).len().event_time is None


def operator_of(frame: st.StreamDataFrame) -> Operator:
    """The operator of the verb that a frame ends with."""
    graph = lower([Write(frame.node, MemorySink, "out")], Config())
    (vertex,) = [each for each in graph.operators() if each.name.startswith("group_by")]
    return vertex.make()


@pytest.mark.parametrize("parallelism", [1, 2])
def test_late_changes_of_a_window_are_the_new_rows_alone(parallelism: int) -> None:
    rows = st.scan_rows([], {"at": pl.Int64, "v": pl.Int64}, event_time="at", name="rows")
    windows = (
        rows.group_by("at").agg(pl.col("v").sum()).group_by_dynamic("at", every="10i").agg(pl.col("v").max())
    )
    job = st.job([windows.sink_console(), windows.late.sink_console(name="late")])
    with Driver(job, parallelism=parallelism) as driver:
        driver.push(batch("at:i v:i\n 1 3\n 20 9"))
        driver.push(batch("at:i v:i\n 1 1"))
        assert [row for frame in driver.take("sink console") for row in frame.rows()] == [(0, 3)]
        assert [row for frame in driver.take("sink late") for row in frame.rows()] == [(1, 4)]


@pytest.mark.parametrize(
    ("emit", "marks"),
    [("changes", [5, WATERMARK_MAX]), ("10s", [WATERMARK_MAX]), ("on_close", [WATERMARK_MAX])],
)
def test_watermarks_go_on_where_nothing_is_held_back(emit: str, marks: list[int]) -> None:
    bench = OperatorBench(operator_of(sales().group_by("item", emit=emit).len()))
    bench.push(batch("item:s qty:i\n tea 1"))
    bench.watermark(5)
    bench.watermark(WATERMARK_MAX)
    assert bench.out.watermarks == marks
    assert len(bench.out.rows) == 1


def test_what_it_keeps_is_counted() -> None:
    bench = OperatorBench(operator_of(sales().group_by("qty").len()))
    bench.push(pl.DataFrame({"item": "tea", "qty": range(1000)}))
    size = bench.operator.state_size()
    assert size.rows == 1000
    assert size.bytes > 16_000


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda frame: frame.group_by(), "give at least one key"),
        (lambda frame: frame.group_by("itm"), "did you mean 'item'"),
        (lambda frame: frame.group_by(pl.col("qty").sum()), "group_by: .*is refused"),
        (lambda frame: frame.group_by("item", maintain_order=True), "maintain_order"),
        (lambda frame: frame.group_by("item", emit="often"), "cannot read the duration 'often'"),
        (lambda frame: frame.group_by("item", emit=None), "emit=None is not possible"),
        (lambda frame: frame.group_by(pl.concat_list("qty")), "cannot be a key"),
        (lambda frame: frame.group_by("item", "item"), "two expressions are named 'item'"),
        (lambda frame: frame.group_by("item").agg(pl.col("qty").sum(), item=pl.len()), "named 'item', as a key is"),
        (lambda frame: frame.group_by("item").agg(), r"nothing to compute; .* use unique\(\['item'\]\)"),
        (lambda frame: frame.group_by("item", "qty").sum(), "sum: there is nothing to compute"),
        (lambda frame: frame.group_by("item").agg("price"), "column 'price' does not exist"),
        (lambda frame: frame.group_by("item").having(pl.len()).len(), "having: len.. is of dtype UInt32"),
        (lambda frame: frame.group_by("item").head(), "head of a group_by is refused"),
    ],
)  # fmt: skip
def test_what_cannot_be_grouped_is_refused(call: Any, message: str) -> None:
    with pytest.raises(st.PlanError, match=message):
        call(sales())


def test_two_group_bys_of_one_name_are_refused() -> None:
    one = sales()
    with pytest.raises(st.PlanError, match="two verbs of the job are called 'group_by item'"):
        st.job([one.group_by("item").len().sink_console(), one.group_by("item").sum().sink_console()])


def test_explain_says_what_is_kept_and_when_results_are_said() -> None:
    text = sales().group_by("item", emit="10s").agg(n=pl.len()).explain()
    assert "said every 10 s of the wall clock, if it has changed" in text
    assert "one row of values per key, bounded by the number of keys" in text
    kept = sales().group_by("item").agg(pl.col("qty").median()).explain()
    assert "all rows of every key, for qty: unbounded" in kept
