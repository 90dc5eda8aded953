"""Emission: when a grouping verb says its results."""

from datetime import timedelta
from typing import Literal

from streame.core.durations import duration_us
from streame.errors import PlanError

Emission = Literal["on_close", "changes"] | int
"""`on_close`: once, when nothing can change a result any more. `changes`: with every batch that changes it.

A number: every so many microseconds of the wall clock, if it has changed.
"""


def parse_emission(emit: object, *, where: str) -> Emission:
    """The argument `emit` of a grouping verb.

    Raises:
        PlanError: when it is none of the words and no duration above zero.
    """
    match emit:
        case "on_close" | "changes":
            return emit
        case str() | timedelta():
            every_us = duration_us(emit, where=f"{where}: emit")
        case _:
            raise PlanError(
                f"{where}: emit={emit!r} is not possible; use 'on_close', 'changes' or a duration such as '10s'"
            )
    if every_us <= 0:
        raise PlanError(f"{where}: emit={emit!r} is no time; use 'changes' to say results with every batch")
    return every_us


def says_changes(emission: Emission) -> bool:
    """Whether a result may be said before it is final, so that it may have to be taken back."""
    return emission != "on_close"


def emission_text(emission: Emission) -> str:
    """When results are said, for `explain()`."""
    match emission:
        case "on_close":
            return "said once, when it is final"
        case "changes":
            return "said with every batch that changes it"
        case every_us:
            return f"said every {every_us / 1e6:g} s of the wall clock, if it has changed"
