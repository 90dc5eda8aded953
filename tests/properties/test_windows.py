"""Windows over event time give what Polars gives, whatever the cuts, the disorder, the splits and the parallelism."""

from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as hst

import streame as st
from streame.core.changes import fold
from streame.core.durations import duration_ticks
from streame.core.time import EventTime
from streame.testing import Driver, strategies
from tests.examples import examples
from tests.properties.running import collected, rows_of, scanned
from tests.properties.test_group_by import AGGREGATES, IN_ORDER, VALUES, same
from tests.properties.windowed import AT, Shape, expected, in_windows, marks

pytestmark = pytest.mark.timeout(600)

BERLIN = pl.Datetime("ms", "Europe/Berlin")

TIMES: list[tuple[Any, Any, str | int, list[Shape]]] = [
    (
        pl.Datetime("us"),
        1_700_000_000_000_000,
        "1s",
        [
            Shape("10s"),
            Shape("10s", "4s"),
            Shape("10s", "25s", "-3s"),
            Shape("10s", "20s"),
            Shape("1m", None, "5s"),
        ],
    ),
    (
        pl.Datetime("ns", "UTC"),
        1_706_659_200_000_000_000,
        "12h",
        [Shape("1d"), Shape("1mo"), Shape("1w", "1mo"), Shape("2d", None, "6h"), Shape("1mo", "2mo", "3d")],
    ),
    (
        BERLIN,
        1_711_756_800_000,
        "30m",
        [Shape("1h"), Shape("2h"), Shape("3h"), Shape("1d", "2d"), Shape("6h"), Shape("1h", "3h", "30m")],
    ),
    (BERLIN, 1_729_980_000_000, "30m", [Shape("1h"), Shape("2h"), Shape("1d"), Shape("3h", "5h")]),
    (pl.Date(), 0, "1d", [Shape("1d"), Shape("1w"), Shape("1mo"), Shape("36h"), Shape("1w", "10d")]),
    (pl.Int64(), -20, 1, [Shape("10i"), Shape("10i", "3i"), Shape("10i", "20i"), Shape("7i", "18i", "-2i")]),
    (pl.Int32(), 100, 1, [Shape("5i"), Shape("5i", "10i", "2i")]),
]
"""A dtype of event time, its first time and step, and windows that are about as long as rows are apart."""


@hst.composite
def windowed(draw: hst.DrawFn) -> tuple[pl.DataFrame, Shape, list[str], str | int]:
    """Rows in time order, the windows over them, their key columns, and the step of time."""
    dtype, start, step, shapes = draw(hst.sampled_from(TIMES))
    shape = draw(hst.sampled_from(shapes))
    shape = Shape(
        shape.every,
        shape.period,
        shape.offset,
        closed=draw(hst.sampled_from(["left", "right", "both", "none"])),
        label=draw(hst.sampled_from(["left", "right", "datapoint"])),
        include_boundaries=draw(hst.booleans()),
    )
    key = {
        f"k{number}": each
        for number, each in enumerate(draw(hst.lists(hst.sampled_from(list(strategies.KEYS)), max_size=2)))
    }
    rows = draw(strategies.timed_frames(key, VALUES, time=AT, dtype=dtype, start=start, step=step, steps=60))
    return rows, shape, list(key), step


def aggregates(data: hst.DataObject, among: dict[str, pl.Expr]) -> dict[str, pl.Expr]:
    names = data.draw(hst.lists(hst.sampled_from(list(among)), min_size=1, max_size=5, unique=True))
    return {name: among[name] for name in names}


@given(hst.data())
@settings(max_examples=examples(100))
def test_windows_of_one_split_are_those_of_polars(data: hst.DataObject) -> None:
    rows, shape, keys, step = data.draw(windowed(), label="windows")
    aggs = aggregates(data, AGGREGATES | IN_ORDER)
    delay = step if isinstance(step, int) else "48h" if step == "12h" else f"{3 * int(step[:-1])}{step[-1]}"
    rows = data.draw(strategies.disordered(rows, AT, delay), label="in disorder")
    stream = scanned(data.draw(strategies.batch_cuts(rows)), event_time=AT, watermark=delay)
    grouped = stream.group_by_dynamic(AT, group_by=keys or None, **shape.arguments).agg(**aggs)
    oracle = expected(rows, shape, keys, aggs)
    if shape.is_polars and rows.schema[AT] != BERLIN:
        in_order = rows.sort(AT, maintain_order=True)
        same(oracle, in_order.group_by_dynamic(AT, group_by=keys or None, **shape.arguments).agg(**aggs))
    assert grouped.schema == oracle.schema
    for optimized, parallelism in ((True, data.draw(hst.sampled_from([1, 2, 3]))), (False, 1)):
        note(f"{optimized=} {parallelism=}")
        same(collected(grouped, optimized=optimized, parallelism=parallelism), oracle)


