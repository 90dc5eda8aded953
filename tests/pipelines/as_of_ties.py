"""Prices as of a trade: of several at one time the last or the first, of two equally far the later."""

import polars as pl

import streame as st
from streame.testing import batch
from tests.pipelines.given import Given

INPUTS = {
    "trades": Given(
        batch("""
            at:t                 item:s  trade:i
            2024-05-01T12:00:10  tea     1
            2024-05-01T12:00:05  tea     2      # out of order
            2024-05-01T12:00:20  cup     3
            2024-05-01T12:00:20  .       4      # null meets nothing
            2024-05-01T12:00:40  tea     5
        """),
        time={"event_time": "at", "watermark": "10s"},
    ),
    "prices": Given(
        batch("""
            at:t                 item:s  price:i
            2024-05-01T12:00:00  tea     100
            2024-05-01T12:00:05  tea     101    # a tie
            2024-05-01T12:00:05  tea     102
            2024-05-01T12:00:25  cup     200
            2024-05-01T12:00:15  cup     201    # as far from the trade as the other
            2024-05-01T12:00:20  .       300
            2024-05-01T12:00:15  tea     103
            2024-05-01T12:00:15  tea     104
        """),
        time={"event_time": "at", "watermark": "10s"},
    ),
}


def pipeline(trades: st.StreamDataFrame, prices: st.StreamDataFrame) -> dict[str, st.StreamDataFrame]:
    outputs = {}
    for strategy in ("backward", "forward", "nearest"):
        outputs[strategy] = trades.join_asof(prices, on="at", by="item", strategy=strategy, name=strategy)
    outputs["recent"] = trades.join_asof(prices, on="at", by="item", tolerance="5s")
    return {name: frame.select("trade", pl.col("price")) for name, frame in outputs.items()}
