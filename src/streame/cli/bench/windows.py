"""Windows over orders, against one query over all of them."""

import polars as pl

import streame as st
from streame.cli.bench import duck
from streame.cli.bench.case import Bar, Case
from streame.cli.bench.orders import MANY_USERS, USERS
from streame.cli.bench.sides import duckdb, placed_by, polars, streame

ROWS = 5_000_000

TUMBLING = """
    SELECT time_bucket(INTERVAL 10 SECONDS, ts) AS ts, user_id, count(*) AS n, sum(price * qty) AS spent
    FROM orders GROUP BY ALL
"""
HOPPING = """
    WITH slices AS (
        SELECT time_bucket(INTERVAL 2 SECONDS, ts) AS ts, user_id, count(*) AS n, sum(price * qty) AS spent
        FROM orders GROUP BY ALL
    )
    SELECT ts - to_seconds(2 * back) AS ts, user_id, sum(n)::BIGINT AS n, sum(spent) AS spent
    FROM slices, range(5) AS windows(back) GROUP BY ALL
"""
"""Slices first: a fifth faster than giving every order to its five windows."""


def tumbling(stream: st.StreamDataFrame) -> st.StreamDataFrame:
    """What every user orders in ten seconds."""
    windows = stream.group_by_dynamic("ts", every="10s", group_by="user_id")
    return windows.agg(n=pl.len(), spent=(pl.col("price") * pl.col("qty")).sum())


def hopping(stream: st.StreamDataFrame) -> st.StreamDataFrame:
    """The same for windows of ten seconds that begin every two."""
    windows = stream.group_by_dynamic("ts", every="2s", period="10s", group_by="user_id")
    return windows.agg(n=pl.len(), spent=(pl.col("price") * pl.col("qty")).sum())


def quantiles(stream: st.StreamDataFrame) -> st.StreamDataFrame:
    """An aggregate that needs all rows of its group."""
    windows = stream.group_by_dynamic("ts", every="10s", group_by="user_id")
    return windows.agg(dear=pl.col("price").quantile(0.95))


def quantiles_at_once(frame: pl.LazyFrame) -> pl.LazyFrame:
    """The same with the start of the window as a key, which is eight times as fast as `group_by_dynamic`."""
    keys = [pl.col("user_id"), pl.col("ts").dt.truncate("10s")]
    return frame.group_by(keys).agg(dear=pl.col("price").quantile(0.95))


def said_early(stream: st.StreamDataFrame) -> st.StreamDataFrame:
    """The same as `tumbling`, with every change of an open window."""
    windows = stream.group_by_dynamic("ts", every="10s", group_by="user_id", emit="changes")
    return windows.agg(n=pl.len(), spent=(pl.col("price") * pl.col("qty")).sum())


def sessions(stream: st.StreamDataFrame) -> st.StreamDataFrame:
    """What every user orders until two seconds pass without an order."""
    return stream.group_by_session("ts", gap="2s", group_by="user_id").agg(
        n=pl.len(), paid=pl.col("qty").sum()
    )


def sessions_at_once(frame: pl.LazyFrame) -> pl.LazyFrame:
    """The same by numbering the sessions of a user."""
    first = (pl.col("ts").diff() >= pl.duration(seconds=2)).fill_null(value=True).over("user_id")
    numbered = frame.with_columns(session=first.cum_sum().over("user_id"))
    return (
        numbered.group_by("user_id", "session")
        .agg(start=pl.col("ts").min(), end=pl.col("ts").max(), n=pl.len(), paid=pl.col("qty").sum())
        .drop("session")
    )


def _tumbling(name: str, users: int, batch_rows: int, bar: float, rounds: int = 5) -> Case:
    return Case(
        name,
        f"10 s windows of {users:,} users, batches of {batch_rows:,} rows",
        streame=streame(placed_by(users), tumbling, batch_rows=batch_rows),
        peer=duckdb(placed_by(users), TUMBLING),
        peer_name="DuckDB, one query",
        peer_needs=duck.MODULE,
        rows=ROWS,
        smoke_rows=200_000,
        bars=(Bar("ratio", bar),),
        rounds=rounds,
    )


CASES = (
    _tumbling("windows-64k", USERS, 65_536, 1.25),
    _tumbling("windows-8k", USERS, 8_192, 0.6),
    _tumbling("windows-1m", MANY_USERS, 65_536, 0.45, rounds=3),
    Case(
        "windows-hopping",
        f"windows of 10 s every 2 s of {USERS:,} users",
        streame=streame(placed_by(USERS), hopping),
        peer=duckdb(placed_by(USERS), HOPPING),
        peer_name="DuckDB, one query",
        peer_needs=duck.MODULE,
        rows=ROWS,
        smoke_rows=200_000,
        bars=(Bar("ratio", 0.4),),
        rounds=3,
    ),
    Case(
        "windows-quantile",
        f"a quantile per 10 s window of {USERS:,} users, with all rows kept",
        streame=streame(placed_by(USERS), quantiles),
        peer=polars(placed_by(USERS), quantiles_at_once),
        peer_name="Polars, one call",
        rows=ROWS,
        smoke_rows=200_000,
        bars=(Bar("ratio", 0.5),),
        rounds=3,
    ),
    Case(
        "windows-changes",
        f"10 s windows of {USERS:,} users, said anew with every batch",
        streame=streame(placed_by(USERS), said_early, changes=True),
        peer=duckdb(placed_by(USERS), TUMBLING),
        peer_name="DuckDB, only the final windows",
        peer_needs=duck.MODULE,
        rows=ROWS,
        smoke_rows=200_000,
        rounds=3,
    ),
    Case(
        "windows-session",
        f"sessions of {USERS:,} users, closed by 2 s without an order",
        streame=streame(placed_by(USERS), sessions),
        peer=polars(placed_by(USERS), sessions_at_once),
        peer_name="Polars, one call",
        rows=2_000_000,
        smoke_rows=200_000,
        rounds=3,
    ),
)
