"""Chunks that are handed on in parts, and where reading goes on within one."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from streame.core.messages import Offsets
from streame.io.source import Chunk


@dataclass(frozen=True, slots=True)
class Within:
    """How much of what follows an offset has gone on already.

    Args:
        rows: the number of good rows.
        rejected: the number of bad rows.
    """

    rows: int = 0
    rejected: int = 0

    def __bool__(self) -> bool:
        return bool(self.rows or self.rejected)

    def plus(self, chunk: Chunk) -> "Within":
        """The same, with all of a chunk."""
        return Within(self.rows + chunk.frame.height, self.rejected + len(chunk.rejected))

    def skipped(self, chunk: Chunk) -> tuple[Chunk, "Within"]:
        """What of a chunk has not gone on yet, and how much behind it has."""
        rows, rejected = min(self.rows, chunk.frame.height), min(self.rejected, len(chunk.rejected))
        return _behind(chunk, rows, rejected), Within(self.rows - rows, self.rejected - rejected)


def cut(chunk: Chunk, rows: int) -> tuple[Chunk, Chunk]:
    """The first rows of a chunk with all of its bad rows, and the other rows."""
    head = replace(
        chunk, frame=chunk.frame[:rows], offsets=_sliced(chunk.offsets, 0, rows), rejected=chunk.rejected
    )
    return head, _behind(chunk, rows, len(chunk.rejected))


def _behind(chunk: Chunk, rows: int, rejected: int) -> Chunk:
    offsets = _sliced(chunk.offsets, rows, None)
    return replace(chunk, frame=chunk.frame[rows:], offsets=offsets, rejected=chunk.rejected[rejected:])


def _sliced(
    offsets: Callable[[], Offsets] | None, first: int, last: int | None
) -> Callable[[], Offsets] | None:
    return None if offsets is None else lambda: offsets()[first:last]
