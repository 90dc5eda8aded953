"""A window without rows is not said; where windows leave gaps, a row in a gap is in no window, and is not late."""

import polars as pl

import streame as st
from streame.testing import batch
from tests.pipelines.given import Given

INPUTS = {
    "sales": Given(
        batch("""
            at:t                 item:s  qty:i
            2024-05-01T12:00:00  tea     1
            2024-05-01T12:59:59  cup     2
            2024-05-01T15:20:00  tea     3     # nothing between one and three o'clock
            2024-05-01T15:31:00  tea     4     # in the gap of the half hours
            2024-05-03T00:00:00  cup     .
        """),
        time={"event_time": "at"},
    )
}


def pipeline(sales: st.StreamDataFrame) -> dict[str, st.StreamDataFrame]:
    hours = sales.group_by_dynamic("at", every="1h").agg(
        qty=pl.col("qty").sum(), items=pl.col("item").n_unique()
    )
    halves = sales.group_by_dynamic("at", every="1h", period="30m", group_by="item", label="right")
    first_halves = halves.agg(n=pl.len())
    return {"hours": hours, "first halves": first_halves, "late": first_halves.late}
