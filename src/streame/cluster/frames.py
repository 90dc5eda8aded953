"""Frames: what nodes say to each other while an attempt runs, as bytes.

A frame is a prefix, a header in MessagePack that says what it is, and for rows a body. The prefix has the lengths of both
and a digest, so that a damaged frame is never taken for another one. Whoever reads a frame trusts nothing of it: all that
is declared is compared with what is there before anything is made of it.
"""

import struct
from collections.abc import Iterator
from typing import Annotated, TypeAlias

import msgspec
import xxhash

from streame.core.messages import BATCH_ROWS_MAX
from streame.errors import ClusterError

FRAME_BYTES_MAX = 16 * 1024 * 1024
"""The longest frame, all included; a longer one is refused before it is read whole."""

HEADER_BYTES_MAX = 1024 * 1024

BODY_BYTES_MAX = 256 * 1024 * 1024
"""The longest body of rows. What does not fit into one frame follows in others."""

_MAGIC = b"SF03"
_PREFIX = struct.Struct("<4sIIIQ")
"""Magic with the version, bytes of the header, of its padding, and of the body; the digest of all that follows."""

_DIGESTED = struct.Struct("<III")
_ALIGNMENT = 8
"""Where a body begins is a multiple of this, so that arrays in it can be looked at where they are."""

Bytes: TypeAlias = bytes | bytearray | memoryview

_Number = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
_Channel = Annotated[int, msgspec.Meta(ge=0, le=2**16)]
_Size = Annotated[int, msgspec.Meta(ge=0, le=BODY_BYTES_MAX)]
_Text = Annotated[str, msgspec.Meta(max_length=65_536)]
_Pair = tuple[_Text, _Text]


class Attempt(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, order=True):
    """One run of a job with one assignment: a frame of any other is refused.

    Args:
        epoch: of the leader.
        number: which attempt of that leader, from 1.
    """

    epoch: _Number
    number: _Number

    def __str__(self) -> str:
        return f"{self.epoch}.{self.number}"


class _Frame(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag_field="kind"):
    attempt: Attempt


class Open(_Frame, frozen=True, tag=1):
    """A channel begins; its next frame has the number 1.

    Args:
        channel: its number within this direction of the stream.
        name: what both sides know it by.
        schema: a digest of the columns that come through it.
        columns: the same as a text, for an error.
    """

    channel: _Channel
    name: _Text
    schema: Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
    columns: _Text = ""


class Data(_Frame, frozen=True, tag=2):
    """Rows of a batch; the body has them as Arrow, and then their positions if they make no even row, all made narrower.

    Args:
        channel: where they belong.
        seq: the number of the frame on its channel.
        rows: how many.
        bytes: how many bytes the body has once it is as wide as before.
        hidden: place and name of each hidden column; the others are those of the channel, in their order.
        split: the source and split that all rows came from.
        source: the source and split of their positions, if they have any.
        even: the first position and the step from one to the next; without it they are in the body.
        is_partial: whether each row stands for several others.
        rest: how many bytes of the body follow in frames `More`, right behind this one on its channel.
    """

    channel: _Channel
    seq: _Number
    rows: Annotated[int, msgspec.Meta(ge=0, le=BATCH_ROWS_MAX)]
    bytes: _Size
    hidden: Annotated[tuple[tuple[_Channel, _Text], ...], msgspec.Meta(max_length=8)] = ()
    split: _Pair | None = None
    source: _Pair | None = None
    even: tuple[int, int] | None = None
    is_partial: bool = False
    rest: _Size = 0


class Barrier(_Frame, frozen=True, tag=3):
    """What came before it on this channel belongs to a checkpoint."""

    channel: _Channel
    seq: _Number
    checkpoint: _Number


class Watermark(_Frame, frozen=True, tag=4):
    """How far event time has come on this channel; `None` while its sender is idle."""

    channel: _Channel
    seq: _Number
    time: int | None


class Split(_Frame, frozen=True, tag=5):
    """What a source says of one of its splits."""

    channel: _Channel
    seq: _Number
    split: _Pair
    state: Annotated[str, msgspec.Meta(max_length=16)]
    after_us: _Number | None


class End(_Frame, frozen=True, tag=6):
    """Nothing follows on this channel."""

    channel: _Channel
    seq: _Number


class Credit(_Frame, frozen=True, tag=7):
    """So many bytes of this channel have been consumed: as many more may be sent."""

    channel: _Channel
    bytes: _Number


class Unread(_Frame, frozen=True, tag=8):
    """Nobody reads this channel any more: what is still to be sent need not be."""

    channel: _Channel


class Ack(_Frame, frozen=True, tag=9):
    """The part of a node in a checkpoint is durable.

    Args:
        checkpoint: its number.
        names: the files.
        digests: theirs, in the same order.
    """

    checkpoint: _Number
    names: Annotated[tuple[_Text, ...], msgspec.Meta(max_length=4096)]
    digests: Annotated[tuple[bytes, ...], msgspec.Meta(max_length=4096)]


