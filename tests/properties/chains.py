"""Random chains of row-wise verbs, as text: a failing one can be pasted into a shell."""

from collections.abc import Callable
from typing import Any

import polars as pl
from hypothesis import strategies as hst
from hypothesis.strategies import DrawFn, SearchStrategy
from polars.exceptions import PanicException, PolarsError

import streame as st
from streame.errors import PlanError
from streame.testing.strategies import NAMES


class Verb:
    """A call on a stream, and the one on a Polars frame that means the same; shown as its code alone."""

    def __init__(self, stream: str, polars: str, *, keeps_order: bool = True) -> None:
        self.stream = stream
        self.polars = polars
        self.keeps_order = keeps_order

    def __repr__(self) -> str:
        return self.stream

    def on_stream(self, frame: st.StreamDataFrame) -> st.StreamDataFrame:
        """The stream after the verb."""
        return evaluated(self.stream, frame=frame, concat=st.concat)  # type: ignore[no-any-return]

    def on_polars(self, frame: Any) -> Any:
        """The Polars frame, lazy or eager, after the verb."""
        return evaluated(self.polars, frame=frame, concat=pl.concat)


def evaluated(code: str, **names: Any) -> Any:
    """The value of a piece of code."""
    return eval(code, {"pl": pl, "shout": shout, "twice": twice, **names})  # noqa: S307 - it is our own


def shout(frame: pl.DataFrame) -> pl.DataFrame:
    """A function for `map_batches` that changes values."""
    return frame.with_columns(pl.col(pl.String).str.to_uppercase(), pl.col(pl.Int64) + 1)


def twice(frame: pl.DataFrame) -> pl.DataFrame:
    """A function for `map_batches` that changes the number of rows, in order."""
    return frame.select(pl.all().repeat_by(2).explode()) if frame.height else frame


Build = Callable[[DrawFn, pl.Schema], Verb | None]


@hst.composite
def chains(draw: DrawFn, schema: pl.Schema, *, most: int = 6) -> list[Verb]:
    """A few verbs that fit one after the other, beginning with a schema."""
    verbs: list[Verb] = []
    for build in draw(hst.lists(hst.sampled_from(BUILDERS), min_size=1, max_size=most)):
        verb = build(draw, schema)
        after = None if verb is None else _schema_after(verb, schema)
        if verb is not None and after:
            verbs.append(verb)
            schema = after
    return verbs


def _schema_after(verb: Verb, schema: pl.Schema) -> pl.Schema | None:
    """What Polars says; `None` where it refuses the verb or cannot do it without rows."""
    try:
        frame = pl.LazyFrame(schema=schema)
        after: pl.Schema = verb.on_polars(frame).collect_schema()
    except (PolarsError, PanicException, TypeError, ValueError):
        return None
    return after


def applied(frame: st.StreamDataFrame, verbs: list[Verb]) -> st.StreamDataFrame:
    """The stream after all verbs."""
    for verb in verbs:
        try:
            frame = verb.on_stream(frame)
        except PlanError as error:
            raise AssertionError(f"{verb} was refused: {error}") from error
    return frame


def _same(code: str) -> Verb:
    return Verb(code, code)


def _col(name: str) -> str:
    return f"pl.col({name!r})"


def _of(schema: pl.Schema, test: Callable[[pl.DataType], bool]) -> list[str]:
    return [name for name, dtype in schema.items() if test(dtype)]


def _is_list(dtype: pl.DataType) -> bool:
    return isinstance(dtype, pl.List)


def _is_struct(dtype: pl.DataType) -> bool:
    return isinstance(dtype, pl.Struct)


@hst.composite
def values(draw: DrawFn, schema: pl.Schema) -> str:
    """An expression that gives a value per row."""
    name = draw(hst.sampled_from(list(schema)))
    return draw(hst.sampled_from(_values_of(_col(name), schema[name])))


