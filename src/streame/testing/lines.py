"""A line: what befalls bytes on their way in one direction of a connection. It decides, and touches no socket."""

import math
import random
from dataclasses import dataclass

RETRANSMIT_S = 0.2
"""How long a segment that was lost takes to come again: what Linux waits at least before it sends one a second time."""

CHUNK_BYTES = 64 * 1024
CHUNK_S = 0.02
"""A slow line is dealt out in chunks of so many seconds, so that it flows and does not jump."""

HELD_BYTES = 16 * 1024 * 1024
"""How much may be under way in one direction of a connection; then no more is taken in, as when a TCP window is full."""


@dataclass(frozen=True, slots=True)
class Line:
    """What happens to bytes in one direction. Whatever it is, they stay in order.

    Args:
        delay_s: how long they take.
        jitter_s: how much longer at most, anew for every chunk.
        bytes_per_s: how many pass in a second.
        loss: the share of chunks that is lost on the way. TCP sends those again, so that loss is seen as a delay of
            `RETRANSMIT_S`, of what is behind them too.
        corruption: the share of chunks in which one bit is turned over.
        is_stalled: nothing is delivered for now.
        is_cut: what comes is thrown away; what is under way already still arrives.
    """

    delay_s: float = 0.0
    jitter_s: float = 0.0
    bytes_per_s: float = math.inf
    loss: float = 0.0
    corruption: float = 0.0
    is_stalled: bool = False
    is_cut: bool = False

    def __post_init__(self) -> None:
        assert self.delay_s >= 0, self
        assert self.jitter_s >= 0, self
        assert self.bytes_per_s > 0, self
        assert 0 <= self.loss <= 1, self
        assert 0 <= self.corruption <= 1, self

    @property
    def chunk_bytes(self) -> int:
        """How much is taken in at once."""
        return max(1, int(min(CHUNK_BYTES, self.bytes_per_s * CHUNK_S)))

    @property
    def held_bytes_max(self) -> int:
        """How much may be under way: a slow line has a short queue, or its bytes would be old when they arrive."""
        return max(1, int(min(HELD_BYTES, self.bytes_per_s * (self.delay_s + self.jitter_s + 3 * CHUNK_S))))


CLEAR = Line()
"""A line that does nothing to what passes."""


class Passage:
    """When and how the chunks of one direction arrive, one behind the other.

    Args:
        chance: where its random numbers come from.
    """

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._sent_s = -math.inf
        self._arrived_s = -math.inf

    def arrival_s(self, line: Line, size: int, now_s: float) -> float:
        """When a chunk that is taken in now arrives, never before the one ahead of it."""
        self._sent_s = max(now_s, self._sent_s) + size / line.bytes_per_s
        late_s = line.delay_s + line.jitter_s * self._chance.random()
        if self._chance.random() < line.loss:
            late_s += RETRANSMIT_S
        self._arrived_s = max(self._arrived_s, self._sent_s + late_s)
        return self._arrived_s

    def arrived(self, line: Line, chunk: bytes) -> bytes:
        """A chunk as it arrives."""
        if self._chance.random() >= line.corruption:
            return chunk
        damaged = bytearray(chunk)
        damaged[self._chance.randrange(len(chunk))] ^= 1 << self._chance.randrange(8)
        return bytes(damaged)
