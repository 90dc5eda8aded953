"""What a benchmark is: two sides on the same rows, and the bars that the result is held against."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Numbers = Mapping[str, float]

AGAINST_PEER = ("ratio", "peak_ratio")
"""What is measured against the other side: its time by that of Streame, and the memory of Streame by its memory."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one side did.

    Args:
        rows: how many rows went in; speed is counted in them.
        digest: what came out, in numbers that must be equal on both sides. Called after the clock has stopped.
        measures: what was measured beside time and memory, by name with the unit at its end.
    """

    rows: int
    digest: Callable[[], Numbers]
    measures: Numbers | None = None


Work = Callable[[], Outcome]
Side = Callable[[int, Path], Work]
"""Makes everything ready for that many rows, with the files in that folder, and returns what is to be timed."""


@dataclass(frozen=True, slots=True)
class Bar:
    """What a measure of Streame must reach.

    Args:
        measure: its name.
        limit: the bar.
        kind: whether the measure must be at least or at most that.
    """

    measure: str
    limit: float
    kind: Literal["at least", "at most"] = "at least"

    def holds(self, value: float) -> bool:
        """Whether a value is on the right side of the bar."""
        return value >= self.limit if self.kind == "at least" else value <= self.limit


@dataclass(frozen=True, slots=True)
class Case:
    """One benchmark.

    Args:
        name: what `--only` takes.
        title: what is measured, in a few words.
        streame: the side of Streame.
        rows: how many rows a full run takes.
        smoke_rows: how many rows a smoke run takes; 0 for one that is left out of it.
        peer: the side of what it is compared with.
        peer_name: what that is.
        peer_needs: the module without which it cannot run; only its absence is looked for here.
        bars: what Streame must reach.
        files: writes the files that both sides read; called once, before the rounds.
        rounds: how often each side runs.
        program: the command without which neither side can run.
    """

    name: str
    title: str
    streame: Side
    rows: int
    smoke_rows: int
    peer: Side | None = None
    peer_name: str = "Polars"
    peer_needs: str | None = None
    bars: tuple[Bar, ...] = ()
    files: Callable[[int, Path], None] | None = None
    rounds: int = 5
    program: str | None = None
