"""Key groups: the stable hash of a key, and which dtypes a key may have.

The hash decides which task and which node owns a key, so it is the same in every process, on every machine and
in every version. Python's `hash` and Polars' `hash` promise none of that.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import polars as pl
import xxhash

from streame.core.xxh3 import Words, xxh3_of_words
from streame.errors import PlanError

KEY_GROUPS = 128
"""How many groups keys fall into: the unit in which keyed state moves, and the limit of parallelism."""

Hashes = npt.NDArray[np.uint64]

_NULL, _BOOLEAN, _INTEGER, _FLOAT, _DECIMAL, _DATE, _TIME, _DATETIME, _DURATION, _STRING, _BINARY = range(
    1, 12
)
_PER_SECOND = {"ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def check_key_dtypes(schema: pl.Schema, where: str) -> None:
    """Refuse key columns whose values have no stable hash.

    Args:
        schema: the key columns.
        where: the verb that needs the key, named in the error.

    Raises:
        PlanError: for lists, arrays, structs and Python objects.
    """
    for name, dtype in schema.items():
        if dtype.is_nested() or isinstance(dtype, pl.Object | pl.Unknown):
            raise PlanError(
                f"{where}: column {name!r} of dtype {dtype} cannot be a key; "
                "use its fields, or a text or number made from it"
            )


def key_group(hashes: Hashes) -> npt.NDArray[np.uint8]:
    """The key group of each hash."""
    return (hashes % np.uint64(KEY_GROUPS)).astype(np.uint8)


def stable_hash(keys: pl.DataFrame) -> Hashes:
    """The hash of each row, by the value of its key and not by how the value is stored.

    Equal are: integers of all widths; floats of all widths, with one NaN and one zero; decimals whatever their
    scale; timestamps of one moment whatever their unit and zone; texts as String, Categorical or Enum.

    Each column is hashed by XXH3 (64 bits) with a seed: the hash of the columns before it (0 before the first)
    plus a tag for the kind of value. A null is the empty value with a tag of its own.

    Args:
        keys: the key columns, in the order of the key.

    Returns:
        One hash per row.
    """
    hashes: Hashes = np.zeros(keys.height, np.uint64)
    for column in keys.get_columns():
        tag, values = _encode(column)
        seeds = hashes + np.uint64(tag)
        nulls = np.flatnonzero(column.is_null().to_numpy()) if column.null_count() else None
        if nulls is not None:
            seeds[nulls] = hashes[nulls] + np.uint64(_NULL)
        if not isinstance(values, np.ndarray):
            hashes = np.fromiter(
                map(xxhash.xxh3_64_intdigest, values, seeds.tolist()), np.uint64, len(column)
            )
            continue
        hashes = xxh3_of_words(values, seeds)
        if nulls is not None:
            kinds, which = np.unique(seeds[nulls], return_inverse=True)
            digests = [xxhash.xxh3_64_intdigest(b"", seed) for seed in kinds.tolist()]
            hashes[nulls] = np.array(digests, np.uint64)[which]
    return hashes


def _encode(column: pl.Series) -> tuple[int, Iterable[bytes] | Words]:
    """The tag of a column's kind of value, and each value as bytes; of a null, no bytes.

    Values that have eight bytes each come as words, in which those of nulls mean nothing.
    """
    dtype = column.dtype
    match dtype:
        case pl.String() | pl.Categorical() | pl.Enum():
            return _STRING, _bytes(column.cast(pl.String).cast(pl.Binary))
        case pl.Binary():
            return _BINARY, _bytes(column)
        case pl.Boolean():
            return _BOOLEAN, _words(column.cast(pl.Int64))
        case pl.Date():
            return _DATE, _words(column.to_physical().cast(pl.Int64))
        case pl.Time():
            return _TIME, _words(column.to_physical())
        case pl.Datetime() | pl.Duration():
            tag = _DATETIME if isinstance(dtype, pl.Datetime) else _DURATION
            return tag, _seconds_and_nanoseconds(column, _PER_SECOND[dtype.time_unit])
        case pl.Decimal():
            return _DECIMAL, _bytes(_without_trailing_zeros(column, dtype.scale).cast(pl.Binary))
        case pl.Null():
            return _NULL, [b""] * len(column)
    if dtype.is_float():
        return _FLOAT, _floats(column)
    assert dtype.is_integer(), dtype
    return _INTEGER, _integers(column)


def _bytes(column: pl.Series) -> list[bytes]:
    """The values of a Binary column."""
    values: list[bytes] = (column.fill_null(b"") if column.null_count() else column).to_list()
    return values


def _fixed(column: pl.Series, numbers: pl.Series) -> list[bytes]:
    """Eight little-endian bytes for each of `numbers`; none where `column` is null."""
    array = numbers.fill_null(0).to_numpy()
    values: list[bytes] = array.astype(array.dtype.newbyteorder("<")).view("V8").tolist()
    for row in column.is_null().arg_true() if column.null_count() else ():
        values[row] = b""
    return values


def _words(numbers: pl.Series) -> Words:
    """Eight-byte numbers as words."""
    filled = numbers.fill_null(0) if numbers.null_count() else numbers
    return filled.to_numpy().view(np.uint64)


def _floats(column: pl.Series) -> Words:
    """Double precision, with one zero and one NaN."""
    # Polars leaves out an addition of zero, which turns -0.0 into 0.0.
    numbers = column.cast(pl.Float64).fill_null(0).to_numpy() + 0.0
    numbers[np.isnan(numbers)] = np.nan
    return _words(pl.Series(numbers))


def _integers(column: pl.Series) -> Iterable[bytes] | Words:
    """Eight bytes for what fits into 64 bits with a sign, seventeen for the rest."""
    small = column.cast(pl.Int64, strict=False)
    if small.null_count() == column.null_count():
        return _words(small)
    values = _fixed(small, small)
    for row in (small.is_null() & column.is_not_null()).arg_true():
        values[row] = int(column[row]).to_bytes(17, "little", signed=True)
    return values


def _seconds_and_nanoseconds(column: pl.Series, per_second: int) -> Iterable[bytes]:
    """The seconds (rounded down) and the nanoseconds of the rest: every unit has both without overflow."""
    ticks = column.to_physical()
    seconds = ticks // per_second
    nanoseconds = (ticks - seconds * per_second) * (_PER_SECOND["ns"] // per_second)
    pairs = zip(_fixed(column, seconds), _fixed(column, nanoseconds), strict=True)
    return map(b"".join, pairs)


def _without_trailing_zeros(column: pl.Series, scale: int) -> pl.Series:
    """Decimals as text with no more digits than they need."""
    text = column.cast(pl.String)
    return text.str.strip_chars_end("0").str.strip_chars_end(".") if scale else text
