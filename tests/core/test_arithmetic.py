"""Plain arithmetic gives what Polars' select gives, and leaves everything else to it."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hst
from polars.testing import assert_series_equal

from streame.core.arithmetic import as_arithmetic, as_cast
from tests.examples import examples

SCHEMA = pl.Schema({"i": pl.Int64(), "j": pl.Int64(), "f": pl.Float64(), "g": pl.Float64(), "s": pl.Int32()})
TREES = hst.recursive(
    hst.sampled_from("ijfg"),
    lambda inner: hst.tuples(inner, hst.sampled_from("+-*"), inner),
    max_leaves=5,
)
ROWS = hst.lists(
    hst.tuples(
        hst.none() | hst.integers(-(2**63), 2**63 - 1),
        hst.none() | hst.integers(-9, 9),
        hst.none() | hst.floats(),
        hst.none() | hst.floats(width=16),
    ),
    max_size=5,
)


def expression(tree: Any) -> pl.Expr:
    """A tree of column names and signs as an expression."""
    if isinstance(tree, str):
        return pl.col(tree)
    one, sign, other = expression(tree[0]), tree[1], expression(tree[2])
    return {"+": one + other, "-": one - other, "*": one * other}[sign]


@settings(max_examples=examples(120))
@given(TREES, ROWS)
def test_it_gives_what_select_gives(tree: Any, rows: list[Any]) -> None:
    expr = expression(tree)
    frame = pl.DataFrame(rows, schema={name: SCHEMA[name] for name in "ijfg"}, orient="row")
    compute = as_arithmetic(expr.alias("x"), SCHEMA)
    assert compute is not None
    assert_series_equal(compute(frame), frame.select(expr.alias("x")).to_series(), check_exact=True)


@pytest.mark.parametrize(
    "expr",
    [pl.col("s") * pl.col("i"), pl.col("i") * 2, pl.col("i") / pl.col("j"), pl.col("i").abs(), pl.lit(1)],
)
def test_everything_else_is_left_to_polars(expr: pl.Expr) -> None:
    assert as_arithmetic(expr.alias("x"), SCHEMA) is None


def test_a_strict_cast_is_made_directly_and_no_other() -> None:
    frame = pl.DataFrame({"i": [1, 300, None]})
    cast = as_cast(pl.col("i").cast(pl.UInt16).alias("x"), pl.UInt16())
    assert cast is not None
    assert_series_equal(cast(frame), pl.Series("x", [1, 300, None], dtype=pl.UInt16))
    narrow = as_cast(pl.col("i").cast(pl.UInt8), pl.UInt8())
    assert narrow is not None
    with pytest.raises(pl.exceptions.InvalidOperationError):
        narrow(frame)
    assert as_cast(pl.col("i").cast(pl.UInt8, strict=False), pl.UInt8()) is None
    assert as_cast(pl.col("i").abs().cast(pl.UInt8), pl.UInt8()) is None
