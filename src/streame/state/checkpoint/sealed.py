"""Sealed files: a line with the format version, a body, and a checksum and digest over both."""

import zlib
from dataclasses import dataclass
from hashlib import blake2b

FORMAT_VERSION = 1
"""Of all files of a checkpoint. The first line and the seal of a file are the same in every version."""

_SEAL_BYTES = 1 + 8 + 64


@dataclass(frozen=True, slots=True)
class Broken:
    """A file that is not what was written.

    Args:
        why: what was found.
    """

    why: str


@dataclass(frozen=True, slots=True)
class Newer:
    """A file that a newer version of Streame wrote.

    Args:
        version: its format version.
    """

    version: int


def seal(kind: str, body: bytes) -> bytes:
    """The bytes of a sealed file.

    Args:
        kind: a word that says what the file is.
        body: what it holds.
    """
    data = _first_line(kind, FORMAT_VERSION) + body
    return data + _seal_of(data)


def unseal(kind: str, data: bytes) -> bytes | Newer | Broken:
    """The body of a sealed file, if every byte of the file is the one that was written.

    Args:
        kind: the word it was sealed with.
        data: all bytes of the file.
    """
    content, found = data[:-_SEAL_BYTES], data[-_SEAL_BYTES:]
    if found != _seal_of(content):
        return Broken(f"its {len(data)} bytes do not match their checksum")
    line, _, body = content.partition(b"\n")
    words = line.split(b" ")
    if len(words) != 3 or not words[2].isdigit() or line + b"\n" != _first_line(kind, int(words[2])):
        return Broken(f"its first line is {line[:40]!r}")
    if int(words[2]) > FORMAT_VERSION:
        return Newer(int(words[2]))
    return body


def _first_line(kind: str, version: int) -> bytes:
    return f"streame {kind} {version}\n".encode()


def _seal_of(data: bytes) -> bytes:
    checksum, digest = zlib.crc32(data), blake2b(data, digest_size=32).hexdigest()
    return f"|{checksum:08x}{digest}".encode()
