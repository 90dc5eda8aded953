"""Pre-aggregation: one row for each key of a batch, unless that gains nothing."""

import polars as pl
import pytest

import streame as st
from streame.core.config import Config
from streame.io.memory import MemorySink
from streame.plan.lower import lower
from streame.plan.nodes import Write
from streame.testing import Driver, batch
from tests.runtime.recorder import OperatorBench


def rows(**settings: object) -> st.StreamDataFrame:
    """A stream of rows with a key."""
    return st.scan_rows([], {"k": pl.String, "v": pl.Int64}, name="rows", **settings)  # type: ignore[arg-type]


def bench_of(frame: st.StreamDataFrame) -> OperatorBench | None:
    """The operator in front of a `group_by` that runs twice, if there is one."""
    graph = lower([Write(frame.node, MemorySink, "out")], Config(parallelism=2))
    found = [each for each in graph.operators() if each.name == "group_by k (partial)"]
    return OperatorBench(found[0].make()) if found else None


def test_a_hot_key_costs_one_row_per_batch() -> None:
    bench = bench_of(rows().group_by("k").agg(n=pl.len(), v=pl.col("v").sum()))
    assert bench is not None
    for _ in range(3):
        bench.push(pl.DataFrame({"k": ["hot"] * 60_000 + ["cold"], "v": range(60_001)}))
    assert [each.frame["k"].to_list() for each in bench.out.batches] == [["hot", "cold"]] * 3
    assert bench.operator.state_size().rows == 0


def test_where_it_gains_nothing_rows_go_on_as_they_are() -> None:
    bench = bench_of(rows().group_by("k").len())
    assert bench is not None
    many = pl.DataFrame({"k": [str(n) for n in range(100)], "v": range(100)})
    few = pl.DataFrame({"k": ["hot"] * 100, "v": range(100)})
    for frame in [many, *[few] * 16]:
        bench.push(frame)
    assert [each.frame.height for each in bench.out.batches] == [100] * 16 + [1]


@pytest.mark.parametrize("agg", [pl.col("v").median(), pl.col("v")])
def test_aggregates_that_keep_rows_have_none(agg: pl.Expr) -> None:
    assert bench_of(rows().group_by("k").agg(agg)) is None


def test_changes_have_none() -> None:
    assert bench_of(rows().group_by("v").agg(k=pl.col("k").max()).group_by("k").len()) is None


def test_rows_and_values_come_to_the_same() -> None:
    totals = rows().group_by("k").agg(n=pl.len(), v=pl.col("v").sum(), first=pl.col("v").first())
    with Driver(totals, parallelism=2) as driver:
        driver.push(batch("k:s v:i\n a 1\n b 2"))
        driver.push(batch("k:s v:i\n a 3\n a 4\n a 5\n a 6"))
    with Driver(totals, parallelism=2) as other:
        other.push(batch("k:s v:i\n a 1\n a 3\n a 4\n a 5"))
        other.push(batch("k:s v:i\n a 6\n b 2"))
    finals = [[row for frame in each.take() for row in frame.rows()] for each in (driver, other)]
    assert [("a", 5, 19, 1, 1) in found and ("b", 1, 2, 2, 1) in found for found in finals] == [True, True]


def test_a_bad_row_is_refused_once() -> None:
    bad = rows(on_error="dead_letter").group_by("k").agg(pl.col("v").cast(pl.Int8).sum())
    with Driver(bad, parallelism=2) as driver:
        driver.push(batch("k:s v:i\n a 1\n a 1\n a 1\n a 1000"))
        driver.push(batch("k:s v:i\n a 1\n b 1000"))
        assert driver.rejected().select("offset", "operator").rows() == [(3, "group_by k"), (5, "group_by k")]
        assert [row for frame in driver.take() for row in frame.rows()] == [
            ("a", 3, 1), ("a", 3, -1), ("a", 4, 1)
        ]  # fmt: skip
