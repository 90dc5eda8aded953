"""CSV to frames: a whole block in one call, single records only where it fails."""

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import polars as pl

from streame.core.deadletters import BadRow
from streame.errors import DataError
from streame.io.formats.columns import check_schema
from streame.io.formats.csv_records import Dialect, any_records, regular_records
from streame.io.formats.decoder import Decoded
from streame.io.formats.records import (
    BYTE_ORDER_MARK,
    ROW_BYTES_MAX,
    Fault,
    Records,
    decoded,
    encoding_fault,
    size_faults,
    without,
)

_COMPRESSED = (b"x", b"\x1f", b"(", b"B")

_NO_RECORD: Fault = ("syntax", "a quoted field is not closed, or text follows its closing quote")

NullValues = str | Sequence[str] | Mapping[str, str]


def read_header(
    data: bytes, *, separator: str = ",", quote_char: str | None = '"', final: bool = False
) -> tuple[list[str], int] | None:
    """The column names at the beginning of a file, and how many bytes they take.

    Args:
        data: the first bytes of the file.
        separator: what stands between two fields, one ASCII character.
        quote_char: what stands around a field, one ASCII character; `None` if nothing does.
        final: whether the file ends with `data`.

    Returns:
        The names (of equal ones the later are renamed as Polars does) and the position of the first record;
        nothing while the header is not complete.

    Raises:
        DataError: when the header is no record or not UTF-8.
    """
    dialect = Dialect(separator, quote_char)
    start = len(BYTE_ORDER_MARK) if data.startswith(BYTE_ORDER_MARK) else 0
    body = data[start:] + b"\n" if final and not data.endswith(b"\n") else data[start:]
    whole = dialect.complete(body)
    first, end = 0, 0
    while end < whole and dialect.is_blank(body[first:end]):
        first, end = end, dialect.next_start(body, end)
    header = body[first:end].rstrip(b"\r\n")
    if not header:
        return ([], len(data)) if final else None
    fields = dialect.fields(header)
    if fields is None:
        raise DataError(f"the header is no CSV record: {header[:80]!r}")
    try:
        written = [dialect.text(field).decode() for field in fields]
    except UnicodeDecodeError as error:
        raise DataError(f"the header is not UTF-8: {header[:80]!r}") from error
    names: list[str] = []
    for name in written:
        copies = written[: len(names)].count(name)
        names.append(f"{name}_duplicated_{copies - 1}" if copies else name)
    return names, min(start + end, len(data))


class CsvDecoder:
    """Reads one row per CSV record (RFC 4180), without the header.

    An empty field is null, an empty field in quotes is empty text. Records with more or fewer fields than the
    header are refused. Columns that are not in the schema are ignored. Blank lines are skipped. A quote inside
    a field that does not begin with one is an ordinary character. A quoted field that is never closed, or has
    text behind its closing quote, costs the line on which its record begins; reading goes on at the next line.
    Spaces around numbers, booleans, dates and times are ignored; booleans are `true` and `false` in any case.

    Args:
        schema: columns and dtypes to give, in this order.
        header: the columns of the file in their order; those of `schema` where the file has no header.
        required: the columns that may not be null.
        separator: what stands between two fields, one ASCII character.
        quote_char: what stands around a field, one ASCII character; `None` if nothing does.
        null_values: texts that mean null, as in `polars.read_csv`.

    Raises:
        PlanError: when a dtype cannot be read from CSV, or an option is wrong.
        DataError: when the header lacks a column of the schema.
    """

    def __init__(
        self,
        schema: pl.Schema,
        header: Sequence[str],
        required: Collection[str] = (),
        *,
        separator: str = ",",
        quote_char: str | None = '"',
        null_values: NullValues | None = None,
    ) -> None:
        check_schema(schema, required, nested=False, where="CSV")
        missing = [name for name in schema if name not in header]
        if missing:
            raise DataError(f"the file has no column {missing}; it has {list(header)}")
        self._schema = schema
        self._required = frozenset(required)
        self._dialect = Dialect(separator, quote_char)
        self._width = len(header)
        self._read_as = dict.fromkeys(header, pl.String())
        self._columns = [list(header).index(name) for name in schema]
        self._null_values: NullValues | None = null_values

    def complete(self, data: bytes) -> int:
        """How many bytes from the start of `data` make whole records; a quoted field may hold newlines.

        A quoted field that is still open after `ROW_BYTES_MAX` bytes is taken to be an accident: its first
        line counts as a whole record, which `decode` refuses.
        """
        return self._dialect.complete(data)

    def decode(self, block: bytes, start: int) -> Decoded:
        """The rows of a block of whole records that begins at byte `start` of the split."""
        if start == 0 and block.startswith(BYTE_ORDER_MARK):
            block, start = block[len(BYTE_ORDER_MARK) :], len(BYTE_ORDER_MARK)
        if not block.endswith(b"\n"):
            block += b"\n"
        records = regular_records(block, start, self._dialect, self._width)
        if records is None or encoding_fault(block) or records.lengths().max() > ROW_BYTES_MAX:
            return self._decode_records(block, start)
        read = self._read(block)
        if self._width == 1 and read.to_series().str.strip_chars(" \t\r").fill_null("").eq("").any():
            return self._decode_records(block, start)
        return self._decoded(read, lambda: records, [])

    def _decode_records(self, block: bytes, start: int) -> Decoded:
        """The rows of a block in which a record is bad or blank, or has quotes that Polars misreads."""
        refused: list[BadRow] = []
        records, widths, quoted = any_records(block, start, self._dialect)
        faults: dict[int, Fault] = {}
        lines = records.texts()
        for row in quoted:
            fields = self._dialect.fields(records[row])
            if fields is None:
                faults[row] = _NO_RECORD
            else:
                widths[row] = len(fields)
                lines[row] = self._dialect.record(fields)
        for row in np.flatnonzero(widths != self._width).tolist():
            faults.setdefault(row, self._width_fault(int(widths[row])))
        if encoding_fault(block) is not None:
            faults |= {row: fault for row in range(len(records)) if (fault := encoding_fault(records[row]))}
        faults |= size_faults(records)
        lines = [line for row, line in enumerate(lines) if row not in faults]
        records = without(faults, records, refused)
        read = self._read(b"".join([line + b"\n" for line in lines]))
        return self._decoded(read, lambda: records, refused)

    def _width_fault(self, width: int) -> Fault:
        return "columns", f"the record has {width} fields and the header has {self._width}"

    def _read(self, block: bytes) -> pl.DataFrame:
        """The columns of the schema as text."""
        if not block:
            return pl.DataFrame(schema=dict.fromkeys(self._schema, pl.String()))
        quote_char = self._dialect.quote_char
        # Polars takes text that begins like compressed data ("x^" is zlib) for such; a record before it helps.
        guard = b"-" + self._dialect.separator.encode() * (self._width - 1) + b"\n"
        guarded = block[:1] in _COMPRESSED
        frame = pl.read_csv(
            guard + block if guarded else block,
            has_header=False,
            schema=self._read_as,
            columns=self._columns,
            separator=self._dialect.separator,
            quote_char=quote_char if quote_char is not None and quote_char.encode() in block else None,
            null_values=self._null_values,  # type: ignore[arg-type]
        )
        return frame.slice(1) if guarded else frame

    def _decoded(self, read: pl.DataFrame, records: Callable[[], Records], refused: list[BadRow]) -> Decoded:
        return decoded(read, records, {}, refused, schema=self._schema, required=self._required, shown=_shown)


def _shown(_record: bytes, _column: str, text: str) -> str:
    return repr(text)
