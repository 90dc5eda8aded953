"""The file `ATTEMPT` of a folder of checkpoints: what is remembered of starts that did not get past a checkpoint."""

import msgspec

from streame.core.failpoints import failpoint, torn
from streame.state.checkpoint.attempt import Attempt
from streame.state.checkpoint.lasting import must_last
from streame.state.checkpoint.sealed import seal, unseal
from streame.storage.disk import Disk

ATTEMPT = "ATTEMPT"

_SEALED_AS = "attempt"
_DRAFT = f"{ATTEMPT}.tmp"


class AttemptFile:
    """The memory of starts in a folder. Used by one thread at a time.

    Args:
        disk: the folder.
        where: the folder, for messages.
    """

    def __init__(self, disk: Disk, where: str) -> None:
        self.path = f"{where}/{ATTEMPT}"
        self._disk = disk

    def read(self) -> Attempt | None:
        """What the last process has left; nothing if it cannot be read, for it is only a memory."""
        try:
            body = unseal(_SEALED_AS, self._disk.read(ATTEMPT))
            return msgspec.json.decode(body, type=Attempt) if isinstance(body, bytes) else None
        except (OSError, msgspec.MsgspecError):
            return None

    def write(self, attempt: Attempt) -> None:
        """Remember; it lasts when this returns.

        Raises:
            OSError: when the disk is full; what was there before still holds.
            CheckpointError: when nobody knows what is on the disk.
        """
        content = seal(_SEALED_AS, msgspec.json.encode(attempt))
        self._disk.write(_DRAFT, torn("R1.write", [content]))
        failpoint("R1.written")
        must_last(self._disk.sync, _DRAFT)
        self._disk.rename(_DRAFT, ATTEMPT)
        must_last(self._disk.sync_directory, "")
        failpoint("R1.after")

    def remove(self) -> None:
        """Forget. After a power cut it may be remembered all the same."""
        self._disk.remove(ATTEMPT)
