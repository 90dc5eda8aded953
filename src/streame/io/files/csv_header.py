"""CSV with a header: the first record of a file says which column is where."""

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

from streame.errors import DataError
from streame.io.formats.csv import CsvDecoder
from streame.io.formats.decoder import Decoded
from streame.io.formats.records import ROW_BYTES_MAX

Header = tuple[list[str], int]
"""The names of the columns, and where the first record after them begins."""

ReadHeader = Callable[..., Header | None]
"""`read_header` for one dialect: takes the first bytes of a file, and whether there are no more (`final`)."""


class HeaderedCsvDecoder:
    """Decodes one CSV file by the names in its header.

    Args:
        schema: the columns to give.
        read_header: finds the header in the first bytes.
        decoder_of: makes the decoder for the columns that the file has.
        head: the file's first bytes with the whole header, where reading begins after it.

    Raises:
        DataError: when the header is wrong or lacks a column.
    """

    def __init__(
        self,
        schema: pl.Schema,
        read_header: ReadHeader,
        decoder_of: Callable[[Sequence[str]], CsvDecoder],
        head: bytes | None,
    ) -> None:
        self._schema = schema
        self._read_header = read_header
        self._decoder_of = decoder_of
        self._decoder: CsvDecoder | None = None
        self._first = 0
        if head is not None:
            self._begin(head, final=True)

    def complete(self, data: bytes) -> int:
        """How many bytes from the start of `data` make whole records, the header being one of them."""
        if self._decoder is not None:
            return self._decoder.complete(data)
        decoder = self._begin(data, final=False)
        return self._first + decoder.complete(data[self._first :]) if decoder is not None else 0

    def decode(self, block: bytes, start: int) -> Decoded:
        """The rows of a block of whole records; the header is none."""
        decoder = self._decoder or self._begin(block, final=True)
        head = max(0, min(self._first - start, len(block)))
        if decoder is None or head == len(block):
            return Decoded(self._schema.to_frame(), lambda: np.empty(0, np.int64))
        return decoder.decode(block[head:], start + head)

    def _begin(self, data: bytes, *, final: bool) -> CsvDecoder | None:
        found = self._read_header(data, final=final)
        if found is None and len(data) > ROW_BYTES_MAX:
            raise DataError(f"the header is longer than {ROW_BYTES_MAX:,} bytes")
        if found is not None and found[0]:
            names, self._first = found
            self._decoder = self._decoder_of(names)
        return self._decoder
