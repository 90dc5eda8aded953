"""The steps that an operator is taken through in a test: rows, watermarks, time that passes, ends."""

from dataclasses import dataclass

import polars as pl

from streame.core.messages import Batch, Positions, SplitStatus


@dataclass(frozen=True)
class Push:
    """Rows come on an input."""

    frame: pl.DataFrame
    port: int = 0
    positions: Positions | None = None
    split: tuple[str, str] | None = None

    @property
    def batch(self) -> Batch:
        """What the operator gets."""
        return Batch(self.frame, self.positions, self.split)


@dataclass(frozen=True)
class Mark:
    """Event time has come so far."""

    time: int


@dataclass(frozen=True)
class Pass:
    """Time passes by the wall clock; a timer whose time has come fires."""

    seconds: float


@dataclass(frozen=True)
class End:
    """An input has ended."""

    port: int = 0


@dataclass(frozen=True)
class Tell:
    """What a source says of a split."""

    status: SplitStatus


Step = Push | Mark | Pass | End | Tell
