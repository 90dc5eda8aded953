"""Chunks as bytes, for the log of a source that cannot be read again."""

import io
from collections.abc import Sequence
from typing import Any, cast

import msgspec
import numpy as np
import polars as pl

from streame.core.deadletters import BadRow, Kind
from streame.errors import PlanChanged
from streame.io.source import Chunk, Offset


class LoggedChunk(msgspec.Struct, array_like=True, frozen=True):
    """One record of the log.

    Args:
        split: where the rows are from.
        next_offset: that of the source.
        frame: the rows as an Arrow IPC stream; `None` says that the split has ended.
        offsets: the position of each row, if they have one.
        rejected: the bad rows.
    """

    split: str
    next_offset: Any
    frame: bytes | None
    offsets: bytes | None = None
    rejected: Sequence[tuple[int | None, str, str, bytes]] = ()

    def chunk(self, schema: pl.Schema, next_offset: Offset) -> Chunk:
        """The chunk that was logged.

        Args:
            schema: the columns that the source has now.
            next_offset: what reading goes on with.

        Raises:
            PlanChanged: when the rows do not have these columns.
        """
        if self.frame is None:
            return Chunk(schema.to_frame(), next_offset)
        frame = pl.read_ipc_stream(self.frame)
        found = frame.schema
        wrong = [
            f"{name!r} is {found.get(name, 'missing')}, but the source now says {dtype}"
            for name, dtype in schema.items()
            if found.get(name) != dtype
        ]
        if wrong:
            raise PlanChanged(
                f"rows that were accepted and not processed yet have other columns: {'; '.join(wrong)}. Let the "
                "program as it was process them, and change the schema then"
            )
        offsets = None if self.offsets is None else np.frombuffer(self.offsets, np.int64)
        return Chunk(
            frame.select(schema.names()),
            next_offset,
            None if offsets is None else lambda: offsets,
            [BadRow(offset, cast(Kind, kind), message, raw) for offset, kind, message, raw in self.rejected],
        )


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(LoggedChunk)


def encoded(split: str, chunk: Chunk) -> bytes:
    """A chunk as bytes."""
    stream = io.BytesIO()
    chunk.frame.write_ipc_stream(stream)
    offsets = None if chunk.offsets is None else chunk.offsets().astype("<i8").tobytes()
    rejected = [
        # A source of one's own may count with numpy, and quote what is no text.
        (None if row.offset is None else int(row.offset), row.kind, _utf8(row.message), row.raw)
        for row in chunk.rejected
    ]
    return _ENCODER.encode(LoggedChunk(split, chunk.next_offset, stream.getvalue(), offsets, rejected))


def encoded_end(split: str, next_offset: Offset) -> bytes:
    """The end of a split as bytes."""
    return _ENCODER.encode(LoggedChunk(split, next_offset, None))


def decoded(payload: bytes) -> LoggedChunk:
    """What `encoded` and `encoded_end` have made."""
    return _DECODER.decode(payload)


def _utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
