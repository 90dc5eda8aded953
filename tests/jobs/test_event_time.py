"""Event time through a job: where it is declared, what verbs make of it, and how several splits advance it."""

from datetime import timedelta
from typing import Any

import polars as pl
import pytest

import streame as st
from streame.core.time import WATERMARK_MIN
from streame.testing import Driver

SCHEMA = {"at": pl.Int64(), "k": pl.String(), "v": pl.Int64()}
Frame = st.StreamDataFrame


def source(name: str = "rows", *, bounded: bool = False, **settings: Any) -> Frame:
    """A source that a driver feeds."""

    class Rows(st.Source):
        one_split = False

        def __init__(self) -> None:
            self.bounded = bounded

        def schema(self) -> pl.Schema:
            return pl.Schema(SCHEMA)

        def splits(self) -> list[str]:
            return []

        def read(self, split: str, offset: object) -> Any:
            raise AssertionError

    return st.scan(Rows(), name=name, **settings)


def rows(*ticks: int | None) -> pl.DataFrame:
    """Rows of these times."""
    return pl.DataFrame({"at": ticks, "k": ["a"] * len(ticks), "v": range(len(ticks))}, schema=SCHEMA)


def reached(driver: Driver, operator: str) -> int | None:
    """How far event time has come at the output of an operator."""
    (metrics,) = [
        stage.metrics
        for task in driver._tasks
        for stage in task.stages()
        if stage.name == operator or stage.name.startswith(f"{operator} of ")
    ]
    return None if metrics.watermark == WATERMARK_MIN else metrics.watermark


VERBS: list[tuple[str, Any, str | None]] = [
    ("filter", lambda frame: frame.filter(pl.col("v") > 1), "at"),
    ("rename", lambda frame: frame.rename({"at": "when"}), "when"),
    ("swapped", lambda frame: frame.rename({"at": "v", "v": "at"}), "v"),
    ("drop", lambda frame: frame.drop("at"), None),
    ("select", lambda frame: frame.select("v", "at"), "at"),
    ("select without", lambda frame: frame.select("v"), None),
    ("select renamed", lambda frame: frame.select(then=pl.col("at")), "then"),
    ("two copies", lambda frame: frame.with_columns(copy=pl.col("at")), "at"),
    ("overwritten", lambda frame: frame.with_columns(at=pl.col("at") + 1), None),
    ("overwritten by a column", lambda frame: frame.with_columns(at=pl.col("v")), None),
    ("cast", lambda frame: frame.cast({"at": pl.Int32}), None),
    ("filled", lambda frame: frame.fill_null(0), None),
    ("others", lambda frame: frame.with_columns(pl.col("v") * 2), "at"),
    ("explode", lambda frame: frame.with_columns(pl.concat_list("v", "v")).explode("v"), "at"),
    ("exploded itself", lambda frame: frame.with_columns(at=pl.concat_list("at", "at")).explode("at"), None),
    ("unnest", lambda frame: frame.with_columns(s=pl.struct(x="v")).unnest("s"), "at"),
    ("unpivot", lambda frame: frame.unpivot(["v"], index=["at"]), None),
    ("map_batches", lambda frame: frame.map_batches(lambda batch: batch), None),
    ("concat", lambda frame: st.concat([frame, frame.filter(pl.col("v") > 0)]), "at"),
    ("concat of two", lambda frame: st.concat([frame, frame.with_columns(at=pl.col("v"))]), None),
    ("table", lambda frame: frame.join(frame.select("k", w="v").as_table("k"), on="k"), "at"),
    ("changed", lambda frame: frame.with_event_time("v"), "v"),
]


@pytest.mark.parametrize(("verb", "expected"), [pytest.param(*rest, id=name) for name, *rest in VERBS])
def test_event_time_follows_its_column(verb: Any, expected: str | None) -> None:
    assert verb(source(event_time="at")).event_time == expected


def test_each_split_of_a_source_counts() -> None:
    frame = source(event_time="at", watermark=5)
    with Driver(frame, splits={"rows": ["a", "b"]}) as driver:
        driver.push(rows(100), split="a")
        assert reached(driver, "event_time at") is None
        driver.push(rows(50), split="b")
        assert reached(driver, "event_time at") == 45
        driver.push(rows(70, 60), split="b")
        assert reached(driver, "event_time at") == 65
        driver.end(split="b")
        assert reached(driver, "event_time at") == 95


