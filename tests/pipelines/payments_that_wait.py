"""A left join with a table that never ends: rows wait for their table row, and leave without it at its end."""

import streame as st
from streame.testing import batch
from tests.pipelines.given import Given

INPUTS = {
    "payments": Given(
        batch("""
            order:i  part:s  cents:i
            1        a       100
            2        a       200
            3        a       300      # its order never comes
            1        b       150
            .        a       400
            2        b       250
        """),
        endless=True,
    ),
    "orders": Given(
        batch("""
            number:i  part:s  user:s
            9         a       zoe
            2         b       bob
            1         a       ann
            1         b       ann
            2         a       bob
        """),
        endless=True,
    ),
}


def pipeline(payments: st.StreamDataFrame, orders: st.StreamDataFrame) -> dict[str, st.StreamDataFrame]:
    table = orders.as_table(["number", "part"])
    paid = payments.join(table, left_on=["part", "order"], right_on=["part", "number"], how="left", wait=None)
    return {"paid": paid}