def ticks_of(duration: str | int, dtype: Any) -> int:
    """A duration in the ticks that windows are told in: microseconds for dates."""
    time = EventTime(AT, pl.Datetime("us") if dtype == pl.Date else dtype)
    return duration_ticks(duration, time, where="test")


def with_marks(rows: pl.DataFrame, delay: int) -> pl.DataFrame:
    return rows.with_columns(marks(rows, delay))


def counts_where(lateness: int) -> pl.Expr:
    """Whether a row came in time for a window."""
    return pl.col("__mark").is_null() | (pl.col("__behind") + lateness > pl.col("__mark"))


def late_rows(rows: pl.DataFrame, shape: Shape, lateness: int) -> pl.DataFrame:
    """The rows that came too late for every window that contains them; those in no window are not late."""
    pairs = in_windows(rows, shape).group_by("__row").agg(kept=counts_where(lateness).any())
    late = pairs.filter(~pl.col("kept"))["__row"].sort()
    return rows[late.to_list()].drop("__mark")


@given(hst.data())
@settings(max_examples=examples(100))
def test_late_rows_count_where_they_came_in_time_and_nowhere_else(data: hst.DataObject) -> None:
    rows, shape, keys, step = data.draw(windowed(), label="windows")
    dtype = rows.schema[AT]
    late_by = step if isinstance(step, int) else "96h" if step == "12h" else f"{9 * int(step[:-1])}{step[-1]}"
    rows = data.draw(strategies.disordered(rows, AT, late_by), label="in disorder")
    durations = [0, 1, 3] if isinstance(step, int) else ["0s", step, late_by]
    delay, lateness = (
        data.draw(hst.sampled_from(durations), label=name) for name in ("watermark", "lateness")
    )
    if dtype == pl.Date and "12h" in {delay, lateness}:
        delay, lateness = "24h", "48h"
    emit = data.draw(hst.sampled_from(["on_close", "changes", "10s"]), label="emit")
    aggs = aggregates(data, AGGREGATES)
    cuts = data.draw(strategies.batch_cuts(rows), label="cuts")
    stream = scanned(cuts, event_time=AT, watermark=delay)
    grouped = stream.group_by_dynamic(
        AT, group_by=keys or None, emit=emit, lateness=lateness, **shape.arguments
    ).agg(**aggs)
    marked = with_marks(rows, ticks_of(delay, dtype))
    kept_for = ticks_of(lateness, dtype)
    oracle = expected(marked, shape, keys, aggs, keep=counts_where(kept_for))
    parallelism = data.draw(hst.sampled_from([1, 2, 3]), label="parallelism")
    same(collected(grouped, parallelism=parallelism), oracle)
    same(collected(grouped.late, parallelism=parallelism), late_rows(marked, shape, kept_for))


