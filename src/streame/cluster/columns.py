"""The columns of a channel: what both sides must agree on, and as what dtypes they travel.

Texts of a category travel as texts: codes mean something only within one process, and a frame would have to carry all
categories that its process knows.
"""

from dataclasses import dataclass
from typing import Any

import msgspec
import polars as pl
import xxhash

from streame.core.hidden import BEHIND, HIDDEN, POSITION, WEIGHT
from streame.core.positions import POSITION_DTYPE
from streame.errors import PlanError

DEPTH_MAX = 64
"""How deep dtypes may be nested."""

HIDDEN_DTYPES: dict[str, Any] = {POSITION: POSITION_DTYPE, WEIGHT: pl.Int64(), BEHIND: pl.Int64()}
assert HIDDEN_DTYPES.keys() == set(HIDDEN)

_TEXT_MAX = 4_000

_PLAIN = (
    pl.Boolean, pl.String, pl.Binary, pl.Categorical, pl.Enum, pl.Null, pl.Decimal, pl.Date, pl.Time, pl.Datetime,
    pl.Duration, pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Int128, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64, pl.UInt128,
    pl.Float16, pl.Float32, pl.Float64,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ChannelColumns:
    """What the rows of a channel may have.

    Args:
        rows: the columns of ordinary rows.
        partial: those of rows that stand for several others; `None` if there are none.
    """

    rows: "Columns"
    partial: "Columns | None" = None

    @classmethod
    def of(cls, schema: pl.Schema, partial: pl.Schema | None, where: str) -> "ChannelColumns":
        """Columns that can travel.

        Raises:
            PlanError: when one of them cannot; says why.
        """
        return cls(Columns.of(schema, where), None if partial is None else Columns.of(partial, where))

    @property
    def digest(self) -> bytes:
        """Equal for equal columns only."""
        partial = b"" if self.partial is None else self.partial.digest
        return xxhash.xxh3_128_digest(self.rows.digest + partial)

    @property
    def text(self) -> str:
        """For an error message."""
        return self.rows.text if self.partial is None else f"{self.rows.text}; or {self.partial.text}"


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns that were looked at once, when their channel was opened.

    Args:
        schema: what they are.
        carried: the dtypes as which they travel.
    """

    schema: pl.Schema
    carried: pl.Schema

    @classmethod
    def of(cls, schema: pl.Schema, where: str) -> "Columns":
        """Columns that can travel.

        Args:
            schema: what they are.
            where: the channel, for the error.

        Raises:
            PlanError: when one of them cannot; says why.
        """
        for name, dtype in schema.items():
            if (found := _hindrance(dtype, 0)) is not None:
                raise PlanError(
                    f"{where}: column {name!r} of type {dtype} cannot go to another node, since it has {found}; "
                    "cast it to a type of plain values, or drop it before"
                )
        if any(dtype.is_nested() for dtype in schema.values()):
            # Users may have written a class within a type where Polars has an instance.
            schema = pl.DataFrame(schema=schema).schema
        return cls(schema, pl.Schema({name: _carried(dtype) for name, dtype in schema.items()}))

    @property
    def is_cast(self) -> bool:
        """Whether some travel as another dtype."""
        return self.schema != self.carried

    @property
    def digest(self) -> bytes:
        """Equal for equal columns only."""
        described = [(name, _described(dtype)) for name, dtype in self.schema.items()]
        return xxhash.xxh3_128_digest(msgspec.msgpack.encode(described))

    @property
    def text(self) -> str:
        """For an error message."""
        text = ", ".join(f"{name}: {dtype}" for name, dtype in self.schema.items())
        return text if len(text) <= _TEXT_MAX else f"{text[:_TEXT_MAX]} ..."


def _hindrance(dtype: Any, depth: int) -> str | None:
    if depth >= DEPTH_MAX:
        return f"more than {DEPTH_MAX} levels"
    dtype = dtype() if isinstance(dtype, type) else dtype
    match dtype:
        case pl.Object():
            return "Python objects"
        case pl.Array(inner=inner, size=size):
            return "arrays without elements" if size == 0 else _hindrance(inner, depth + 1)
        case pl.List(inner=inner):
            return _hindrance(inner, depth + 1)
        case pl.Struct(fields=fields):
            found = (_hindrance(field.dtype, depth + 1) for field in fields)
            return next((each for each in found if each is not None), None)
    return None if isinstance(dtype, _PLAIN) else "values of a type that is not known here"


def _carried(dtype: Any) -> Any:
    match dtype:
        case pl.Categorical() | pl.Enum():
            return pl.String()
        case pl.Array(inner=inner, size=size):
            return pl.Array(_carried(inner), size)
        case pl.List(inner=inner):
            return pl.List(_carried(inner))
        case pl.Struct(fields=fields):
            return pl.Struct({field.name: _carried(field.dtype) for field in fields})
    return dtype


def _described(dtype: Any) -> list[Any]:
    """All that makes a dtype another one, in plain values."""
    name = type(dtype).__name__
    match dtype:
        case pl.Datetime():
            return [name, dtype.time_unit, dtype.time_zone]
        case pl.Duration():
            return [name, dtype.time_unit]
        case pl.Decimal():
            return [name, dtype.precision, dtype.scale]
        case pl.Enum():
            return [name, dtype.categories.to_list()]
        case pl.Categorical():
            return [name, repr(dtype)]
        case pl.Array(inner=inner, size=size):
            return [name, size, _described(inner)]
        case pl.List(inner=inner):
            return [name, _described(inner)]
        case pl.Struct(fields=fields):
            return [name, [[field.name, _described(field.dtype)] for field in fields]]
    return [name]
