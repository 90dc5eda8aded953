"""Jobs of every shape: shared sources, forks, crossed joins, long chains, empty and short sources."""

import queue
import threading
from typing import Any

import polars as pl
import pytest

import streame as st
from tests.jobs.fakes import HANG_S, Gate, Numbers, Silent


def frames(frame: pl.DataFrame, name: str) -> st.StreamDataFrame:
    return st.scan_frames(
        [frame[at : at + 1000] for at in range(0, frame.height, 1000)] or [frame], name=name
    )


def test_a_shared_source_is_read_once() -> None:
    source, sinks = Numbers(1000), [Gate(is_open=True) for _ in range(3)]
    rows = st.scan(source)
    odd = rows.filter(pl.col("n") % 2 == 1)
    st.job(
        [st.sink(frame, sink) for frame, sink in zip((rows, odd, odd.rename({"n": "m"})), sinks, strict=True)]
    ).run()
    assert source.opened == source.closed == 1
    assert [sink.rows for sink in sinks] == [1000, 500, 500]
    assert {sink.ended for sink in sinks} == {"closed"}


def test_a_blocked_sink_stops_the_reader() -> None:
    source, gate = Numbers(None, size=100), Gate()
    handle = st.sink(st.scan(source).filter(pl.col("n") >= 0), gate).start(channel_rows=1000)
    assert gate.reached.wait(HANG_S)
    seen = -1
    while seen != source.given:  # until the reader stands still
        seen = source.given
        threading.Event().wait(0.1)
    assert seen <= 1000 + 3 * 100, "rows pile up in front of a blocked sink"
    handle.stop()
    gate.gate.set()
    assert handle.wait(HANG_S)
    assert gate.rows == source.given


def test_a_slow_branch_holds_back_a_fast_one_and_loses_nothing() -> None:
    source, slow, fast = Numbers(20_000), Gate(), Gate(is_open=True)
    rows = st.scan(source)
    handle = st.job([st.sink(rows, slow), st.sink(rows, fast)]).start(channel_rows=1000)
    assert slow.reached.wait(HANG_S)
    assert not handle.wait(0.2)
    assert fast.rows <= 2000
    slow.gate.set()
    assert handle.wait(HANG_S)
    assert slow.rows == fast.rows == 20_000


@pytest.mark.parametrize("parallelism", [1, 3])
def test_a_stream_joined_with_itself_does_not_deadlock(parallelism: int) -> None:
    rows = frames(pl.DataFrame({"k": range(50_000)}).with_columns(v=pl.col("k") % 7), "rows")
    joined = rows.join(rows.filter(pl.col("v") == 3).as_table("k"), on="k", suffix="_last")
    out = Gate(is_open=True)
    st.sink(joined, out).run(channel_rows=100, parallelism=parallelism)
    assert out.rows == len(range(3, 50_000, 7))


@pytest.mark.parametrize("parallelism", [1, 3])
def test_streams_that_are_each_others_table_do_not_deadlock(parallelism: int) -> None:
    a = frames(pl.DataFrame({"k": range(30_000), "x": range(30_000)}), "a")
    b = frames(pl.DataFrame({"k": range(30_000), "y": range(30_000)}), "b")
    outs = [Gate(is_open=True), Gate(is_open=True)]
    there = a.join(b.as_table("k"), on="k", name="there")
    back = b.join(a.as_table("k"), on="k", name="back")
    job = st.job([st.sink(there, outs[0]), st.sink(back, outs[1])])
    handle = job.start(channel_rows=100, parallelism=parallelism)
    assert handle.wait(HANG_S), "deadlock"
    assert [out.rows for out in outs] == [30_000, 30_000]


def test_a_table_made_of_a_join_with_the_same_stream() -> None:
    rows = frames(pl.DataFrame({"k": range(20_000)}), "rows")
    names = frames(pl.DataFrame({"k": range(20_000), "name": ["x"] * 20_000}), "names")
    named = rows.join(names.as_table("k"), on="k", name="first")
    out = Gate(is_open=True)
    handle = st.sink(rows.join(named.as_table("k"), on="k", name="second"), out).start(channel_rows=100)
    assert handle.wait(HANG_S), "deadlock"
    assert out.rows == 20_000


def test_a_fork_that_meets_again_in_a_concat_after_a_join() -> None:
    rows = frames(pl.DataFrame({"k": range(20_000)}), "rows")
    names = rows.filter(pl.col("k") % 2 == 0).with_columns(name=pl.lit("even"))
    joined = rows.join(names.as_table("k"), on="k", how="left")
    both = st.concat([joined, rows.with_columns(name=pl.lit("plain"))])
    out = Gate(is_open=True)
    handle = st.sink(both, out).start(channel_rows=100)
    assert handle.wait(HANG_S), "deadlock"
    assert out.rows == 40_000


