"""Joins that cannot work are refused when they are built, with the way out."""

from typing import Any

import polars as pl
import pytest

import streame as st
from tests.jobs.test_wrong_pipelines import Wrong, rows

TICKS = pl.DataFrame({"x": [1, 2, 3], "s": ["a", "b", None]})


def timed(name: str = "ticks") -> st.StreamDataFrame:
    return st.scan_frames([TICKS], name=name, event_time="x")


def changed() -> st.StreamDataFrame:
    return timed().group_by("x", "s").agg(n=pl.len())


def joined(other: Any, **arguments: Any) -> st.StreamDataFrame:
    return rows().join(other, **arguments)


def within(left: st.StreamDataFrame, right: Any, **arguments: Any) -> st.StreamDataFrame:
    return left.join_interval(right, **arguments)


def as_of(right: Any, **arguments: Any) -> st.StreamDataFrame:
    return timed().join_asof(right, **arguments)


CASES = {
    "no ttl": Wrong(lambda: joined(rows(), on="x"), r"join: say with ttl .*ttl='1d'.*ttl=None.*as_table"),
    "no key": Wrong(lambda: joined(rows(), ttl=None), "join: give the key columns with on"),
    "half a key": Wrong(
        lambda: joined(rows(), left_on="x", ttl=None), "left_on and right_on need each other"
    ),
    "two keys for one": Wrong(
        lambda: joined(rows(), left_on=["x"], right_on=["x", "s"], ttl=None), "left_on names 1 col"
    ),
    "three keys": Wrong(lambda: joined(rows(), on="x", left_on="x", right_on="x", ttl=None), "not both"),
    "unknown key": Wrong(lambda: joined(rows(), on="y", ttl=None), "join: .*'y'"),
    "nested key": Wrong(lambda: joined(rows(), on="t", ttl=None), "'t' of dtype .* cannot be a key"),
    "computed key": Wrong(
        lambda: joined(rows(), on=pl.col("x") + 1, ttl=None), "with_columns before the join"
    ),
    "other dtypes": Wrong(
        lambda: joined(rows(), left_on="x", right_on="s", ttl=None), "join: datatypes of join keys"
    ),
    "wait": Wrong(lambda: joined(rows(), on="x", wait="1s", ttl=None), "join: wait is for a table"),
    "how": Wrong(lambda: joined(rows(), on="x", how="cross", ttl=None), "join: how='cross' .*'anti'"),
    "ttl": Wrong(lambda: joined(rows(), on="x", ttl="soon"), "join: ttl: .*'soon'"),
    "ttl in ticks of nothing": Wrong(lambda: joined(rows(), on="x", ttl=5), "ttl is a number"),
    "ttl below zero": Wrong(lambda: timed().join(timed("b"), on="s", ttl=-5), "ttl=-5 is negative"),
    "ttl where event time is a key": Wrong(lambda: timed().join(timed("b"), on="x", ttl=5), "leave ttl out"),
    "ttl of a table": Wrong(lambda: joined(rows().as_table("x"), ttl="1d"), "join: ttl is for two streams"),
    "how with a table": Wrong(lambda: joined(rows().as_table("x"), how="full"), "join: how='full' .*ttl"),
    "wait below zero": Wrong(lambda: timed().join(rows().as_table("x"), wait=-1), "wait=-1 is negative"),
    "names": Wrong(
        lambda: joined(rows(), on="x", suffix="", ttl=None), "join: two columns would be called 's'"
    ),
    "no stream": Wrong(lambda: joined(TICKS, on="x"), "join: the other side is a DataFrame.*as_table"),
    "no event time": Wrong(
        lambda: within(rows(), timed(), lower=0, upper=1), "the left side has no event time"
    ),
    "no time between": Wrong(
        lambda: within(timed(), timed(), lower=2, upper=1), "no time is from lower=2 to upper=1"
    ),
    "seconds of ticks": Wrong(
        lambda: within(timed(), timed(), lower="1s", upper="2s"), "lower: x is an integer"
    ),
    "changes": Wrong(
        lambda: within(timed(), changed(), lower=1, upper=2), "right side is a changes stream.*on_close"
    ),
    "other clock": Wrong(
        lambda: within(timed(), dated(), lower=1, upper=2), "event times x .* and at .* cannot be compared"
    ),
    "as of another column": Wrong(lambda: as_of(timed(), on="s"), "which is 'x' on the left side; declare s"),
    "strategy": Wrong(lambda: as_of(timed(), strategy="sideways"), "strategy='sideways'"),
    "tolerance": Wrong(lambda: as_of(timed(), tolerance=-1), "tolerance=-1 is negative"),
    "half a by": Wrong(lambda: as_of(timed(), by_left="s"), "by_left and by_right need each other"),
    "as of a table": Wrong(
        lambda: as_of(rows().as_table("x")), "the other side is a StreamTable; give a StreamDataFrame$"
    ),
}


def dated() -> st.StreamDataFrame:
    return st.scan_frames([], schema={"at": pl.Datetime("us")}, event_time="at")


@pytest.mark.parametrize("case", CASES)
def test_a_join_that_cannot_work(case: str) -> None:
    with pytest.raises(st.PlanError, match=CASES[case].says):
        CASES[case].build()


def test_joins_of_one_name_need_another() -> None:
    other = timed("b")
    twice = timed().join_asof(other).drop("s_right").join_asof(other)
    with pytest.raises(st.PlanError, match=r"'join_asof b'; give one of them another name with name="):
        twice.explain()
