"""What top_k says, folded after any batch, is the head of Polars' stable sort of the rows so far."""

from queue import SimpleQueue
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hst

import streame as st
from streame.core.changes import fold
from streame.testing import Driver, batch
from streame.testing.strategies import batch_cuts
from tests.examples import examples
from tests.properties.test_group_by import follow, same

pytestmark = pytest.mark.timeout(600)

SCHEMA = pl.Schema({"k": pl.String(), "x": pl.Float64(), "y": pl.Int64(), "s": pl.String(), "i": pl.Int64()})
NAN = float("nan")


@hst.composite
def orders(draw: hst.DrawFn) -> tuple[list[pl.DataFrame], list[str | pl.Expr], list[bool], int]:
    """Rows with many ties in batches, what to compare, which way, and how many rows to keep."""
    row = hst.tuples(
        hst.sampled_from(["a", "b", None]),
        hst.sampled_from([None, NAN, 1.0, -0.0, 0.0, 2.5, float("inf")]),
        hst.integers(0, 3),
        hst.sampled_from([None, "", "x", "y" * 20]),
    )
    rows = [(*each, number) for number, each in enumerate(draw(hst.lists(row, max_size=60)))]
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    by = draw(hst.lists(hst.sampled_from(["x", "y", "s", "double"]), min_size=1, max_size=3, unique=True))
    exprs = [pl.col("y") * 2 if name == "double" else name for name in by]
    reverse = draw(hst.lists(hst.booleans(), min_size=len(by), max_size=len(by)))
    return draw(batch_cuts(frame)), exprs, reverse, draw(hst.sampled_from([1, 2, 5, 100]))


def ranked(rows: pl.DataFrame, by: list[Any], reverse: list[bool]) -> pl.DataFrame:
    """Best first."""
    return rows.sort(by, descending=[not each for each in reverse], nulls_last=True, maintain_order=True)


@settings(max_examples=examples(24))
@given(orders(), hst.booleans())
def test_the_best_of_all_rows(given: tuple[Any, ...], bottom: bool) -> None:
    cuts, by, reverse, k = given
    frame = st.scan_frames(cuts, schema=SCHEMA)
    other = [not each for each in reverse]
    found = frame.bottom_k(k, by=by, reverse=other) if bottom else frame.top_k(k, by=by, reverse=reverse)
    follow(found, cuts, lambda rows: ranked(rows, by, reverse).head(k))


@settings(max_examples=examples(24))
@given(orders(), hst.sampled_from([1, 2, 3]))
def test_the_best_of_each_group(given: tuple[Any, ...], parallelism: int) -> None:
    cuts, by, reverse, k = given
    found = st.scan_frames(cuts, schema=SCHEMA).group_by("k").top_k(k, by=by, reverse=reverse)

    def expected(rows: pl.DataFrame) -> pl.DataFrame:
        return ranked(rows, by, reverse).group_by("k", maintain_order=True).head(k).select(SCHEMA.names())

    follow(found, cuts, expected, parallelism)


@settings(max_examples=examples(24))
@given(orders(), hst.sampled_from([1, 2, 3]))
def test_the_best_of_an_aggregate(given: tuple[Any, ...], parallelism: int) -> None:
    cuts, _, reverse, k = given
    flags = [reverse[0], False, False]
    totals = st.scan_frames(cuts, schema=SCHEMA).group_by("k", "s").agg(n=pl.len(), y=pl.col("y").sum())

    def expected(rows: pl.DataFrame) -> pl.DataFrame:
        grouped = rows.group_by("k", "s").agg(n=pl.len(), y=pl.col("y").sum())
        return ranked(grouped, ["n", "k", "s"], flags).head(k)

    follow(totals.top_k(k, by=["n", "k", "s"], reverse=flags), cuts, expected, parallelism)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("column", ["x", "y"])
def test_the_best_of_more_groups_than_are_sorted(column: str, reverse: bool) -> None:
    numbers = pl.int_range(20_000, eager=True)
    x = pl.Series("x", [None, NAN, float("inf"), -0.0, 0.0, 2.5, -1.0]).gather(numbers * 31 % 7)
    frame = pl.DataFrame({"i": numbers, "x": x, "y": numbers * 7919 % 20_011 - 9_000})
    cuts = [*frame.iter_slices(6_000), frame[::3].with_columns(pl.col("x", "y") * -1)]
    last = st.scan_frames([], schema=frame.schema).group_by("i").agg(pl.col("x", "y").last())

    def expected(rows: pl.DataFrame) -> pl.DataFrame:
        grouped = rows.group_by("i").agg(pl.col("x", "y").last())
        return ranked(grouped, [column, "i"], [reverse, False]).head(20)

    said: list[pl.DataFrame] = []
    with Driver(last.top_k(20, by=[column, "i"], reverse=[reverse, False])) as driver:
        for number, cut in enumerate(cuts):
            driver.push(cut)
            said += driver.take()
            same(fold(pl.concat(said)), expected(pl.concat(cuts[: number + 1])))


def test_ties_go_to_the_earliest_time_and_then_to_the_first_split() -> None:
    schema = {"at": pl.Int64, "n": pl.Int64, "who": pl.String}
    rows = st.scan_frames([], schema=schema, event_time="at", watermark=10, name="rows")
    with Driver(rows.top_k(1, by="n"), splits={"rows": ["a", "b"]}) as driver:
        driver.push(batch("at:i n:i who:s\n 5 1 b5"), split="b")
        driver.push(batch("at:i n:i who:s\n 7 1 a7"), split="a")
        driver.push(batch("at:i n:i who:s\n 3 1 b3"), split="b")
        driver.push(batch("at:i n:i who:s\n 3 1 a3"), split="a")
        said = pl.concat(driver.take())
    assert said.select("who", "_diff").rows() == [
        ("b5", 1), ("b5", -1), ("b3", 1), ("b3", -1), ("a3", 1),
    ]  # fmt: skip


def test_only_the_best_rows_are_kept() -> None:
    frames = [pl.DataFrame({"n": list(range(start, start + 1000))}) for start in range(0, 50_000, 1000)]
    job = st.scan_frames(frames).top_k(3, by="n", name="best").sink_queue(SimpleQueue())
    with job.start() as handle:
        handle.wait()
        metrics = handle.metrics()["best"]
    assert metrics.state_rows == 3
    assert metrics.state_bytes < 100_000


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda frame: frame.top_k(0, by="y"), "k is 0"),
        (lambda frame: frame.top_k(2, by="z"), "column 'z' does not exist"),
        (lambda frame: frame.top_k(2, by=[]), "by what"),
        (lambda frame: frame.top_k(2, by="y", reverse=[True, False]), "reverse"),
        (lambda frame: frame.top_k(2, by=pl.col("y").sum()), "is refused"),
    ],
)
def test_what_is_refused(call: Any, message: str) -> None:
    with pytest.raises(st.PlanError, match=message):
        call(st.scan_frames([], schema=SCHEMA))


def test_the_plan_says_what_is_kept() -> None:
    times = pl.Series([0, 60, 120]).cast(pl.Datetime("ms"))
    frame = st.scan_frames([pl.DataFrame({"at": times, "n": [1, 2, 3]})])
    assert (
        "state: 2 rows per key, bounded by the number of keys"
        in frame.group_by("n").top_k(2, by="at").explain()
    )
    assert "unbounded" in frame.group_by("n").len().top_k(2, by="len").explain()
