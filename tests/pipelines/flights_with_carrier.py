"""An inner join with a bounded table: the last row of every key counts, and null meets nothing."""

import polars as pl

import streame as st
from streame.testing import batch
from tests.pipelines.given import Given

INPUTS = {
    "flights": Given(
        batch("""
            carrier:s  flight:i  delay:f
            UA         1         5.5
            AA         2         .
            .          3         1
            XX         4         2
            UA         5         -3
            AA         6         20
        """)
    ),
    "carriers": Given(
        batch("""
            carrier:s  name:s           delay:f
            UA         "United (old)"   0
            AA         American         1
            .          nobody           2
            UA         United           3
            ZZ         unused           4
        """)
    ),
}


def pipeline(flights: st.StreamDataFrame, carriers: st.StreamDataFrame) -> dict[str, st.StreamDataFrame]:
    joined = flights.join(carriers.as_table("carrier"), on="carrier")
    late = joined.filter(pl.col("delay") > pl.col("delay_right")).select("flight", "name")
    return {"joined": joined, "late": late}
