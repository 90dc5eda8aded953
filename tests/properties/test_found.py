"""Chains that once gave something else than Polars, each named for what was wrong."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.properties.chains import Verb, applied
from tests.properties.running import collected, scanned

FRAME = pl.DataFrame({"x": [1, 2, None], "s": ["a", None, "c"]})

FOUND = {
    "pruning asked a narrowed plan for a column": [
        "frame.with_columns(pl.lit(5).alias('b'))",
        "frame.fill_null(0)",
        "frame.select(pl.col('x') + 1)",
    ],
    "a renamed constant kept its old name": [
        "frame.with_columns(pl.lit(5).alias('b'))",
        "frame.rename({'b': 'c'})",
    ],
    "a constant under two names": [
        "frame.with_columns(pl.lit(5).alias('b'))",
        "frame.select('x', pl.col('b').alias('c'), pl.col('b'))",
    ],
}


@pytest.mark.parametrize("optimized", [True, False])
@pytest.mark.parametrize("name", FOUND)
def test_found(name: str, *, optimized: bool) -> None:
    verbs = [Verb(code, code) for code in FOUND[name]]
    expected = FRAME
    for verb in verbs:
        expected = verb.on_polars(expected)
    assert_frame_equal(collected(applied(scanned([FRAME]), verbs), optimized=optimized), expected)