@pytest.mark.parametrize(
    "verb",
    [
        lambda frame: frame.filter(pl.col("v") >= 0).with_columns(pl.col("v") + 1),
        lambda frame: frame.join(source("table", bounded=True).as_table("k"), on="k", how="left"),
        lambda frame: frame.with_event_time("v", watermark=1_000),
        lambda frame: st.concat([frame, source("other", bounded=True)]),
    ],
    ids=["chain", "table", "event time", "concat"],
)
def test_each_split_counts_also_where_event_time_is_declared_later(verb: Any) -> None:
    frame = verb(source()).with_event_time("at", watermark=5, idle_timeout="10s")
    name = "event_time at"
    with Driver(frame, splits={"rows": ["a", "b"]}, parallelism=3) as driver:
        for other in driver._sources.keys() - {"rows"}:
            driver.end(other)
        driver.push(rows(100), to="rows", split="a")
        assert reached(driver, name) is None
        driver.push(rows(50), to="rows", split="b")
        assert reached(driver, name) == 45
        driver.advance("9s")
        driver.push(rows(110), to="rows", split="a")
        driver.advance("1s")
        assert reached(driver, name) == 105
        driver.push(rows(60), to="rows", split="b")
        driver.push(rows(200), to="rows", split="a")
        assert reached(driver, name) == 105
        driver.end("rows", split="b")
        assert reached(driver, name) == 195


def test_behind_a_join_whose_rows_wait_all_rows_are_one_split() -> None:
    joined = source().join(source("table").as_table("k"), on="k", how="left", wait="1h")
    frame = joined.with_event_time("at")
    with Driver(frame, splits={"rows": ["a", "b"]}, parallelism=3) as driver:
        driver.push(rows(1), to="table")
        driver.push(rows(100), to="rows", split="a")
        assert reached(driver, "event_time at") == 100
        driver.push(rows(50), to="rows", split="b")
        driver.push(rows(110), to="rows", split="a")
        assert reached(driver, "event_time at") == 110


def test_declared_behind_a_concat_every_source_is_waited_for() -> None:
    frame = st.concat([source("one"), source("two"), source("three")]).with_event_time("at")
    with Driver(frame, splits={"one": ["a", "b"], "three": []}) as driver:
        driver.push(rows(100), to="two")
        driver.push(rows(80), to="one", split="a")
        assert reached(driver, "event_time at") is None
        driver.push(rows(90), to="one", split="b")
        assert reached(driver, "event_time at") == 80
        driver.end("one")
        assert reached(driver, "event_time at") == 100


def test_the_smallest_of_several_inputs_counts() -> None:
    frame = st.concat([source("one", event_time="at"), source("two", event_time="at", watermark=10)])
    with Driver(frame) as driver:
        driver.push(rows(100), to="one")
        assert reached(driver, "concat") is None
        driver.push(rows(70), to="two")
        assert reached(driver, "concat") == 60
        driver.push(rows(200), to="two")
        assert reached(driver, "concat") == 100
        driver.end("one")
        assert reached(driver, "concat") == 190


def test_an_idle_source_is_left_out_and_taken_back() -> None:
    frame = st.concat(
        [
            source("one", event_time="at", idle_timeout="1m"),
            source("two", event_time="at", idle_timeout="10s"),
        ]
    )
    with Driver(frame) as driver:
        driver.push(rows(100), to="one")
        driver.push(rows(10), to="two")
        driver.advance("9s")
        assert reached(driver, "concat") == 10
        driver.advance("1s")
        assert reached(driver, "concat") == 100
        driver.push(rows(20), to="two")
        driver.push(rows(150), to="one")
        assert reached(driver, "concat") == 100, "two is waited for again"
        driver.push(rows(120), to="two")
        assert reached(driver, "concat") == 120
        driver.advance("50s")
        assert reached(driver, "concat") == 150
        driver.advance("10m")
        assert reached(driver, "concat") == 150, "all are idle"


def test_a_split_that_never_gave_a_row_does_not_hold_for_ever() -> None:
    with Driver(source(event_time="at"), splits={"rows": ["a", "b"]}) as driver:
        driver.push(rows(5), split="a")
        driver.advance("29s")
        assert reached(driver, "event_time at") is None
        driver.push(rows(6), split="a")
        driver.advance("1s")
        assert reached(driver, "event_time at") == 6


