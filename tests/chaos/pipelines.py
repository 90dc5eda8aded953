"""Jobs that use everything that keeps a state, over files; read in the folder that `recorded.py` has filled."""

import threading
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl

import streame as st

PAUSE_S = 0.02
"""How long the source of orders waits before each block: a job that ends at once cannot be disturbed."""

ORDERS = {"key": pl.Int64, "seq": pl.Int64, "at": pl.Datetime("ms"), "cents": pl.Int64, "share": pl.Float64}


class Paced(st.Source):
    """The files of another source, each after a short wait."""

    bounded = True

    def __init__(self, frame: st.StreamDataFrame) -> None:
        self._source: st.Source = frame.node.source  # type: ignore[attr-defined]

    def schema(self) -> pl.Schema:
        return self._source.schema()

    def splits(self) -> Sequence[str]:
        return self._source.splits()

    def read(self, split: str, offset: Any) -> Iterator[st.Chunk | None]:
        for chunk in self._source.read(split, offset):
            threading.Event().wait(PAUSE_S)
            yield chunk


def orders() -> st.StreamDataFrame:
    files = st.scan_ndjson("orders/", ORDERS, on_error="dead_letter")
    return st.scan(Paced(files), event_time="at", watermark="5s", on_error="dead_letter", name="orders")


def views() -> st.StreamDataFrame:
    files = st.scan_parquet("views/")
    return st.scan(Paced(files), event_time="seen", watermark="1s", name="views")


def users() -> st.StreamDataFrame:
    return st.scan_csv("users.csv", {"key": pl.Int64, "name": pl.String}, name="users")


def numbered(
    rows: pl.DataFrame, state: dict[str, int], group: st.Group
) -> tuple[pl.DataFrame | None, dict[str, int]]:
    """Numbers the orders of a key, and says after ten quiet seconds how many there were."""
    if group.fired:
        quiet = pl.DataFrame(
            {"key": [group.key[0]], "number": [state["seen"]], "seq": [-1], "at": [group.due]},
            schema={"key": pl.Int64, "number": pl.Int64, "seq": pl.Int64, "at": pl.Datetime("ms")},
        )
        return quiet, {**state, "quiet": state["quiet"] + 1}
    last = rows["at"].max()
    assert isinstance(last, datetime)
    group.call_at(last + timedelta(seconds=10))
    numbers = pl.int_range(state["seen"] + 1, state["seen"] + 1 + pl.len(), dtype=pl.Int64)
    out = rows.select("key", numbers.alias("number"), "seq", "at")
    return out, {**state, "seen": state["seen"] + rows.height}


def windows() -> st.Job:
    """Windows of several kinds, with their late rows, into Parquet parts."""
    all_orders = orders()
    minutes = all_orders.group_by_dynamic("at", every="10s", group_by="key", name="minutes").agg(
        n=pl.len(), cents=pl.col("cents").sum(), share=pl.col("share").mean(), last=pl.col("seq").max()
    )
    sessions = all_orders.group_by_session("at", gap="3s", group_by="key", name="sessions").agg(
        n=pl.len(), first=pl.col("seq").first()
    )
    return st.job(
        [
            minutes.sink_parquet("minutes/", name="minutes"),
            minutes.late.sink_ndjson("late/", name="late"),
            sessions.sink_csv("sessions/", name="sessions"),
            all_orders.rolling("at", period="2s", group_by="key", name="rolling")
            .agg(n=pl.len(), seen=pl.col("cents").max())
            .sink_ipc("rolling/", name="rolling"),
        ],
        name="windows",
    )


