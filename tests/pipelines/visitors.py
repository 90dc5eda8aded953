"""An aggregate of its own and two sketches beside Polars' expressions, in windows that overlap."""

from collections.abc import Mapping
from typing import Any

import polars as pl

import streame as st
from tests.pipelines.given import Given

VISITS = pl.DataFrame(
    {
        "at": [n // 3 for n in range(900)],
        "page": [("home", "shop", "cart")[(n * n) % 7 % 3] for n in range(900)],
        "user": [(n * 37) % 101 for n in range(900)],
        "ms": [float((n * 7919) % 1_009) for n in range(900)],
    }
)

INPUTS = {"visits": Given(VISITS, time={"event_time": "at"})}


class Span(st.Aggregate):
    """The distance between the smallest and the largest value."""

    dtype = pl.Float64

    def create(self) -> Any:
        return []

    def add(self, state: Any, *columns: pl.Series) -> Any:
        return [*state, columns[0].min(), columns[0].max()]

    def merge(self, state: Any, other: Any) -> Any:
        return [*state, *other]

    def finish(self, state: Any) -> Any:
        return max(state) - min(state)


def pipeline(visits: st.StreamDataFrame) -> Mapping[str, st.StreamDataFrame]:
    """Per page: how many users, how long it took, and how much that varied."""
    windows = visits.group_by_dynamic("at", every="50i", period="100i", group_by="page")
    found = windows.agg(
        pl.len(),
        span=Span("ms"),
        users=st.approx_n_unique("user"),
        p90=st.approx_quantile("ms", 0.9),
    )
    return {"pages": found}