class Ping(_Frame, frozen=True, tag=10):
    """Are you there?"""

    number: _Number


class Pong(_Frame, frozen=True, tag=11):
    """The answer to the ping of that number."""

    number: _Number


class Ask(_Frame, frozen=True, tag=12):
    """The leader asks for the part of a node in a checkpoint, and for barriers behind what it has read.

    Args:
        checkpoint: its number.
        last: whether sources are to be read no further behind it.
    """

    checkpoint: _Number
    last: bool = False


class Opened(_Frame, frozen=True, tag=13):
    """The tasks of a node are ready.

    Args:
        held: whether one of them leaves input unread for now, so that no barrier can come through. Told again when none does.
    """

    held: bool


class Failed(_Frame, frozen=True, tag=14):
    """A node cannot go on.

    Args:
        for_good: whether another attempt would end in the same way.
        message: why.
        lost: the node that it has lost, if that is why.
    """

    for_good: bool
    message: _Text
    lost: _Text | None = None


class More(_Frame, frozen=True, tag=15):
    """What follows of the body of the frame with rows before it."""

    channel: _Channel
    seq: _Number


Control: TypeAlias = Ack | Ask | Opened | Failed
"""What the leader and another node say to each other beside the channels."""

Numbered: TypeAlias = Data | More | Barrier | Watermark | Split | End
"""What a channel carries, in order."""

Frame: TypeAlias = Open | Numbered | Credit | Unread | Control | Ping | Pong

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(Frame)


class FrameRefused(ClusterError):  # noqa: N818 - what happened
    """The bytes are no frame, or not the one that was sent."""


def pack(frame: Frame, *body: Bytes) -> bytes:
    """The bytes of a frame.

    Args:
        frame: what it is.
        body: what follows it, in pieces.
    """
    header = _encoder.encode(frame)
    assert len(header) <= HEADER_BYTES_MAX, len(header)
    padding = -(_PREFIX.size + len(header)) % _ALIGNMENT
    size = sum(map(len, body))
    assert _PREFIX.size + len(header) + padding + size <= FRAME_BYTES_MAX, (len(header), size)
    digest = xxhash.xxh3_64(_DIGESTED.pack(len(header), padding, size))
    pieces = (header, b"\0" * padding, *body)
    for piece in pieces:
        digest.update(piece)
    return b"".join((_PREFIX.pack(_MAGIC, len(header), padding, size, digest.intdigest()), *pieces))


def frames_of(message: bytes) -> Iterator[memoryview]:
    """The bytes of each frame of a message, by what its prefix says; `unpack` finds out whether that is true."""
    view, at = memoryview(message), 0
    while at < len(view):
        end = len(view)
        if end - at >= _PREFIX.size:
            _, header, padding, size, _ = _PREFIX.unpack_from(view, at)
            end = min(end, at + _PREFIX.size + header + padding + size)
        yield view[at:end]
        at = end


def unpack(data: Bytes) -> tuple[Frame, memoryview]:
    """The frame of some bytes, and its body.

    Raises:
        FrameRefused: when they are not what `pack` gave; says what is wrong with them.
    """
    if not _PREFIX.size <= len(data) <= FRAME_BYTES_MAX:
        raise FrameRefused(
            f"a frame has {len(data):,} bytes; there are none of less than {_PREFIX.size} or more than {FRAME_BYTES_MAX:,}"
        )
    magic, header, padding, size, digest = _PREFIX.unpack_from(data)
    if magic != _MAGIC:
        raise FrameRefused(
            f"a frame begins with {magic!r}, expected {_MAGIC!r}: the other node is of another version, or no node"
        )
    if (
        header > HEADER_BYTES_MAX
        or padding >= _ALIGNMENT
        or _PREFIX.size + header + padding + size != len(data)
    ):
        raise FrameRefused(
            f"a frame of {len(data):,} bytes says that it has a header of {header:,} and a body of {size:,}"
        )
    view = memoryview(data)
    found = xxhash.xxh3_64(_DIGESTED.pack(header, padding, size))
    found.update(view[_PREFIX.size :])
    if found.intdigest() != digest:
        raise FrameRefused(
            f"a frame of {len(data):,} bytes was damaged on its way: its digest is another one"
        )
    try:
        frame = _decoder.decode(view[_PREFIX.size : _PREFIX.size + header])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FrameRefused(f"the header of a frame cannot be understood: {error}") from error
    body = view[_PREFIX.size + header + padding :]
    if len(body) and not isinstance(frame, Data | More):
        raise FrameRefused(
            f"a frame {type(frame).__name__} has a body of {size:,} bytes; only Data and More have one"
        )
    return frame, body
