"""Records of text in a block of bytes: where they are, and what becomes of those that are refused."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.core.deadletters import BadRow, Kind
from streame.core.messages import Offsets
from streame.io.formats.columns import fit
from streame.io.formats.decoder import Decoded

ROW_BYTES_MAX = 8 * 1024 * 1024
"""The largest record that is read, in bytes without its line end."""

RAW_BYTES_MAX = 64 * 1024
"""How much of a record that is too large is kept in its dead letter."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

BLANK = b" \t\r\n"
"""A line of nothing else is no record: it is skipped, as Polars skips it in NDJSON."""

Fault = tuple[Kind, str]
"""Why a record is refused: the kind and the message."""

_SHOWN_MAX = 80


@dataclass(frozen=True, slots=True)
class Records:
    """Where the records of a block begin and end; a line end is not part of them.

    Args:
        block: the bytes.
        base: the position of the block's first byte in the split.
        starts: the index of each record's first byte in the block.
        ends: the index after each record's last byte.
    """

    block: bytes
    base: int
    starts: Offsets
    ends: Offsets

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, row: int) -> bytes:
        return self.block[self.starts[row] : self.ends[row]].removesuffix(b"\r")

    def texts(self) -> list[bytes]:
        """All records; a carriage return at the end is left on."""
        if len(self) and self.starts[0] == 0 and np.array_equal(self.starts[1:], self.ends[:-1] + 1):
            lines = self.block.split(b"\n")
            if len(lines) == len(self) + (not lines[-1]):
                return lines[: len(self)]
        ranges = zip(self.starts.tolist(), self.ends.tolist(), strict=True)
        return [self.block[start:end] for start, end in ranges]

    def joined(self) -> bytes:
        """All records with a line end between them; neighbours are copied together."""
        if not len(self):
            return b""
        gaps = np.flatnonzero(self.starts[1:] != self.ends[:-1] + 1)
        starts = self.starts[np.concatenate(([0], gaps + 1))].tolist()
        ends = self.ends[np.concatenate((gaps, [len(self) - 1]))].tolist()
        return b"\n".join([self.block[start:end] for start, end in zip(starts, ends, strict=True)])

    def first_bytes(self) -> npt.NDArray[np.uint8]:
        """The first byte of each record."""
        return np.frombuffer(self.block, np.uint8)[self.starts]

    def take(self, rows: npt.NDArray[np.integer | np.bool_] | slice) -> "Records":
        """Some of the records."""
        return Records(self.block, self.base, self.starts[rows], self.ends[rows])

    def lengths(self) -> Offsets:
        """The size of each record in bytes."""
        return self.ends - self.starts

    def offsets(self) -> Offsets:
        """The position of each record in the split."""
        return self.starts + self.base

    def refuse(self, row: int, fault: Fault) -> BadRow:
        """The dead letter of one record."""
        raw = self[row]
        return BadRow(
            self.base + int(self.starts[row]), *fault, raw[:RAW_BYTES_MAX] if fault[0] == "size" else raw
        )


def line_records(block: bytes, base: int) -> Records:
    """One record for each line of a block that is not blank."""
    data = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(data == ord("\n"))
    if block and not block.endswith(b"\n"):
        ends = np.append(ends, len(block))
    starts = np.concatenate((np.zeros(1, np.int64), ends + 1))[: len(ends)]
    lines = Records(block, base, starts, ends)
    keep = starts < ends
    for row in np.flatnonzero(keep & (data[np.minimum(starts, len(data) - 1)] <= ord(" "))).tolist():
        keep[row] = bool(block[starts[row] : ends[row]].strip(BLANK))
    return lines if keep.all() else lines.take(keep)


def line_count(block: bytes) -> int:
    """How many lines a block has, blank ones too."""
    # Counting with numpy is eight times faster than `bytes.count`.
    ends = int(np.count_nonzero(np.frombuffer(block, np.uint8) == ord("\n")))
    return ends + (block[-1:] not in {b"", b"\n"})


def oversized(first_bytes: bytes, length: int, offset: int) -> BadRow:
    """The dead letter of a record that is larger than a record may be.

    Args:
        first_bytes: how it begins, at least `RAW_BYTES_MAX` bytes if it has them.
        length: its true length in bytes.
        offset: the position of its first byte in the split.
    """
    return BadRow(offset, *_size_fault(length), first_bytes[:RAW_BYTES_MAX])


def size_faults(records: Records) -> dict[int, Fault]:
    """The records that are larger than a record may be."""
    lengths = records.lengths()
    return {row: _size_fault(int(lengths[row])) for row in np.flatnonzero(lengths > ROW_BYTES_MAX).tolist()}


def _size_fault(length: int) -> Fault:
    kept = min(length, RAW_BYTES_MAX)
    limit = f"at most {ROW_BYTES_MAX:,} are read; only the first {kept:,} are kept here"
    return "size", f"the record has {length:,} bytes and {limit}"


def without(faults: dict[int, Fault], records: Records, refused: list[BadRow]) -> Records:
    """The records that have no fault; the others go to `refused`."""
    if not faults:
        return records
    refused += [records.refuse(row, fault) for row, fault in faults.items()]
    keep = np.ones(len(records), np.bool_)
    keep[list(faults)] = False
    return records.take(keep)


def shortened(text: str) -> str:
    """A text as it can stand in a message."""
    return text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 1] + "…"


def encoding_fault(record: bytes) -> Fault | None:
    """The fault of a record that is not UTF-8."""
    try:
        record.decode()
    except UnicodeDecodeError as error:
        return "encoding", f"byte {error.start} of the record, 0x{record[error.start]:02x}, is not UTF-8"
    return None


def decoded(
    read: pl.DataFrame,
    records: Callable[[], Records],
    faults: dict[int, Fault],
    refused: list[BadRow],
    *,
    schema: pl.Schema,
    required: Collection[str],
    shown: Callable[[bytes, str, str], str],
) -> Decoded:
    """What a decoder hands over, from the columns that it has read.

    Args:
        read: the columns of `schema`, some of them still as text or in a wider dtype.
        records: gives the record of each row of `read`; asked only when a row is refused.
        faults: the rows of `read` that are refused already.
        refused: the records that are no row of `read`.
        schema: the columns and dtypes to give.
        required: the columns that may not be null.
        shown: how a value stands in a message, from its record, its column and its text.
    """
    columns = []
    for name, dtype in schema.items():
        column = read[name]
        value = fit(column, dtype)
        columns.append(value)
        if value.null_count() > column.null_count():
            for row in (value.is_null() & column.is_not_null()).arg_true().to_list():
                if row not in faults:
                    faults[row] = type_fault(name, shown(records()[row], name, str(column[row])), dtype)
        if name in required and column.null_count():
            for row in column.is_null().arg_true().to_list():
                faults.setdefault(row, ("null", f"column {name!r} is required and has no value"))
    frame = pl.DataFrame(columns)
    place = without(faults, records(), refused) if faults else None
    refused.sort(key=lambda row: row.offset or 0)
    if place is None:
        return Decoded(frame, lambda: records().offsets(), refused)
    keep = np.ones(frame.height, np.bool_)
    keep[list(faults)] = False
    return Decoded(frame.filter(keep), place.offsets, refused)


def type_fault(column: str, value: str, dtype: pl.DataType) -> Fault:
    """The fault of a value that does not fit its dtype."""
    return "type", f"column {column!r}: {shortened(value)} is no {dtype}"
