"""Which sources are read by several tasks: not where the order of splits counts, or the clock of one reader for another."""

from pathlib import Path
from queue import Queue

import polars as pl
import pytest

import streame as st
from streame.core.config import Config
from streame.plan.lower import lower
from streame.runtime.graph import Graph, OperatorVertex, SourceVertex
from tests.plans.prelude import Splits

FRAME = pl.DataFrame({"at": [1, 2], "k": ["a", "b"], "v": [1, 2]})
Frame = st.StreamDataFrame


def many(name: str = "many") -> Frame:
    return st.scan(Splits([FRAME, FRAME], [2], "plain"), name=name)


def timed(name: str = "many") -> Frame:
    return many(name).with_event_time("at")


def one(name: str = "one") -> Frame:
    return st.scan(Splits([FRAME], [2], "plain"), name=name)


def graph_of(frame: Frame, *, apart: bool = True) -> Graph:
    return lower(st.job([frame.sink_queue(Queue())]).writes, Config(parallelism=3), apart=apart)


def readers(frame: Frame, *, apart: bool = True) -> dict[str, int]:
    vertices = graph_of(frame, apart=apart).vertices.values()
    return {each.name: each.parallelism for each in vertices if isinstance(each, SourceVertex)}


@pytest.mark.parametrize(
    "frame",
    [
        many(),
        timed().filter(pl.col("v") > 1),
        many().filter(pl.col("v") > 1).with_event_time("at"),
        timed().group_by_dynamic("at", every="10i", group_by="k").agg(pl.col("v").first()),
        timed().unique("k", keep="first"),
        many().group_by("k").agg(pl.col("v").sum()),
    ],
)
def test_several_read_a_source_whose_splits_have_no_order(frame: Frame) -> None:
    assert readers(frame) == {"many": 3}
    assert readers(frame, apart=False) == {"many": 1}, (
        "a process that is alone reads one split after the other"
    )


def test_event_time_is_watched_by_whoever_reads() -> None:
    graph = graph_of(many().filter(pl.col("v") > 1).with_event_time("at").with_columns(w=pl.col("v") + 1))
    (sink,) = [each for each in graph.operators() if each.separate or "sink" in each.name]
    watchers = [each for each in graph.operators() if each is not sink]
    assert watchers
    for each in watchers:
        assert isinstance(each, OperatorVertex)
        assert each.parallelism == 3
        assert graph.is_inline(each)


@pytest.mark.parametrize(
    "frame",
    [
        many().unique("k", keep="first"),
        many()
        .group_by("k")
        .map_with_state(lambda k, rows, state: rows, schema={"k": pl.String}, state=int, ttl=None),
        one().join(many().as_table("k"), on="k"),
        many().join(many("table").as_table("k"), on="k").with_event_time("at"),
        st.concat([one(), many()]).with_event_time("at"),
    ],
    ids=[
        "the first rows",
        "a function of the user",
        "a table",
        "a join before event time",
        "with another one",
    ],
)
def test_one_reads_a_source_whose_order_counts(frame: Frame) -> None:
    assert set(readers(frame).values()) == {1}


def test_a_part_alone_cannot_be_read_by_several_if_event_time_watches_both() -> None:
    both = st.concat([one(), many("a")]).with_event_time("at")
    other = st.concat([many("b"), many("c")]).with_event_time("at")
    assert readers(both) == {"one": 1, "a": 1}
    assert readers(other) == {"b": 3, "c": 3}
    assert readers(st.concat([one(), many("a")])) == {"one": 1, "a": 3}


def test_a_folder_that_grows_is_read_by_one_where_event_time_counts(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text('{"at": 1}\n')
    followed = st.scan_ndjson(tmp_path, {"at": pl.Int64}, follow=True, name="files")
    assert readers(followed) == {"files": 3}
    assert readers(followed.with_event_time("at")) == {"files": 1}
    assert readers(st.scan_ndjson(tmp_path, {"at": pl.Int64}, event_time="at", name="files")) == {"files": 3}
