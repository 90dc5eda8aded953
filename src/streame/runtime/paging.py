"""Paging: how much of a job's state is in memory, and which page the rest of it is on."""

import threading
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.core.hashing import KEY_GROUPS, Hashes, stable_hash
from streame.core.metrics import NO_STATE, StateSize
from streame.core.time import WATERMARK_MIN
from streame.state.stored import StoredState

PageNumbers = npt.NDArray[np.uint16]

_GROUP_BITS = KEY_GROUPS.bit_length() - 1
DEPTH_MAX = 16
"""So many bits of a hash tell pages apart, at most."""

_HASHED_ROWS = 65_536
_IN_MEMORY, _WAITING, _PAGE = 1 / 8, 0.27, 1 / 12
"""The parts of the limit that state in memory, rows that wait for their pages, and one page may take."""


class MemoryBudget:
    """The memory that the keyed operators of one run share.

    Args:
        limit: how many bytes there are.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._sizes: dict[int, int] = {}
        self._paged: set[int] = set()
        self._lock = threading.Lock()

    def join(self, who: object) -> None:
        """An operator that keeps its state in memory, for now."""
        with self._lock:
            self._sizes[id(who)] = 0

    def leave(self, who: object) -> None:
        """An operator keeps nothing any more."""
        with self._lock:
            self._sizes.pop(id(who), None)
            self._paged.discard(id(who))

    def pages(self, who: object) -> None:
        """An operator has put its state aside."""
        with self._lock:
            self._sizes.pop(id(who), None)
            self._paged.add(id(who))

    def is_exceeded(self, who: object, size: int) -> bool:
        """Whether an operator is to put its state aside: all take too much, and it takes more than its share.

        Args:
            who: the operator.
            size: how many bytes its state takes now.
        """
        with self._lock:
            self._sizes[id(who)] = size
            total = sum(self._sizes.values())
            return total > self._limit * _IN_MEMORY and size * len(self._sizes) >= total

    @property
    def measured_rows(self) -> int:
        """After how many rows an operator looks again how much it keeps."""
        return max(1, self._limit // 4096)

    @property
    def waiting_bytes(self) -> int:
        """How much may wait for the pages of one operator."""
        return int(self._limit * _WAITING) // max(1, len(self._paged))

    @property
    def page_bytes(self) -> int:
        """How large a page may become, in memory."""
        return int(self._limit * _PAGE) // max(1, len(self._paged))


@dataclass(slots=True, eq=False)
class Page:
    """The keys whose places begin with the same bits.

    Args:
        prefix: those bits.
        depth: how many they are.
        stored: its state; `None` if it has none.
        told: the last watermark that it was told.
        said: the last watermark that came of it.
        timer_us: when it wants to be called.
        finished: whether nothing more will come of it.
        size: how much it keeps.
        whole_below: the size up to which it is not cut in two.
    """

    prefix: int
    depth: int
    stored: StoredState | None = None
    told: int = WATERMARK_MIN
    said: int = WATERMARK_MIN
    timer_us: int | None = None
    finished: bool = False
    size: StateSize = NO_STATE
    whole_below: int = 0

    @property
    def name(self) -> str:
        """Its bits as a text."""
        return f"{self.prefix:0{self.depth}b}" if self.depth else ""

    def halves(self) -> "tuple[Page, Page]":
        """Two pages in the place of this one; its state is not shared out yet."""
        first, second = (
            Page(
                2 * self.prefix + bit,
                self.depth + 1,
                None,
                self.told,
                self.said,
                self.timer_us,
                self.finished,
            )
            for bit in (0, 1)
        )
        return first, second


class Directory:
    """Which page each key is on: pages are cut by the first bits of the places of keys, as many as each needs.

    The place of a key is its stable hash with the bits that say its key group moved to the top.
    """

    def __init__(self) -> None:
        self.pages: list[Page] = [Page(0, 0)]
        self._numbers: PageNumbers = np.zeros(1, np.uint16)
        self._depth = 0

    def put(self, pages: list[Page]) -> None:
        """Other pages, which together cover all places once."""
        self.pages = pages
        self._depth = max(page.depth for page in pages)
        self._numbers = np.empty(1 << self._depth, np.uint16)
        for number, page in enumerate(pages):
            shift = self._depth - page.depth
            self._numbers[page.prefix << shift : (page.prefix + 1) << shift] = number

    def split(self, page: Page, parts: list[Page]) -> None:
        """Put pages in the place of one."""
        self.put([new for old in self.pages for new in (parts if old is page else [old])])

    def numbers(self, keys: pl.DataFrame) -> PageNumbers:
        """The number of the page of each key."""
        return self._numbers[places(keys, self._depth)]


def places(keys: pl.DataFrame, depth: int) -> npt.NDArray[np.uint64]:
    """The first bits of the place of each key.

    Args:
        keys: the keys.
        depth: how many bits.
    """
    found = np.empty(keys.height, np.uint64)
    for start in range(0, keys.height, _HASHED_ROWS):  # hashing takes some times the memory of the keys
        part = slice(start, start + _HASHED_ROWS)
        found[part] = _place(stable_hash(keys[part])) >> np.uint64(64 - depth) if depth else 0
    return found


def _place(hashes: Hashes) -> Hashes:
    return (hashes << np.uint64(64 - _GROUP_BITS)) | (hashes >> np.uint64(_GROUP_BITS))
