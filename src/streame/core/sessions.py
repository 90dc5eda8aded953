"""Sessions: rows of a key that follow each other closely."""

from dataclasses import dataclass

from streame.core.calendar import Span
from streame.core.emission import Emission, says_changes
from streame.core.time import EventTime

START, END = "start", "end"
"""The columns of a session's first and last time."""


@dataclass(frozen=True, slots=True)
class SessionRule:
    """What sessions are, and when they are said.

    Args:
        time: the event time of the rows.
        gap: a row that comes so many ticks after the one before it begins a new session.
        lateness: for how many ticks a session counts rows after it has closed.
        emission: when results are said.
    """

    time: EventTime
    gap: int
    lateness: int
    emission: Emission

    @property
    def is_changes(self) -> bool:
        """Whether what is said may be taken back."""
        return says_changes(self.emission) or self.lateness > 0


def ticks_text(ticks: int, time: EventTime) -> str:
    """A number of ticks for people."""
    return f"{ticks} ticks" if time.is_ticks else Span(fine=ticks * time.ns_per_tick).text()
