"""What is kept for every key: a group that changes, rows seen before, a state of the user's own."""

import polars as pl

import streame as st
from streame.cli.bench import duck
from streame.cli.bench.case import Bar, Case
from streame.cli.bench.orders import MANY_USERS
from streame.cli.bench.sides import duckdb, placed_by, polars, streame

FEW_USERS = 1_000

TOTALS = "SELECT user_id, count(*) AS n, sum(price * qty) AS spent FROM orders GROUP BY ALL"


def totals(stream: st.StreamDataFrame) -> st.StreamDataFrame:
    """What every user has ordered so far."""
    return stream.group_by("user_id").agg(n=pl.len(), spent=(pl.col("price") * pl.col("qty")).sum())


def distinct(stream: st.StreamDataFrame) -> st.StreamDataFrame:
    """The first order of an item by a user in an hour; all orders fall into one."""
    return stream.unique(["user_id", "item"], keep="first", within="1h")


def distinct_at_once(frame: pl.LazyFrame) -> pl.LazyFrame:
    """The same in Polars."""
    return frame.unique(["user_id", "item"], keep="first")


def running(rows: pl.DataFrame, paid: int, group: st.Group) -> tuple[pl.DataFrame, int]:
    """A user's orders with what was ordered up to then."""
    so_far = rows["qty"].cum_sum() + paid
    return rows.select("ts", "user_id", so_far.alias("so_far")), so_far[-1]


def running_totals(stream: st.StreamDataFrame) -> st.StreamDataFrame:
    """A function with a state for every user."""
    schema = {"ts": pl.Datetime("us"), "user_id": pl.Int64, "so_far": pl.Int64}
    return stream.group_by("user_id").map_with_state(running, state=0, schema=schema, ttl=None)


def running_totals_at_once(frame: pl.LazyFrame) -> pl.LazyFrame:
    """The same in Polars."""
    return frame.select("ts", "user_id", so_far=pl.col("qty").cum_sum().over("user_id"))


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
    Case(
        "unique",
        f"the first order of each of 1,000 items by each of {FEW_USERS:,} users",
        streame=streame(placed_by(FEW_USERS), distinct),
        peer=polars(placed_by(FEW_USERS), distinct_at_once),
        peer_name="Polars, one call",
        rows=2_000_000,
        smoke_rows=100_000,
        rounds=3,
    ),
    Case(
        "map-with-state",
        f"a Python function with a state for each of {FEW_USERS:,} users",
        streame=streame(placed_by(FEW_USERS), running_totals),
        peer=polars(placed_by(FEW_USERS), running_totals_at_once),
        peer_name="Polars, an expression",
        rows=1_000_000,
        smoke_rows=100_000,
        rounds=3,
    ),
)
