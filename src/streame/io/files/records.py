"""The records of one text file: its bytes are cut into blocks of whole records, which can be decoded apart."""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from operator import attrgetter

import polars as pl

from streame.core.messages import Offsets
from streame.io.files.limits import rows_per_chunk
from streame.io.formats.decoder import Decoded, Decoder
from streame.io.formats.records import RAW_BYTES_MAX, ROW_BYTES_MAX, oversized
from streame.io.source import Chunk

Block = Callable[[], list[Chunk]]
"""Some whole records: gives their rows when it is called, in whatever thread, once."""


class RecordCutter:
    """Cuts the bytes of one file, in whatever pieces they come, into blocks of whole records.

    A record longer than `ROW_BYTES_MAX` is refused without being held in memory: its beginning is kept for the
    dead letter, and the rest is passed over up to the next line end.

    Args:
        decoder: decodes whole records.
        schema: that of the rows.
        position: where the first byte stands in the file.
    """

    def __init__(self, decoder: Decoder, schema: pl.Schema, position: int) -> None:
        self._decoder = decoder
        self._schema = schema
        self._position = position
        self._pending = b""
        self._passed = 0

    def feed(self, data: bytes) -> Iterator[Block]:
        """The records that are whole now that `data` has come."""
        if self._passed:
            end = data.find(b"\n") + 1
            self._passed += end or len(data)
            if not end:
                return
            yield self._refused(line_end=1)
            data = data[end:]
        self._pending += data
        while whole := self._decoder.complete(self._pending):
            yield self._cut(whole)
        if len(self._pending) > ROW_BYTES_MAX + len(b"\r\n"):
            rest = self._pending[ROW_BYTES_MAX:]
            self._pending, self._passed = self._pending[:RAW_BYTES_MAX], ROW_BYTES_MAX
            yield from self.feed(rest)

    def finish(self) -> Iterator[Block]:
        """The last record, which has no line end, once it is known that nothing more comes."""
        if self._passed:
            yield self._refused(line_end=0)
        elif self._pending:
            yield self._cut(len(self._pending))

    def _cut(self, size: int) -> Block:
        block, self._pending = self._pending[:size], self._pending[size:]
        start, end = self._position, self._position + size
        self._position = end
        return lambda: list(_chunks(self._decoder.decode(block, start), end))

    def _refused(self, line_end: int) -> Block:
        bad = oversized(self._pending, self._passed - line_end, self._position)
        self._position += self._passed
        self._pending, self._passed = b"", 0
        chunk = Chunk(self._schema.to_frame(), self._position, rejected=(bad,))
        return lambda: [chunk]


def _chunks(decoded: Decoded, end: int) -> Iterator[Chunk]:
    """The rows of a block that ends at byte `end`, in pieces that are not too large."""
    step = rows_per_chunk(decoded.frame)
    if decoded.frame.height <= step:
        yield Chunk(decoded.frame, end, decoded.offsets, decoded.rejected)
        return
    offsets, rejected = decoded.offsets(), decoded.rejected
    refused = 0
    for first in range(0, decoded.frame.height, step):
        last = first + step
        next_offset = int(offsets[last]) if last < len(offsets) else end
        until = bisect_left(rejected, next_offset, key=attrgetter("offset"))
        positions = _constant(offsets[first:last])
        yield Chunk(decoded.frame[first:last], next_offset, positions, rejected[refused:until])
        refused = until


def _constant(offsets: Offsets) -> Callable[[], Offsets]:
    return lambda: offsets
