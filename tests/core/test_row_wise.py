"""What is row-wise and what is refused, with the reason; Polars on cut frames is the judge."""

import random
from datetime import date, time

import polars as pl
import polars.selectors as cs
import pytest

from streame.core.expressions import parse_exprs
from streame.core.row_wise import require_row_wise, require_row_wise_selection
from streame.errors import PlanError
from tests.core.expression_calls import FRAME, same_however_cut

i, j, f, s, k, b, p, t, d, ls, m, a, st, e = map(
    pl.col, ["i", "j", "f", "s", "k", "b", "p", "t", "d", "l", "m", "a", "st", "e"]
)

ALLOWED = [
    i,
    pl.all(),
    cs.numeric(),
    pl.col("i", "j"),
    pl.col("^[ij]$"),
    pl.col(pl.Int64),
    pl.nth(0),
    pl.all().exclude("i"),
    i.alias("x"),
    i.name.suffix("_x"),
    cs.string().name.map(str.upper),
    i + 1,
    i + j * 2 - f / 4,
    i // j,
    i % j,
    -i,
    i**2,
    i.abs().sqrt(),
    i > j,
    (i > 1) & b | ~p,
    i.eq_missing(None),
    i.is_null() | f.is_nan(),
    i.is_in([1, 2]),
    i.is_in(pl.Series([1, 2])),
    i.is_in(ls),
    i.is_between(1, j),
    i.fill_null(0),
    i.fill_null(j),
    f.fill_nan(None),
    i.clip(1, j),
    f.round(1),
    i.cast(pl.String),
    i.cast(pl.Int8, strict=False),
    i.replace({1: 2}),
    i.replace_strict({1: 2}, default=0),
    i.bin_intervals([0, 2], labels=["x", "y", "z"]),
    i.hash(),
    i.repeat_by(j),
    i.is_close(j),
    pl.when(i > 0).then(1).otherwise(s.str.len_chars()),
    pl.when(i > 0).then(pl.lit("x")).when(b).then(s).otherwise(None),
    pl.coalesce(i, j, 0),
    pl.concat_str(s, k, separator="-"),
    pl.format("{}:{}", s, i),
    pl.concat_list(i, j),
    pl.struct("i", x=j * 2),
    pl.struct(pl.all()),
    pl.all_horizontal(b, p),
    pl.any_horizontal(b, p),
    pl.sum_horizontal("i", "j"),
    pl.max_horizontal("i", "j"),
    pl.mean_horizontal("i", "j"),
    pl.int_ranges(0, j),
    pl.date_ranges(d, d),
    pl.datetime(2024, 1, j),
    pl.duration(hours=i),
    pl.from_epoch(i),
    pl.business_day_count(d, date(2024, 6, 1)),
    pl.arctan2(i, j),
    pl.lit(1),
    pl.lit(1) + pl.lit(2),
    pl.lit("a").str.to_uppercase() + s,
    pl.sql_expr("i * 2 + j"),
    s.str.len_bytes(),
    s.str.to_uppercase(),
    s.str.contains("a"),
    s.str.contains(k, literal=True),
    s.str.replace("a", "b"),
    s.str.replace_all("a", "b", literal=True),
    s.str.replace_many(["a"], ["b"]),
    s.str.starts_with(k),
    s.str.strip_chars().str.slice(0, j),
    s.str.split("b"),
    s.str.split_exact("b", 1),
    s.str.extract("(a)"),
    s.str.to_integer(strict=False),
    s.str.to_date("%Y-%m-%d", strict=False),
    s.str.to_datetime("%Y-%m-%d", strict=False),
    s.str.to_time("%H:%M", strict=False),
    s.str.strptime(pl.Date, "%Y-%m-%d", strict=False),
    s.str.to_decimal(scale=2),
    pl.col("js").str.json_decode(pl.Struct({"a": pl.Int64})),
    pl.col("js").str.json_path_match("$.a"),
    s.str.encode("hex"),
    s.str.pad_start(5),
    t.dt.year(),
    t.dt.truncate("1h"),
    t.dt.offset_by("1mo"),
    t.dt.replace_time_zone("UTC"),
    t.dt.strftime("%Y"),
    t.dt.combine(time(1)),
    d.dt.is_business_day(),
    t - t.dt.truncate("1d"),
    d.dt.month_end(),
    ls.list.len(),
    ls.list.sum(),
    ls.list.max() + i,
    ls.list.get(0, null_on_oob=True),
    ls.list.contains(j),
    ls.list.sort(),
    ls.list.unique(),
    ls.list.reverse(),
    ls.list.shift(1),
    ls.list.diff(),
    ls.list.eval(pl.element() + 1),
    ls.list.eval(pl.element().rank()),
    ls.list.eval(pl.element().cum_sum()),
    ls.list.eval(pl.element().sum()),
    ls.list.filter(pl.element() > 1),
    ls.list.agg(pl.element().sum()),
    ls.list.set_union(ls),
    ls.list.to_struct(fields=["x", "y"]),
    m.list.join("-"),
    a.arr.sum(),
    a.arr.to_struct(),
    a.arr.eval(pl.element() + 1),
    st.struct.field("x") * 2,
    st.struct.field("*"),
    st.struct.unnest().name.prefix("st_"),
    st.struct.with_fields(pl.field("x") + 1),
    st.struct.rename_fields(["u", "v"]),
    st.struct.json_encode(),
    pl.col("bn").bin.encode("hex"),
    e.to_physical(),
    e.cast(pl.String),
    pl.col("dec") * 2,
    (pl.col("i", "j") == float("inf")),
]
CHANGING = [
    ls.explode(),
    ls.explode() + 1,
    s.drop_nulls(),
    f.drop_nans(),
    i.filter(j > 2),
    i.drop_nulls().cast(pl.String),
]
REFUSED = [
    (i.sum(), "it needs all rows at once"),
    (i - i.mean(), r"col\(\"i\"\).mean\(\) in .* it needs all rows at once"),
    ((i - i.mean()) / i.std(), "it needs all rows at once"),
    (pl.len(), "it needs all rows at once"),
    (i.max_by("j"), "refused"),
    (i.clip(i.min(), 5), r"col\(\"i\"\).min\(\)"),
    (i.is_in(j.implode()), "implode"),
    (i.is_in(j), "no list"),
    (pl.when(i > i.mean()).then(1), "it needs all rows at once"),
    (i.fill_null(i.max()), "it needs all rows at once"),
    (i.over("k"), r"group_by\(...\)"),
    (i.sum().over("k"), "groups reach over all rows"),
    (i.rolling("t", period="1d"), "rolling"),
    (i.shift(), "another batch"),
    (i.diff(), "another batch"),
    (i.pct_change(), "refused"),
    (i.cum_sum(), "another batch"),
    (i.cum_count(), "another batch"),
    (i.sort(), "no last row"),
    (i.sort_by("j"), "no last row"),
    (i.rank(), "another batch"),
    (i.unique(), "the verb unique"),
    (i.is_unique(), "another batch"),
    (i.is_first_distinct(), "another batch"),
    (i.is_duplicated(), "another batch"),
    (i.reverse(), "another batch"),
    (i.head(2), "refused"),
    (i.slice(1), "refused"),
    (i.get(0), "refused"),
    (i.gather([0]), "refused"),
    (i.gather_every(2), "another batch"),
    (i.forward_fill(), "another batch"),
    (i.fill_null(strategy="backward"), "another batch"),
    (i.interpolate(), "another batch"),
    (i.rolling_mean(2), "another batch"),
    (i.ewm_mean(com=1), "another batch"),
    (i.arg_sort(), "refused"),
    (i.search_sorted(1), "refused"),
    (i.rle_id(), "another batch"),
    (i.value_counts(), "another batch"),
    (i.mode(), "another batch"),
    (i.bin_quantiles(2, labels=["x", "y"]), "another batch"),
    (i.implode(), "refused"),
    (i.reshape((-1, 2)), "another batch"),
    (i.append(j), "refused"),
    (i.upper_bound(), "refused"),
    (i.peak_max(), "another batch"),
    (i.shuffle(), "random"),
    (i.sample(2), "random"),
    (ls.list.sample(1), "random"),
    (pl.int_range(0, pl.len()), "refused"),
    (pl.int_range(0, 5), "not of the stream"),
    (pl.arange(0, 5), "not of the stream"),
    (pl.repeat(1, 3), "length of its own"),
    (pl.date_range(date(2024, 1, 1), date(2024, 1, 3)), "not of the stream"),
    (pl.lit(pl.Series([1, 2])), "length of its own"),
    (i + pl.Series([1, 2]), "length of its own"),
    (pl.lit([1, 2]).explode(), "rows of a literal"),
    (pl.col("ds").str.to_date(strict=False), "give the format"),
    (pl.col("ds").str.to_datetime(strict=False), "give the format"),
    (pl.col("ds").str.to_time(strict=False), "give the format"),
    (pl.col("ds").str.strptime(pl.Date, strict=False), "give the format"),
    (m.list.eval(pl.element().str.to_date(strict=False)), "give the format"),
    (ls.list.eval(pl.element().shuffle()), "random"),
    (i.cumulative_eval(pl.element().sum()), "another batch"),
    (st.struct.with_fields(pl.field("x").sum()), "it needs all rows at once"),
    (s.str.replace(k, "x"), "differently in a batch of one row"),
    (s.str.join(","), "refused"),
    (pl.col("c").to_physical(), "use an Enum"),
    (pl.col("c").cat.physical(), "use an Enum"),
    (pl.col("c").cast(pl.UInt32), "use an Enum"),
    (s.cast(pl.Date), "casts no string"),
    (st.cast(pl.Int32), "fields of a struct"),
    (ls.list.diff() + b, "stands beside a column of Boolean"),
    (i == pl.lit({"x": 1}), "a struct stands beside"),
    (i + ls.explode(), "fit only by chance"),
    (i + j.drop_nulls(), "fit only by chance"),
    (i.drop_nulls() + j.drop_nulls(), "fit only by chance"),
    (pl.struct("i", x=j.drop_nulls()), "fit only by chance"),
    (i.map_elements(abs, return_dtype=pl.Int64), r"\.map_batches\(function, schema=\.\.\., row_wise=True\)"),
    (i.map_batches(lambda column: column), "row_wise=True"),
    (1 + i.map_batches(lambda column: column, is_elementwise=True) * 2, "row_wise=True"),
    (pl.fold(0, lambda x, y: x + y, ["i"]), "row_wise=True"),
    (i.rolling_map(lambda column: column.sum(), 2), "row_wise=True"),
]


