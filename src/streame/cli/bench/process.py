"""What the system says of this process: time on the processor, and memory that is resident."""

import os
import resource
import sys
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")
_STATUS = Path("/proc/self/status")


def cpu_s() -> float:
    """Seconds of processor time so far, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def rss_mb(pid: int | None = None) -> float:
    """Resident memory now, of this process or another one; the own peak where the system does not say."""
    found = Path("/proc", "self" if pid is None else str(pid), "statm")
    return int(found.read_text().split()[1]) * _PAGE / 1e6 if found.exists() else peak_rss_mb()


def peak_rss_mb() -> float:
    """The most resident memory so far.

    Linux counts the memory of the starting process into `ru_maxrss`, so the status file is read instead.
    """
    if _STATUS.exists():
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
