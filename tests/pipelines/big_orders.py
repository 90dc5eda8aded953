"""Filter, a constant column, rename and select."""

import polars as pl

import streame as st
from streame.testing import batch
from tests.pipelines.given import Given

INPUTS = {
    "orders": Given(
        batch("""
            user:s     amount:i  paid:b
            ann        5         true
            bob        50        true
            cid        .         true     # no amount: neither big nor small
            "dan d"    70        .
            ""         900       false
            ann        51        true
        """)
    )
}


def pipeline(orders: st.StreamDataFrame) -> dict[str, st.StreamDataFrame]:
    big = (
        orders.filter(pl.col("amount") >= 50)
        .remove(pl.col("paid").not_())
        .add_static_column("origin", "web")
        .rename({"user": "customer"})
        .select("customer", "origin", cents=pl.col("amount") * 100)
    )
    return {"big": big}
