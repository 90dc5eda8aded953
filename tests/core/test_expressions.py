"""Expressions as the arguments of a verb, against what Polars gives for the same arguments."""

from typing import Any

import polars as pl
import polars.selectors as cs
import pytest

from streame.core.expression_tree import (
    columns_of,
    from_tree,
    function_name,
    inputs,
    kind,
    to_tree,
    with_inputs,
)
from streame.core.expressions import (
    as_renamed_column,
    is_column,
    parse_exprs,
    referenced_columns,
    resolve,
    substitute_columns,
    to_text,
)
from streame.errors import PlanError
from tests.core.expression_calls import FRAME

i, j, s = pl.col("i"), pl.col("j"), pl.col("s")
NAN = float("nan")

ARGUMENTS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    (("i", "s"), {}),
    ((["i", "s"],), {}),
    ((column for column in ("i", "j")), {}),  # type: ignore[list-item]
    ((i, j + 1, "s"), {"x": i * 2, "y": 3, "z": "s"}),
    ((2.5,), {"none": None, "when": pl.lit("x")}),
    ((pl.all(),), {}),
    ((cs.numeric() * 2,), {}),
    ((cs.string().name.suffix("_x"), cs.numeric()), {}),
    ((pl.col("i", "j") + pl.col("j", "f"),), {}),
    ((pl.col("^[ij]$"),), {}),
    ((pl.col(pl.Int64).name.prefix("p_"),), {}),
    ((pl.all().exclude("i").name.map(lambda name: name * 2),), {}),
    ((cs.string().name.map(str.upper) + "x",), {}),
    ((pl.nth(1, 0),), {}),
    ((pl.struct(pl.all()).alias("row"), pl.struct(cs.string().name.prefix("p_")).alias("t")), {}),
    ((pl.sum_horizontal(cs.numeric()).alias("sum"), pl.coalesce(pl.col("i", "j"))), {}),
    ((pl.all_horizontal(cs.numeric() > 0),), {}),
    ((pl.concat_str(cs.string(), separator="-"),), {}),
    ((pl.when(cs.numeric() > 0).then(cs.numeric()).name.suffix("_p"),), {}),
    ((pl.col("i", "f").fill_null(NAN),), {}),
    ((pl.col("i", "j") == float("inf"),), {}),
    ((pl.col("st").struct.field("*"),), {}),
    ((pl.col("st").struct.field("x", "y").name.suffix("_s"),), {}),
    ((pl.col("st").struct.unnest(),), {}),
    ((i.alias("x").name.keep(), j.alias("i2")), {}),
    ((pl.col("i", "j").sum(),), {}),
    ((pl.col("i", "j").over("k"),), {}),
    ((pl.col("i", "j").sort_by("f"),), {}),
    ((pl.col("i", "j").map_batches(lambda column: column),), {}),
    ((pl.col("^nothing.*$"), "i"), {}),
    ((pl.col("l", "m").list.len(),), {}),
    ((i.is_in([1, 2]),), {"b": pl.col("l").list.eval(pl.element() + 1)}),
]


@pytest.mark.parametrize(("exprs", "named"), ARGUMENTS, ids=str)
def test_one_expression_for_each_column_that_polars_gives(exprs: Any, named: dict[str, Any]) -> None:
    exprs = tuple(exprs)
    columns = parse_exprs(exprs, named, FRAME.schema, where="select")
    expected = FRAME.select(*exprs, **named)
    assert {each.name: each.dtype for each in columns} == expected.schema
    assert FRAME.select(each.expr for each in columns).equals(expected)
    for each in columns:
        assert FRAME.lazy().select(each.expr).collect_schema() == {each.name: each.dtype}


def test_a_single_column_reads_only_what_it_needs() -> None:
    columns = parse_exprs([pl.all() + j], {}, FRAME.select("i", "j").schema, where="select")
    assert [referenced_columns(each.expr) for each in columns] == [{"i", "j"}, {"j"}]
    (field, _) = parse_exprs([pl.col("st").struct.unnest()], {}, FRAME.schema, where="select")
    assert field.expr.meta.eq(pl.col("st").struct.field("x"))


