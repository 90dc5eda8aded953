"""Lists become rows, structs become columns, and columns become rows."""

import polars as pl

import streame as st
from streame.testing import batch
from tests.pipelines.given import Given

INPUTS = {
    "baskets": Given(
        batch("""
            id:i  items:[List(Struct({'name': String, 'qty': Int64}))]         tags:[List(String)]
            1     [{"name": "tea", "qty": 2}, {"name": "milk", "qty": null}]   ["new", null]
            2     []                                                           ["old"]
            3     .                                                            []
            4     [null, {"name": "rice", "qty": 7}]                           .
        """)
    )
}


def pipeline(baskets: st.StreamDataFrame) -> dict[str, st.StreamDataFrame]:
    items = baskets.drop("tags").explode("items").unnest("items").fill_null(0)
    tags = baskets.select("id", "tags").explode("tags", empty_as_null=True).drop_nulls("tags")
    counts = items.with_columns(twice=pl.col("qty") * 2).unpivot(["qty", "twice"], index=["id", "name"])
    return {"items": items, "tags": tags, "counts": counts}
