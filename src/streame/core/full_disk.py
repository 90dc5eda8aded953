"""Whether an error means that a disk is full, which passes when somebody makes room."""

import errno

from polars.exceptions import PolarsError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_TEXTS = tuple(f"(os error {number})" for number in _FULL)
"""How Polars says it: its errors have no number, whether they are `OSError` or not."""


def is_full_disk(error: BaseException | None) -> bool:
    """Whether an error, or one that caused it, says that a disk or a quota is full.

    Args:
        error: what was raised; `None` is no error.

    Returns:
        Whether the call may be tried again once there is room.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        if isinstance(error, OSError | PolarsError) and str(error).endswith(_TEXTS):
            return True
        error = error.__cause__
    return False
