"""What a sink has staged for a checkpoint: output that is durable, hidden, and published once the checkpoint is decided."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

Json: TypeAlias = Any


@dataclass(frozen=True, slots=True)
class Staged:
    """The output of a sink for one checkpoint.

    Args:
        pieces: what is to be published, in order; each a JSON value that the sink understands.
        note: what the sink must know of all output up to here, as a JSON value; kept in every checkpoint.
    """

    pieces: Sequence[Json] = ()
    note: Json = None


@dataclass(frozen=True, slots=True)
class Decided:
    """Output of a checkpoint that counts: it has been published, or has to be.

    Args:
        checkpoint: its number.
        staged: the output.
    """

    checkpoint: int
    staged: Staged


class OutboxFile(Protocol):
    """Bytes on their way into an outbox."""

    def append(self, data: bytes) -> None:
        """Write more. If that fails with an `OSError`, it is as if it had not been tried."""

    def finish(self) -> Json:
        """Make it durable; returns a JSON value under which `Outbox.read` finds it."""

    def discard(self) -> None:
        """Give it up."""


class Outbox(Protocol):
    """Where a sink may keep staged output, beside the state of the checkpoint."""

    @property
    def epoch(self) -> int | None:
        """Which writer of a cluster this is; each has a higher number than those before, and an old one may still write.

        `None` where the writer is alone, which a lock of the sink has to see to.
        """
        return None

    def begin(self) -> OutboxFile:
        """Begin a new file, which is hidden in the next checkpoint."""

    def read(self, piece: Json) -> Iterator[bytes]:
        """The bytes of a file, once they are known to be what was written.

        Raises:
            CheckpointDamaged: when they are not.
        """