def _values_of(col: str, dtype: pl.DataType) -> list[str]:
    any_dtype = [col, f"{col}.is_null()", f"pl.struct(v={col})", f"pl.concat_list({col}, {col})"]
    match dtype:
        case _ if dtype.is_integer():
            return [f"{col} + 1", f"{col} * {col}", f"{col} // 0", f"{col} % 3", f"-{col}.cast(pl.Int64)",
                    f"{col} / 2", f"{col}.fill_null(7)", f"{col}.cast(pl.String)",
                    f"{col}.cast(pl.Int8, strict=False)", f"pl.when({col} > 2).then({col}).otherwise(None)",
                    f"{col}.is_in([1, 2, None])", f"{col}.replace_strict({{1: 2}}, default=None)"]  # fmt: skip
        case _ if dtype.is_float():
            return [f"{col} * 2", f"{col}.floor()", f"{col}.is_nan()", f"{col}.cast(pl.Int32, strict=False)",
                    f"{col}.fill_nan(None)", f"{col}.clip(-1, 1)", f"{col}.sqrt()", f"{col} == {col}"]  # fmt: skip
        case pl.String():
            return [f"{col} + '!'", f"{col}.str.len_bytes()", f"{col}.str.slice(1, 2)", f"{col}.str.split('a')",
                    f"{col}.str.to_integer(strict=False)", f"{col}.str.contains('a')",
                    f"pl.format('<{{}}>', {col})", f"{col}.fill_null('none')",
                    f"pl.coalesce({col}, pl.lit('x'))", f"{col}.cast(pl.Float64, strict=False)"]  # fmt: skip
        case pl.Boolean():
            return [f"~{col}", f"{col}.not_().fill_null(True)", f"pl.when({col}).then(1).otherwise(2.5)"]
        case pl.Date() | pl.Datetime():
            return [
                f"{col}.dt.year()",
                f"{col}.dt.month()",
                f"{col}.dt.weekday()",
                f"{col} + pl.duration(days=0)",
            ]
        case pl.List():
            return [f"{col}.list.len()", f"{col}.list.get(0, null_on_oob=True)", f"{col}.list.first()",
                    f"{col}.list.head(1)", f"{col}.list.reverse()", f"{col}.list.unique(maintain_order=True)",
                    f"{col}.list.eval(pl.element().is_null())"]  # fmt: skip
        case pl.Struct():
            return [f"{col}.struct.field({field.name!r})" for field in dtype.fields] + any_dtype
        case _:
            return any_dtype


@hst.composite
def predicates(draw: DrawFn, schema: pl.Schema) -> str:
    """A Boolean expression."""
    name = draw(hst.sampled_from(list(schema)))
    col, dtype = _col(name), schema[name]
    choices = [f"{col}.is_null()", f"{col}.is_not_null()", f"{col}.is_null() | pl.lit(True)"]
    if dtype.is_integer():
        choices += [f"{col} > 0", f"{col}.is_between(-2, 3)", f"({col} % 2) == 0", f"{col}.is_in([0, 1, 5])"]
    elif dtype.is_float():
        choices += [f"{col} < 0.5", f"{col}.is_finite()", f"{col}.is_nan() & {col}.is_not_null()"]
    elif dtype == pl.String:
        choices += [f"{col} == ''", f"{col}.str.contains('a') | ({col} > 'k')", f"{col}.str.len_chars() < 3"]
    elif dtype == pl.Boolean:
        choices += [col, f"~{col}", f"{col}.xor(True)"]
    elif _is_list(dtype):
        choices += [f"{col}.list.len() > 1"]
    first = draw(hst.sampled_from(choices))
    if draw(hst.integers(0, 3)) == 3:
        return f"({first}) {draw(hst.sampled_from('&|'))} ({draw(predicates(schema))})"
    return first


def _filter(draw: DrawFn, schema: pl.Schema) -> Verb:
    return _same(f"frame.{draw(hst.sampled_from(['filter', 'remove']))}({draw(predicates(schema))})")


def _named(draw: DrawFn, schema: pl.Schema) -> str:
    listed = draw(hst.lists(hst.tuples(hst.sampled_from(NAMES), values(schema)), min_size=1, max_size=3))
    return ", ".join(f"({code}).alias({name!r})" for name, code in dict(listed).items())


def _select(draw: DrawFn, schema: pl.Schema) -> Verb:
    return _same(f"frame.select({_named(draw, schema)})")


def _with_columns(draw: DrawFn, schema: pl.Schema) -> Verb:
    return _same(f"frame.with_columns({_named(draw, schema)})")


