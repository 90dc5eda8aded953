"""Whether an error says that a disk is full, which passes by itself once there is room."""

import errno

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def is_full_disk(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, is that of a disk or a quota without room."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        error = error.__cause__
    return False