@given(hst.data())
@settings(max_examples=examples(80))
def test_after_every_batch_the_fold_is_the_answer_so_far(data: hst.DataObject) -> None:
    rows, shape, keys, step = data.draw(windowed(), label="windows")
    dtype = rows.schema[AT]
    late_by = step if isinstance(step, int) else "96h" if step == "12h" else f"{9 * int(step[:-1])}{step[-1]}"
    rows = data.draw(strategies.disordered(rows, AT, late_by), label="in disorder")
    lateness = data.draw(
        hst.sampled_from([0, 2] if isinstance(step, int) else ["0s", late_by]), label="lateness"
    )
    emit = data.draw(hst.sampled_from(["on_close", "changes", "10s"]), label="emit")
    aggs = aggregates(data, AGGREGATES)
    cuts = data.draw(strategies.batch_cuts(rows), label="cuts")
    grouped = (
        scanned(cuts, event_time=AT)
        .group_by_dynamic(AT, group_by=keys or None, emit=emit, lateness=lateness, **shape.arguments)
        .agg(**aggs)
    )
    kept_for = ticks_of(lateness, dtype)
    said = pl.DataFrame(schema={**grouped.schema, "_diff": pl.Int64()})
    with Driver(grouped, parallelism=data.draw(hst.sampled_from([1, 2, 3]), label="parallelism")) as driver:
        for number, cut in enumerate(cuts):
            note(f"batch {number}")
            driver.push(cut)
            if emit == "10s":
                driver.advance("10s")
            for frame in driver.take():
                said.extend(
                    frame if "_diff" in frame.columns else frame.with_columns(_diff=pl.lit(1, pl.Int64))
                )
            so_far = with_marks(pl.concat(cuts[: number + 1]), 0)
            if not so_far.height:
                continue
            keep = counts_where(kept_for)
            if emit == "on_close":
                reached = int(
                    with_marks(pl.concat([so_far.drop("__mark"), so_far[:1].drop("__mark")]), 0)["__mark"][-1]
                )
                keep &= pl.col("__behind") <= reached
            same(fold(said), expected(so_far, shape, keys, aggs, keep=keep))


@given(hst.data())
@settings(max_examples=examples(40))
def test_the_splits_that_rows_come_from_make_no_difference(data: hst.DataObject) -> None:
    rows, shape, keys, _ = data.draw(windowed(), label="windows")
    aggs = aggregates(data, AGGREGATES | IN_ORDER)
    hands = data.draw(strategies.dealt(rows, 3), label="splits")
    cut = [data.draw(strategies.batch_cuts(hand)) for hand in hands]
    streams = [scanned(each, f"s{number}", event_time=AT) for number, each in enumerate(cut)]
    grouped = st.concat(streams).group_by_dynamic(AT, group_by=keys or None, **shape.arguments).agg(**aggs)
    oracle = expected(pl.concat(hands), shape, keys, aggs)
    same(collected(grouped, parallelism=data.draw(hst.sampled_from([1, 2, 3]))), oracle)


