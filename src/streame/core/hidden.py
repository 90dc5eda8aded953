"""Hidden columns: what the engine keeps beside the user's columns of a row.

They travel with their row through filters, projections and shuffles, and no user function or sink sees them.
"""

from collections.abc import Collection, Iterable

import polars as pl

from streame.errors import PlanError

POSITION = "__position"
"""`{source, split, offset}` of the row, or null; there only where the plan asks for it."""

WEIGHT = "__weight"
"""+1 for a row that arrives, -1 for one that is taken back; there in every batch of a changes stream, and in no other."""

BEHIND = "__behind"
"""The watermark that the row's own split had reached just before it, if the row is older than that; else null.

It is there only in batches that hold such a row.
"""

HIDDEN = (POSITION, WEIGHT, BEHIND)

VALUES = "__put_together_"
"""How the names of columns begin that hold the values of several rows."""

_TAKEN = {*HIDDEN, "__group", "__time"}


def hidden_of(frame: pl.DataFrame) -> list[str]:
    """The hidden columns that a frame has."""
    columns = frame.columns
    return [name for name in HIDDEN if name in columns]


def arrivals(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame as the user knows it, without rows that are taken back."""
    return user_frame(frame.filter(pl.col(WEIGHT) > 0) if WEIGHT in frame.columns else frame)


def user_frame(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame as the user knows it."""
    hidden = hidden_of(frame)
    return frame.drop(hidden) if hidden else frame


def check_names(names: Iterable[str], where: str) -> None:
    """Refuse columns that the engine could not tell from its own.

    Args:
        names: the columns of a user.
        where: whose they are, with a colon and a space behind it; may be empty.

    Raises:
        PlanError: when a name is taken, or empty.
    """
    for name in names:
        if name in _TAKEN or name.startswith(VALUES):
            raise PlanError(f"{where}the column name {name!r} is taken by the engine; use another one")
        if not name:
            raise PlanError(f"{where}a column has no name: it is called ''; give it one")


def unused(name: str, taken: Collection[str]) -> str:
    """A name for a computed column that no other column has."""
    while name in taken:
        name += "_"
    return name
