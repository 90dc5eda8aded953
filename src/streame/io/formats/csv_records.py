"""Where CSV records and their fields begin and end; newlines in quoted fields belong to them."""

import re

import numpy as np
import numpy.typing as npt

from streame.core.messages import Offsets
from streame.errors import PlanError
from streame.io.formats.records import BLANK, ROW_BYTES_MAX, Records

_NEWLINE, _RETURN, _SPACE = b"\n\r "

Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


class Dialect:
    """How fields are separated and quoted.

    Args:
        separator: what stands between two fields, one ASCII character.
        quote_char: what stands around a field, one ASCII character; `None` if nothing does.

    Raises:
        PlanError: when one of them is not one ASCII character, or they are the same.
    """

    def __init__(self, separator: str = ",", quote_char: str | None = '"') -> None:
        for option, value in (("separator", separator), ("quote_char", quote_char)):
            if value is not None and not (len(value) == 1 and value.isascii() and value not in "\r\n"):
                raise PlanError(f"CSV: {option} must be one ASCII character and no line end, not {value!r}")
        if separator == quote_char:
            raise PlanError(f"CSV: separator and quote_char are both {separator!r}")
        self.separator = separator
        self.quote_char = quote_char
        self._sep = separator.encode()
        self._quote = (quote_char or "").encode()
        self._blank = bytes(set(BLANK) - set(self._sep))
        if quote_char is not None:
            self._compile()

    def _compile(self) -> None:
        sep, quote = re.escape(self._sep), re.escape(self._quote)
        open_field = rb"%b(?:[^%b]++|%b%b)*+" % (quote, quote, quote, quote)
        field = rb"(?>%b%b(?=%b|\r?\n)|[^%b%b\n][^%b\n]*+|)" % (open_field, quote, sep, quote, sep, sep)
        self._record = re.compile(rb"%b(?:%b%b)*+\r?\n" % (field, sep, field))
        self._unfinished = re.compile(
            rb"(?:%b%b)*+(?:%b(?:%b\r?)?|[^%b\n][^%b\n]*+|)\Z" % (field, sep, open_field, quote, quote, sep)
        )
        self._field = re.compile(rb"(%b)%b" % (field, sep))

    def complete(self, data: bytes) -> int:
        """How many bytes from the start of `data` make whole records."""
        if not self._quote or self._quote not in data:
            return data.rfind(b"\n") + 1
        quotes = np.flatnonzero(np.frombuffer(data, np.uint8) == self._quote[0])
        if self._regular(np.frombuffer(data, np.uint8), quotes):
            end = data.rfind(b"\n")
            while end >= 0 and (opened := int(np.searchsorted(quotes, end))) % 2:
                end = data.rfind(b"\n", 0, int(quotes[opened - 1]))
            done = end + 1
        else:
            done = self._scan(data)
        if done == 0 and len(data) > ROW_BYTES_MAX:
            return data.find(b"\n", 0, ROW_BYTES_MAX + 2) + 1
        return done

    def is_blank(self, record: bytes) -> bool:
        """Whether a line has nothing but white space that is no separator."""
        return not record.strip(self._blank)

    def next_start(self, block: bytes, start: int) -> int:
        """Where the record after the one at `start` begins."""
        if self._quote:
            match = self._record.match(block, start)
            if match is not None:
                return match.end()
        return block.index(b"\n", start) + 1

    def fields(self, record: bytes) -> list[bytes] | None:
        """The fields of a record as they are written, or nothing if it is no record."""
        if not self._quote or self._quote not in record:
            return record.split(self._sep)
        if self._record.fullmatch(record + b"\n") is None:
            return None
        return self._field.findall(record + self._sep)

    def text(self, field: bytes) -> bytes:
        """What a field says: without the quotes around it."""
        if self._quote and field.startswith(self._quote):
            return field[1:-1].replace(self._quote * 2, self._quote)
        return field

    def record(self, fields: list[bytes]) -> bytes:
        """A record of these fields in which a quote is never an ordinary character."""
        return self._sep.join(self._quoted(field) for field in fields)

    def _quoted(self, field: bytes) -> bytes:
        if not self._quote or self._quote not in field or field.startswith(self._quote):
            return field
        return self._quote + field.replace(self._quote, self._quote * 2) + self._quote

    def _scan(self, data: bytes) -> int:
        """The end of the last record, found one by one."""
        start, end = 0, 0
        while start >= 0:
            end = start
            match = self._record.match(data, start)
            if match is not None:
                start = match.end()
            elif self._unfinished.match(data, start):
                break
            else:
                start = data.find(b"\n", start) + 1 or -1
        return end

    def _regular(self, data: Bytes, quotes: Offsets) -> bool:
        """Whether quotes stand only around whole fields, or twice within them; the last may be open."""
        opening, closing = quotes[0::2], quotes[1::2]
        before = data[np.maximum(opening - 1, 0)]
        after = data[np.minimum(closing + 1, len(data) - 1)]
        behind = data[np.minimum(closing + 2, len(data) - 1)]
        sep, quote = self._sep[0], self._quote[0]
        opens = (opening == 0) | (before == sep) | (before == _NEWLINE) | (before == quote)
        closes = (after == sep) | (after == _NEWLINE) | (after == quote)
        closes |= (after == _RETURN) & (behind == _NEWLINE)
        return bool(opens.all() and (closes | (closing == len(data) - 1)).all())

    def all_marks(self, data: Bytes) -> Mask:
        """Which bytes are separators or line ends, in a quoted field or not."""
        marks: Mask = (data == self._sep[0]) | (data == _NEWLINE)
        return marks

    def marks(self, block: bytes) -> Mask | None:
        """Which bytes end a field; nothing if quotes are irregular or there is one open."""
        data = np.frombuffer(block, np.uint8)
        if not self._quote or self._quote not in block:
            return self.all_marks(data)
        is_quote = data == self._quote[0]
        quotes = np.flatnonzero(is_quote)
        if len(quotes) % 2 or not self._regular(data, quotes):
            return None
        return self.all_marks(data) & ~np.bitwise_xor.accumulate(is_quote)

    def joined(self, block: bytes, ends: Offsets, widths: Offsets) -> tuple[Offsets, Offsets]:
        """The ends and widths of records, from those of lines; a width is 0 where the record holds a quote."""
        keep = np.ones(len(ends), np.bool_)
        widths = widths.copy()
        quote = block.find(self._quote)
        while quote >= 0:
            line = int(np.searchsorted(ends, quote))
            start = int(ends[line - 1]) + 1 if line else 0
            last = int(np.searchsorted(ends, self.next_start(block, start) - 1))
            keep[line:last] = False
            widths[last] = 0
            quote = block.find(self._quote, int(ends[last]))
        return ends[keep], widths[keep]


