"""A function with a state and a timer for each sensor: rows come in disorder, alarms stand in their place all the same."""

from collections.abc import Mapping

import polars as pl

import streame as st
from streame.testing import batch
from tests.pipelines.given import Given

READINGS = batch("""
    sensor:s  at:i  value:f
    a         10    1.0
    b         12    5.0
    a         14    4.0     # two of a in disorder
    a         12    2.0
    b         19    .
    a         28    8.0     # a has been silent since 14
    b         40    6.0     # b since 19
    c         30    9.0
    b         29    7.0     # 11 behind, and so too late
    c         33    9.5
    a         60    3.0
""")

INPUTS = {"readings": Given(READINGS, time={"event_time": "at", "watermark": 10})}

SILENCE = 8
SAID = pl.Schema({"at": pl.Int64(), "sensor": pl.String(), "what": pl.String(), "mean": pl.Float64()})


def watched(
    rows: pl.DataFrame, state: dict[str, float], group: st.Group
) -> tuple[pl.DataFrame, dict[str, float]]:
    """The mean so far after every reading, and an alarm after a silence."""
    said: list[tuple[float, str, float | None]] = []
    last = state.get("last")
    if group.fired:
        return pl.DataFrame([(group.due, group.key[0], "silent", None)], schema=SAID, orient="row"), {}
    for at, value in rows.select("at", "value").rows():
        if last is not None and last + SILENCE < at:
            said.append((last + SILENCE, "silent", None))
            state = {}
        state = {
            "sum": state.get("sum", 0.0) + (value or 0.0),
            "count": state.get("count", 0) + (value is not None),
            "last": at,
        }
        last = at
        said.append((at, "mean", state["sum"] / state["count"] if state["count"] else None))
    group.call_at(rows["at"].to_list()[-1] + SILENCE)
    made = [(at, group.key[0], what, mean) for at, what, mean in said]
    return pl.DataFrame(made, schema=SAID, orient="row"), state


def pipeline(readings: st.StreamDataFrame) -> Mapping[str, st.StreamDataFrame]:
    """What is said of each sensor, the alarms in every 20 ticks, and what came too late."""
    said = readings.group_by("sensor").map_with_state(watched, state=dict, schema=SAID, ttl=1_000)
    alarms = said.filter(pl.col("what") == "silent").group_by_dynamic("at", every="20i").agg(n=pl.len())
    return {"said": said, "alarms": alarms, "late": said.late}
