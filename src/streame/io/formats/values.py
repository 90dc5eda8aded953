"""Python values to Polars columns: which value fits which dtype, and nothing changed in silence.

Polars alone would read `True` as 1, drop the time zone of a datetime for a column without one, round a decimal,
cut microseconds off a millisecond column and turn a wrong value deep in a list or struct into another one. So
`convert` decides value by value, alone, and a column is given to Polars as it is only where both agree.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal
from functools import partial
from itertools import accumulate, chain
from typing import Any

import numpy as np
import polars as pl

from streame.core.deadletters import Kind
from streame.errors import PlanError

Convert = Callable[[Any], Any]
"""A value as Polars wants it; raises `Unfit` for one that does not fit."""

_BITS: dict[type[pl.DataType], int] = {
    pl.Int8: 8, pl.Int16: 16, pl.Int32: 32, pl.Int64: 64, pl.Int128: 128,
    pl.UInt8: 8, pl.UInt16: 16, pl.UInt32: 32, pl.UInt64: 64, pl.UInt128: 128,
}  # fmt: skip
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 (the zero of columns without a zone)
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_WIDE = Context(prec=80)


class Unfit(Exception):  # noqa: N818 (no error: a verdict)
    """A value does not fit its dtype.

    Args:
        reason: why, for a person.
        kind: the kind of the dead letter.
    """

    def __init__(self, reason: str, kind: Kind = "type") -> None:
        super().__init__(reason)
        self.kind: Kind = kind


def describe(value: object) -> str:
    """The value and its type for a message, cut to a readable length."""
    try:
        text = repr(value).encode("utf-8", "backslashreplace").decode()
    except Exception:  # a user's `__repr__` may do anything
        text = "a value without repr"
    return f"{text if len(text) <= 80 else text[:77] + '...'} ({type(value).__name__})"


def record_value(record: object) -> dict[str, Any] | None:
    """A mapping or a dataclass as a dict, `None` for anything else."""
    if isinstance(record, Mapping):
        try:
            return dict(record)
        except Exception:  # a user's mapping may do anything
            return None
    if is_dataclass(record) and not isinstance(record, type):
        return {field.name: getattr(record, field.name, None) for field in fields(record)}
    return None


def _wrong(value: object) -> Unfit:
    return Unfit(f"found {describe(value)}")


def _integer(low: int, high: int, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise _wrong(value)
    if not low <= value <= high:
        raise Unfit(f"{value} is out of range")
    return int(value)


def _float(dtype: pl.DataType, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise _wrong(value)
    try:
        number = float(value)
    except OverflowError:
        raise Unfit("the number is out of range") from None
    if dtype != pl.Float64 and np.isfinite(number):
        with np.errstate(over="ignore"):
            narrow = np.float32(number) if dtype == pl.Float32 else np.float16(number)
        if not np.isfinite(narrow):
            raise Unfit(f"{number} is out of range")
    return number


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise _wrong(value)
    return bool(value)


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(value)
    text = str.__str__(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Unfit(
            f"{ascii(value)[:80]} holds half a surrogate pair, which is no character", "encoding"
        ) from None
    return text


def _category(categories: frozenset[str], value: Any) -> str:
    text = _string(value)
    if text not in categories:
        raise Unfit(f"{describe(value)} is not among the categories")
    return text


def _binary(value: Any) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise _wrong(value)
    return bytes(value)


def _date(value: Any) -> date:
    if isinstance(value, datetime) or not isinstance(value, date):
        raise _wrong(value)
    return value


def _fits_unit(microseconds: int, unit: str) -> None:
    if unit == "ms" and microseconds % 1_000:
        raise Unfit("the value has microseconds, which a column in milliseconds cannot hold")
    if not -(2**63) < microseconds * (1_000 if unit == "ns" else 1) < 2**63:
        raise Unfit(f"the value is out of range for a column in {unit}")


def _datetime(dtype: pl.Datetime, value: Any) -> datetime:
    if not isinstance(value, datetime):
        raise _wrong(value)
    if dtype.time_zone is None and value.tzinfo is not None:
        raise Unfit(f"found {describe(value)} with a time zone for a column without one")
    if dtype.time_zone is not None and value.utcoffset() is None:
        raise Unfit(f"found {describe(value)} without a time zone for a column with one")
    _fits_unit((value - (_EPOCH if dtype.time_zone is None else _EPOCH_UTC)) // _MICROSECOND, dtype.time_unit)
    return value if dtype.time_zone is None else _utc(value)


def _utc(value: datetime) -> datetime:
    """The same instant without a zone of its own: Polars refuses a time that a zone's clock skips."""
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise Unfit("the value is out of range in UTC") from None