def regular_records(block: bytes, base: int, dialect: Dialect, width: int) -> Records | None:
    """The records of a block, if each has `width` fields and its quotes are regular.

    Args:
        block: bytes that end with a line end.
        base: the position of the block's first byte in the split.
        dialect: how fields are separated and quoted.
        width: how many fields a record is to have; blank lines are not seen if it is one.
    """
    data = np.frombuffer(block, np.uint8)
    is_mark = dialect.marks(block)
    if is_mark is None:
        return None
    marks = np.flatnonzero(is_mark)
    ends = marks[width - 1 :: width]
    is_end = data[marks] == _NEWLINE
    if (
        len(ends) * width != len(marks)
        or np.count_nonzero(is_end) != len(ends)
        or not is_end[width - 1 :: width].all()
    ):
        return None
    return Records(block, base, np.concatenate((np.zeros(1, np.int64), ends[:-1] + 1)), ends)


def any_records(block: bytes, base: int, dialect: Dialect) -> tuple[Records, Offsets, list[int]]:
    """The records of a block that are not blank, how many fields each has, and those with irregular quotes.

    Args:
        block: bytes that end with a line end. What is no record in it is given line by line.
        base: the position of the block's first byte in the split.
        dialect: how fields are separated and quoted.
    """
    data = np.frombuffer(block, np.uint8)
    is_mark = dialect.marks(block)
    regular = is_mark is not None
    if is_mark is None:
        is_mark = dialect.all_marks(data)
    marks = np.flatnonzero(is_mark)
    at_end = np.flatnonzero(data[marks] == _NEWLINE)
    ends = marks[at_end]
    widths = np.diff(at_end, prepend=-1)
    if not regular:
        ends, widths = dialect.joined(block, ends, widths)
    records = Records(block, base, np.concatenate((np.zeros(1, np.int64), ends[:-1] + 1)), ends)
    keep = np.ones(len(records), np.bool_)
    for row in np.flatnonzero((widths == 1) & (data[records.starts] <= _SPACE)).tolist():
        keep[row] = not dialect.is_blank(records[row])
    if not keep.all():
        records, widths = records.take(keep), widths[keep]
    return records, widths, np.flatnonzero(widths == 0).tolist()
