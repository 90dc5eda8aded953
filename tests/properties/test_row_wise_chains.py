"""Whatever the schema, the rows, the cuts and the chain of row-wise verbs: the answer is that of Polars."""

import polars as pl
import pytest
from hypothesis import HealthCheck, given, note, reject, settings
from hypothesis import strategies as hst
from polars.exceptions import PanicException, PolarsError
from polars.testing import assert_frame_equal

from streame.testing import strategies
from tests.examples import examples
from tests.properties.chains import Verb, applied, chains
from tests.properties.running import collected, rows_of, scanned

pytestmark = pytest.mark.timeout(600)  # so that a failing example can still be made small


def polars_says(frame: pl.DataFrame, verbs: list[Verb]) -> pl.DataFrame:
    """The answer of Polars, verb by verb, so that no rewriting of its own stands between; if it has one."""
    try:
        for verb in verbs:
            frame = verb.on_polars(frame.lazy()).collect()
    except (PolarsError, PanicException):
        reject()
    return frame


@given(hst.data())
@settings(max_examples=examples(120), suppress_health_check=[HealthCheck.too_slow])
def test_a_chain_gives_what_polars_gives(data: hst.DataObject) -> None:
    schema = data.draw(strategies.schemas(), label="schema")
    frame = data.draw(strategies.frames(schema), label="frame")
    verbs = data.draw(chains(schema), label="verbs")
    batches = data.draw(strategies.batch_cuts(frame), label="batches")
    right = polars_says(frame, verbs)
    stream = applied(scanned(batches), verbs)
    assert stream.schema == right.schema
    in_order = all(verb.keeps_order for verb in verbs)
    for optimized, parallelism in ((True, 1), (False, 1), (True, 3)):
        note(f"{optimized=} {parallelism=}")
        found = collected(stream, optimized=optimized, parallelism=parallelism)
        if in_order:
            assert_frame_equal(found, right, check_exact=True)
        else:
            assert found.schema == right.schema
            assert rows_of(found) == rows_of(right)


@given(hst.data())
@settings(max_examples=examples(5), suppress_health_check=list(HealthCheck))
def test_a_large_frame_is_cut_at_its_edges(data: hst.DataObject) -> None:
    schema = pl.Schema({"a": pl.Int64(), "b": pl.String(), "c": pl.List(pl.Int64())})
    some = data.draw(strategies.frames(schema, min_size=1), label="rows, repeated")
    frame = strategies.tiled(some, data.draw(hst.sampled_from([1023, 1024, 1025, 65_535, 65_537, 70_000])))
    verbs = data.draw(chains(schema, most=4), label="verbs")
    batches = data.draw(strategies.batch_cuts(frame))
    note(f"batches of {[batch.height for batch in batches]} rows")
    right = polars_says(frame, verbs)
    found = collected(applied(scanned(batches), verbs))
    if all(verb.keeps_order for verb in verbs):
        assert_frame_equal(found, right, check_exact=True)
    else:
        assert rows_of(found) == rows_of(right)
