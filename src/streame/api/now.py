"""Processing time: windows of the time in which rows come."""

from dataclasses import dataclass

import polars as pl
from polars.exceptions import PolarsError

from streame.core.time import EventTime
from streame.errors import PlanError


@dataclass(frozen=True, slots=True)
class Now:
    """The time in which a row comes, by the wall clock; made by `st.now`, for `group_by_dynamic`.

    Attributes:
        name: the name of the column that it becomes.
        time_zone: its time zone.
    """

    name: str
    time_zone: str

    @property
    def time(self) -> EventTime:
        """The column that it becomes."""
        return EventTime(self.name, pl.Datetime("us", self.time_zone))


def now(name: str = "now", *, time_zone: str = "UTC") -> Now:
    """The time in which a row comes, in the place of the time in which something happened.

    Windows over it close by the wall clock, whether rows come or not, and no row is ever late. Which rows meet in a
    window depends on when they are read, so a repeated run gives other results; `explain()` says so.

    Args:
        name: the name of the window's column in the result.
        time_zone: the time zone of its windows.

    Returns:
        What `group_by_dynamic` takes in the place of a column.

    Raises:
        PlanError: when there is no such time zone.

    Example:
        >>> import polars as pl, streame as st
        >>> clicks = st.scan_frames([pl.DataFrame({"page": ["a", "b", "a"]})])
        >>> counts = clicks.group_by_dynamic(st.now(), every="1h", group_by="page").agg(n=pl.len())
        >>> counts.columns
        ['page', 'now', 'n']
    """
    try:
        pl.Series([0], dtype=pl.Int64).cast(pl.Datetime("us", time_zone)).dt.truncate("1d")
    except PolarsError as error:
        raise PlanError(
            f"now: there is no time zone {time_zone!r}; use one such as 'Europe/Berlin'"
        ) from error
    return Now(name, time_zone)
