"""What all sources have in common: checks, a place in the plan, event time."""

from collections.abc import Collection
from datetime import timedelta

import polars as pl

from streame.api.dataframe import StreamDataFrame
from streame.core.deadletters import OnError
from streame.core.expressions import unknown_column
from streame.core.hidden import check_names
from streame.errors import PlanError
from streame.io.source import Source
from streame.plan.nodes import Scan


def scanned(source: Source, name: str, on_error: OnError, required: Collection[str]) -> StreamDataFrame:
    """The rows of a source, after a look at what it is."""
    if on_error not in {"fail", "dead_letter", "drop"}:
        raise PlanError(f"source {name!r}: on_error={on_error!r}; use 'fail', 'dead_letter' or 'drop'")
    if isinstance(source, type):
        raise PlanError(f"source {name!r}: give an object of the class {source.__name__}, not the class")
    missing = [part for part in ("bounded", "schema", "splits", "read") if not hasattr(source, part)]
    if missing:
        raise PlanError(
            f"source {name!r} is a {type(source).__name__} without {', '.join(missing)}; see st.Source"
        )
    schema = pl.Schema(source.schema())
    if not schema:
        raise PlanError(f"source {name!r} has no columns, and rows without columns cannot be counted")
    check_names(schema, f"source {name!r}: ")
    for column in required:
        if column not in schema:
            raise unknown_column(column, schema, where=f"source {name!r}: required")
    return StreamDataFrame(Scan(source, name, on_error, schema, tuple(required)))


def timed(
    frame: StreamDataFrame,
    event_time: str | None,
    watermark: str | timedelta | int,
    idle_timeout: str | timedelta,
) -> StreamDataFrame:
    """The rows with event time, if a column is named."""
    if event_time is None:
        if watermark not in {"0s", 0, timedelta(0)}:
            raise PlanError(
                f"watermark={watermark!r} says how late rows may be, but no column says when they happened; give "
                "event_time= too, or declare both with .with_event_time(...)"
            )
        return frame
    return frame.with_event_time(event_time, watermark=watermark, idle_timeout=idle_timeout)