@pytest.mark.parametrize("expr", ALLOWED, ids=str)
def test_allowed_and_the_same_however_cut(expr: pl.Expr) -> None:
    require_row_wise(expr, FRAME.schema, where="with_columns")
    assert same_however_cut(
        pl.struct(expr, i.alias("_")), cuts=8
    )  # beside a column, where literals are repeated


@pytest.mark.parametrize("expr", CHANGING, ids=str)
def test_changing_the_number_of_rows_is_allowed_alone(expr: pl.Expr) -> None:
    require_row_wise(expr, FRAME.schema, where="select", length="any")
    assert same_however_cut(expr, cuts=8)
    with pytest.raises(PlanError, match=r"with_columns: .* changes the number of rows"):
        require_row_wise(expr, FRAME.schema, where="with_columns")


@pytest.mark.parametrize(("expr", "reason"), REFUSED, ids=str)
def test_refused(expr: pl.Expr, reason: str) -> None:
    with pytest.raises(PlanError, match=rf"(?s)^select: .*{reason}"):
        require_row_wise(expr, FRAME.schema, where="select", length="any")


def test_what_is_allowed_in_two_expressions_is_the_same_however_cut_in_one(seed: int) -> None:
    draw = random.Random(seed)
    single = [expr for expr in ALLOWED if len(FRAME.lazy().select(expr).collect_schema()) == 1]
    accepted = 0
    for _ in range(400):
        one, other = draw.choice(single), draw.choice(single)
        both = draw.choice(
            [
                one + other,
                one == other,
                one.fill_null(other),
                one.is_in(other),
                pl.coalesce(one, other),
                pl.when(p).then(one).otherwise(other),
                pl.when(one.is_null()).then(other),
                pl.struct(x=one, y=other),
            ]
        )
        try:
            require_row_wise(both, FRAME.schema, where="select")
        except PlanError:
            continue
        accepted += 1
        assert same_however_cut(pl.struct(i.alias("_"), both.alias("x"))) is not False, str(both)
    assert accepted > 100


