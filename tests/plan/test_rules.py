"""Each rule: the plan before and after, and the cases in which it must keep its hands off."""

import polars as pl
import pytest

import streame as st
from streame.core.joining import JoinHow
from streame.io.memory import MemorySink
from streame.plan.joins import StreamJoin
from streame.plan.nodes import Concat, Filter, Node, Project, Scan, TableJoin, Write, walk
from streame.plan.optimizer import optimize
from streame.plan.rules.prune_columns import prune_columns
from streame.plan.rules.push_down_filter import push_down_filter

FRAME = pl.DataFrame({"a": [1, 2, 3], "b": [1.5, 2.5, None], "c": ["x", "y", "z"], "d": [True, False, True]})
TABLE = pl.DataFrame({"a": [1, 2], "name": ["one", "two"], "c": ["p", "q"]})


def stream(name: str = "frames") -> st.StreamDataFrame:
    return st.scan_frames([FRAME], name=name)


def table() -> st.StreamTable:
    return st.scan_frames([TABLE], name="table").as_table("a")


def two_streams(how: JoinHow) -> st.StreamDataFrame:
    return stream("one").join(stream("other"), on="a", how=how, ttl=None)


def shape(root: Node) -> list[str]:
    """The kinds of the nodes along the first inputs, sources first."""
    return [type(node).__name__ for node in walk(root)]


def pushed(frame: st.StreamDataFrame) -> Node:
    (root,) = push_down_filter([frame._node])
    return root


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        pytest.param(
            stream().join(table(), on="a").filter(pl.col("b") > 1),
            ["Scan", "Filter", "Scan", "TableJoin"],
            id="below an inner join",
        ),
        pytest.param(
            stream().join(table(), on="a", how="left").filter(pl.col("c") == "x"),
            ["Scan", "Filter", "Scan", "TableJoin"],
            id="below a left join, where the stream's column keeps its name",
        ),
        pytest.param(
            stream().join(table(), on="a", how="left").filter(pl.col("c_right") == "x"),
            ["Scan", "Scan", "TableJoin", "Filter"],
            id="not when it reads the table",
        ),
        pytest.param(
            two_streams("inner").filter(pl.col("b") > 1),
            ["Scan", "Filter", "Scan", "StreamJoin"],
            id="below the left side of a join of two streams",
        ),
        pytest.param(
            two_streams("inner").filter(pl.col("b_right") > 1),
            ["Scan", "Scan", "Filter", "StreamJoin"],
            id="below its right side",
        ),
        pytest.param(
            two_streams("left").filter(pl.col("b_right").is_null()),
            ["Scan", "Scan", "StreamJoin", "Filter"],
            id="not below a side that may be missing",
        ),
        pytest.param(
            stream().rename({"b": "q"}).filter(pl.col("q") > 1),
            ["Scan", "Filter", "Project"],
            id="below a rename",
        ),
        pytest.param(
            stream().with_columns(q=pl.col("b") * 2).filter(pl.col("q") > 1),
            ["Scan", "Project", "Filter"],
            id="not below what computes its column",
        ),
        pytest.param(
            stream().with_columns(q=pl.col("c").cast(pl.Int64)).filter(pl.col("b") > 1),
            ["Scan", "Project", "Filter"],
            id="not below a verb that can fail: the row it drops might be a bad one",
        ),
        pytest.param(
            stream().join(table(), on="a").filter(pl.col("c").cast(pl.Int64) > 1),
            ["Scan", "Scan", "TableJoin", "Filter"],
            id="not when it can fail: the join might have dropped the bad row",
        ),
        pytest.param(
            stream().map_batches(lambda frame: frame).filter(pl.col("b") > 1),
            ["Scan", "MapBatches", "Filter"],
            id="not below a Python function",
        ),
        pytest.param(
            st.concat([stream("one"), stream("two")]).filter(pl.col("b") > 1),
            ["Scan", "Filter", "Scan", "Filter", "Concat"],
            id="into every part of a concat",
        ),
        pytest.param(
            stream().join(table(), on="a").rename({"b": "q"}).filter(pl.col("q") > 1).filter(pl.col("d")),
            ["Scan", "Filter", "Filter", "Scan", "TableJoin", "Project"],
            id="several, one after the other",
        ),
    ],
)
def test_filters_move_towards_the_sources(frame: st.StreamDataFrame, expected: list[str]) -> None:
    assert shape(pushed(frame)) == expected


