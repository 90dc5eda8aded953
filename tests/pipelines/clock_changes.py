"""Days of a time zone on the nights on which its clocks are changed: one has 23 hours, one has 25."""

import polars as pl

import streame as st
from streame.testing import batch
from tests.pipelines.given import Given

SPRING = batch("""
    at:z                 n:i
    2024-03-30T22:59:00  1     # the last minute of Saturday in Berlin
    2024-03-30T23:00:00  2
    2024-03-31T00:30:00  3     # half past one; the clocks go from two to three
    2024-03-31T01:00:00  4     # three o'clock
    2024-03-31T21:59:59  5
    2024-03-31T22:00:00  6     # Monday
""")
AUTUMN = batch("""
    at:z                 n:i
    2024-10-26T21:59:00  10    # Saturday
    2024-10-26T22:00:00  20
    2024-10-27T00:30:00  30    # half past two, for the first time
    2024-10-27T01:30:00  40    # half past two, for the second time
    2024-10-27T22:59:59  50
    2024-10-27T23:00:00  60    # Monday
""")
BERLIN = pl.concat([SPRING, AUTUMN]).with_columns(pl.col("at").dt.convert_time_zone("Europe/Berlin"))

INPUTS = {"trips": Given(BERLIN, time={"event_time": "at", "watermark": "1d"})}


def pipeline(trips: st.StreamDataFrame) -> dict[str, st.StreamDataFrame]:
    n = pl.col("n").sum()
    return {
        "days": trips.group_by_dynamic("at", every="1d", include_boundaries=True).agg(n, rows=pl.len()),
        "hours": trips.group_by_dynamic("at", every="1h").agg(n),
        "weeks": trips.group_by_dynamic("at", every="1w").agg(n),
    }
