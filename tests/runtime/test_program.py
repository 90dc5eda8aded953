"""Chains: steps are merged without changing an answer, and the calls that are left are few."""

import polars as pl
import pytest

import streame as st
from streame.core.config import Config
from streame.plan.lower import lower
from streame.plan.nodes import Write
from streame.runtime.graph import OperatorVertex
from streame.runtime.operators.chain import ChainOperator
from streame.runtime.program import Program, merge
from streame.runtime.steps import Step

FRAME = pl.DataFrame({"a": [1, 2, 3, 4], "b": [1.0, None, 3.0, 4.0], "c": ["1", "2", "x", "4"]})


def steps_of(frame: st.StreamDataFrame) -> list[Step]:
    """The steps of a plan that is one chain."""
    graph = lower([Write(frame._node, st.Sink, "sink")], Config())
    (chain,) = [
        vertex.make()
        for vertex in graph.vertices.values()
        if isinstance(vertex, OperatorVertex) and vertex.name != "sink"
    ]
    assert isinstance(chain, ChainOperator)
    return [step for step, _ in chain._steps]


def stream() -> st.StreamDataFrame:
    return st.scan_frames([FRAME])


@pytest.mark.parametrize(
    ("frame", "calls"),
    [
        pytest.param(stream().filter(pl.col("a") > 1).filter(pl.col("b") > 1), 1, id="filters"),
        pytest.param(stream().rename({"a": "x"}).rename({"x": "y"}).drop("b"), 1, id="renames"),
        pytest.param(
            stream().with_columns(x=pl.col("a") + 1).with_columns(y=pl.col("b") * 2).select("x", "y"),
            1,
            id="columns that do not need each other",
        ),
        pytest.param(
            stream().rename({"a": "z"}).with_columns(x=pl.col("z") + 1), 1, id="a computation below a rename"
        ),
        pytest.param(
            stream().with_columns(x=pl.col("a") + 1).with_columns(y=pl.col("x") * 2),
            2,
            id="a column that needs the one before",
        ),
        pytest.param(
            stream().filter(pl.col("c").cast(pl.Int64) > 1).filter(pl.col("b") > 1),
            2,
            id="a filter that can fail is not merged with one that might drop its bad row",
        ),
        pytest.param(
            stream().filter(pl.col("a") > 1).with_columns(x=pl.col("a") + 1).filter(pl.col("x") > 3),
            3,
            id="a filter, a computation, a filter",
        ),
    ],
)
def test_neighbours_become_one_call(frame: st.StreamDataFrame, calls: int) -> None:
    steps = steps_of(frame)
    assert len(merge(steps)) == calls
    rows = FRAME.filter(pl.col("c") != "x")
    one_by_one = rows
    for step in steps:
        one_by_one = Program([step]).run(one_by_one)
    assert Program(steps).run(rows).equals(one_by_one)


def test_a_column_that_fails_is_computed_though_nobody_reads_it() -> None:
    frame = stream().with_columns(x=pl.col("c").cast(pl.Int64)).select("a")
    with pytest.raises(pl.exceptions.InvalidOperationError):
        Program(steps_of(frame)).run(FRAME)


def test_a_row_alone_is_computed_as_among_others() -> None:
    numbers = pl.DataFrame({"a": [float(n) for n in range(1, 50)]})
    frame = st.scan_frames([numbers]).with_columns(x=pl.col("a") / 3, y=pl.col("a") / 49)
    program = Program(steps_of(frame))
    alone = pl.concat([program.run(numbers[row : row + 1]) for row in range(numbers.height)])
    assert alone.equals(program.run(numbers))


def test_two_hundred_filters_are_one_call() -> None:
    frame = stream()
    for number in range(200):
        frame = frame.filter(pl.col("a") != number + 4)
    assert len(merge(steps_of(frame))) == 1
    assert frame.collect()["a"].to_list() == [1, 2, 3]


def test_a_constant_needs_no_rows() -> None:
    frame = stream().filter(pl.col("a") > 9).add_static_column("x", 1)
    assert Program(steps_of(frame)).run(FRAME).schema == frame.schema
