"""What hostile and unlucky users found in the verbs of time, each named for what was wrong."""

import resource
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import streame as st
from streame.core.clock import ManualClock
from streame.core.messages import Batch
from streame.core.metrics import StateSize
from streame.runtime.operator import Collector, Operator
from streame.runtime.stage import Stage
from streame.testing import Driver

ANYTHING: Any = pl.col("at")
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


def timed(frame: pl.DataFrame, name: str = "rows", **settings: Any) -> st.StreamDataFrame:
    """A stream of the rows, in batches of two, with the event time `at`."""
    batches = [frame[start : start + 2] for start in range(0, frame.height, 2)]
    return st.scan_frames(batches, schema=frame.schema, name=name, event_time="at", **settings)


def seconds(*values: int) -> list[datetime]:
    """Times so many seconds after noon."""
    return [NOON + timedelta(seconds=value) for value in values]


NAMED = pl.DataFrame({"at": seconds(1, 2, 3, 11), "k": [1, 2, 3, 4], "v": [5, 6, 7, 8]})


@pytest.mark.parametrize("name", ["__key0", "__by0", "__having0", "__prepared_0", "__value_0"])
def test_a_column_may_be_called_as_one_that_a_verb_computes(name: str) -> None:
    frame = NAMED.rename({"k": name})
    odd, first = pl.col(name) % 2, pl.col("v").sum() + (pl.col("v") * pl.col(name)).sum()
    aggs = [pl.col(name).max().alias("most"), pl.col(name).quantile(0.5).alias("half"), first.alias("first")]
    grouped = timed(frame).group_by(odd.alias("odd"), name).having(pl.len() > 0).agg(first=first)
    assert_frame_equal(
        grouped.collect(),
        frame.group_by(odd.alias("odd"), name).agg(first=first),
        check_row_order=False,
    )
    assert_frame_equal(
        timed(frame).group_by_dynamic("at", every="10s", group_by=odd.alias("odd")).agg(*aggs).collect(),
        frame.group_by_dynamic("at", every="10s", group_by=odd.alias("odd")).agg(*aggs),
        check_row_order=False,
    )
    best = timed(frame).top_k(2, by=[odd, name]).collect()
    assert sorted(best[name]) == [1, 3]


@pytest.mark.parametrize("name", ["", "__group", "__time"])
def test_a_name_that_the_engine_needs_is_refused_and_not_mixed_up(name: str) -> None:
    with pytest.raises(st.PlanError, match=r"source 'rows': .*(taken by the engine|no name)"):
        timed(NAMED.rename({"k": name}))
    with pytest.raises(st.PlanError, match=r"taken by the engine|no name"):
        timed(NAMED).group_by("k").agg(pl.len().alias(name))


@pytest.mark.parametrize("column", ["b", "l"])
def test_a_result_has_the_dtype_that_polars_says_where_it_computes_another(column: str) -> None:
    frame = NAMED.with_columns(b=pl.col("v") > 6, l=pl.concat_list("v"))
    halves = timed(frame).group_by("k", emit="on_close").agg(pl.col(column).quantile(0.5))
    assert halves.collect().schema == halves.schema


@pytest.mark.parametrize("strategy", ["forward", "nearest"])
def test_a_row_does_not_wait_for_a_right_side_that_has_ended(strategy: Any) -> None:
    rows = pl.DataFrame({"at": seconds(1, 5, 9, 20), "v": [1, 2, 3, 4]})
    left, right = timed(rows, "left"), timed(rows.rename({"v": "w"}), "right")
    with Driver(left.join_asof(right, on="at", strategy=strategy), splits={}) as pipeline:
        pipeline.push(rows[:3], to="left")
        pipeline.push(rows.rename({"v": "w"})[:2], to="right")
        pipeline.end("right")
        pipeline.push(rows[3:], to="left")
        found = pl.concat(pipeline.take())
    assert found["v"].to_list() == [1, 2, 3]
    assert found["w"].to_list() == ([1, 2, None] if strategy == "forward" else [1, 2, 2])


class Keeping(Operator):
    """Keeps all rows."""

    kept = 0

    def on_batch(self, port: int, batch: Batch, out: Collector) -> None:
        self.kept += batch.frame.height

    def state_size(self) -> StateSize:
        return StateSize(self.kept, 0)


def test_the_size_of_state_is_told_also_when_a_burst_of_rows_is_followed_by_silence() -> None:
    clock, stage = ManualClock(), Stage("keeping", Keeping(), [0])
    stage.open(clock, None)
    for frame in (NAMED[:1], NAMED):
        stage.take(0, Batch(frame))
    due_us = stage.next_timer_us()
    assert due_us is not None
    clock.advance(timedelta(microseconds=due_us - clock.now_us()))
    stage.fire_timers(clock.now_us())
    assert stage.metrics.state_rows == 5
    assert stage.next_timer_us() is None


class Hoard(st.Sink):
    """Keeps what it gets, as a channel in front of a slow sink does."""

    def __init__(self) -> None:
        self.frames: list[pl.DataFrame] = []

    def write(self, frame: pl.DataFrame) -> None:
        self.frames.append(frame)