def _duration(unit: str, value: Any) -> timedelta:
    if not isinstance(value, timedelta):
        raise _wrong(value)
    _fits_unit(value // _MICROSECOND, unit)
    return value


def _time(value: Any) -> time:
    if not isinstance(value, time):
        raise _wrong(value)
    if value.tzinfo is not None:
        raise Unfit(f"found {describe(value)} with a time zone for a column without one")
    return value


def _decimal(precision: int, scale: int, value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, Decimal | int | np.integer):
        raise _wrong(value)
    number = value if isinstance(value, Decimal) else Decimal(int(value))
    if not number.is_finite() or (number and number.adjusted() + 1 > precision - scale):
        raise Unfit(f"{describe(value)} is out of range")
    exact = number.quantize(Decimal(1).scaleb(-scale), context=_WIDE)
    if exact != number:
        raise Unfit(f"{describe(value)} has more than {scale} decimal places")
    return exact


def _nothing(value: Any) -> None:
    raise _wrong(value)


def _items(inner: Convert, size: int | None, value: Any) -> list[Any]:
    if isinstance(value, pl.Series):
        value = value.to_list()
    elif isinstance(value, np.ndarray) and value.ndim:
        value = list(value)
    elif not isinstance(value, list | tuple):
        raise _wrong(value)
    if size is not None and len(value) != size:
        raise Unfit(f"found {len(value)} items where there must be {size}")
    return [None if item is None else inner(item) for item in value]


def _struct(columns: Mapping[str, Convert], value: Any) -> dict[str, Any]:
    record = record_value(value)
    if record is None:
        raise _wrong(value)
    converted = {}
    for name, convert in columns.items():
        item = record.get(name)
        try:
            converted[name] = None if item is None else convert(item)
        except Unfit as reason:
            raise Unfit(f"field {name!r}: {reason}", reason.kind) from None
    return converted


def converter(dtype: pl.DataType, column: str) -> Convert:
    """The function that decides whether a value other than `None` fits.

    Raises:
        PlanError: when no Python value can be read as this dtype.
    """
    match dtype:
        case pl.Float64() | pl.Float32() | pl.Float16():
            return partial(_float, dtype)
        case pl.Boolean():
            return _boolean
        case pl.String() | pl.Categorical():
            return _string
        case pl.Enum():
            return partial(_category, frozenset(dtype.categories))
        case pl.Binary():
            return _binary
        case pl.Date():
            return _date
        case pl.Datetime():
            return partial(_datetime, dtype)
        case pl.Duration():
            return partial(_duration, dtype.time_unit)
        case pl.Time():
            return _time
        case pl.Decimal():
            return partial(_decimal, dtype.precision, dtype.scale)
        case pl.Null():
            return _nothing
        case pl.List() | pl.Array():
            inner = converter(_instance(dtype.inner), column)
            return partial(_items, inner, dtype.size if isinstance(dtype, pl.Array) else None)
        case pl.Struct() if dtype.fields:
            return partial(_struct, {f.name: converter(_instance(f.dtype), column) for f in dtype.fields})
    if bits := _BITS.get(type(dtype)):
        signed = dtype.is_signed_integer()
        high = 2 ** (bits - signed) - 1
        return partial(_integer, -high - 1 if signed else 0, high)
    raise PlanError(
        f"column {column!r}: Python values cannot be read as {dtype}; "
        "use a dtype of numbers, text, bytes, dates and times, or lists and structs of those"
    )


def _instance(dtype: Any) -> pl.DataType:
    made: pl.DataType = dtype() if isinstance(dtype, type) else dtype
    return made


def series(name: str, dtype: pl.DataType, values: Sequence[Any]) -> pl.Series:
    """Converted values as a column; nested ones level by level, because Polars guesses from the first rows."""
    if isinstance(dtype, pl.Struct):
        whole = pl.DataFrame(
            [
                series(f.name, _instance(f.dtype), [None if v is None else v[f.name] for v in values])
                for f in dtype.fields
            ]
        ).to_struct(name)
        present = pl.Series([value is not None for value in values], dtype=pl.Boolean)
        return whole if present.all() else whole.to_frame().select(pl.when(present).then(name)).to_series()
    if isinstance(dtype, pl.List | pl.Array):
        inner = _instance(dtype.inner)
        flat = series("", inner, list(chain.from_iterable(value for value in values if value is not None)))
        starts = accumulate((0 if value is None else len(value) for value in values), initial=0)
        lists = [
            None if value is None else flat.slice(start, len(value))
            for value, start in zip(values, starts, strict=False)
        ]
        return pl.Series(name, lists, pl.List(inner)).cast(dtype)
    return pl.Series(name, values, dtype, strict=True)
