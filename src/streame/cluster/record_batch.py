"""The metadata of an Arrow record batch, read without trust: how long its arrays are and where their buffers lie.

Arrow writes it as a FlatBuffers table, in which every place is told by an offset. Each is checked before it is followed.
"""

import struct
from dataclasses import dataclass
from typing import Any

from streame.cluster.frames import FrameRefused

_CONTINUATION = 0xFFFF_FFFF
_RECORD_BATCH = 3
_HEADER_TYPE, _HEADER, _BODY_LENGTH, _CUSTOM = 1, 2, 3, 4
_ROWS, _NODES, _BUFFERS, _COMPRESSION, _VARIADIC = range(5)

_PAIR = struct.Struct("<qq")


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """What the metadata says. The numbers are as they were sent; only their places were checked.

    Args:
        rows: the length of the columns.
        nodes: length and number of nulls of every array, children behind their parents.
        buffers: offset and length of every buffer within the body.
        body: the bytes in which the buffers lie.
    """

    rows: int
    nodes: list[tuple[int, int]]
    buffers: list[tuple[int, int]]
    body: memoryview


def read_record_batch(message: memoryview, nodes: int, buffers: int) -> RecordBatch:
    """Read the metadata in front of a record batch.

    Args:
        message: the message as Arrow's stream format has it: a mark, the length of the metadata, metadata and body.
        nodes: how many arrays the columns have.
        buffers: how many buffers they have.

    Raises:
        FrameRefused: when it is anything else, or compressed.
    """
    table = _Table(message)
    if table.number("<I", 0) != _CONTINUATION:
        raise FrameRefused("rows do not begin with the mark of an Arrow message")
    size = table.number("<I", 4)
    body = message[8 + size :]
    if size % 8 or 8 + size > len(message):
        raise FrameRefused(f"{len(message):,} bytes of rows say that their metadata has {size:,}")
    metadata = _Table(message[8 : 8 + size])
    root = metadata.follow(0)
    if metadata.value("<B", root, _HEADER_TYPE) != _RECORD_BATCH or metadata.field(root, _CUSTOM):
        raise FrameRefused("an Arrow message of rows is no record batch")
    if metadata.value("<q", root, _BODY_LENGTH) != len(body):
        raise FrameRefused(f"a record batch of {len(body):,} bytes says that it has another length")
    batch = metadata.follow(metadata.place(root, _HEADER))
    if metadata.field(batch, _COMPRESSION):
        raise FrameRefused("a record batch is compressed, which is not done between nodes")
    if metadata.field(batch, _VARIADIC):
        raise FrameRefused("a record batch has buffers of views, which are not sent between nodes")
    rows = metadata.value("<q", batch, _ROWS)
    return RecordBatch(
        rows, metadata.pairs(batch, _NODES, nodes), metadata.pairs(batch, _BUFFERS, buffers), body
    )


class _Table:
    """FlatBuffers bytes. All offsets are from their start, and none is followed beyond their end."""

    def __init__(self, data: memoryview) -> None:
        self._data = data

    def number(self, form: str, at: int) -> int:
        if at < 0:
            raise FrameRefused("the metadata of rows points before its start")
        try:
            found: tuple[Any, ...] = struct.unpack_from(form, self._data, at)
        except struct.error:
            raise FrameRefused("the metadata of rows points beyond its end") from None
        return int(found[0])

    def follow(self, at: int) -> int:
        """Where the offset at this place points to."""
        return at + self.number("<I", at)

    def field(self, table: int, number: int) -> int:
        """Where a field of a table lies, from the table; 0 where it has its default."""
        fields = table - self.number("<i", table)
        place = 4 + 2 * number
        return self.number("<H", fields + place) if place < self.number("<H", fields) else 0

    def place(self, table: int, number: int) -> int:
        """Where a field that must be there lies."""
        offset = self.field(table, number)
        if not offset:
            raise FrameRefused(f"the metadata of rows lacks field {number}")
        return table + offset

    def value(self, form: str, table: int, number: int) -> int:
        """The number in a field."""
        offset = self.field(table, number)
        return self.number(form, table + offset) if offset else 0

    def pairs(self, table: int, number: int, expected: int) -> list[tuple[int, int]]:
        """The pairs of numbers in a field, if there are as many as expected."""
        if not self.field(table, number):
            found, at = 0, 0
        else:
            at = self.follow(self.place(table, number))
            found = self.number("<I", at)
        if found != expected:
            raise FrameRefused(
                f"rows have {found} arrays or buffers where their columns have {expected}: they are of other columns"
            )
        if not expected:
            return []
        end = at + 4 + expected * _PAIR.size
        if end > len(self._data):
            raise FrameRefused("the metadata of rows points beyond its end")
        return list(_PAIR.iter_unpack(self._data[at + 4 : end]))
