"""What is refused when a function with a state is put into a pipeline, and what `explain()` says of one."""

from datetime import timedelta
from typing import Any

import polars as pl
import pytest

import streame as st
from streame.errors import PlanError

ROWS = pl.DataFrame({"at": [1, 2], "user": ["ann", "bob"], "qty": [1, 2]})
GOOD: dict[str, Any] = {"state": None, "schema": {"n": pl.Int64}, "ttl": None}


def nothing(rows: pl.DataFrame, state: Any, group: st.Group) -> tuple[None, Any]:
    return None, state


def orders(**settings: Any) -> st.StreamDataFrame:
    return st.scan_frames([ROWS], name="orders", **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"state": {"a": (1,)}}, r"the state \{'a': \(1,\)\} cannot be kept: it\['a'\] is a tuple"),
        ({"state": object}, "cannot be kept: it cannot be encoded: a object has no encoding"),
        ({"ttl": 5}, "ttl=5 counts ticks, but the stream has no event time"),
        ({"ttl": "1mo"}, "map_with_state: ttl: cannot read the duration '1mo'"),
        ({"ttl": "0s"}, "ttl='0s' would forget every row at once"),
        ({"ttl": timedelta(0)}, "would forget every row at once"),
        ({"schema": {"n": "number"}}, "map_with_state: "),
    ],
)
def test_what_cannot_be_read_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        orders().group_by("user").map_with_state(nothing, **{**GOOD, **settings})


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(PlanError, match="map_with_state: found a str where a function is needed"):
        orders().group_by("user").map_with_state("nothing", **GOOD)  # type: ignore[arg-type]


def test_words_about_results_are_refused() -> None:
    for groups in (orders().group_by("user", emit="10s"), orders().group_by("user").having(pl.len() > 1)):
        with pytest.raises(PlanError, match="are about the results of aggregates"):
            groups.map_with_state(nothing, **GOOD)


def test_a_changes_stream_is_refused() -> None:
    totals = orders().group_by("user", "qty").agg(n=pl.len())
    with pytest.raises(PlanError, match="rows of a changes stream may be taken back"):
        totals.group_by("user").map_with_state(nothing, **GOOD)


def test_a_name_is_unique() -> None:
    one = orders().group_by("user").map_with_state(nothing, **GOOD)
    two = one.group_by("n").map_with_state(nothing, **GOOD, name="map_with_state user")
    with pytest.raises(PlanError, match="map_with_state user"):
        two.explain()


@pytest.mark.parametrize(
    ("stream", "settings", "lines"),
    [
        (orders(), {}, ["not repeatable: rows come as they arrive", "one per key, unbounded (ttl=None)"]),
        (orders(), {"ttl": "1h"}, ["one per key, freed 3600 s of the wall clock after its last row"]),
        (
            orders(event_time="at"),
            {"ttl": 7},
            ["rows wait for the watermark, and come in the order of at", "7 ticks past its last row"],
        ),
        (orders(event_time="at"), {"in_order": False}, ["not repeatable: rows come as they arrive"]),
    ],
)
def test_explain_says_what_python_costs_and_keeps(
    stream: st.StreamDataFrame, settings: dict[str, Any], lines: list[str]
) -> None:
    text = stream.group_by("user").map_with_state(nothing, **{**GOOD, **settings}).explain()
    for line in ["nothing: Python runs once per group and batch", *lines]:
        assert line in text


def test_event_time_goes_on_where_its_column_does() -> None:
    def with_columns(**columns: Any) -> str | None:
        grouped = orders(event_time="at").group_by("user")
        return grouped.map_with_state(nothing, state=None, ttl=None, schema=columns).event_time

    assert with_columns(at=pl.Int64, n=pl.Int64) == "at"
    assert with_columns(at=pl.Int32) is None
    assert with_columns(n=pl.Int64) is None
