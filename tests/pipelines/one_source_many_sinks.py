"""A source that several outputs share, one of them joined with a table that is made of it."""

import polars as pl

import streame as st
from streame.testing import batch
from tests.pipelines.given import Given

INPUTS = {
    "shop": Given(
        batch("""
            user:s  amount:i
            ann     5
            bob     7
            ann     9
            .       1
        """)
    ),
    "web": Given(
        batch("""
            user:s  amount:i
            cid     3
            bob     .
        """)
    ),
}


def pipeline(shop: st.StreamDataFrame, web: st.StreamDataFrame) -> dict[str, st.StreamDataFrame]:
    everything = st.concat([shop.with_columns(origin=pl.lit("shop")), web.with_columns(origin=pl.lit("web"))])
    latest = shop.rename({"amount": "latest"}).as_table("user")
    return {
        "all": everything,
        "big": everything.filter(pl.col("amount") > 4).select("user", "origin"),
        "shop": shop.join(latest, on="user", how="left"),
        "loud": shop.map_batches(_loud, row_wise=True),
    }


def _loud(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col("user").str.to_uppercase())