def test_a_string_is_a_literal_where_it_is_no_column() -> None:
    (column,) = parse_exprs(["i"], {}, FRAME.schema, where="x", strings_are_columns=False)
    assert not column.roots


def test_a_column_under_another_name_is_known_as_such() -> None:
    same, other, sum_ = parse_exprs([i, j.alias("x"), (i + j).alias("y")], {}, FRAME.schema, where="select")
    assert (same.column, other.column, sum_.column) == ("i", "j", None)


SHORT = pl.Schema(
    [("price", pl.Int64), ("quantity", pl.Int64), ("name", pl.String), ("st", pl.Struct({"x": pl.Int8}))]
)


@pytest.mark.parametrize(
    ("exprs", "message"),
    [
        (
            [pl.col("pricee")],
            (
                "select: column 'pricee' does not exist; did you mean 'price'? "
                "(available columns: price, quantity, name, st)"
            ),
        ),
        (["zz"], "select: column 'zz' does not exist (available columns: price, quantity, name, st)"),
        ([cs.by_name("zz") * 2], "select: column 'zz' does not exist (available columns: price,"),
        (
            [pl.col("price") + pl.col("name")],
            "cannot be computed: arithmetic on dtypes i64 and str is not allowed",
        ),
        ([pl.col("st").struct.field("q")], "cannot be computed: q"),
        (["price", pl.col("name").alias("price")], "select: two expressions are named 'price'; rename one"),
        ([pl.col("price", "quantity").alias("x")], "duplicate output name 'x'"),
        ([{"price": 1}], "select: a dict is no list of expressions"),
    ],
    ids=str,
)
def test_what_does_not_fit_the_schema_is_refused(exprs: list[Any], message: str) -> None:
    with pytest.raises(PlanError) as refused:
        parse_exprs(exprs, {}, SHORT, where="select")
    assert message in str(refused.value)
    assert "Resolved plan" not in str(refused.value)


def test_resolve_gives_names_and_dtypes() -> None:
    assert resolve(pl.col("price") / 2, SHORT, where="x") == {"price": pl.Float64()}


def test_columns_that_are_only_renamed() -> None:
    assert as_renamed_column(i) == ("i", "i")
    assert as_renamed_column(i.alias("x").alias("y")) == ("i", "y")
    assert as_renamed_column(i.name.suffix("_x")) == ("i", "i_x")
    assert as_renamed_column(i + 1) is None
    assert as_renamed_column(pl.lit(1)) is None
    assert is_column(i) == "i"
    assert is_column(i.alias("i")) == "i"
    assert is_column(i.alias("x")) is None
    assert is_column(i.map_elements(abs, return_dtype=pl.Int64)) is None


def test_columns_are_replaced() -> None:
    replacements: list[tuple[pl.Expr, dict[str, pl.Expr | str], pl.Expr]] = [
        (i + j, {"i": "x"}, pl.col("x") + j),
        (i + j, {"i": "j", "j": "i"}, j + i),
        (
            pl.when(i > 1).then(s).otherwise(pl.lit("i")),
            {"i": j * 2},
            pl.when(j * 2 > 1).then(s).otherwise(pl.lit("i")),
        ),
        (i + NAN, {"i": "x"}, pl.col("x") + NAN),
        (i.is_in([1, 2]), {"i": "x"}, pl.col("x").is_in([1, 2])),
    ]
    for expr, mapping, expected in replacements:
        replaced = substitute_columns(expr, mapping)
        assert replaced is not None
        assert replaced.meta.eq(expected)
    assert substitute_columns(i.map_elements(abs, return_dtype=pl.Int64), {"i": "x"}) is None


def test_text_is_short() -> None:
    assert (
        to_text((i * 2 + 1).cast(pl.Int8).alias("x")) == '[([(col("i")) * (2)]) + (1)].cast(Int8).alias("x")'
    )
    assert len(to_text(pl.sum_horizontal([i + k for k in range(100)]))) == 100