def test_the_few_rows_that_a_filter_leaves_do_not_keep_the_texts_of_all_in_memory() -> None:
    page = resource.getpagesize()

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * page

    numbers = pl.Series("v", range(1000))
    whole = pl.DataFrame({"v": numbers, "text": numbers.cast(pl.String) + "x" * 2000})
    hoard = Hoard()
    frames = (whole.with_columns(pl.col("text") + "y") for _ in range(150))
    before = resident()
    st.sink(st.scan_frames(frames, schema=whole.schema).filter(pl.col("v") == 7), hoard).run()
    assert len(hoard.frames) == 150
    assert resident() - before < 100_000_000  # the texts of all rows are three times as much


@pytest.mark.parametrize(
    "build",
    [
        lambda frame, other, span: frame.join_interval(other, lower=f"-{span}", upper="0s"),
        lambda frame, other, span: frame.join_interval(other, lower="0s", upper=span, how="full"),
        lambda frame, other, span: frame.join_asof(other, on="at", tolerance=span, strategy="nearest"),
        lambda frame, other, span: frame.join(other, on="k", ttl=span),
        lambda frame, other, span: frame.join(other.as_table("k"), on="k", wait=span),
        lambda frame, other, span: frame.with_event_time("at", watermark=span).unique("k", within="1s"),
        lambda frame, other, span: frame.unique("k", within=span),
        lambda frame, other, span: frame.group_by_session("at", gap=span).agg(pl.len()),
        lambda frame, other, span: frame.group_by_session("at", gap="1s", lateness=span).agg(pl.len()),
        lambda frame, other, span: frame.group_by_dynamic("at", every="1s", lateness=span).agg(pl.len()),
        lambda frame, other, span: frame.group_by_dynamic("at", every="1s", emit=span).agg(pl.len()),
        lambda frame, other, span: frame.with_event_time("at", idle_timeout=span),
    ],
)
@pytest.mark.parametrize("unit", ["ns", "us"])
def test_a_duration_that_64_bits_cannot_count_is_refused_and_a_long_one_works(build: Any, unit: Any) -> None:
    years = [datetime(1701, 1, 2, tzinfo=UTC), NOON, datetime(2199, 12, 30, tzinfo=UTC)]
    rows = pl.DataFrame({"at": years, "k": [1, 1, 1]}).with_columns(pl.col("at").dt.cast_time_unit(unit))
    # The latest first: a time may not be far ahead of those before it.
    sides = [
        st.scan_frames([rows.reverse()], name=name, event_time="at", watermark="26000d")
        for name in ("rows", "other")
    ]
    with pytest.raises(st.PlanError, match="so long a time cannot be told"):
        build(*sides, "30000000000d")
    build(*sides, "26000d").collect()


def test_an_offset_costs_nothing_however_long_it_is() -> None:
    for offset in ("1y", "-4y", "1000d"):
        counts = timed(NAMED).group_by_dynamic("at", every="1s", offset=offset).agg(pl.len())
        assert counts.collect().sort("at")["at"].to_list() == seconds(1, 2, 3, 11)


@pytest.mark.parametrize("k", [3, 10**12])
def test_the_best_of_a_group_take_memory_for_the_rows_that_there_are(k: int) -> None:
    frame = pl.DataFrame({"at": seconds(*range(40)), "k": [n % 3 for n in range(40)], "v": range(40)})
    best = timed(frame).group_by("k").top_k(k, by="v").collect()
    assert best["v"].sort().to_list() == list(range(31 if k == 3 else 0, 40))


def test_an_expression_in_the_place_of_a_name_is_refused() -> None:
    with pytest.raises(st.PlanError, match="with_event_time: found a Expr where the name of a column"):
        timed(NAMED).with_event_time(ANYTHING)


def test_a_python_function_that_raises_in_an_aggregate_is_named() -> None:
    def broken(value: int) -> float:
        raise ZeroDivisionError(value)

    sums = pl.col("v").map_elements(broken, return_dtype=pl.Float64).sum()
    with pytest.raises(st.DataError, match=r"agg: the value of 'v' cannot be computed .*ZeroDivisionError"):
        timed(NAMED).group_by("k").agg(sums).collect()


@pytest.mark.parametrize(
    ("verb", "build"),
    [
        ("group_by", lambda frame, key: frame.group_by(key)),
        ("group_by_dynamic", lambda frame, key: frame.group_by_dynamic("at", every="1s", group_by=key)),
        ("group_by_session", lambda frame, key: frame.group_by_session("at", gap="1s", group_by=key)),
        ("unique", lambda frame, key: frame.unique(key)),
        ("top_k", lambda frame, key: frame.top_k(1, by=key)),
    ],
)
def test_a_key_that_is_not_row_wise_is_refused_in_the_words_of_the_user(verb: str, build: Any) -> None:
    with pytest.raises(
        st.PlanError, match=rf'^{verb}: col\("v"\).sum\(\) in \(col\("v"\).sum\(\)\) \+'
    ) as raised:
        build(timed(NAMED), pl.col("v").sum() + pl.col("k"))
    assert "__" not in str(raised.value)