def late_by_splits(hands: Sequence[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat([with_marks(hand, 0) for hand in hands])


@given(hst.data())
@settings(max_examples=examples(40))
def test_each_split_is_late_by_itself(data: hst.DataObject) -> None:
    rows, shape, keys, step = data.draw(windowed(), label="windows")
    late_by = step if isinstance(step, int) else "96h" if step == "12h" else f"{9 * int(step[:-1])}{step[-1]}"
    rows = data.draw(strategies.disordered(rows, AT, late_by), label="in disorder")
    hands = data.draw(strategies.dealt(rows, 2), label="splits")
    streams = [
        scanned(data.draw(strategies.batch_cuts(hand)), f"s{number}", event_time=AT)
        for number, hand in enumerate(hands)
    ]
    aggs = {"n": pl.len(), "v": pl.col("v").sum()}
    grouped = st.concat(streams).group_by_dynamic(AT, group_by=keys or None, **shape.arguments).agg(**aggs)
    marked = late_by_splits(hands)
    parallelism = data.draw(hst.sampled_from([1, 3]))
    same(
        collected(grouped, parallelism=parallelism), expected(marked, shape, keys, aggs, keep=counts_where(0))
    )
    found = collected(grouped.late, parallelism=parallelism)
    assert rows_of(found) == rows_of(late_rows(marked, shape, 0))


@given(hst.data())
@settings(max_examples=examples(40))
def test_windows_of_windows(data: hst.DataObject) -> None:
    dtype, start, step, shapes = data.draw(hst.sampled_from([TIMES[0], TIMES[5], TIMES[2]]))
    key = {"k0": pl.Int64()}
    rows = data.draw(
        strategies.timed_frames(key, VALUES, time=AT, dtype=dtype, start=start, step=step, steps=200)
    )
    labels = data.draw(hst.lists(hst.sampled_from(["left", "right", "datapoint"]), min_size=2, max_size=2))
    closed = data.draw(hst.sampled_from(["left", "right", "both", "none"]))
    first = data.draw(hst.sampled_from(shapes))
    first = Shape(first.every, first.period, first.offset, closed=closed, label=labels[0])
    wide = {
        "10s": "1m",
        "1m": "5m",
        "10i": "30i",
        "7i": "30i",
        "1h": "1d",
        "2h": "1d",
        "3h": "1d",
        "6h": "1d",
        "1d": "1w",
    }
    second = Shape(wide[first.every], label=labels[1])
    by = data.draw(hst.sampled_from([["k0"], []]))
    inner = {"n": pl.len(), "v": pl.col("v").max()}
    outer = {"rows": pl.col("n").sum(), "groups": pl.len(), "v": pl.col("v").min()}
    stream = scanned(data.draw(strategies.batch_cuts(rows)), event_time=AT)
    grouped = stream.group_by_dynamic(AT, group_by="k0", **first.arguments).agg(**inner)
    assert grouped.event_time == AT
    twice = grouped.group_by_dynamic(AT, group_by=by or None, **second.arguments).agg(**outer)
    oracle = expected(expected(rows, first, ["k0"], inner), second, by, outer)
    parallelism = data.draw(hst.sampled_from([1, 3]))
    same(collected(twice, parallelism=parallelism), oracle)
    assert not collected(twice.late, parallelism=parallelism).height


@given(hst.data())
@settings(max_examples=examples(60))
def test_windows_over_rows_that_are_taken_back(data: hst.DataObject) -> None:
    rows, shape, _, _ = data.draw(windowed(), label="windows")
    rows = rows.with_columns(
        k=pl.Series(
            data.draw(hst.lists(hst.integers(0, 2), min_size=rows.height, max_size=rows.height)),
            dtype=pl.Int64,
        )
    )
    by = data.draw(hst.sampled_from([["k"], ["v"], []]))
    first = {"v": pl.col("v").cast(pl.Int64).sum(), "s": pl.col("s").max(), "f": pl.col("f").min()}
    second = {
        "n": pl.len(),
        "v2": pl.col("v").sum(),
        "s": pl.col("s").min(),
        "f": pl.col("f").max(),
        "kinds": pl.col("s").n_unique(),
        "median": pl.col("v").median(),
    }
    emit = data.draw(hst.sampled_from(["on_close", "changes", "10s"]), label="emit")
    stream = scanned(data.draw(strategies.batch_cuts(rows)), event_time=AT)
    grouped = stream.group_by(AT, "k").agg(**first)
    twice = grouped.group_by_dynamic(AT, group_by=by or None, emit=emit, **shape.arguments).agg(**second)
    assert twice.node.is_changes == (emit != "on_close")
    oracle = expected(rows.group_by(AT, "k").agg(**first), shape, by, second)
    same(collected(twice, parallelism=data.draw(hst.sampled_from([1, 3]))), oracle)


@given(hst.data())
@settings(max_examples=examples(24))
def test_windows_that_grow_hold_all_rows_since_they_began(data: hst.DataObject) -> None:
    rows = data.draw(
        strategies.timed_frames(
            {"k": pl.String()}, VALUES, time=AT, dtype=pl.Int64(), start=-9, step=1, steps=60
        )
    )
    aggs = aggregates(data, AGGREGATES)
    emit = data.draw(hst.sampled_from(["on_close", "changes"]), label="emit")
    stream = scanned(data.draw(strategies.batch_cuts(rows)), event_time=AT)
    grouped = stream.group_by_dynamic(
        AT, every="3i", cumulate="10i", label="right", group_by="k", include_boundaries=True, emit=emit
    ).agg(**aggs)
    low = pl.col(AT) // 10 * 10
    ends = [low + 10, *((pl.col(AT) // 3 + step) * 3 for step in range(1, 5))]
    pairs = rows.with_columns(_lower_boundary=low, _upper_boundary=pl.concat_list(ends).list.unique())
    pairs = pairs.explode("_upper_boundary").filter(
        pl.col("_upper_boundary") <= pl.col("_lower_boundary") + 10
    )
    oracle = pairs.group_by("k", "_lower_boundary", "_upper_boundary").agg(**aggs)
    label = oracle["_upper_boundary"].alias(AT)
    same(collected(grouped, parallelism=data.draw(hst.sampled_from([1, 3]))), oracle.insert_column(3, label))