def test_two_event_times_of_one_source_have_their_own_timeouts() -> None:
    rows_ = source()
    patient = rows_.with_event_time("at", idle_timeout="1h").filter(pl.col("v") > 5)
    hasty = rows_.with_event_time("at", idle_timeout="1s")
    job = st.job([patient.sink_console(), hasty.sink_console()])
    with Driver(job, splits={"rows": ["a", "b"]}) as driver:
        driver.push(rows(4), split="a")
        driver.advance("500ms")
        driver.push(rows(5), split="a")
        driver.advance("500ms")
        assert (reached(driver, "event_time at of rows"), reached(driver, "event_time at of rows-2")) == (
            None,
            5,
        )
        driver.advance("3599s")
        driver.push(rows(7), split="a")
        driver.advance("1s")
        assert (reached(driver, "event_time at of rows"), reached(driver, "event_time at of rows-2")) == (
            7,
            7,
        )


def test_watermarks_of_dates_and_datetimes_are_nanoseconds() -> None:
    cases: list[tuple[Any, Any, int]] = [
        (pl.Date(), "1d", 4),
        (pl.Date(), "1h", 4),  # rounded up to whole days: rows may be later than asked for, never less
        (pl.Datetime("ms", "Asia/Tokyo"), timedelta(days=2), 3),
        (pl.Datetime("ns"), "0s", 5),
    ]
    for dtype, watermark, expected in cases:
        frame = st.scan_frames([], schema={"at": dtype}, event_time="at", watermark=watermark)
        day = pl.DataFrame({"at": [5]}).select(pl.col("at").cast(pl.Int32).cast(pl.Date).cast(dtype))
        with Driver(frame) as driver:
            driver.push(day)
            assert reached(driver, "event_time at") == expected * 86_400 * 10**9


def test_a_filter_behind_event_time_does_not_hide_rows_from_it() -> None:
    frame = source(event_time="at").filter(pl.col("at") < 50).select("v")
    with Driver(frame) as driver:
        driver.push(rows(10, 60))
        assert reached(driver, "event_time at") == 60
        assert pl.concat(driver.take())["v"].to_list() == [0]


def test_marks_are_no_columns_of_the_user() -> None:
    seen: list[list[str]] = []

    def look(frame: pl.DataFrame) -> pl.DataFrame:
        seen.append(frame.columns)
        return frame

    frame = source(event_time="at").map_batches(look, row_wise=True)
    with Driver(frame, splits={"rows": ["a"]}) as driver:
        driver.push(rows(10, 5, 7, None))
        assert driver.take()[0].equals(rows(10, 5, 7, None))
    assert seen
    assert all(columns == list(SCHEMA) for columns in seen)


WRONG: list[tuple[str, Any, str]] = [
    ("no such column", lambda: source(event_time="when"), "with_event_time: column 'when' does not exist"),
    ("text", lambda: source(event_time="k"), "k is of dtype String; event time is a Datetime, a Date or an int"),
    ("wide", lambda: source().cast({"v": pl.UInt64}).with_event_time("v"), "integer column that fits into 64 bits"),
    ("unit", lambda: source(event_time="at", watermark="5s"), "at is an integer column, whose ticks have no unit"),
    ("negative", lambda: source(event_time="at", watermark=-5), "watermark: at is an integer column"),
    ("number", lambda: dated(watermark=5), "with_event_time: watermark: found the number 5; write a duration"),
    ("calendar", lambda: dated(watermark="1mo"), "watermark: cannot read the duration '1mo'"),
    ("before", lambda: dated(watermark=timedelta(-1)), "the duration -1 day, 0:00:00 is negative"),
    ("timeout", lambda: dated(idle_timeout="soon"), "with_event_time: idle_timeout: cannot read the duration 'soon'"),
    (
        "two ways",
        lambda: st.concat([source(), source().filter(pl.col("v") > 0)]).with_event_time("at"),
        "declare event time on each part before concat",
    ),
    (
        "by chance",
        lambda: st.concat(
            [source("one"), source("two").join(source("t").as_table("k"), on="k", wait="1m").drop("at_right", "v_right")]
        ).with_event_time("at"),
        "declare event time on each part before concat",
    ),
]  # fmt: skip


def dated(**settings: Any) -> Frame:
    return st.scan_frames([], schema={"at": pl.Datetime("us")}, event_time="at", **settings)


@pytest.mark.parametrize(("build", "message"), [pytest.param(*rest, id=name) for name, *rest in WRONG])
def test_a_wrong_declaration_is_refused(build: Any, message: str) -> None:
    with pytest.raises(st.PlanError) as error:
        build()
    assert message in str(error.value)