def _rename(draw: DrawFn, schema: pl.Schema) -> Verb:
    old = draw(hst.lists(hst.sampled_from(list(schema)), min_size=1, max_size=2, unique=True))
    free = [name for name in (*NAMES, *old) if name not in schema or name in old]
    new = draw(hst.permutations(free))
    return _same(f"frame.rename({dict(zip(old, new, strict=False))!r})")


def _drop(draw: DrawFn, schema: pl.Schema) -> Verb | None:
    if len(schema) == 1:
        return None
    return _same(f"frame.drop({draw(hst.sampled_from(list(schema)))!r})")


def _cast(draw: DrawFn, schema: pl.Schema) -> Verb:
    name = draw(hst.sampled_from(list(schema)))
    numbers = ["pl.Boolean"] if schema[name].is_numeric() else []
    if schema[name].is_numeric() or schema[name] in {pl.Boolean(), pl.String()}:
        numbers += ["pl.Int64", "pl.Float32", "pl.Int8"]
    dtype = draw(hst.sampled_from(["pl.String", *numbers]))
    return _same(f"frame.cast({{{name!r}: {dtype}}}, strict=False)")


def _drop_nulls(draw: DrawFn, schema: pl.Schema) -> Verb:
    subset = draw(hst.sampled_from(["", *map(repr, schema)]))
    return _same(f"frame.drop_nulls({subset})")


def _fill_null(draw: DrawFn, schema: pl.Schema) -> Verb:
    fills = ["0", "1.5", "'x'", "True", "strategy='zero'"]
    if not _of(schema, _is_struct):  # which stands beside no other value
        fills.append(_col(next(iter(schema))))
    return _same(f"frame.fill_null({draw(hst.sampled_from(fills))})")


def _nans(draw: DrawFn, schema: pl.Schema) -> Verb:
    return _same("frame." + draw(hst.sampled_from(["drop_nans()", "fill_nan(None)", "fill_nan(0.5)"])))


def _explode(draw: DrawFn, schema: pl.Schema) -> Verb | None:
    lists = _of(schema, _is_list)
    if not lists:
        return None
    settings = draw(hst.sampled_from(["", ", empty_as_null=True", ", empty_as_null=False, keep_nulls=False"]))
    return _same(f"frame.explode({draw(hst.sampled_from(lists))!r}{settings})")


def _unnest(draw: DrawFn, schema: pl.Schema) -> Verb | None:
    structs = _of(schema, _is_struct)
    if not structs:
        return None
    separator = draw(hst.sampled_from(["", ", separator='_'"]))
    return _same(f"frame.unnest({draw(hst.sampled_from(structs))!r}{separator})")


def _static(draw: DrawFn, schema: pl.Schema) -> Verb | None:
    free = [name for name in NAMES if name not in schema]
    if not free:
        return None
    name, value = draw(hst.sampled_from(free)), draw(hst.sampled_from(["5", "'web'", "None", "1.5"]))
    return Verb(
        f"frame.add_static_column({name!r}, {value})", f"frame.with_columns(pl.lit({value}).alias({name!r}))"
    )


def _map_batches(draw: DrawFn, schema: pl.Schema) -> Verb:
    function, row_wise = draw(hst.sampled_from([("shout", True), ("shout", False), ("twice", False)]))
    return Verb(
        f"frame.map_batches({function}, row_wise={row_wise})", f"{function}(frame.lazy().collect()).lazy()"
    )


def _unpivot(draw: DrawFn, schema: pl.Schema) -> Verb:
    on = draw(hst.lists(hst.sampled_from(list(schema)), min_size=1, max_size=2, unique=True))
    rest = [name for name in schema if name not in on]
    code = f"frame.unpivot({on!r}, index={rest!r})"
    return Verb(code, code, keeps_order=False)


def _concat(draw: DrawFn, schema: pl.Schema) -> Verb:
    code = f"concat([frame, frame.filter({draw(predicates(schema))})])"
    return Verb(code, code, keeps_order=False)


BUILDERS: list[Build] = [
    _filter, _filter, _select, _with_columns, _with_columns, _rename, _drop, _cast, _drop_nulls, _fill_null,
    _nans, _explode, _unnest, _static, _map_batches, _unpivot, _concat,
]  # fmt: skip

Chain = SearchStrategy[list[Verb]]