@pytest.mark.parametrize("how", ["inner", "left"])
@pytest.mark.parametrize("wait", ["0s", "1h", None])
def test_a_stream_that_ends_ends_its_job_although_the_table_goes_on(how: Any, wait: str | None) -> None:
    table: queue.Queue[Any] = queue.Queue()
    orders: queue.Queue[Any] = queue.Queue()
    out: queue.Queue[Any] = queue.Queue()
    known = st.scan_queue(table, {"k": pl.Int64, "w": pl.String}, name="table").as_table("k")
    stream = st.scan_queue(orders, {"k": pl.Int64}, name="orders")
    handle = stream.join(known, on="k", how=how, wait=wait).sink_queue(out).start()
    if wait != "0s":
        orders.put({"k": 1})
        orders.put(st.END)
        table.put({"k": 1, "w": "one"})
        assert out.get(timeout=HANG_S) == {"k": 1, "w": "one"}
    else:
        orders.put(st.END)
    assert out.get(timeout=HANG_S) is st.END
    assert handle.wait(HANG_S)


def test_stop_lets_rows_go_that_wait_for_a_table() -> None:
    orders: queue.Queue[Any] = queue.Queue()
    out: queue.Queue[Any] = queue.Queue()
    silent = Silent(pl.Schema({"k": pl.Int64, "w": pl.String}))
    stream = st.scan_queue(orders, {"k": pl.Int64}, name="orders")
    joined = stream.join(st.scan(silent).as_table("k"), on="k", how="left", wait=None)
    other: queue.Queue[Any] = queue.Queue()
    with st.job([joined.sink_queue(out), stream.sink_queue(other)]).start():
        orders.put({"k": 1})
        assert other.get(timeout=HANG_S) == {"k": 1}
    assert out.get(timeout=HANG_S) == {"k": 1, "w": None}
    assert out.get(timeout=HANG_S) is st.END


@pytest.mark.parametrize("parallelism", [1, 3])
def test_empty_sources(parallelism: int) -> None:
    empty = pl.DataFrame(schema={"k": pl.Int64, "v": pl.List(pl.String)})
    some = pl.DataFrame({"k": [1], "v": [["a"]]})
    for left, right, rows in ((empty, empty, 0), (empty, some, 0), (some, empty, 1)):
        joined = frames(left, "l").explode("v").join(frames(right, "r").as_table("k"), on="k", how="left")
        found = joined.collect(parallelism=parallelism)
        assert found.height == rows
        assert found.schema == joined.schema
    assert st.scan_rows([], {"n": pl.Int64}).collect().height == 0
    assert st.scan_rows(iter(()), {"n": pl.Int64}).collect().height == 0
    assert st.scan_frames(iter(()), schema={"n": pl.Int64}).collect().height == 0


def test_a_queue_that_ends_at_once() -> None:
    source: queue.Queue[Any] = queue.Queue()
    source.put(st.END)
    out: queue.Queue[Any] = queue.Queue()
    done = st.scan_queue(source, {"n": pl.Int64}).sink_queue(out).run()
    assert out.get_nowait() is st.END
    assert (done.rows_in, done.rows_out, done.state) == (0, 0, "finished")


def test_a_chain_of_two_hundred_verbs() -> None:
    rows = frames(pl.DataFrame({"n": range(3000), "s": ["x"] * 3000}), "rows")
    filtered = rows
    for stage in range(200):
        filtered = filtered.filter(pl.col("n") != stage)
    assert filtered.collect().height == 2800
    renamed = rows
    for stage in range(200):
        renamed = renamed.rename({renamed.columns[0]: f"n{stage}"}).with_columns(pl.col(f"n{stage}") + 1)
    assert renamed.collect()["n199"][0] == 200
    selected = rows.add_static_column("c", 1)
    for _ in range(200):
        selected = selected.select("s", "c", n=pl.col("n"))
    assert selected.collect().columns == ["s", "c", "n"]


def test_many_joins_in_a_row() -> None:
    rows = frames(pl.DataFrame({"k": range(100)}), "rows")
    for number in range(20):
        table = frames(pl.DataFrame({"k": range(100), f"w{number}": range(100)}), f"t{number}").as_table("k")
        rows = rows.join(table, on="k", name=f"join {number}")
    assert rows.collect(parallelism=2).height == 100
