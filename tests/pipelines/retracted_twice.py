"""Aggregates of aggregates: what the first one takes back, the second one takes back too, its maximum included."""

import polars as pl

import streame as st
from streame.testing import batch
from tests.pipelines.given import Given

INPUTS = {
    "orders": Given(
        batch("""
            user:s  shop:s  amount:i
            ann     web     5
            bob     web     7
            ann     web     -5      # ann falls back to nothing
            cid     mall    1
            bob     web     -9      # bob was the best, and is the worst
            cid     mall    1
            .       mall    4
            ann     mall    3
        """)
    )
}


def pipeline(orders: st.StreamDataFrame) -> dict[str, st.StreamDataFrame]:
    totals = orders.group_by("shop", "user").agg(total=pl.col("amount").sum(), orders=pl.len())
    shops = totals.group_by("shop", name="shops").agg(
        users=pl.len(), best=pl.col("total").max(), worst=pl.col("total").min(), total=pl.col("total").sum()
    )
    sizes = totals.group_by("orders").agg(customers=pl.len(), spent=pl.col("total").mean())
    positive = (
        totals.filter(pl.col("total") > 0).group_by("shop", name="positive").agg(pl.col("user").n_unique())
    )
    return {"totals": totals, "shops": shops, "sizes": sizes, "positive": positive}
