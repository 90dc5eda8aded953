"""Sessions: a row that comes late, but within the watermark, makes one session of two; a row a gap later does not."""

import polars as pl

import streame as st
from streame.testing import batch
from tests.pipelines.given import Given

INPUTS = {
    "visits": Given(
        batch("""
            at:t                 user:s  page:i
            2024-05-01T12:00:00  ann     1
            2024-05-01T12:00:50  ann     2
            2024-05-01T12:00:10  bob     3
            2024-05-01T12:00:25  ann     4    # the bridge: 25 seconds to either side
            2024-05-01T12:00:40  bob     5    # exactly the gap after: another session
            2024-05-01T12:01:19  ann     6    # a second less than the gap after
            2024-05-01T12:02:30  cid     7    # the watermark is at 12:01:30
            2024-05-01T12:00:15  bob     8    # late
            2024-05-01T12:01:30  ann     9    # at the watermark, so in time: it lengthens ann's session
            2024-05-01T12:05:00  ann     10
        """),
        time={"event_time": "at", "watermark": "1m"},
    )
}


def pipeline(visits: st.StreamDataFrame) -> dict[str, st.StreamDataFrame]:
    sessions = visits.group_by_session("at", gap="30s", group_by="user")
    pages = sessions.agg(pages=pl.len(), first=pl.col("page").first(), last=pl.col("page").last())
    return {"sessions": pages, "late": pages.late}
