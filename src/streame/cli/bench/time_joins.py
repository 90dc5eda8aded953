"""Two streams joined by their times: within an interval against DuckDB, as of a time against Polars."""

from collections.abc import Mapping

import polars as pl

import streame as st
from streame.cli.bench import duck
from streame.cli.bench.case import Bar, Case
from streame.cli.bench.orders import SEED, USERS, orders
from streame.cli.bench.sides import Inputs, duckdb, polars, streame

ROWS = 2_000_000
PAYING_USERS = 100_000

WITHIN_TEN_SECONDS = """
    SELECT orders.*, payments.ts AS paid_at, paid
    FROM orders JOIN payments ON orders.user_id = payments.user_id
        AND payments.ts BETWEEN orders.ts AND orders.ts + INTERVAL 10 SECONDS
"""
"""A user orders every ten seconds on average, and pays as often: an order meets one payment, more or less."""


def two_streams(users: int) -> Inputs:
    """Orders and as many payments of the same users, a few microseconds later."""

    def inputs(rows: int) -> Mapping[str, pl.DataFrame]:
        payments = orders(rows, users, seed=SEED + 1).select(
            pl.col("ts") + pl.duration(microseconds=37), "user_id", paid="price"
        )
        return {"orders": orders(rows, users), "payments": payments}

    return inputs


def without_key(rows: int) -> Mapping[str, pl.DataFrame]:
    """The same; the payments are nobody's."""
    frames = two_streams(USERS)(rows)
    return {**frames, "payments": frames["payments"].drop("user_id")}


def within(orders: st.StreamDataFrame, payments: st.StreamDataFrame) -> st.StreamDataFrame:
    """Every order with the payments of its user in the ten seconds from then on."""
    paid = payments.rename({"ts": "paid_at"})
    return orders.join_interval(paid, on="user_id", lower="0s", upper="10s")


def as_of(orders: st.StreamDataFrame, payments: st.StreamDataFrame) -> st.StreamDataFrame:
    """Every order with the last payment of its user."""
    return orders.join_asof(payments, on="ts", by="user_id")


def as_of_at_once(orders: pl.LazyFrame, payments: pl.LazyFrame) -> pl.LazyFrame:
    """The same in Polars."""
    return orders.join_asof(payments, on="ts", by="user_id", check_sortedness=False)


def as_of_anybody(orders: st.StreamDataFrame, payments: st.StreamDataFrame) -> st.StreamDataFrame:
    """Every order with the last payment of anybody."""
    return orders.join_asof(payments, on="ts")


def as_of_anybody_at_once(orders: pl.LazyFrame, payments: pl.LazyFrame) -> pl.LazyFrame:
    """The same in Polars."""
    return orders.join_asof(payments, on="ts")


CASES = (
    Case(
        "join-interval",
        f"orders and payments of {PAYING_USERS:,} users within 10 s",
        streame=streame(two_streams(PAYING_USERS), within),
        peer=duckdb(two_streams(PAYING_USERS), WITHIN_TEN_SECONDS),
        peer_name="DuckDB, one query",
        peer_needs=duck.MODULE,
        rows=ROWS,
        smoke_rows=100_000,
        bars=(Bar("ratio", 0.4),),
        rounds=3,
    ),
    Case(
        "join-asof-by",
        f"orders as of the last payment of each of {USERS:,} users",
        streame=streame(two_streams(USERS), as_of),
        peer=polars(two_streams(USERS), as_of_at_once),
        peer_name="Polars, one call",
        rows=ROWS,
        smoke_rows=100_000,
        bars=(Bar("ratio", 0.4),),
    ),
    Case(
        "join-asof",
        "orders as of the last payment of anybody",
        streame=streame(without_key, as_of_anybody),
        peer=polars(without_key, as_of_anybody_at_once),
        peer_name="Polars, one call",
        rows=ROWS,
        smoke_rows=100_000,
        bars=(Bar("ratio", 0.1),),
    ),
)