def test_a_renamed_column_is_read_by_its_old_name() -> None:
    root = pushed(stream().rename({"b": "q"}).filter(pl.col("q") > 1))
    (moved,) = [node for node in walk(root) if isinstance(node, Filter)]
    assert moved.predicate.meta.root_names() == ["b"]


def test_a_node_with_two_consumers_stays_as_it_is() -> None:
    joined = stream().join(table(), on="a")
    filtered = joined.filter(pl.col("b") > 1)
    writes = [Write(frame._node, MemorySink, "sink") for frame in (filtered, joined)]
    first, second = push_down_filter(writes)
    assert shape(first) == ["Scan", "Scan", "TableJoin", "Filter", "Write"]
    assert second is writes[1]


def scans(roots: tuple[Node, ...]) -> dict[str, tuple[str, ...] | None]:
    return {node.name: node.columns for node in walk(*roots) if isinstance(node, Scan)}


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        pytest.param(stream().select("a"), {"frames": ("a",)}, id="a selection"),
        pytest.param(stream().filter(pl.col("d")).select("a"), {"frames": ("a", "d")}, id="and a predicate"),
        pytest.param(
            stream().with_columns(q=pl.col("b") * 2).select("a"),
            {"frames": ("a",)},
            id="what is computed and never read is not computed",
        ),
        pytest.param(
            stream().with_columns(q=pl.col("c").cast(pl.Int64)).select("a"),
            {"frames": ("a", "c")},
            id="unless it can fail: its bad rows must be refused all the same",
        ),
        pytest.param(
            stream().join(table(), on="a").select("b", "name"),
            {"frames": ("a", "b"), "table": ("a", "name")},
            id="both sides of a join",
        ),
        pytest.param(
            stream().map_batches(lambda frame: frame).select("a"),
            {"frames": ("a", "b", "c", "d")},
            id="a Python function gets all columns",
        ),
        pytest.param(stream(), {"frames": ("a", "b", "c", "d")}, id="everything"),
        pytest.param(
            stream().with_columns(q=pl.lit(1)).select("q"),
            {"frames": ("a",)},
            id="one column stays, so that rows can be counted",
        ),
    ],
)
def test_only_needed_columns_leave_the_sources(
    frame: st.StreamDataFrame, expected: dict[str, tuple[str, ...]]
) -> None:
    assert scans(prune_columns([frame._node])) == expected


def test_a_join_of_streams_keeps_only_what_is_read() -> None:
    (root,) = prune_columns([two_streams("inner").select("b", "d_right")._node])
    (join,) = [node for node in walk(root) if isinstance(node, StreamJoin)]
    assert [list(side.schema) for side in join.inputs] == [["a", "b"], ["a", "d"]]
    assert list(join.schema) == ["b", "d_right"]


def test_a_join_puts_out_only_what_is_read() -> None:
    (root,) = prune_columns([stream().join(table(), on="a").select("b", "name")._node])
    (join,) = [node for node in walk(root) if isinstance(node, TableJoin)]
    assert list(join.schema) == ["a", "b", "name"]


def test_two_readers_of_a_source_share_what_both_need() -> None:
    frame = stream()
    assert scans(prune_columns([frame.select("a")._node, frame.select("d")._node])) == {"frames": ("a", "d")}


@pytest.mark.parametrize(
    "frame",
    [
        stream()
        .join(table(), on="a", how="left")
        .filter(pl.col("b") > 1)
        .rename({"name": "n"})
        .select("n", "a"),
        st.concat([stream("one"), stream("two")]).filter(pl.col("b") > 1).select("c"),
        stream().with_columns(x=pl.col("a") + 1).filter(pl.col("x") > 2).filter(pl.col("a") < 3).select("x"),
        stream().with_columns(pl.col("b").fill_null(0.0)).drop("c"),
    ],
)
def test_the_optimizer_changes_no_answer(frame: st.StreamDataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    optimized = frame.collect()
    monkeypatch.setattr("streame.api.job.optimize", tuple)
    assert frame.collect().sort(pl.all()).equals(optimized.sort(pl.all()))


def test_every_rule_keeps_the_schema() -> None:
    frame = stream().rename({"b": "q"}).join(table(), on="a").filter(pl.col("q") > 1).select("q", "name")
    (root,) = optimize([frame._node])
    assert root.schema == frame.schema
    assert any(isinstance(node, Project) for node in walk(root))
    assert not any(isinstance(node, Concat) for node in walk(root))
