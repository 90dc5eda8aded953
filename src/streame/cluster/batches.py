"""Batches as the bodies of frames: rows as Arrow, cut so that every piece fits, and their positions.

What is the same for all batches of a channel, the Arrow message that tells the columns, is not sent: the other side makes
it itself.
"""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import polars as pl
from polars.exceptions import PanicException, PolarsError

from streame.cluster.arrow_check import check_arrays, shape_of
from streame.cluster.columns import HIDDEN_DTYPES, Columns
from streame.cluster.flow import charge
from streame.cluster.frames import (
    BODY_BYTES_MAX,
    Attempt,
    Bytes,
    Data,
    FrameRefused,
    More,
    pack,
)
from streame.cluster.narrowing import Kind, Run, narrowed, widened
from streame.cluster.record_batch import RecordBatch, read_record_batch
from streame.core.hidden import HIDDEN
from streame.core.messages import BATCH_ROWS_MAX, Batch, Offsets, Positions
from streame.errors import DataError

PIECE_BYTES = 4 * 1024 * 1024
"""A batch of more than one row and more bytes than this is cut."""

ROW_BYTES_MAX = BODY_BYTES_MAX - 1024 * 1024
"""A row of more bytes is refused. One that does not fit into a frame takes several."""

_IN_ONE_BYTES = 8 * 1024 * 1024
"""So much of a body goes into one frame: on a slow network the peer must hear something in between."""

NARROWED_ROWS = 16_384
"""Frames of fewer rows are not made narrower: it takes longer than their bytes."""

_LENGTHS = struct.Struct("<II")
_END = b"\xff\xff\xff\xff\0\0\0\0"

_Hidden = tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class _Layout:
    """The columns of batches with some hidden ones.

    Args:
        columns: all, in order.
        start: the Arrow message that tells them.
        nodes: how many arrays they have.
        buffers: what lies in each of their buffers.
        is_cast: whether some travel as another dtype.
    """

    columns: Columns
    start: bytes
    nodes: int
    buffers: list[Kind]
    is_cast: bool

    @classmethod
    def of(cls, columns: Columns) -> "_Layout":
        start, _ = _split(_arrow(pl.DataFrame(schema=columns.carried)))
        return cls(columns, start, *shape_of(columns.carried), columns.is_cast)

    def rows_of(self, message: memoryview) -> RecordBatch:
        """The metadata of an Arrow message of rows.

        Raises:
            FrameRefused: when it is none with these columns.
        """
        return read_record_batch(message, self.nodes, len(self.buffers))

    def numbers_in(self, message: memoryview) -> list[Run]:
        """Where the numbers of 64 bits lie in an Arrow message of rows that was made here."""
        batch = self.rows_of(message)
        start = len(message) - len(batch.body)
        return [
            Run(start + offset, size, kind)
            for (offset, size), kind in zip(batch.buffers, self.buffers, strict=True)
            if kind is not Kind.BYTES
        ]


