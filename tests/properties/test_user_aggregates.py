"""A user's own aggregate gives what the same one of Polars gives beside it, in every verb that has aggregates."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as hst

import streame as st
from streame.testing import strategies
from tests.examples import examples
from tests.properties.running import collected, scanned

pytestmark = pytest.mark.timeout(300)


class Numbers(st.Aggregate):
    """Count, sum and largest value of the numbers, as a list; the state is a dict that is changed in place."""

    dtype = pl.List(pl.Int64)

    def create(self) -> dict[str, Any]:
        return {"count": 0, "sum": 0, "seen": []}

    def add(self, state: dict[str, Any], column: pl.Series) -> dict[str, Any]:
        values = column.drop_nulls().to_list()
        state["count"] += len(values)
        state["sum"] += sum(values)
        state["seen"] += values
        return state

    def merge(self, state: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
        state["count"] += other["count"]
        state["sum"] += other["sum"]
        state["seen"] += other["seen"]
        return state

    def retract(self, state: dict[str, Any], *columns: pl.Series) -> dict[str, Any]:
        """Take rows back."""
        for value in columns[0].drop_nulls().to_list():
            state["seen"].remove(value)
            state["count"] -= 1
            state["sum"] -= value
        return state

    def finish(self, state: dict[str, Any]) -> list[int]:
        return [state["count"], state["sum"], max(state["seen"], default=-1)]


BESIDE = pl.concat_list(
    pl.col("v").count().cast(pl.Int64),
    pl.col("v").sum(),
    pl.col("v").max().fill_null(-1).cast(pl.Int64),
)


def totals(frame: Any) -> Any:
    """A changes stream with an event time."""
    return frame.group_by("k", "at").agg(v=pl.col("v").sum().cast(pl.Int64))


VERBS: dict[str, Callable[[Any], Any]] = {
    "group_by": lambda frame: frame.group_by("k"),
    "group_by, at the end": lambda frame: frame.group_by("k", emit="on_close"),
    "tumbling": lambda frame: frame.group_by_dynamic("at", every="10i", group_by="k"),
    "hopping": lambda frame: frame.group_by_dynamic("at", every="4i", period="10i", group_by="k"),
    "with gaps": lambda frame: frame.group_by_dynamic("at", every="10i", period="7i"),
    "said early": lambda frame: frame.group_by_dynamic("at", every="10i", group_by="k", emit="changes"),
    "growing": lambda frame: frame.group_by_dynamic("at", every="3i", cumulate="9i", label="right"),
    "kept for late rows": lambda frame: frame.group_by_dynamic("at", every="4i", group_by="k", lateness="9i"),
    "sessions said early": lambda frame: frame.group_by_session("at", gap="3i", group_by="k", emit="changes"),
    "counts": lambda frame: frame.group_by_count(3, group_by="k"),
    "sessions": lambda frame: frame.group_by_session("at", gap="3i", group_by="k"),
    "changes": lambda frame: totals(frame).group_by("k"),
    "windows of changes": lambda frame: totals(frame).group_by_dynamic(
        "at", every="5i", period="10i", group_by="k"
    ),
}


@pytest.mark.parametrize("verb", VERBS)
@given(data=hst.data())
@settings(max_examples=examples(10))
def test_as_polars_has_it(verb: str, data: hst.DataObject) -> None:
    key = {"k": data.draw(hst.sampled_from([pl.String(), pl.Int64(), pl.Float64()]))}
    values = {"v": pl.Int32()}
    ordered = data.draw(strategies.timed_frames(key, values, dtype=pl.Int64(), max_size=30))
    delay = data.draw(hst.integers(0, 6), label="delay")
    rows = data.draw(strategies.disordered(ordered, "at", delay), label="rows")
    stream = scanned(data.draw(strategies.batch_cuts(rows)), event_time="at", watermark=delay)
    both = VERBS[verb](stream.cast({"v": pl.Int64})).agg(own=Numbers(pl.col("v")), beside=BESIDE)
    for optimized, parallelism in ((True, 1), (False, 3)):
        note(f"{optimized=} {parallelism=}")
        found = collected(both, optimized=optimized, parallelism=parallelism)
        assert found["own"].to_list() == found["beside"].to_list()
        assert found.height or not rows.height or verb == "with gaps"
