"""A split that gives nothing is not waited for after its timeout; what it gives then may be late."""

import polars as pl

import streame as st
from streame.testing import batch
from tests.pipelines.given import Given

INPUTS = {
    "clicks": Given(
        [
            ("a", batch("at:t user:s\n 2024-05-01T12:00:01 ann\n 2024-05-01T12:00:09 bob")),
            ("b", batch("at:t user:s\n 2024-05-01T12:00:02 ann")),
            (
                "a",
                batch("at:t user:s\n 2024-05-01T12:00:25 ann"),
            ),  # b may still give a row of the first window
            "29s",
            ("b", batch("at:t user:s\n 2024-05-01T12:00:08 cid")),  # in time: b has not been silent for long
            ("a", batch("at:t user:s\n 2024-05-01T12:00:26 bob")),
            "30s",  # both are idle, and nothing closes
            ("a", batch("at:t user:s\n 2024-05-01T12:00:41 ann")),  # b is left out: three windows close
            (
                "b",
                batch("""
                    at:t                 user:s
                    2024-05-01T12:00:05  dan     # late for the first window
                    2024-05-01T12:00:31  eva     # late for the window that nobody else had rows for
                    2024-05-01T12:00:40  fay     # in time
                """),
            ),
            ("a", batch("at:t user:s\n 2024-05-01T12:01:00 ann")),  # b is waited for again
            ("b", batch("at:t user:s\n 2024-05-01T12:00:49 gil")),
        ],
        time={"event_time": "at", "idle_timeout": "30s"},
    )
}


def pipeline(clicks: st.StreamDataFrame) -> dict[str, st.StreamDataFrame]:
    counts = clicks.group_by_dynamic("at", every="10s").agg(n=pl.len(), users=pl.col("user").n_unique())
    return {"counts": counts, "late": counts.late}