def _selection(*exprs: object) -> bool:
    return require_row_wise_selection(
        parse_exprs(exprs, {}, FRAME.schema, where="select"), FRAME.schema, where="select"
    )


def test_a_selection_says_whether_it_keeps_the_rows() -> None:
    assert _selection("i", pl.lit(1), j + 1)
    assert not _selection(ls.explode())
    assert not _selection(ls.explode(), pl.lit(1))


def test_a_selection_of_literals_only_is_refused() -> None:
    with pytest.raises(PlanError, match="only literals"):
        _selection(pl.lit(1), pl.lit(2).alias("x") + 1)
    with pytest.raises(PlanError, match="only literals"):
        _selection()


def test_a_selection_of_columns_of_other_lengths_is_refused() -> None:
    with pytest.raises(PlanError, match="stands next to other columns"):
        _selection("i", ls.explode())
    with pytest.raises(PlanError, match="stands next to other columns"):
        _selection(ls.explode(), m.explode())


def test_the_message_says_what_where_which_part_why_and_what_to_do() -> None:
    with pytest.raises(PlanError) as refused:
        require_row_wise((i - i.mean()).alias("x"), FRAME.schema, where="with_columns")
    assert str(refused.value) == (
        'with_columns: col("i").mean() in [(col("i")) - (col("i").mean())].alias("x") is refused: it needs all '
        "rows at once; use group_by(...).agg(...) or windows, and join the result"
    )


def test_what_fails_whatever_the_rows_is_refused() -> None:
    with pytest.raises(PlanError, match=r"filter: .*regex") as refused:
        require_row_wise(s.str.contains("("), FRAME.schema, where="filter")
    assert isinstance(refused.value.__cause__, pl.exceptions.PolarsError)
    with pytest.raises(PlanError, match="cannot be computed"):
        require_row_wise(i + pl.lit("x").cast(pl.Int64), FRAME.schema, where="filter")
    with pytest.raises(PlanError, match="cannot be computed"):
        require_row_wise(i.dt.year() > 2000, FRAME.schema, where="filter")


def test_a_float_divided_by_a_literal_may_differ_in_its_last_bit_in_a_batch_of_one_row() -> None:
    numbers = pl.DataFrame(
        {"x": [1e10, 7.7]}
    )  # Polars multiplies by the reciprocal where there are more rows
    whole = numbers.select(pl.col("x") / 3)
    alone = pl.concat([numbers[:1].select(pl.col("x") / 3), numbers[1:].select(pl.col("x") / 3)])
    assert not alone.equals(whole)
    assert (alone["x"] / whole["x"] - 1).abs().max() == pytest.approx(0, abs=1e-15)
