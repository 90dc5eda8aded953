"""A segment of a log in an object store, as bytes: some records, and which segment is before it.

A segment is written in one piece. Its last bytes are a digest of all the others, and whoever comes behind it names it
with that digest: a segment that is whole, but another one than was named, is found too.
"""

import struct
from collections.abc import Iterator, Sequence

import msgspec
from xxhash import xxh3_64_intdigest

from streame.errors import CheckpointDamaged, CheckpointError

FORMAT_VERSION = 1

_BEGIN = b"streame segment\n"
_PREFIX = struct.Struct("<16sII")
_DIGEST = struct.Struct("<Q")


class Named(msgspec.Struct, frozen=True, array_like=True):
    """A segment, as whoever comes behind it names it.

    Args:
        path: its name in the store.
        digest: that of its bytes.
    """

    path: str
    digest: int


class Header(msgspec.Struct, frozen=True, array_like=True):
    """What a segment says of itself.

    Args:
        epoch: of the leader that wrote it.
        number: greater than that of the segment before.
        owner: the process that wrote it; no two processes write the same bytes.
        before: the segment before it, if there is one.
        first: the position of its first record.
        lengths: how many bytes each record has.
    """

    epoch: int
    number: int
    owner: str
    before: Named | None
    first: int
    lengths: tuple[int, ...]

    @property
    def end(self) -> int:
        """The position behind its last record."""
        return self.first + len(self.lengths)


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Header)


def encoded(header: Header, payloads: Sequence[bytes]) -> tuple[bytes, int]:
    """A segment as bytes, and its digest."""
    assert header.lengths == tuple(map(len, payloads)), header
    head = _ENCODER.encode(header)
    content = b"".join((_PREFIX.pack(_BEGIN, FORMAT_VERSION, len(head)), head, *payloads))
    digest = xxh3_64_intdigest(content)
    return content + _DIGEST.pack(digest), digest


def decoded(data: bytes, named: Named, where: str) -> tuple[Header, Iterator[bytes]]:
    """What a segment says of itself, and its records.

    Args:
        data: the bytes that are there.
        named: which segment it should be.
        where: the address of the store, for messages.

    Raises:
        CheckpointDamaged: when it is not what was written.
        CheckpointError: when it was written by a newer version.
    """
    end = len(data) - _DIGEST.size
    view = memoryview(data)
    if end < _PREFIX.size or xxh3_64_intdigest(view[:end]) != _DIGEST.unpack_from(data, end)[0]:
        raise damaged(where, named.path, "it is not what was written")
    if _DIGEST.unpack_from(data, end)[0] != named.digest:
        raise damaged(where, named.path, "it is whole, but not the segment that was written there")
    begin, version, length = _PREFIX.unpack_from(data)
    if begin != _BEGIN:
        raise damaged(where, named.path, "it is no segment of a log")
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"{where}/{named.path} has format {version}, and this version reads {FORMAT_VERSION}; use the version that wrote it"
        )
    at = _PREFIX.size + length
    header = _DECODER.decode(view[_PREFIX.size : at])
    return header, _records(data, at, header.lengths)


def header_of(data: bytes) -> Header | None:
    """What a segment says of itself; `None` if it is not whole, or none that this version reads."""
    end = len(data) - _DIGEST.size
    view = memoryview(data)
    if end < _PREFIX.size or xxh3_64_intdigest(view[:end]) != _DIGEST.unpack_from(data, end)[0]:
        return None
    begin, version, length = _PREFIX.unpack_from(data)
    if begin != _BEGIN or version > FORMAT_VERSION:
        return None
    return _DECODER.decode(view[_PREFIX.size : _PREFIX.size + length])


def damaged(where: str, path: str, what: str) -> CheckpointDamaged:
    """The error that says that rows would be lost."""
    return CheckpointDamaged(
        f"{where}/{path}: damaged: {what}. Rows that were acknowledged would be lost: bring it back from a copy"
    )


def _records(data: bytes, at: int, lengths: Sequence[int]) -> Iterator[bytes]:
    for length in lengths:
        yield data[at : at + length]
        at += length
