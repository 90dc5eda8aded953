"""Changes streams at their end: what sinks get, what is refused, and what `collect` makes of it."""

import io
import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import streame as st
from streame.core.changes import fold, net
from streame.io.console import ConsoleSink
from streame.io.memory import MemorySink
from streame.testing import Driver, batch

ORDERS = [batch("item:s qty:i\n tea 2\n cup 3"), batch("item:s qty:i\n tea 5")]

CHANGES = [("tea", 2, 1), ("cup", 3, 1), ("tea", 2, -1), ("tea", 7, 1)]


def orders() -> st.StreamDataFrame:
    """A few orders."""
    return st.scan_frames(ORDERS, name="orders")


def totals() -> st.StreamDataFrame:
    """A changes stream of two batches."""
    return orders().group_by("item").agg(pl.col("qty").sum())


class Kept(st.Sink):
    """A sink of one's own."""

    def __init__(self) -> None:
        self.schema: pl.Schema | None = None
        self.rows: list[tuple[Any, ...]] = []

    def open(self, schema: pl.Schema) -> None:
        self.schema = schema

    def write(self, frame: pl.DataFrame) -> None:
        self.rows += frame.rows()


def test_a_queue_gets_every_change() -> None:
    items: queue.Queue[Any] = queue.Queue()
    totals().sink_queue(items, end=False).run()
    found = [items.get_nowait() for _ in range(4)]
    assert found == [{"item": item, "qty": qty, "_diff": diff} for item, qty, diff in CHANGES]
    totals().sink_queue(items, as_frames=True, end=False).run()
    frames = [items.get_nowait(), items.get_nowait()]
    assert [row for frame in frames for row in frame.rows()] == CHANGES


def test_the_console_shows_every_change() -> None:
    text = io.StringIO()
    st.sink(totals(), ConsoleSink(stream=text), changes=True).run()
    assert text.getvalue().splitlines() == [
        "item  qty  _diff", "tea     2      1", "cup     3      1", "tea     2     -1", "tea     7      1",
    ]  # fmt: skip


FILES: list[tuple[str, Callable[..., st.Job], Callable[[Path], pl.DataFrame]]] = [
    ("totals.jsonl", st.StreamDataFrame.sink_ndjson, pl.read_ndjson),
    ("totals.csv", st.StreamDataFrame.sink_csv, pl.read_csv),
    ("totals.parquet", st.StreamDataFrame.sink_parquet, pl.read_parquet),
    ("totals.arrow", st.StreamDataFrame.sink_ipc, pl.read_ipc),
]


@pytest.mark.parametrize(("name", "write", "read"), FILES)
def test_a_file_takes_changes_only_if_it_is_asked_to(
    name: str, write: Any, read: Any, tmp_path: Path
) -> None:
    with pytest.raises(
        st.PlanError, match=f'{name}: the rows are a changes stream.*changes=True.*emit="on_close"'
    ):
        write(totals(), tmp_path / name)
    assert not list(tmp_path.iterdir())
    write(totals(), tmp_path / name, changes=True).run()
    assert read(tmp_path / name).rows() == CHANGES
    write(orders(), tmp_path / name, changes=True).run()
    assert read(tmp_path / name).columns == ["item", "qty"]


def test_final_results_go_to_a_file_as_they_are(tmp_path: Path) -> None:
    final = orders().group_by("item", emit="on_close").agg(pl.col("qty").sum())
    final.sink_csv(tmp_path / "totals.csv").run()
    assert pl.read_csv(tmp_path / "totals.csv").rows() == [("tea", 7), ("cup", 3)]


def test_a_sink_of_ones_own_takes_changes_only_if_it_is_asked_to() -> None:
    sink = Kept()
    with pytest.raises(st.PlanError, match="sink: the rows are a changes stream"):
        st.sink(totals(), sink)
    st.sink(totals(), sink, changes=True).run()
    assert sink.schema == {"item": pl.String, "qty": pl.Int64, "_diff": pl.Int64}
    assert sink.rows == CHANGES


def test_collect_gives_the_table_that_the_changes_lead_to() -> None:
    assert totals().collect().rows() == [("cup", 3), ("tea", 7)]
    assert totals().filter(pl.col("qty") > 100).collect().schema == totals().schema


def test_rows_that_hold_twice_are_in_the_table_twice() -> None:
    doubled = totals().with_columns(kind=pl.lit("x")).select("kind")
    assert doubled.collect().rows() == [("x",), ("x",)]


