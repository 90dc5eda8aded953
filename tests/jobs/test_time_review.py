"""What a reader of the promises found in verbs over time: arguments, and answers that depended on threads."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from queue import Queue
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import streame as st
from streame.core.changes import fold

ORDERS = pl.DataFrame(
    {
        "at": [datetime(2024, 5, 1, 12, minute, tzinfo=UTC) for minute in (0, 4, 9)],
        "k": ["a", "b", "a"],
        "v": [1, 2, 3],
    }
)
PRICES = pl.DataFrame({"at": [datetime(2024, 5, 1, 12, 3, tzinfo=UTC)], "k": ["a"], "price": [5]})


def orders(**settings: Any) -> st.StreamDataFrame:
    return st.scan_frames([ORDERS], name="orders", **{"event_time": "at", **settings})


def prices() -> st.StreamDataFrame:
    return st.scan_frames([PRICES], name="prices", event_time="at")


class Total(st.Aggregate):
    """A sum."""

    dtype = pl.Int64

    def create(self) -> int:
        return 0

    def add(self, state: int, values: pl.Series) -> int:
        return state + int(values.sum())

    def merge(self, state: int, other: int) -> int:
        return state + other

    def finish(self, state: int) -> int:
        return state


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "a watermark of nothing": (
        lambda: orders(event_time=None, watermark="1h"),
        r"watermark='1h' .* no column says when they happened; give event_time=",
    ),
    "the wall clock where only event time goes": (
        lambda: orders().rolling(st.now(), period="5m"),  # type: ignore[arg-type]
        r"rolling: the time must be a column.*only group_by_dynamic takes st\.now",
    ),
    "sessions of the wall clock": (
        lambda: orders().group_by_session(st.now(), gap="5m"),  # type: ignore[arg-type]
        "group_by_session: the time must be a column",
    ),
    "the function now": (
        lambda: orders().group_by_dynamic(st.now, every="5m"),  # type: ignore[arg-type]
        r"group_by_dynamic: index_column must be a column, or st\.now\(\)",
    ),
    "an aggregate's class": (
        lambda: orders().group_by("k").agg(Total),  # type: ignore[arg-type]
        r"agg: Total is a class; name the columns that it reads, as in Total\('x'\)",
    ),
    "a validated join": (
        lambda: orders().join(prices(), on="k", ttl=None, validate="1:m"),
        "join: validate='1:m' is not possible: .*unique",
    ),
    "a join in order": (
        lambda: orders().join(prices(), on="k", ttl=None, maintain_order="left"),
        "join: maintain_order='left' is not possible",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_with_the_reason(case: str) -> None:
    build, message = REFUSED[case]
    with pytest.raises(st.PlanError, match=message):
        build()


@pytest.mark.parametrize("watermark", ["0s", 0, timedelta(0)])
def test_a_watermark_of_zero_needs_no_event_time(watermark: Any) -> None:
    assert orders(event_time=None, watermark=watermark).event_time is None


def test_joins_take_what_polars_says_about_its_own_threads() -> None:
    hints: dict[str, Any] = {"allow_parallel": False, "force_parallel": True}
    assert_frame_equal(
        orders().join_asof(prices(), on="at", by="k", **hints).collect(),
        ORDERS.join_asof(PRICES, on="at", by="k"),
        check_row_order=False,
    )
    assert_frame_equal(
        orders()
        .join(prices(), on="k", ttl=None, build_side="prefer_left", maintain_order="none", **hints)
        .collect(),
        ORDERS.join(PRICES, on="k"),
        check_row_order=False,
    )


@pytest.mark.parametrize("parallelism", [1, 3, 7])
@pytest.mark.parametrize("cut", [1, 7, 80])
def test_ties_among_the_best_of_an_aggregate_do_not_depend_on_who_comes_first(
    cut: int, parallelism: int
) -> None:
    users = pl.DataFrame({"user": [f"user{number * 37 % 80:02}" for number in range(160)], "points": 1})
    frames = [users[start : start + cut] for start in range(0, users.height, cut)]
    best = st.scan_frames(frames).group_by("user").agg(pl.col("points").sum()).top_k(3, by="points")
    found: Queue[Any] = Queue()
    best.sink_queue(found, as_frames=True).run(parallelism=parallelism)
    changes = [found.get() for _ in range(found.qsize())]
    assert changes.pop() is st.END
    table = fold(pl.concat(changes))
    assert sorted(table["user"]) == ["user00", "user01", "user02"]


AT = datetime(2024, 5, 1, tzinfo=UTC)
CLICKS = pl.DataFrame(
    {
        "at": [AT + timedelta(minutes=number % 50) for number in range(200)],
        "user": [f"user{number * 7 % 40:02}" for number in range(200)],
    }
).sort("at")


def counted(cut: int, name: str = "clicks") -> st.StreamDataFrame:
    """Windows of ten minutes, in each of which forty users stand at the same time."""
    frames = [CLICKS[start : start + cut] for start in range(0, CLICKS.height, cut)]
    clicks = st.scan_frames(frames, name=name, event_time="at", watermark="5m")
    return clicks.group_by_dynamic("at", every="10m", group_by="user", name=f"{name} counted").agg(n=pl.len())


IN_ORDER: dict[str, Callable[[int], st.StreamDataFrame]] = {
    "first": lambda cut: counted(cut).group_by("at").agg(pl.col("user").first()),
    "list": lambda cut: counted(cut).group_by_dynamic("at", every="30m").agg(pl.col("user")),
    "top_k": lambda cut: counted(cut).top_k(3, by="n"),
    "unique": lambda cut: counted(cut).unique("at"),
    "unique last": lambda cut: counted(cut).unique("at", keep="last"),
    "rolling": lambda cut: counted(cut).rolling("at", period="15m").agg(pl.col("user").last()),
    "counts": lambda cut: counted(cut).group_by_count(7).agg(pl.col("user").first()),
    "as of": lambda cut: counted(cut).join_asof(counted(cut, "others"), on="at"),
}


@pytest.mark.parametrize("verb", IN_ORDER)
def test_the_order_of_rows_that_a_verb_has_made_does_not_depend_on_tasks_and_batches(verb: str) -> None:
    found = []
    for cut, parallelism in ((200, 1), (7, 1), (1, 3), (60, 7)):
        said: Queue[Any] = Queue()
        IN_ORDER[verb](cut).sink_queue(said, as_frames=True).run(parallelism=parallelism)
        frames = [said.get() for _ in range(said.qsize())][:-1]
        rows = pl.concat(frames)
        found.append((fold(rows) if "_diff" in rows.columns else rows).sort(pl.all()))
    for other in found[1:]:
        assert_frame_equal(other, found[0])


def test_a_dead_letter_of_a_row_that_a_verb_has_made_names_no_source() -> None:
    clicks = st.scan_frames([CLICKS], name="clicks", event_time="at", on_error="dead_letter")
    windows = clicks.group_by_dynamic("at", every="10m", group_by="user").agg(n=pl.len())
    first = windows.with_columns(pl.col("user").cast(pl.Int64)).group_by("at").agg(pl.col("user").first())
    letters = first.rejected.collect()
    assert letters.height == 200
    assert letters.select("source", "split", "offset").null_count().row(0) == (200, 200, 200)


def test_windows_that_can_hold_no_tick_are_not_said() -> None:
    ticks = st.scan_frames([pl.DataFrame({"t": [3, 5]})], event_time="t")
    assert ticks.group_by_dynamic("t", every="1i", closed="none").agg(pl.len()).collect().height == 0