def changes() -> st.Job:
    """Results that are taken back and said anew, into one file of lines and into CSV parts."""
    all_orders = orders()
    counts = all_orders.group_by("key", name="counts").agg(
        n=pl.len(), cents=pl.col("cents").sum(), share=pl.col("share").sum(), most=pl.col("cents").max()
    )
    return st.job(
        [
            counts.sink_ndjson("counts.ndjson", changes=True, name="counts"),
            counts.group_by(pl.col("n") // 10, name="by size")
            .agg(keys=pl.len(), cents=pl.col("cents").sum())
            .sink_csv("sizes/", changes=True, name="sizes"),
            all_orders.top_k(20, by="cents", name="top").sink_csv("top.csv", changes=True, name="top"),
        ],
        name="changes",
    )


def joins() -> st.Job:
    """Streams with streams, and with a table."""
    all_orders, all_views = orders(), views()
    named = all_orders.join(users().as_table("key"), on="key", how="left", name="names")
    near = all_orders.join_interval(
        all_views, on="key", how="left", lower="-3s", upper="2s", name="near views"
    )
    return st.job(
        [
            named.sink_ndjson("named.ndjson.gz", name="named"),
            near.select("key", "seq", "view").sink_parquet("near/", part_rows=300, name="near"),
            all_orders.join(all_views, on="key", ttl="4s", name="with views")
            .select("key", "seq", "view")
            .sink_csv("met/", name="met"),
            all_orders.join_asof(all_views, left_on="at", right_on="seen", by="key", name="as of")
            .select("key", "seq", "view")
            .sink_ndjson("asof/", name="asof"),
        ],
        name="joins",
    )


def states() -> st.Job:
    """Rows that are remembered, functions with a state and timers, and dead letters of verbs."""
    all_orders = orders()
    schema = {"key": pl.Int64, "number": pl.Int64, "seq": pl.Int64, "at": pl.Datetime("ms")}
    strict = all_orders.with_columns(
        code=pl.when(pl.col("cents") % 50 == 0).then(pl.lit("x")).otherwise(pl.col("cents").cast(pl.String))
    ).with_columns(pl.col("code").cast(pl.Int16))
    return st.job(
        [
            all_orders.select("key", "seq", "cents").sink_parquet("raw/", part_rows=500, name="raw"),
            all_orders.unique(["key", "cents"], name="once").sink_ndjson("once.ndjson", name="once"),
            all_orders.group_by("key")
            .map_with_state(numbered, state={"seen": 0, "quiet": 0}, schema=schema, ttl="1m", name="numbered")
            .sink_csv("numbered.csv", name="numbered"),
            strict.select("key", "code").sink_ndjson("strict/", name="strict"),
            strict.rejected.drop("raw").sink_ndjson("refused.ndjson", name="refused"),
            all_orders.group_by_count(7, group_by="key", name="sevens")
            .agg(cents=pl.col("cents").sum())
            .sink_csv("sevens/", name="sevens"),
        ],
        name="states",
    )


def everything() -> st.Job:
    """One job with a bit of all, so that each disturbance meets all of them."""
    all_orders, all_views = orders(), views()
    schema = {"key": pl.Int64, "number": pl.Int64, "seq": pl.Int64, "at": pl.Datetime("ms")}
    counts = all_orders.group_by("key", name="counts").agg(n=pl.len(), cents=pl.col("cents").sum())
    minutes = all_orders.group_by_dynamic("at", every="10s", group_by="key", name="minutes").agg(n=pl.len())
    named = all_orders.join(users().as_table("key"), on="key", how="left", name="names")
    return st.job(
        [
            all_orders.select("key", "seq", "cents").sink_parquet("raw/", part_rows=500, name="raw"),
            minutes.sink_parquet("minutes/", name="minutes"),
            counts.sink_ndjson("counts.ndjson", changes=True, name="counts"),
            named.select("key", "seq", "name").sink_csv("named/", name="named"),
            all_orders.join(all_views, on="key", ttl="4s", name="with views")
            .select("key", "seq", "view")
            .sink_csv("met.csv", name="met"),
            all_orders.unique(["key", "cents"], name="once").sink_ndjson("once/", name="once"),
            all_orders.group_by("key")
            .map_with_state(numbered, state={"seen": 0, "quiet": 0}, schema=schema, ttl="1m", name="numbered")
            .sink_ndjson("numbered.ndjson", name="numbered"),
        ],
        name="everything",
    )


def small() -> st.Job:
    """A job with a state, and sinks of both kinds, that costs little."""
    all_orders = orders()
    counts = all_orders.group_by("key", name="counts").agg(n=pl.len(), cents=pl.col("cents").sum())
    return st.job(
        [
            all_orders.select("key", "seq", "cents").sink_parquet("raw/", name="raw"),
            counts.sink_ndjson("counts.ndjson", changes=True, name="counts"),
        ],
        name="small",
    )