SHAPES = [
    (i, {"Column": "i"}),
    (i.alias("x"), {"Alias": [{"Column": "i"}, "x"]}),
    (i.name.keep(), {"KeepName": {"Column": "i"}}),
    (i.name.suffix("x"), {"RenameAlias": {"function": {"Suffix": "x"}, "expr": {"Column": "i"}}}),
    (pl.lit("x"), {"Literal": {"Scalar": {"String": "x"}}}),
    (pl.all(), {"Selector": "Wildcard"}),
    (i + j, {"BinaryExpr": {"left": {"Column": "i"}, "op": "Plus", "right": {"Column": "j"}}}),
    (s.cast(pl.Int8), {"Cast": {"expr": {"Column": "s"}, "dtype": {"Literal": "Int8"}, "options": "Strict"}}),
    (
        s.cast(pl.Int8, strict=False),
        {"Cast": {"expr": {"Column": "s"}, "dtype": {"Literal": "Int8"}, "options": "NonStrict"}},
    ),
    (
        pl.when(i).then(j).otherwise(s),
        {"Ternary": {"predicate": {"Column": "i"}, "truthy": {"Column": "j"}, "falsy": {"Column": "s"}}},
    ),
    (i.abs(), {"Function": {"input": [{"Column": "i"}], "function": "Abs"}}),
    (i.is_null(), {"Function": {"input": [{"Column": "i"}], "function": {"Boolean": "IsNull"}}}),
    (i.filter(j), {"Filter": {"input": {"Column": "i"}, "by": {"Column": "j"}}}),
    (
        i.explode(),
        {"Explode": {"input": {"Column": "i"}, "options": {"empty_as_null": False, "keep_nulls": True}}},
    ),
    (
        i.list.eval(pl.element()),
        {"Eval": {"expr": {"Column": "i"}, "evaluation": "Element", "variant": "List"}},
    ),
    (
        i.struct.with_fields(pl.field("x")),
        {"StructEval": {"expr": {"Column": "i"}, "evaluation": [{"Field": ["x"]}], "variant": "WithFields"}},
    ),
    (i.sum(), {"Agg": {"Sum": {"Column": "i"}}}),
    (pl.len(), "Len"),
    (
        i.struct.field("x"),
        {"Function": {"input": [{"Column": "i"}], "function": {"StructExpr": {"FieldByName": "x"}}}},
    ),
]


@pytest.mark.parametrize(("expr", "shape"), SHAPES, ids=str)
def test_the_shapes_of_nodes(expr: pl.Expr, shape: Any) -> None:
    tree = to_tree(expr)
    assert tree == shape
    assert from_tree(tree).meta.eq(expr)
    if (below := inputs(tree)) is not None:
        assert with_inputs(tree, below) == tree


def test_the_functions_that_are_known_by_name() -> None:
    for expr, name in [
        (i.abs(), "Abs"),
        (i.round(1), "Round"),
        (i.hash(), "Hash"),
        (i.sqrt(), "Pow.Sqrt"),
        (i.is_in([1]), "Boolean.IsIn"),
        (i.is_between(1, 2), "Boolean.IsBetween"),
        (s.str.to_date("%Y"), "StringExpr.Strptime"),
        (s.str.to_integer(), "StringExpr.ToInteger"),
        (s.str.decode("hex"), "StringExpr.HexDecode"),
        (s.str.replace("a", "b"), "StringExpr.Replace"),
        (s.dt.year(), "TemporalExpr.Year"),
        (s.dt.is_business_day(), "Business.IsBusinessDay"),
        (s.list.get(0), "ListExpr.Get"),
        (i.shuffle(), "Random"),
        (pl.repeat(1, 2), "Repeat"),
        (pl.int_range(0, 3), "Range.IntRange"),
        (pl.struct("i"), "AsStruct"),
    ]:
        tree = to_tree(expr)
        assert tree is not None
        assert kind(tree) == "Function"
        assert function_name(tree) == name


def test_a_column_named_in_a_literal_is_no_column() -> None:
    assert columns_of(to_tree(pl.lit({"Column": "x"}) == i)) == {"i"}


def test_numbers_beyond_json_survive() -> None:
    for value in (NAN, float("inf"), 2**100):
        tree = to_tree(i + pl.lit(value))
        assert tree is not None
        assert from_tree(tree).meta.eq(i + pl.lit(value))
