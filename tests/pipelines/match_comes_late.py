"""A left join by an interval: a match may come after the row, in time or late; without one the row leaves with nulls."""

import streame as st
from streame.testing import batch
from tests.pipelines.given import Given

INPUTS = {
    "orders": Given(
        batch("""
            at:t                 order:i
            2024-05-01T12:00:00  1
            2024-05-01T12:01:00  2
            2024-05-01T12:02:00  3
            2024-05-01T12:09:00  4
        """),
        time={"event_time": "at", "watermark": "2m"},
    ),
    "payments": Given(
        batch("""
            at:t                 order:i  cents:i
            2024-05-01T12:10:00  9        900
            2024-05-01T12:05:00  1        100     # at the last moment, and five minutes out of order
            2024-05-01T12:06:01  2        200     # a second too late for the order
            2024-05-01T12:06:00  2        201
            2024-05-01T12:20:00  4        400
            2024-05-01T12:03:00  3        300     # behind the watermark: late
        """),
        time={"event_time": "at", "watermark": "5m"},
    ),
}


def pipeline(orders: st.StreamDataFrame, payments: st.StreamDataFrame) -> dict[str, st.StreamDataFrame]:
    paid = orders.join_interval(payments, on="order", lower="0s", upper="5m", how="left")
    return {"paid": paid, "late": paid.late}
