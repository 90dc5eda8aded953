"""The C library's allocator: memory that numpy frees stays with the process, for the next array."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""The names of two settings in glibc's `malloc.h`."""

KEPT_BYTES = 256 * 1024 * 1024
_MAPPED_BYTES = 32 * 1024 * 1024


def keep_freed_memory() -> None:
    """Let the process keep up to `KEPT_BYTES` that it has freed; where the C library has no such setting, nothing.

    The arrays of a batch are some hundred kilobytes each. As it comes, glibc gives them back to the system as soon
    as they are free, and gets them again page by page for the next batch: that took a third of the time of a window
    aggregation. An environment variable can do the same only before the process starts.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:  # musl has none
        mallopt(_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(_MMAP_THRESHOLD, _MAPPED_BYTES)
