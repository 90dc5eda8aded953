"""The bytes of Arrow arrays, checked before Polars reads them, so that safety does not depend on what its reader checks.

Every array must have the length that its column or its parent says, every buffer must lie within the body and behind the
one before it, offsets must rise and stay within what they point to, and texts must be UTF-8 at every offset. What was
checked can be read without touching memory that is not there, and takes about as much memory as the frame.

The reader of Polars 2.1 refuses wrong offsets, texts and codes too, though it promises that nowhere. But it takes buffers that
overlap, of which 0.6 MB become a gigabyte, and arrays without buffers of any length.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.cluster.frames import BODY_BYTES_MAX, FrameRefused
from streame.cluster.narrowing import Kind
from streame.cluster.record_batch import RecordBatch

_ALIGNMENT = 8
_DAY_NS = 86_400_000_000_000

_ELEMENTS_MAX = 8 * BODY_BYTES_MAX
"""How many elements lists have at most. Only lists of nulls, which take no bytes, come near it."""

_WIDTHS: dict[Any, int] = {
    pl.Int8: 1, pl.UInt8: 1, pl.Int16: 2, pl.UInt16: 2, pl.Float16: 2, pl.Int32: 4, pl.UInt32: 4, pl.Float32: 4,
    pl.Date: 4, pl.Int64: 8, pl.UInt64: 8, pl.Float64: 8, pl.Datetime: 8, pl.Duration: 8, pl.Time: 8, pl.Int128: 16,
    pl.UInt128: 16, pl.Decimal: 16,
}  # fmt: skip

_NUMBERS = (pl.Int64, pl.UInt64, pl.Datetime, pl.Duration, pl.Time)
"""The dtypes of whole numbers with 64 bits."""

Offsets = npt.NDArray[np.int64]


def shape_of(schema: pl.Schema) -> tuple[int, list[Kind]]:
    """How many arrays some columns have, and what lies in each of their buffers."""
    nodes, buffers = 0, []
    for dtype in schema.dtypes():
        more_nodes, more_buffers = _shape(dtype)
        nodes += more_nodes
        buffers += more_buffers
    return nodes, buffers


def check_arrays(batch: RecordBatch, carried: pl.Schema, rows: int) -> None:
    """Refuse a record batch that Polars could not read safely.

    Args:
        batch: what its metadata says.
        carried: the dtypes of its columns; no categories.
        rows: how many rows the frame says that it has.

    Raises:
        FrameRefused: names the column and what is wrong with it.
    """
    if batch.rows != rows:
        raise FrameRefused(f"a frame of {rows:,} rows has a record batch of {batch.rows:,}")
    check = _Check(batch)
    for name, dtype in carried.items():
        try:
            check.array(dtype, rows)
        except FrameRefused as refused:
            refused.add_note(f"in column {name!r}")
            raise


class _Check:
    """Goes through the arrays in the order in which they lie."""

    def __init__(self, batch: RecordBatch) -> None:
        self._nodes = iter(batch.nodes)
        self._buffers = iter(_placed(batch))

    def array(self, dtype: Any, length: int) -> None:
        """Check the next array and its children."""
        found, nulls = next(self._nodes)
        if found != length:
            raise FrameRefused(f"an array has {found:,} values where there must be {length:,}")
        if not 0 <= nulls <= length:
            raise FrameRefused(f"an array of {length:,} values says that {nulls:,} are null")
        if dtype == pl.Null:
            return
        valid = self._validity(length, nulls)
        match dtype:
            case pl.Boolean():
                self._fixed(-(-length // 8))
            case pl.String() | pl.Binary():
                self._texts(length, is_text=isinstance(dtype, pl.String))
            case pl.List(inner=inner):
                self.array(inner, self._children(length))
            case pl.Array(inner=inner, size=size):
                self.array(inner, length * size)
            case pl.Struct(fields=fields):
                for field in fields:
                    self.array(field.dtype, length)
            case pl.Time():
                self._times(self._fixed(8 * length), valid)
            case _:
                self._fixed(_WIDTHS[type(dtype)] * length)

    def _validity(self, length: int, nulls: int) -> memoryview | None:
        buffer = next(self._buffers)
        if not nulls and not len(buffer):
            return None
        bits = _sized(buffer, -(-length // 8))
        array = np.frombuffer(bits, np.uint8)
        ones = int(np.bitwise_count(array).sum())
        if length % 8:
            ones -= int(array[-1] >> (length % 8)).bit_count()
        if ones != length - nulls:
            raise FrameRefused(
                f"an array says that {nulls:,} of {length:,} values are null, but {length - ones:,} are"
            )
        return bits

    def _fixed(self, size: int) -> memoryview:
        return _sized(next(self._buffers), size)

    def _offsets(self, length: int) -> Offsets:
        buffer = next(self._buffers)
        if not length and not len(buffer):
            return np.zeros(1, np.int64)
        offsets = np.frombuffer(_sized(buffer, 8 * (length + 1)), np.int64)
        if offsets[0] < 0 or (offsets[1:] < offsets[:-1]).any():
            raise FrameRefused("offsets do not rise")
        return offsets

    def _texts(self, length: int, *, is_text: bool) -> None:
        offsets = self._offsets(length)
        values = next(self._buffers)
        start, end = int(offsets[0]), int(offsets[-1])
        if end > len(values):
            raise FrameRefused(f"an offset of {end:,} points beyond {len(values):,} bytes")
        if not is_text:
            return
        used = values[start:end]
        try:
            text = str(used, "utf-8")
        except UnicodeDecodeError as error:
            raise FrameRefused(f"a text is not UTF-8: {error.reason} at byte {error.start:,}") from None
        if len(text) == len(used):  # ASCII: a text may begin anywhere
            return
        inner = offsets[offsets < end] - start
        if ((np.frombuffer(used, np.uint8)[inner] & 0xC0) == 0x80).any():
            raise FrameRefused("a text begins within a character")

    def _children(self, length: int) -> int:
        """The length of the child of lists: where the last of them ends."""
        end = int(self._offsets(length)[-1])
        if end > _ELEMENTS_MAX:
            raise FrameRefused(f"lists have {end:,} elements, more than a body has bits")
        return end

    @staticmethod
    def _times(values: memoryview, valid: memoryview | None) -> None:
        times = np.frombuffer(values, np.int64)
        wrong = (times < 0) | (times >= _DAY_NS)
        if valid is not None and wrong.any():
            bits = np.unpackbits(np.frombuffer(valid, np.uint8), count=len(times), bitorder="little")
            wrong &= bits.astype(np.bool_)
        if wrong.any():
            raise FrameRefused("a time of day is less than nothing, or a day or more")


def _shape(dtype: Any) -> tuple[int, list[Kind]]:
    match dtype:
        case pl.Null():
            return 1, []
        case pl.String() | pl.Binary():
            return 1, [Kind.BYTES, Kind.RISING, Kind.BYTES]
        case pl.Array(inner=inner):
            own, children = [Kind.BYTES], [inner]
        case pl.List(inner=inner):
            own, children = [Kind.BYTES, Kind.RISING], [inner]
        case pl.Struct(fields=fields):
            own, children = [Kind.BYTES], [field.dtype for field in fields]
        case _:
            return 1, [Kind.BYTES, Kind.NEAR if isinstance(dtype, _NUMBERS) else Kind.BYTES]
    below = [_shape(child) for child in children]
    return 1 + sum(nodes for nodes, _ in below), own + [kind for _, kinds in below for kind in kinds]


def _placed(batch: RecordBatch) -> Iterator[memoryview]:
    """The bytes of each buffer. None overlaps another: else a small frame could say that it has a lot of rows."""
    behind = 0
    for offset, length in batch.buffers:
        if length < 0 or offset < behind or offset % _ALIGNMENT or offset + length > len(batch.body):
            raise FrameRefused(
                f"a buffer of {length:,} bytes at {offset:,} does not lie between {behind:,} and the end at {len(batch.body):,}"
            )
        behind = offset + length
        yield batch.body[offset:behind]


def _sized(buffer: memoryview, size: int) -> memoryview:
    """A buffer that must have so many bytes."""
    if len(buffer) != size:
        raise FrameRefused(f"a buffer has {len(buffer):,} bytes where there must be {size:,}")
    return buffer
