"""Pipelines that cannot work are refused when they are built, in words of Streame and not of Polars alone."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import Any

import polars as pl
import pytest

import streame as st
from streame.errors import StreameError

FRAME = pl.DataFrame({"x": [1, 2, 3], "s": ["a", "b", None], "t": [{"x": 1}, {"x": 2}, {"x": 3}]})


def rows(frame: pl.DataFrame = FRAME, **settings: Any) -> st.StreamDataFrame:
    return st.scan_frames([frame], **settings)


@dataclass
class Wrong:
    """A pipeline, and what is said of it."""

    build: Callable[[], Any]
    says: str


CASES = {
    "unknown column": Wrong(lambda: rows().filter(pl.col("y") > 1), "filter: .*y.*available columns: x, s, t"),
    "no predicate": Wrong(lambda: rows().filter(pl.col("x") + 1), "filter: .*Int64; a predicate must be Boolean"),
    "aggregate": Wrong(lambda: rows().with_columns(y=pl.col("x").sum()), "with_columns: .*sum.* is refused"),
    "window": Wrong(lambda: rows().select(pl.col("x").cum_sum()), "select: .*cum_sum.* is refused"),
    "hidden aggregate": Wrong(lambda: rows().filter(pl.col("x") > pl.col("x").mean()), "filter: .*mean.* is refused"),
    "neighbour": Wrong(lambda: rows().with_columns(pl.col("x").shift()), "with_columns: .*shift.* is refused"),
    "only literals": Wrong(lambda: rows().select(pl.lit(1)), "select: .*only literals"),
    "static column that exists": Wrong(lambda: rows().add_static_column("x", 1), "'x' exists already"),
    "all columns dropped": Wrong(lambda: rows().drop("x", "s", "t"), "no column would be left"),
    "rename of nothing": Wrong(lambda: rows().rename({"y": "z"}), "rename: .*'y'"),
    "rename to a name that is there": Wrong(lambda: rows().rename({"x": "s"}), "rename: two .*'s'"),
    "unnest of no struct": Wrong(lambda: rows().unnest("x"), "unnest: .*Struct"),
    "strategy": Wrong(lambda: rows().fill_null(strategy="forward"), "fill_null: .*forward"),
    "series": Wrong(lambda: rows().with_columns(pl.Series("y", [1])), "with_columns: .*join a table"),
    "join without a table": Wrong(lambda: rows().join(rows(), on="x"), "join: say with ttl .*as_table"),
    "join on no key": Wrong(lambda: rows().join(rows(name="t").as_table("x"), on="s"), "join: .*key"),
    "table without the key": Wrong(lambda: rows().as_table("y"), "as_table: .*'y'"),
    "concat of others": Wrong(lambda: st.concat([rows(), rows().drop("t")]), "concat: stream 1 has the columns"),
    "rejected without letters": Wrong(lambda: rows().rejected, "no source above .* sets rows aside"),
    "on_error": Wrong(lambda: rows(on_error="ignore"), "on_error='ignore'"),
    "required": Wrong(lambda: rows(required=["y"]), "required.*'y'"),
    "endless collect": Wrong(lambda: st.scan_queue(Queue(), {"n": pl.Int64}).collect(), "never ends"),
    "reserved name at the source": Wrong(lambda: rows(pl.DataFrame({"__position": [1]})), "taken by the engine"),
    "reserved name of values": Wrong(lambda: rows(pl.DataFrame({"__put_together_rows": [1]})), "taken by the engine"),
    "reserved name by rename": Wrong(lambda: rows().rename({"x": "__position"}), "taken by the engine"),
    "reserved name by a verb": Wrong(lambda: rows().with_columns(__position=1), "taken by the engine"),
    "explode of no list": Wrong(lambda: rows().explode("x"), "explode: .*"),
    "unnest onto a name": Wrong(lambda: rows().unnest("t"), "unnest: .*'x'"),
    "no columns": Wrong(lambda: rows(pl.DataFrame()), "no columns"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_pipeline_is_refused(name: str) -> None:
    with pytest.raises(st.PlanError, match=CASES[name].says):
        CASES[name].build()


def raises(frame: pl.DataFrame) -> pl.DataFrame:
    raise SystemExit(frame.height)


@pytest.mark.parametrize("row_wise", [True, False])
@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda frame: None, "returned NoneType, not a polars.DataFrame"),
        (lambda frame: frame.lazy(), "returned LazyFrame"),
        (lambda frame: frame.select("x"), "returned the columns .* but schema= says"),
        (lambda frame: frame.with_columns(pl.col("x").cast(pl.Int8)), "returned the columns"),
    ],
    ids=["none", "lazy", "columns", "dtype"],
)
@pytest.mark.parametrize("on_error", ["fail", "dead_letter"])
def test_a_function_that_breaks_its_promise_ends_the_job(
    function: Callable[[pl.DataFrame], Any], says: str, on_error: str, *, row_wise: bool
) -> None:
    mapped = rows(on_error=on_error).map_batches(function, row_wise=row_wise)
    with pytest.raises(st.DataError, match=f"map_batches: .*{says}"):
        mapped.collect()


def test_a_function_may_end_the_program() -> None:
    with pytest.raises(SystemExit):
        rows().map_batches(raises).collect()


def test_two_sinks_cannot_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "out.ndjson"
    with pytest.raises(StreameError, match=r"out\.ndjson"):
        st.job([rows().drop("t").sink_ndjson(path), rows(name="other").drop("t").sink_ndjson(path)]).run()
