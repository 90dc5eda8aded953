"""Windows of the calendar: months and quarters of different lengths, across a leap day and a new year."""

import polars as pl

import streame as st
from streame.testing import batch
from tests.pipelines.given import Given

INPUTS = {
    "bills": Given(
        batch("""
            day:d       cents:i
            2023-12-31  1
            2024-01-01  10
            2024-01-31  100
            2024-02-29  1000
            2024-03-01  10000
            2024-03-31  100000
            2024-04-01  1000000
        """),
        time={"event_time": "day", "watermark": "3d"},
    )
}


def pipeline(bills: st.StreamDataFrame) -> dict[str, st.StreamDataFrame]:
    cents = pl.col("cents").sum()
    return {
        "months": bills.group_by_dynamic("day", every="1mo", include_boundaries=True).agg(cents),
        "quarters": bills.group_by_dynamic("day", every="1q", label="right").agg(cents),
        "two months": bills.group_by_dynamic("day", every="1mo", period="2mo").agg(cents),
        "weeks": bills.group_by_dynamic("day", every="1w").agg(cents),
        "from the 15th": bills.group_by_dynamic("day", every="1mo", offset="14d").agg(cents),
    }
