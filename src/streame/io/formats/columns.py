"""Columns as they were read, turned into the dtypes of the schema; what does not fit becomes null."""

from collections.abc import Collection

import polars as pl

from streame.errors import PlanError
from streame.io.formats.dates import to_date, to_datetime, to_time

_TEMPORAL = (pl.Datetime, pl.Date, pl.Time)
_WORDS = (pl.String, pl.Categorical, pl.Enum)
_READABLE = (*_TEMPORAL, *_WORDS, pl.Decimal)
_NESTED = (pl.List, pl.Struct)  # Polars panics on an Array of the wrong length


def check_schema(schema: pl.Schema, required: Collection[str], *, nested: bool, where: str) -> None:
    """Refuse a schema that the format cannot give.

    Args:
        schema: what was declared.
        required: the columns that may not be null.
        nested: whether the format knows lists and structs.
        where: names the format in the message.

    Raises:
        PlanError: names the column and the way out.
    """
    if not schema:
        raise PlanError(f"{where}: the schema has no column; declare at least one")
    unknown = sorted(set(required) - set(schema))
    if unknown:
        raise PlanError(
            f"{where}: required columns {unknown} are not in the schema, which has {list(schema)}"
        )
    for name, dtype in schema.items():
        if isinstance(dtype, _NESTED) and nested:
            wrong = next((leaf for leaf in _leaves(dtype) if not _is_plain(leaf)), None)
        else:
            wrong = None if _is_plain(dtype) or isinstance(dtype, _READABLE) else dtype
        if wrong is not None:
            raise PlanError(
                f"{where}: column {name!r} cannot be read as {dtype}, because of {wrong}; "
                "declare a String (or an integer) there and convert it with a verb"
            )


def is_word(dtype: pl.DataType) -> bool:
    """Whether values of this dtype are text and stay text, so that a number is none."""
    return isinstance(dtype, _WORDS)


def is_nested(dtype: pl.DataType) -> bool:
    """Whether values of this dtype hold values of other dtypes."""
    return isinstance(dtype, _NESTED)


def is_from_text(dtype: pl.DataType) -> bool:
    """Whether values of this dtype are best read as text first, whatever the format."""
    return isinstance(dtype, _READABLE)


def fit(column: pl.Series, dtype: pl.DataType) -> pl.Series:
    """The values of a column in another dtype, null where one does not fit.

    Args:
        column: text, or integers or floats that are to become narrower.
        dtype: one that `check_schema` lets pass. Spaces around a text that is to be no text are ignored.
    """
    if column.dtype == dtype:
        return column
    value = _convert(column, dtype)
    if column.dtype == pl.String and not is_word(dtype) and value.null_count() > column.null_count():
        left = (value.is_null() & column.is_not_null()).arg_true()
        value = value.scatter(left, _convert(column.gather(left).str.strip_chars(" \t"), dtype))
    return value


def _convert(column: pl.Series, dtype: pl.DataType) -> pl.Series:
    if isinstance(dtype, pl.Datetime):
        return to_datetime(column, dtype)
    if isinstance(dtype, pl.Date):
        return to_date(column)
    if isinstance(dtype, pl.Time):
        return to_time(column)
    if isinstance(dtype, pl.Boolean):
        return _to_boolean(column)
    value = column.cast(dtype, strict=False)
    return _without_overflow(column, value) if dtype.is_float() else value


def _to_boolean(text: pl.Series) -> pl.Series:
    true = text == "true"
    if (true | (text == "false")).all():
        return true
    lower = text.str.to_lowercase()
    return (
        pl.select(pl.when(lower.is_in(["true", "false"])).then(lower == "true")).to_series().alias(text.name)
    )


def _without_overflow(column: pl.Series, value: pl.Series) -> pl.Series:
    """Null where a finite number became infinite: `1e400`, or `1e39` in 32 bits."""
    infinite = value.is_infinite()
    if not infinite.any():
        return value
    was_finite = column.str.contains(r"\d") if column.dtype == pl.String else column.is_finite()
    return pl.select(pl.when(~(infinite & was_finite)).then(value)).to_series()


def _is_plain(dtype: pl.DataType) -> bool:
    return isinstance(dtype, (pl.String, pl.Boolean)) or dtype.is_integer() or dtype.is_float()


def _leaves(dtype: pl.DataType) -> list[pl.DataType]:
    if isinstance(dtype, pl.Struct):
        return [leaf for field in dtype.fields for leaf in _leaves(_instance(field.dtype))]
    if isinstance(dtype, pl.List):
        return _leaves(_instance(dtype.inner))
    return [dtype]


def _instance(dtype: object) -> pl.DataType:
    instance = dtype() if isinstance(dtype, type) else dtype
    assert isinstance(instance, pl.DataType), instance
    return instance
