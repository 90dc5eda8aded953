"""Calls after which bytes last, or nobody knows."""

from collections.abc import Callable

from streame.errors import CheckpointError


def must_last(call: Callable[[str], None], path: str) -> None:
    """Make a file or a folder last.

    Args:
        call: `sync` or `sync_directory` of a disk.
        path: of the file or the folder.

    Raises:
        CheckpointError: when the system cannot say that it does. Asking again would be wrong: the system forgets what
            it could not write, and says then that all is well.
    """
    try:
        call(path)
    except OSError as error:
        raise CheckpointError(
            f"{path or 'the folder of the checkpoints'}: the disk did not confirm a write ({error}); "
            "nobody knows what is on it, so the job must stop. Check the disk and start the job again: "
            "it goes on from the last checkpoint"
        ) from None  # who looks for a full disk among the causes must not find one: this cannot be tried again
