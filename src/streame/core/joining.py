"""What a join puts out, and how its keys are compared: worked out once, from the schemas of both sides."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import polars as pl
from polars.exceptions import PanicException, PolarsError

from streame.core.foreign_errors import first_paragraph
from streame.errors import PlanError

JoinHow = Literal["inner", "left", "right", "full", "semi", "anti"]
JOIN_HOWS: tuple[JoinHow, ...] = ("inner", "left", "right", "full", "semi", "anti")


@dataclass(frozen=True, slots=True)
class JoinColumn:
    """A column that a join puts out.

    Args:
        name: its name.
        dtype: its dtype.
        left: the column of the left side that it comes from.
        right: the column of the right side that it comes from, where the left side has none or no row.
    """

    name: str
    dtype: pl.DataType
    left: str | None
    right: str | None


@dataclass(frozen=True, slots=True)
class JoinColumns:
    """The columns that a join puts out, in order."""

    columns: tuple[JoinColumn, ...]

    @property
    def schema(self) -> pl.Schema:
        """Names and dtypes."""
        return pl.Schema({each.name: each.dtype for each in self.columns})

    def only(self, names: Iterable[str]) -> "JoinColumns":
        """Those of these names; at least one, so that rows can still be counted."""
        wanted = set(names)
        return JoinColumns(tuple(each for each in self.columns if each.name in wanted) or self.columns[:1])

    def read(self) -> tuple[frozenset[str], frozenset[str]]:
        """The columns of the left and of the right side that they come from."""
        return (
            frozenset(each.left for each in self.columns if each.left is not None),
            frozenset(each.right for each in self.columns if each.right is not None),
        )

    def frame(self, left: pl.DataFrame | None, right: pl.DataFrame | None) -> pl.DataFrame:
        """The rows put together; nulls in the place of a side that is missing."""
        height = next(each.height for each in (left, right) if each is not None)
        return pl.DataFrame([_column(each, left, right, height) for each in self.columns])


def _column(
    column: JoinColumn, left: pl.DataFrame | None, right: pl.DataFrame | None, height: int
) -> pl.Series:
    if left is not None and column.left is not None:
        values = left[column.left]
    elif right is not None and column.right is not None:
        values = right[column.right]
    else:
        return pl.Series(column.name, [], column.dtype).clear(height)
    same = values.dtype == column.dtype
    return values.alias(column.name) if same else values.cast(column.dtype).alias(column.name)


@dataclass(frozen=True, slots=True)
class JoinKeys:
    """The key columns of both sides, in the same order.

    Args:
        left: those of the left side.
        right: those of the right side.
        schema: the dtypes in which they are compared, by place.
        nulls_equal: whether null matches null.
    """

    left: tuple[str, ...]
    right: tuple[str, ...]
    schema: pl.Schema
    nulls_equal: bool = False

    @property
    def text(self) -> str:
        """The keys, for people."""
        pairs = zip(self.left, self.right, strict=True)
        return ", ".join(left if left == right else f"{left} = {right}" for left, right in pairs)


def join_keys(
    left: pl.Schema,
    right: pl.Schema,
    on: tuple[Sequence[str], Sequence[str]],
    *,
    nulls_equal: bool,
    verb: str,
) -> JoinKeys:
    """The keys of a join.

    Args:
        left: the schema of the left side.
        right: the schema of the right side.
        on: the key columns of both sides.
        nulls_equal: whether null matches null.
        verb: the verb, named in the error.

    Raises:
        PlanError: when dtypes cannot be compared.
    """
    dtypes = {}
    for place, (one, other) in enumerate(zip(*on, strict=True)):
        sides = pl.LazyFrame(schema={one: left[one]}), pl.LazyFrame(schema={other: right[other]})
        dtypes[str(place)] = _joined_schema(
            sides, verb, left_on=one, right_on=other, how="full", coalesce=True
        )[one]
    return JoinKeys(tuple(on[0]), tuple(on[1]), pl.Schema(dtypes), nulls_equal)


def join_columns(
    left: pl.Schema,
    right: pl.Schema,
    on: tuple[Sequence[str], Sequence[str]],
    how: JoinHow,
    *,
    suffix: str,
    coalesce: bool | None,
    verb: str,
) -> JoinColumns:
    """The columns that Polars' join would put out.

    Args:
        left: the schema of the left side.
        right: the schema of the right side.
        on: the key columns of both sides; without any the columns are those of a join with a key.
        how: the kind of join.
        suffix: added to a right column whose name the left side has too.
        coalesce: whether the key columns of both sides become one; by default as in Polars.
        verb: the verb, named in the error.

    Raises:
        PlanError: when names collide, or dtypes cannot be compared.
    """
    left_on, right_on = on
    pairs = dict(zip(left_on, right_on, strict=True))
    coalesced = coalesce if coalesce is not None else how != "full"
    if how in {"semi", "anti"}:
        return JoinColumns(tuple(JoinColumn(name, dtype, name, None) for name, dtype in left.items()))
    left_out = set(left_on) if coalesced and how == "right" else set[str]()
    right_out = set(right_on) if coalesced and how != "right" else set[str]()
    kept = [name for name in left if name not in left_out]
    partner = pairs if coalesced and how == "full" else {}
    columns = [JoinColumn(name, left[name], name, partner.get(name)) for name in kept]
    columns += [
        JoinColumn(name + suffix if name in kept else name, dtype, None, name)
        for name, dtype in right.items()
        if name not in right_out
    ]
    _check_names(columns, verb)
    if not left_on:
        return JoinColumns(tuple(columns))
    frames = pl.LazyFrame(schema=left), pl.LazyFrame(schema=right)
    settings: dict[str, object] = {"left_on": list(left_on), "right_on": list(right_on), "how": how}
    schema = _joined_schema(frames, verb, **settings, suffix=suffix, coalesce=coalesce)
    assert [each.name for each in columns] == list(schema), (columns, schema)
    return JoinColumns(tuple(replace(each, dtype=schema[each.name]) for each in columns))


def asof_columns(
    left: pl.Schema, right: pl.Schema, dropped: Iterable[str], *, suffix: str, verb: str
) -> JoinColumns:
    """The columns of a join of each left row with one right row, in which some right columns are left out."""
    left_out = set(dropped)
    columns = [JoinColumn(name, dtype, name, None) for name, dtype in left.items()]
    columns += [
        JoinColumn(name + suffix if name in left else name, dtype, None, name)
        for name, dtype in right.items()
        if name not in left_out
    ]
    _check_names(columns, verb)
    return JoinColumns(tuple(columns))


def late_columns(left: pl.Schema, right: pl.Schema) -> JoinColumns:
    """The columns of the late rows of a join: those of both sides, of which one is null in every row."""
    columns = [JoinColumn(name, dtype, name, None) for name, dtype in left.items()]
    taken = {*left, *right}
    for name, dtype in right.items():
        free = name
        while name in left and free in taken:
            free += "_right"
        taken.add(free)
        columns.append(JoinColumn(free, dtype, None, name))
    return JoinColumns(tuple(columns))


def _check_names(columns: Sequence[JoinColumn], verb: str) -> None:
    """Refuse two columns of one name."""
    names = [each.name for each in columns]
    for name in names:
        if names.count(name) > 1:
            raise PlanError(
                f"{verb}: two columns would be called {name!r}; give another suffix=, or rename one before"
            )


def _joined_schema(sides: tuple[pl.LazyFrame, pl.LazyFrame], verb: str, **settings: object) -> pl.Schema:
    """What Polars says of a join."""
    left, right = sides
    try:
        return left.join(right, **settings).collect_schema()  # type: ignore[arg-type]
    except (PolarsError, PanicException) as error:
        raise PlanError(f"{verb}: {first_paragraph(error)}") from error
