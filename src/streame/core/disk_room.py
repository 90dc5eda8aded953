"""How full a disk is: when that is said, and how long a call that finds no room waits before it is made again."""

from dataclasses import dataclass
from typing import Final

MARKS: Final = (0.80, 0.95)
"""The used parts of a disk above which something is said: that it fills up, and that it is nearly full."""

SLACK: Final = 0.02
"""A mark is said again only when the disk was emptier than it by this much in between."""

RETRY_S = 0.5
"""How long a call that has found no room waits before it is made again, the first time."""

RETRY_MAX_S: Final = 5.0
"""The longest time between two such calls."""


@dataclass(frozen=True, slots=True)
class DiskRoom:
    """The room of a file system.

    Args:
        where: a folder on it, for messages.
        total: how many bytes there is room for in all, for whoever is not the administrator.
        free: how many bytes of it are free.
    """

    where: str
    total: int
    free: int

    @property
    def used(self) -> float:
        """The used part of it, from 0 to 1; 0 if the file system does not say how large it is."""
        return 1 - self.free / self.total if self.total else 0.0


def next_level(level: int, used: float) -> int:
    """How many marks count as crossed. One that is higher than before is to be said.

    Args:
        level: how many did so far.
        used: the used part of the disk.
    """
    crossed = sum(used > mark for mark in MARKS)
    near = sum(used > mark - SLACK for mark in MARKS)
    return max(crossed, min(level, near))


def retry_after_s(failures: int) -> float:
    """How long to wait before the next try.

    Args:
        failures: how many tries in a row have found no room, this one included.
    """
    return min(RETRY_MAX_S, RETRY_S * 2.0 ** min(failures - 1, 10))
