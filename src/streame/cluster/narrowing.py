"""Bodies of frames made smaller for their way: whole numbers of 64 bits that lie close together go in fewer bytes each.

The times and keys of a batch, and the places where its texts end, have most of their bits in common. Frame of reference and
delta encoding, as Parquet and ORC have them, leave those out with a few passes over the numbers.

A body is a table of segments, and then what each has. A segment is bytes as they are, or numbers: what each is above the
least of them, or above the one before it.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from streame.cluster.frames import Bytes, FrameRefused

NUMBERS_MIN = 128
"""Fewer numbers than this are left as they are."""

_COUNT = struct.Struct("<Q")
_SEGMENT = struct.Struct("<BBxxIq")
"""Its kind, the bytes of each number, how many numbers or bytes, and the number that they start from."""

_PARTS_MAX = 2
"""A body is made of so many parts at most: rows, and positions. Each ends with plain bytes or with numbers."""

_ALIGNMENT = 8
_WIDTHS = (1, 2, 4)

_Numbers = npt.NDArray[np.int64]


class Kind(IntEnum):
    """What bytes are: anything, numbers in any order, or numbers that rise."""

    BYTES = 0
    NEAR = 1
    RISING = 2


@dataclass(frozen=True, slots=True)
class Run:
    """Numbers of 64 bits within some bytes.

    Args:
        start: where they begin.
        size: their bytes.
        kind: whether they rise.
    """

    start: int
    size: int
    kind: Kind


def narrowed(parts: Iterable[tuple[memoryview, Sequence[Run]]]) -> list[Bytes]:
    """The same bytes in fewer, in pieces.

    Args:
        parts: bytes that follow each other, and where in each of them there are numbers, in order.
    """
    segments = [segment for data, runs in parts for segment in _segments(data, runs)]
    pieces: list[Bytes] = [_COUNT.pack(len(segments)), *(head for head, _ in segments)]
    for _, piece in segments:
        pieces.append(piece)
        if padding := -len(piece) % _ALIGNMENT:
            pieces.append(b"\0" * padding)
    return pieces


def widened(body: memoryview, size: int) -> list[Bytes]:
    """The bytes of which `narrowed` has made a body, in pieces.

    Args:
        body: what came.
        size: how many bytes they must be.

    Raises:
        FrameRefused: when it is not what `narrowed` gives, or gives another number of bytes.
    """
    if len(body) < _COUNT.size:
        raise FrameRefused(f"a body of {len(body):,} bytes has no segments")
    (count,) = _COUNT.unpack_from(body)
    at = _COUNT.size + count * _SEGMENT.size
    if at > len(body):
        raise FrameRefused(f"a body of {len(body):,} bytes says that it has {count:,} segments")
    pieces: list[Bytes] = []
    left, raw_left = size, _PARTS_MAX
    for kind, width, length, base in _SEGMENT.iter_unpack(body[_COUNT.size : at]):
        if (width not in _WIDTHS) if kind else width != 1 or base:
            raise FrameRefused(f"a segment has numbers of {width} bytes")
        if length < (NUMBERS_MIN if kind else 1):
            raise FrameRefused(f"a segment of {length} would take more memory than it has bytes")
        end = at + length * width
        wide = 8 * length if kind else length
        if end > len(body) or wide > left:
            raise FrameRefused(
                f"a body of {len(body):,} bytes, which stands for {size:,}, has a segment of {length * width:,} at {at:,}, "
                f"which stands for {wide:,}"
            )
        raw_left += 1 if kind else -1
        if raw_left < 0:
            raise FrameRefused("segments of plain bytes follow each other")
        pieces.append(_wide(kind, width, body[at:end], base))
        at, left = end + -end % _ALIGNMENT, left - wide
    if at != len(body) or left:
        raise FrameRefused(
            f"a body of {len(body):,} bytes ends at {at:,}, and lacks {left:,} of {size:,} bytes"
        )
    return pieces


def _segments(data: memoryview, runs: Sequence[Run]) -> Iterator[tuple[bytes, Bytes]]:
    """The head and the bytes of each segment of some bytes."""
    at = 0
    for run in runs:
        found = _narrow(np.frombuffer(data[run.start : run.start + run.size], np.int64), run.kind)
        if found is not None:
            if run.start > at:
                yield _raw(data[at : run.start])
            yield found
            at = run.start + run.size
    if at < len(data):
        yield _raw(data[at:])


def _raw(data: memoryview) -> tuple[bytes, Bytes]:
    return _SEGMENT.pack(Kind.BYTES, 1, len(data), 0), data


def _narrow(numbers: _Numbers, kind: Kind) -> tuple[bytes, Bytes] | None:
    """Numbers in as few bytes as they all fit into; `None` if that is no gain."""
    if len(numbers) < NUMBERS_MIN:
        return None
    if kind is Kind.RISING:
        base = int(numbers[0])
        above = np.empty_like(numbers)
        above[0] = 0
        np.subtract(numbers[1:], numbers[:-1], out=above[1:])
        if int(above.min()) < 0:  # falls, or rises by more than there are numbers for
            return None
        most = int(above.max())
    else:
        base = int(numbers.min())
        most = int(numbers.max()) - base
        above = numbers - base
    width = next((width for width in _WIDTHS if most < 256**width), None)
    if width is None:
        return None
    values = above.astype(f"<u{width}")
    return _SEGMENT.pack(kind, width, len(values), base), values.data.cast("B")


def _wide(kind: int, width: int, data: memoryview, base: int) -> Bytes:
    if kind == Kind.BYTES:
        return data
    above = np.frombuffer(data, f"<u{width}")
    if kind == Kind.NEAR:
        numbers = above.astype(np.int64)
    elif kind == Kind.RISING:
        numbers = np.cumsum(above, dtype=np.int64)
    else:
        raise FrameRefused(f"there are no segments of kind {kind}")
    numbers += base
    return numbers.data.cast("B")
