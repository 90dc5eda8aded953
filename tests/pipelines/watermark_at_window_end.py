"""A watermark that equals the end of a window closes it where the end does not belong to it, and not where it does."""

import polars as pl

import streame as st
from streame.testing import batch
from tests.pipelines.given import Given

INPUTS = {
    "ticks": Given(
        batch("""
            at:i  v:i
            3     1
            12    2    # the watermark is 10
            9     3    # late for [0, 10), in time for (0, 10]
            10    4
            13    5    # the watermark is 11
            10    6    # late for (0, 10], in time for [10, 20)
            22    7    # the watermark is 20
            19    8    # late for [10, 20), in time for (10, 20]
            20    9
        """),
        time={"event_time": "at", "watermark": 2},
    )
}


def pipeline(ticks: st.StreamDataFrame) -> dict[str, st.StreamDataFrame]:
    outputs = {}
    for closed in ("left", "right", "both", "none"):
        windows = ticks.group_by_dynamic(
            "at", every="10i", closed=closed, include_boundaries=True, name=closed
        )
        outputs[closed] = windows.agg(v=pl.col("v").sum(), n=pl.len())
        outputs[f"late for {closed}"] = outputs[closed].late
    return outputs