@dataclass(slots=True)
class BatchCodec:
    """Makes bodies of the batches of one channel, or batches of its bodies.

    Args:
        columns: those of the channel, without hidden ones.
        name: of the channel, for errors.
        row_bytes_max: a row of more bytes is refused.
        partial: those of rows that stand for several others, on a channel that has both.
    """

    columns: Columns
    name: str
    row_bytes_max: int = ROW_BYTES_MAX
    partial: Columns | None = None
    _layouts: dict[tuple[bool, _Hidden], _Layout] = field(default_factory=dict)
    _compared: set[tuple[bool, _Hidden]] = field(default_factory=set)

    def encode(self, batch: Batch, attempt: Attempt, channel: int, seq: int) -> Iterator[tuple[bytes, int]]:
        """Frames with the rows of a batch, each with the next number, and what it takes of the credit.

        Args:
            batch: some rows, or none.
            attempt: of the frames.
            channel: the number of the channel.
            seq: the number of the first frame.

        Raises:
            DataError: when a row is too large; the pieces before it were given.
        """
        frame, is_partial = self._in_order(batch.frame)
        hidden = tuple((at, name) for at, name in enumerate(frame.columns) if name in HIDDEN)
        layout = self._layout(hidden, is_partial=is_partial)
        if (
            is_partial,
            hidden,
        ) not in self._compared:  # once: an operator that gives other dtypes gives them always
            assert frame.schema == layout.columns.schema, (self.name, frame.schema, layout.columns.schema)
            self._compared.add((is_partial, hidden))
        offsets = batch.positions.offsets() if batch.positions is not None else None
        assert offsets is None or len(offsets) == frame.height, (self.name, frame.height)
        source = (batch.positions.source, batch.positions.split) if batch.positions is not None else None
        for start, rows, body in self._pieces(frame, layout, 0):
            even = None
            parts = [(body, layout.numbers_in(body) if rows >= NARROWED_ROWS and len(body) else [])]
            if offsets is not None:
                part = np.ascontiguousarray(offsets[start : start + rows], np.int64)
                even = _even(part)
                if even is None:
                    parts.append((part.data.cast("B"), [Run(0, part.nbytes, Kind.RISING)]))
            size = sum(len(each) for each, _ in parts)
            head = Data(attempt, channel, seq, rows, size, hidden, batch.split, source, even, is_partial)
            for packed in _packed(head, narrowed(parts) if size else []):
                yield packed
                seq += 1

    def decode(self, data: Data, body: memoryview) -> Batch:
        """The batch of a frame.

        Raises:
            FrameRefused: when the body is not what `encode` gives for these columns.
        """
        pieces = widened(body, data.bytes) if len(body) or data.bytes else []
        positions: Bytes = b""
        if data.source is not None and data.even is None and data.rows:
            positions = pieces.pop() if pieces else b""
            if len(positions) != 8 * data.rows:
                raise FrameRefused(f"{data.rows:,} positions have {len(positions):,} bytes")
        frame = self._rows(data, pieces)
        if data.source is None:
            return Batch(frame, None, data.split)
        offsets = _offsets(data, positions)
        return Batch(frame, Positions(*data.source, lambda: offsets), data.split)

    def _rows(self, data: Data, arrow: list[Bytes]) -> pl.DataFrame:
        if data.is_partial and self.partial is None:
            raise FrameRefused("rows that stand for several came on a channel that has none")
        layout = self._layout(data.hidden, is_partial=data.is_partial)
        schema = layout.columns.schema
        if not data.rows or not schema:
            if arrow:
                raise FrameRefused(
                    f"{data.rows} rows of {len(schema)} columns have a body of {data.bytes:,} bytes"
                )
            return (
                pl.DataFrame(schema=schema, height=data.rows) if not schema else pl.DataFrame(schema=schema)
            )
        stream = b"".join((layout.start, *arrow, _END))
        message = memoryview(stream)[len(layout.start) : -len(_END)]
        check_arrays(layout.rows_of(message), layout.columns.carried, data.rows)
        try:
            frame = pl.read_ipc_stream(io.BytesIO(stream))
            if layout.is_cast:
                frame = frame.cast(schema)
        except (PolarsError, PanicException, OSError, ValueError) as error:
            raise FrameRefused(f"rows cannot be read: {error}") from None
        if frame.height != data.rows:
            raise FrameRefused(f"{data.rows:,} rows were said to come, and {frame.height:,} came")
        return frame

    def _in_order(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, bool]:
        """Rows with their columns in the order of the channel, and whether they stand for several others."""
        names = [name for name in frame.columns if name not in HIDDEN]
        wanted = list(self.columns.schema)
        if names == wanted:
            return frame, False
        if self.partial is not None and names == list(self.partial.schema):
            return frame, True
        return frame.select(wanted + [name for name in frame.columns if name in HIDDEN]), False

    def _layout(self, hidden: _Hidden, *, is_partial: bool) -> _Layout:
        """The columns with hidden ones at some places."""
        layout = self._layouts.get((is_partial, hidden))
        if layout is None:
            columns = self.columns
            if is_partial:
                assert self.partial is not None
                columns = self.partial
            names = list(columns.schema)
            for at, name in hidden:
                if name not in HIDDEN_DTYPES or name in names or at > len(names):
                    raise FrameRefused(f"{name!r} at place {at} is no hidden column that can be there")
                names.insert(at, name)
            known = {**HIDDEN_DTYPES, **columns.schema}
            schema = pl.Schema({name: known[name] for name in names})
            layout = _Layout.of(Columns.of(schema, self.name))
            if len(self._layouts) < _LAYOUTS_MAX:
                self._layouts[is_partial, hidden] = layout
        return layout

    def _pieces(
        self, frame: pl.DataFrame, layout: _Layout, start: int
    ) -> Iterator[tuple[int, int, memoryview]]:
        """Where each piece begins, its rows, and their bytes."""
        parts = -(-frame.height // BATCH_ROWS_MAX)
        body = memoryview(b"")
        if parts == 1 and frame.width:
            cast = frame.cast(layout.columns.carried) if layout.is_cast else frame
            body = _split(_arrow(cast.rechunk()))[1]
            if frame.height == 1 and len(body) > self.row_bytes_max:
                raise DataError(
                    f"{self.name}: row {start} of a batch has {len(body):,} bytes, and a row that goes to another node has "
                    f"at most {self.row_bytes_max:,}; filter such rows out, or make their values smaller, before this verb"
                )
            parts = min(frame.height, -(-len(body) // min(PIECE_BYTES, self.row_bytes_max)))
        if parts <= 1:
            yield start, frame.height, body
            return
        rows = -(-frame.height // parts)
        for at in range(0, frame.height, rows):
            # Polars forgets the height when it slices a frame without columns.
            part = frame[at : at + rows] if frame.width else pl.DataFrame(height=min(rows, frame.height - at))
            yield from self._pieces(part, layout, start + at)


_LAYOUTS_MAX = 16


def _packed(head: Data, pieces: list[Bytes]) -> Iterator[tuple[bytes, int]]:
    """One frame, or several where a row is too long for one, each with what it takes of the credit: the first one takes all."""
    if head.bytes <= _IN_ONE_BYTES:
        data = pack(head, *pieces)
        yield data, charge(len(data), head.bytes)
        return
    body = b"".join(pieces)
    first = msgspec.structs.replace(head, rest=len(body) - _IN_ONE_BYTES)
    yield pack(first, body[:_IN_ONE_BYTES]), charge(len(body), head.bytes)
    for number, at in enumerate(range(_IN_ONE_BYTES, len(body), _IN_ONE_BYTES), start=1):
        yield pack(More(head.attempt, head.channel, head.seq + number), body[at : at + _IN_ONE_BYTES]), 0


def _arrow(frame: pl.DataFrame) -> memoryview:
    buffer = io.BytesIO()
    frame.write_ipc_stream(buffer, compression="uncompressed", compat_level=pl.CompatLevel.oldest())
    return buffer.getbuffer()


def _split(stream: memoryview) -> tuple[bytes, memoryview]:
    """The message of the columns, and that of the rows."""
    _, size = _LENGTHS.unpack_from(stream)
    return bytes(stream[: 8 + size]), stream[8 + size : len(stream) - len(_END)]


def _even(offsets: Offsets) -> tuple[int, int] | None:
    """First and step of offsets that are evenly spaced."""
    if not len(offsets):
        return 0, 0
    first, last = int(offsets[0]), int(offsets[-1])
    step = int(offsets[1]) - first if len(offsets) > 1 else 0
    if first + step * (len(offsets) - 1) != last or (offsets[1:] - offsets[:-1] != step).any():
        return None
    return first, step


def _offsets(data: Data, positions: Bytes) -> Offsets:
    if data.even is None:
        return np.frombuffer(bytes(positions), np.int64)
    first, step = data.even
    last: Any = first + step * max(0, data.rows - 1)
    if not all(-(2**63) <= each < 2**63 for each in (first, step, last)):
        raise FrameRefused(f"positions from {first} by {step} are no numbers of 64 bits")
    return first + step * np.arange(data.rows, dtype=np.int64)
