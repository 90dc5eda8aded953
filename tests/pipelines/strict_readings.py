"""Rows that do not fit the schema or a strict cast are set aside, with their place; their neighbours go on."""

import polars as pl

import streame as st
from tests.pipelines.given import Given

INPUTS = {
    "readings": Given(
        [
            {"sensor": "a", "value": "1.5", "at": "2024-02-29"},
            {"sensor": "b", "value": "warm", "at": "2024-02-29"},
            {"sensor": None, "value": "2", "at": "2024-03-01"},
            {"sensor": "a", "value": "3", "at": "2023-02-29"},
            {"sensor": 5, "value": "4", "at": "2024-03-01"},
            "no row",
            {"sensor": "c", "at": None, "battery": 0.5},
            {"sensor": "a", "value": "4", "at": "2024-03-02"},
        ],
        schema={"sensor": pl.String, "value": pl.String, "at": pl.String},
        on_error="dead_letter",
        required=["sensor"],
    )
}


def pipeline(readings: st.StreamDataFrame) -> dict[str, st.StreamDataFrame]:
    parsed = (
        readings.filter(pl.col("sensor") != "z")
        .cast({"value": pl.Float64})
        .with_columns(pl.col("at").str.to_date("%Y-%m-%d"))
    )
    return {"parsed": parsed, "refused": parsed.rejected.select("source", "offset", "operator", "kind")}
