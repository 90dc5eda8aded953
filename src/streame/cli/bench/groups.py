"""What is kept for every key: a group that changes, rows seen before, a state of the user's own."""

import polars as pl

import streame as st
from streame.cli.bench import duck
from streame.cli.bench.case import Bar, Case
from streame.cli.bench.orders import MANY_USERS
from streame.cli.bench.sides import duckdb, placed_by, streame

TOTALS = "SELECT user_id, count(*) AS n, sum(price * qty) AS spent FROM orders GROUP BY ALL"


def totals(stream: st.StreamDataFrame) -> st.StreamDataFrame:
    """What every user has ordered so far."""
    return stream.group_by("user_id").agg(n=pl.len(), spent=(pl.col("price") * pl.col("qty")).sum())


CASES = (
    Case(
        "groups-1m",
        f"totals of {MANY_USERS:,} users, said anew with every batch",
        streame=streame(placed_by(MANY_USERS), totals, changes=True),
        peer=duckdb(placed_by(MANY_USERS), TOTALS),
        peer_name="DuckDB, only the final totals",
        peer_needs=duck.MODULE,
        rows=5_000_000,
        smoke_rows=200_000,
        bars=(Bar("rows_per_s", 2.5e6),),
        rounds=3,
    ),
)
