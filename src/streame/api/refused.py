"""The methods of `polars.LazyFrame` that Streame refuses by name: why, and what to use instead."""

from collections.abc import Iterable
from difflib import get_close_matches

from streame.errors import PlanError

_ORDER = "a stream that goes on has no last row, so its rows cannot be ordered or counted from the end"
_NEIGHBOURS = "it needs the rows before or after a row, which may be in another batch or not have come yet"
_FIRST = "which rows are the first depends on the order in which splits are read"
_WHOLE = (
    "it is one row about all rows, which changes with every row; use group_by(all_rows=pl.lit(True)).agg(...)"
)
_LOCAL = "it is about how Polars runs one query in memory"

REFUSED: dict[str, str] = {
    "cache": f"{_LOCAL}; a stream that feeds several sinks is read once in any case",
    "clear": "it makes an empty frame; use filter(pl.lit(False))",
    "clone": "a StreamDataFrame never changes, so there is no need to copy it",
    "collect_async": "use st.job(...).start() and wait for it in a thread",
    "collect_batches": "use sink_queue(queue, as_frames=True)",
    "count": _WHOLE,
    "describe": _WHOLE,
    "deserialize": "a plan holds sources and functions; keep the program that builds it",
    "execute": "use st.job(...).run()",
    "first": _WHOLE,
    "from_lazyframe_resolver": _LOCAL,
    "gather": _ORDER,
    "gather_every": _NEIGHBOURS,
    "head": f"{_FIRST}; collect() a source that ends, and use head on the result",
    "inspect": "use sink_console() as one more sink of the job",
    "interpolate": _NEIGHBOURS,
    "join_where": "a join without equal keys cannot be found in an index; use join on a table and filter",
    "last": _WHOLE,
    "lazy": "a StreamDataFrame is lazy already",
    "limit": f"{_FIRST}; collect() a source that ends, and use limit on the result",
    "match_to_schema": "give the schema to the source, and use select and cast",
    "max": _WHOLE,
    "mean": _WHOLE,
    "median": _WHOLE,
    "merge_sorted": f"{_ORDER}; use st.concat",
    "min": _WHOLE,
    "null_count": _WHOLE,
    "pipe_with_schema": "use pipe; the schema is known at every step as .schema",
    "pivot": "its columns depend on the values that come; use select with when/then",
    "quantile": _WHOLE,
    "remote": _LOCAL,
    "reverse": _ORDER,
    "select_seq": "use select",
    "serialize": "a plan holds sources and functions; keep the program that builds it",
    "set_sorted": _ORDER,
    "shift": _NEIGHBOURS,
    "show": "use sink_console()",
    "show_graph": "use explain()",
    "sink_batches": "use sink_queue(queue, as_frames=True), or st.sink(my_sink)",
    "sink_delta": "there is no such sink; use sink_parquet, or st.sink(my_sink)",
    "sink_iceberg": "there is no such sink; use sink_parquet, or st.sink(my_sink)",
    "slice": _ORDER,
    "sort": f"{_ORDER}; sort the result, or the rows that a sink has written",
    "sql": "there is no SQL; the verbs take Polars expressions",
    "std": _WHOLE,
    "sum": _WHOLE,
    "tail": _ORDER,
    "update": "use join on a table and pl.coalesce",
    "var": _WHOLE,
    "with_columns_seq": "use with_columns",
    "with_row_index": f"{_NEIGHBOURS}; rows of several splits have no common number",
}


class RefusedVerbError(PlanError, AttributeError):
    """A method that Polars has and Streame refuses; an `AttributeError` too, so that `hasattr` says no."""


def refuse(name: str, known: Iterable[str]) -> RefusedVerbError:
    """The error for a verb that is not there: refused with the reason, or unknown but close to one of `known`."""
    reason = REFUSED.get(name)
    if reason is None:
        close = get_close_matches(name, list(known), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "; see the verbs in the documentation"
        return RefusedVerbError(f"StreamDataFrame has no method {name!r}{hint}")
    return RefusedVerbError(f"{name} is refused: {reason}")
