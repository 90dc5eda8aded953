"""A user's own aggregate that fails ends the job with one error that says whose it is."""

from typing import Any

import polars as pl
import pytest

import streame as st
from streame.errors import DataError


class Fails(st.Aggregate):
    """It fails in one of its methods, or returns what it should not."""

    dtype = pl.Int64

    def __init__(self, column: str, method: str, returned: Any = None) -> None:
        super().__init__(column)
        self._method = method
        self._returned = returned

    def _may_fail(self, method: str) -> None:
        if method == self._method:
            raise ZeroDivisionError("by nothing")

    def create(self) -> int:
        return 0

    def add(self, state: int, *columns: pl.Series) -> int:
        self._may_fail("add")
        return state + 1

    def merge(self, state: int, other: int) -> int:
        self._may_fail("merge")
        return state + other

    def finish(self, state: int) -> Any:
        self._may_fail("finish")
        return self._returned


def windows(aggregate: st.Aggregate) -> st.StreamDataFrame:
    """Overlapping windows with the aggregate."""
    rows = [pl.DataFrame({"at": [1, 7, 40], "v": [1, 2, 3]})]
    stream: st.StreamDataFrame = st.scan_frames(rows, event_time="at", on_error="dead_letter")
    return stream.group_by_dynamic("at", every="5i", period="10i").agg(x=aggregate)


@pytest.mark.parametrize("method", ["add", "merge", "finish"])
def test_a_method_that_raises(method: str) -> None:
    message = f"'x' cannot be computed: Fails.{method} raised ZeroDivisionError: by nothing"
    with pytest.raises(DataError, match=message) as raised:
        windows(Fails("v", method)).collect()
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
    assert "in operator group_by_dynamic at" in raised.value.__notes__[0]


@pytest.mark.parametrize("returned", ["a text", 1.5, [1], object()])
def test_a_result_of_another_dtype(returned: Any) -> None:
    with pytest.raises(DataError, match=r"'x' cannot be computed: Fails\.finish returned what is no Int64"):
        windows(Fails("v", "none", returned)).collect()


def test_no_result_is_null() -> None:
    assert set(windows(Fails("v", "none")).collect()["x"]) == {None}


def test_explain_says_that_python_runs() -> None:
    assert 'x = Fails(col("v")), Python once per group and batch' in windows(Fails("v", "none")).explain()
