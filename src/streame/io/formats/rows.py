"""Python rows to frames: whole batches at full speed, single rows only where a batch does not fit."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, datetime, time, timedelta
from types import NoneType
from typing import Any

import msgspec
import numpy as np
import polars as pl

from streame.core.deadletters import BadRow, Kind
from streame.errors import PlanError
from streame.io.formats.decoder import Decoded
from streame.io.formats.values import Convert, Unfit, converter, describe, record_value, series

_Columns = Sequence[Sequence[Any]]


def row_bytes(row: object) -> bytes:
    """A row for a dead letter: as JSON, or what `repr` says where JSON has no words for it."""
    try:
        return msgspec.json.encode(row)
    except Exception:  # anything can be in a row, also objects that fail when looked at
        return describe_whole(row).encode("utf-8", "backslashreplace")


def describe_whole(row: object) -> str:
    """`repr`, which may fail too."""
    try:
        return repr(row)
    except Exception:  # a user's `__repr__` may do anything
        return f"<{type(row).__name__} without repr>"


@dataclass(frozen=True, slots=True)
class _Column:
    """One column and how its values are checked.

    Args:
        exact: the Python types of which Polars builds this dtype without changing a value ...
        agrees: ... if this holds for the values that are not null.
    """

    name: str
    dtype: pl.DataType
    convert: Convert
    exact: frozenset[type]
    agrees: Callable[[Sequence[Any]], bool] | None

    def build(self, values: Sequence[Any]) -> tuple[pl.Series, dict[int, tuple[Kind, str]]]:
        """The column, and why the values at some positions do not fit (they are null in the column)."""
        kinds = set(map(type, values))
        kinds.discard(NoneType)
        if kinds <= self.exact and (self.agrees is None or self.agrees(values)):
            try:
                return pl.Series(self.name, values, self.dtype, strict=True), {}
            except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError):
                pass  # some value is out of range; `convert` says which
        return self._build_one_by_one(values)

    def _build_one_by_one(self, values: Sequence[Any]) -> tuple[pl.Series, dict[int, tuple[Kind, str]]]:
        converted: list[Any] = [None] * len(values)
        unfit: dict[int, tuple[Kind, str]] = {}
        for index, value in enumerate(values):
            if value is not None:
                try:
                    converted[index] = self.convert(value)
                except Unfit as reason:
                    unfit[index] = reason.kind, f"column {self.name!r}: {reason}; expected {self.dtype}"
        return series(self.name, self.dtype, converted), unfit


def _without_zone(values: Sequence[Any]) -> bool:
    return all(value is None or value.tzinfo is None for value in values)


def _with_zone(values: Sequence[Any]) -> bool:
    return all(value is None or value.utcoffset() is not None for value in values)


def _column(name: str, dtype: pl.DataType) -> _Column:
    exact: tuple[type, ...] = ()
    agrees: Callable[[Sequence[Any]], bool] | None = None
    match dtype:
        case pl.Boolean():
            exact = (bool,)
        case pl.Float64():
            exact = (float, int)
        case pl.String() | pl.Categorical() | pl.Enum():
            exact = (str,)
        case pl.Binary():
            exact = (bytes,)
        case pl.Date():
            exact = (date,)
        case pl.Duration(time_unit="us"):
            exact = (timedelta,)
        case pl.Time():
            exact, agrees = (time,), _without_zone
        case pl.Datetime(time_unit="us"):
            exact, agrees = (datetime,), _without_zone if dtype.time_zone is None else _with_zone
        case _ if dtype.is_integer():
            exact = (int,)
    return _Column(name, dtype, converter(dtype, name), frozenset(exact), agrees)


class RowDecoder:
    """Turns dicts, dataclasses, tuples and lists into frames of one schema.

    A missing key is null, an extra one is ignored; tuples and lists must have one item per column. A value must
    have the dtype's own Python type (an `int` does for a float or decimal column, a NumPy scalar for its
    counterpart); a datetime has a zone exactly if its column has one. The verdict on a row never depends on
    its neighbours.

    Args:
        schema: the columns.
        required: those that may not be null.

    Raises:
        PlanError: when a required column does not exist or a dtype cannot be read from Python values.
    """

    def __init__(self, schema: pl.Schema, required: Collection[str] = ()) -> None:
        if not schema:
            raise PlanError("the schema has no columns; give at least one")
        for name in required:
            if name not in schema:
                raise PlanError(
                    f"the required column {name!r} is not in the schema; it has {', '.join(schema)}"
                )
        self._schema = schema
        self._required = tuple(required)
        self._columns = [_column(name, dtype) for name, dtype in schema.items()]

    def decode(self, rows: Sequence[Any], start: int) -> Decoded:
        """The rows as a frame; `start` is the position of the first one."""
        columns = self._whole(rows)
        bad: dict[int, tuple[Kind, str]] = {}
        if columns is None:
            columns, bad = self._row_by_row(rows)
        built: list[pl.Series] = []
        for column, values in zip(self._columns, columns, strict=True):
            one, unfit = column.build(values)
            built.append(one)
            for index, verdict in unfit.items():
                bad.setdefault(index, verdict)
        frame = pl.DataFrame(built)
        self._find_nulls(frame, bad)
        if not bad:
            return Decoded(frame, lambda: np.arange(start, start + len(rows), dtype=np.int64))
        keep = np.ones(len(rows), dtype=np.bool_)
        keep[list(bad)] = False
        rejected = [
            BadRow(start + index, kind, reason, row_bytes(rows[index]))
            for index, (kind, reason) in sorted(bad.items())
        ]
        return Decoded(frame.filter(pl.Series(keep)), lambda: start + np.flatnonzero(keep), rejected)

    def _find_nulls(self, frame: pl.DataFrame, bad: dict[int, tuple[Kind, str]]) -> None:
        for name in self._required:
            column = frame.get_column(name)
            if column.null_count():
                for index in column.is_null().arg_true().to_list():
                    bad.setdefault(index, ("null", f"column {name!r} is required, but has no value"))

    def _whole(self, rows: Sequence[Any]) -> _Columns | None:
        """The values column by column, if all rows are of one kind and none is odd."""
        kinds = set(map(type, rows))
        if len(kinds) != 1:
            return None
        kind = kinds.pop()
        if kind is dict:
            return [[row.get(name) for row in rows] for name in self._schema]
        if kind in {tuple, list}:
            width = len(self._columns)
            return (
                [[row[at] for row in rows] for at in range(width)] if set(map(len, rows)) == {width} else None
            )
        if is_dataclass(kind):
            declared = {field.name for field in fields(kind)}
            return [
                [getattr(row, name, None) for row in rows] if name in declared else [None] * len(rows)
                for name in self._schema
            ]
        return None

    def _row_by_row(self, rows: Sequence[Any]) -> tuple[_Columns, dict[int, tuple[Kind, str]]]:
        table: list[Sequence[Any]] = []
        bad: dict[int, tuple[Kind, str]] = {}
        nulls = (None,) * len(self._columns)
        for index, row in enumerate(rows):
            values: Sequence[Any] = nulls
            if isinstance(row, tuple | list):
                if len(row) == len(nulls):
                    values = row
                else:
                    bad[index] = ("columns", f"found {len(row)} values, expected {len(nulls)}")
            elif (record := record_value(row)) is not None:
                values = [record.get(column.name) for column in self._columns]
            else:
                bad[index] = (
                    "type",
                    f"found {describe(row)}, expected a dict, a dataclass, a tuple or a list",
                )
            table.append(values)
        return (list(zip(*table, strict=True)) if table else [()] * len(nulls)), bad
