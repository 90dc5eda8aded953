"""The C library's allocator: memory that numpy frees stays with the process, for the next array."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""The names of two settings in glibc's `malloc.h`."""

KEPT_BYTES = 256 * 1024 * 1024
_MAPPED_BYTES = 32 * 1024 * 1024


def keep_freed_memory(memory_limit: int | None = None) -> None:
    """Let the process keep up to `KEPT_BYTES` that it has freed; where the C library has no such setting, nothing.

    The arrays of a batch are some hundred kilobytes each. As it comes, glibc gives them back to the system as soon
    as they are free, and gets them again page by page for the next batch: that took a third of the time of a window
    aggregation. An environment variable can do the same only before the process starts.

    Args:
        memory_limit: a limit for state in memory, of which at most an eighth is kept.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:  # musl has none
        kept = KEPT_BYTES if memory_limit is None else min(KEPT_BYTES, memory_limit // 8)
        mallopt(_TRIM_THRESHOLD, kept)
        mallopt(_MMAP_THRESHOLD, min(_MAPPED_BYTES, kept))