@pytest.mark.parametrize("name", ["_diff"])
def test_a_column_of_the_name_of_the_weight_is_refused_where_there_is_one(name: str) -> None:
    with pytest.raises(st.PlanError, match="they have such a column already; rename it"):
        totals().rename({"qty": name}).collect()
    assert orders().rename({"qty": name}).collect().columns == ["item", name]


def test_rejected_rows_of_a_changes_stream_are_never_taken_back() -> None:
    rows = st.scan_rows([], {"k": pl.Int64, "v": pl.String}, name="rows", on_error="dead_letter")
    numbers = rows.group_by("k").agg(pl.col("v").max()).with_columns(pl.col("v").cast(pl.Int64))
    assert not numbers.rejected.node.is_changes
    job = st.job([numbers.sink_queue(queue.Queue()), numbers.rejected.drop("raw").sink_csv("rejected.csv")])
    with Driver(job) as driver:
        driver.push(batch("k:i v:s\n 1 1\n 2 x"))
        driver.push(batch("k:i v:s\n 2 y"))
        assert "_diff" not in driver.take("sink rejected.csv")[0].columns


def test_rows_that_only_arrive_and_changes_make_changes() -> None:
    shared = orders()
    both = st.concat([shared.group_by("item").agg(pl.col("qty").sum()), shared])
    with Driver(both) as driver:
        driver.push(ORDERS[0])
        driver.push(ORDERS[1])
        said = pl.concat(driver.take())
    expected = sorted([*CHANGES, ("tea", 2, 1), ("cup", 3, 1), ("tea", 5, 1)])
    assert sorted(said.rows()) == expected
    again = both.group_by("item", name="again").agg(pl.col("qty").sum(), n=pl.len())
    assert sorted(again.collect().rows()) == [("cup", 6, 2), ("tea", 14, 3)]


def test_a_row_is_taken_back_as_often_as_explode_has_put_it_out() -> None:
    lists = orders().group_by("item").agg(pl.col("qty")).explode("qty")
    with Driver(lists) as driver:
        driver.push(ORDERS[0])
        driver.push(ORDERS[1])
        said = [row for frame in driver.take() for row in frame.rows()]
    assert said == [("tea", 2, 1), ("cup", 3, 1), ("tea", 2, -1), ("tea", 2, 1), ("tea", 5, 1)]


def test_a_function_of_every_row_sees_no_weights() -> None:
    seen: list[list[str]] = []

    def function(frame: pl.DataFrame) -> pl.DataFrame:
        seen.append(frame.columns)
        return frame.with_columns(pl.col("qty") * 2)

    doubled = totals().map_batches(function, row_wise=True)
    assert sorted(doubled.collect().rows()) == [("cup", 6), ("tea", 14)]
    assert set(map(tuple, seen)) == {("item", "qty")}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda frame: frame.map_batches(lambda rows: rows), "map_batches: .*row_wise=True"),
        (lambda frame: frame.unpivot(), "unpivot: the rows are a changes stream, and their weights would be lost"),
        (lambda frame: frame.select(pl.concat_list("qty").explode()), "select: .*weights would be lost"),
        (lambda frame: frame.with_event_time("qty"), "with_event_time: rows of a changes stream"),
    ],
)  # fmt: skip
def test_verbs_that_would_lose_the_weights_are_refused(call: Any, message: str) -> None:
    with pytest.raises(st.PlanError, match=message):
        call(totals())


def test_many_changes_take_no_more_memory_than_what_they_come_to() -> None:
    sink = MemorySink(folds=True)
    sink.open(pl.Schema({"k": pl.Int64, "_diff": pl.Int64}))
    frame = pl.DataFrame({"k": range(300_000), "_diff": 1}, schema={"k": pl.Int64, "_diff": pl.Int64})
    for _ in range(4):
        sink.write(frame)
        sink.write(frame.with_columns(-pl.col("_diff")))
    assert sum(each.height for each in sink._frames) <= 1_200_000
    sink.write(frame)
    assert sink.frame().equals(frame.drop("_diff"))


def test_changes_in_any_order_have_the_same_fold() -> None:
    changes = pl.DataFrame({"k": [1, 2, 1, 2, 3], "_diff": [-1, 1, 1, 1, 1]})
    assert net(changes).rows() == [(2, 2), (3, 1)]
    assert fold(changes).rows() == [(2,), (2,), (3,)]
