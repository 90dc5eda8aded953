"""What review and random attacks found, each named for what was wrong."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import streame as st

FRAME = pl.DataFrame({"i": [1, 2, 3, 4], "j": [3, 1, 4, 2], "k": [30, 10, 40, 20]})


class Careless:
    """A source that does not keep what its schema promises."""

    bounded = True

    def __init__(self, given: Any) -> None:
        self.given = given

    def schema(self) -> pl.Schema:
        return pl.Schema({"x": pl.Int64()})

    def splits(self) -> list[str]:
        return ["only"]

    def read(self, split: str, offset: Any) -> Iterator[Any]:
        yield self.given


@pytest.mark.parametrize(
    "given", [st.Chunk(pl.DataFrame({"x": ["1"]}), 1), st.Chunk(pl.DataFrame({"y": [1]}), 1), 7]
)
def test_a_source_that_breaks_its_promise_ends_the_job(given: Any, tmp_path: Path) -> None:
    job = st.scan(Careless(given), name="careless").sink_ndjson(tmp_path / "out.ndjson")
    with pytest.raises(st.ConnectorError, match=r"(?s)the source gave .*in source careless, split only"):
        job.run()


UNTYPED: Any = Careless
ANYTHING: Any = object()


class Untouchable(st.Sink):
    """Cannot be interrupted, and holds its writer until it is told."""

    def __init__(self) -> None:
        self.aborted = threading.Event()

    def write(self, frame: pl.DataFrame) -> None:
        raise OSError("disk full")

    def interrupt(self) -> None:
        raise RuntimeError("no")

    def abort(self) -> None:
        self.aborted.set()


def test_a_sink_that_cannot_be_interrupted_does_not_hide_the_error() -> None:
    sink = Untouchable()
    with pytest.raises(st.ConnectorError, match="disk full"):
        st.sink(st.scan_frames([FRAME]), sink).run()
    assert sink.aborted.is_set()


def test_the_latest_row_of_a_table_made_by_a_join_is_told_by_order() -> None:
    rows = 3000
    seen = pl.DataFrame(
        {"a": [n % 7 for n in range(rows)], "k": [n % 3 for n in range(rows)], "v": range(rows)}
    )
    sevens = st.scan_frames([pl.DataFrame({"a": range(7)})], name="sevens").as_table("a")
    stream = st.scan_frames([seen[n : n + 13] for n in range(0, rows, 13)], name="seen")
    latest = stream.join(sevens, on="a").as_table("k")
    asked = st.scan_frames([pl.DataFrame({"k": [0, 1, 2]})], name="asked").join(latest, on="k")
    for parallelism in (1, 3, 128):
        assert asked.collect(parallelism=parallelism).sort("k")["v"].to_list() == [2997, 2998, 2999]


@pytest.mark.parametrize("how", ["inner", "left"])
@pytest.mark.parametrize("coalesce", [None, True, False])
def test_a_table_column_may_be_called_as_a_key_with_the_suffix(how: Any, coalesce: bool | None) -> None:
    left, right = pl.DataFrame({"k": [1, 2], "v": [2, 3]}), pl.DataFrame({"k": [1], "k_right": [5]})
    table = st.scan_frames([right], name="table").as_table("k")
    try:
        expected = left.join(right, on="k", how=how, coalesce=coalesce)
    except pl.exceptions.DuplicateError:
        with pytest.raises(st.PlanError, match="join: "):
            st.scan_frames([left]).join(table, on="k", how=how, coalesce=coalesce)
        return
    found = st.scan_frames([left]).join(table, on="k", how=how, coalesce=coalesce).collect()
    assert found.equals(expected)


@pytest.mark.parametrize(
    "expr",
    [
        pl.col("i").replace(pl.col("j"), pl.col("k")),
        pl.col("i").replace(pl.col("j"), 0),
        pl.col("i").replace_strict(pl.col("j"), pl.col("k"), default=0),
    ],
    ids=str,
)
def test_a_lookup_in_a_whole_column_is_refused(expr: pl.Expr) -> None:
    with pytest.raises(st.PlanError, match="join a table instead"):
        st.scan_frames([FRAME]).with_columns(x=expr)


def test_a_sink_may_not_write_what_the_job_reads(tmp_path: Path) -> None:
    path = tmp_path / "io.ndjson"
    path.write_text('{"x":1}\n')
    for source in (path, tmp_path, tmp_path / "*.ndjson"):
        frame = st.scan_ndjson(source, {"x": pl.Int64})
        with pytest.raises(st.PlanError, match=r"writes .*io\.ndjson, which source .* reads"):
            frame.sink_ndjson(path)
    assert path.read_text() == '{"x":1}\n'


def test_waiting_for_a_job_in_the_loop_of_its_queue_is_refused() -> None:
    async def main() -> None:
        rows: asyncio.Queue[Any] = asyncio.Queue()
        out: asyncio.Queue[Any] = asyncio.Queue()
        job = st.scan_queue(rows, {"x": pl.Int64}).sink_queue(out)
        with pytest.raises(st.PlanError, match=r"asyncio\.to_thread"):
            job.run()
        handle = job.start()
        await rows.put({"x": 1})
        await rows.put(st.END)
        assert await asyncio.to_thread(handle.wait, 10)
        assert [await out.get(), await out.get()] == [{"x": 1}, st.END]

    asyncio.run(main())


def test_two_predicates_may_be_about_one_column() -> None:
    frame = st.scan_frames([FRAME])
    assert frame.filter(pl.col("i") > 1, pl.col("i") < 4, i=2).collect()["i"].to_list() == [2]
    assert frame.remove([pl.col("i") > 1, pl.col("i") < 4]).collect()["i"].to_list() == [1, 4]


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda frame: frame.filter([True, False]), "mask"),
        (lambda frame: frame.remove(pl.col("i")), "Int64; a predicate must be Boolean"),
        (lambda frame: frame.as_table(["i", "i"]), "twice"),
        (lambda frame: st.sink(frame, ANYTHING), "inherits from st.Sink"),
        (lambda frame: st.job([frame]), "list of jobs"),
        (lambda frame: st.concat([frame, ANYTHING]), "found a object"),
        (lambda frame: st.scan(UNTYPED), "not the class"),
        (lambda frame: frame.sink_parquet("s3://bucket/out/"), "only files of this machine"),
        (lambda frame: frame.flter, "did you mean 'filter'"),
    ],
)
def test_wrong_arguments_are_refused_in_words_of_streame(build: Any, says: str) -> None:
    with pytest.raises(st.PlanError, match=says):
        build(st.scan_frames([FRAME]))


def test_a_thousand_columns_are_no_matter() -> None:
    wide = pl.DataFrame({f"c{n}": [n] for n in range(1000)})
    assert st.scan_frames([wide]).with_columns(pl.all() + 1).filter(pl.col("c0") > 0).collect().width == 1000
