"""Rows without repetition are those of Polars, whatever the disorder within the watermark."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hst

import streame as st
from streame.core.changes import fold
from streame.testing import Driver, strategies
from tests.examples import examples
from tests.properties.running import rows_of, scanned
from tests.properties.test_group_by import follow, keys, same
from tests.properties.timed import TIME, duration, play, ticks

pytestmark = pytest.mark.timeout(600)

VALUES = {"v": pl.Int8(), "s": pl.String()}


def spaced(rows: pl.DataFrame, subset: list[str], within: int) -> pl.DataFrame:
    """The definition of `within`, row by row; the rows are in order."""
    last: dict[int, int] = {}
    numbers = rows.select(pl.struct(subset).rank("dense")).to_series()
    kept = []
    for number, time in zip(numbers, rows[TIME].to_physical(), strict=True):
        kept.append(number not in last or time - last[number] >= within)
        if kept[-1]:
            last[number] = time
    return rows.filter(pl.Series(kept, dtype=pl.Boolean))


@given(hst.data())
@settings(max_examples=examples(60))
def test_the_first_rows_by_event_time(data: hst.DataObject) -> None:
    dtype = data.draw(hst.sampled_from(strategies.TIMES))
    key = data.draw(keys())
    rows = data.draw(strategies.timed_frames(key, VALUES, dtype=dtype), label="rows")
    delay = data.draw(hst.sampled_from([0, 1, 4, 50]), label="delay")
    disorder = delay + data.draw(hst.sampled_from([0, 0, 5]), label="disorder beyond")
    within = data.draw(hst.sampled_from([None, None, 1, 3, 8]), label="within")
    subset = data.draw(hst.sampled_from([list(key), [*key, "v"], None]), label="subset")
    named = rows.columns if subset is None else subset
    in_order = data.draw(hst.booleans(), label="maintain_order")
    spacing = None if within is None else duration(dtype, within)

    def verb(frame: st.StreamDataFrame) -> st.StreamDataFrame:
        return frame.unique(subset, keep="first", within=spacing, maintain_order=in_order)

    for played in play(data, verb, rows, delay, disorder=disorder):
        same(pl.concat([played.too_late.clear(), *played.late]), played.too_late)
        taken = played.taken
        if not played.ended:
            if played.watermark is None:
                continue
            taken = taken.filter(pl.col(TIME).to_physical() < played.watermark)
        if within is None:
            expected = taken.unique(subset, keep="first", maintain_order=True)
        else:
            expected = spaced(taken, named, ticks(dtype, within))
        found = played.frame(expected.schema)
        same(found, expected)
        if in_order:
            assert found[TIME].is_sorted()


@given(hst.data())
@settings(max_examples=examples(60))
def test_the_last_row_and_rows_without_an_equal_so_far(data: hst.DataObject) -> None:
    dtype = data.draw(hst.sampled_from(strategies.TIMES))
    key = data.draw(keys())
    rows = data.draw(strategies.timed_frames(key, VALUES, dtype=dtype), label="rows")
    keep: Any = data.draw(hst.sampled_from(["last", "none"]), label="keep")
    subset = data.draw(hst.sampled_from([list(key), [*key, "v"], None]), label="subset")

    def verb(frame: st.StreamDataFrame) -> st.StreamDataFrame:
        return frame.unique(subset, keep=keep)

    for played in play(data, verb, rows, 2, disorder=100, lateness=10**18):
        expected = played.taken.unique(subset, keep=keep)
        same(fold(played.frame(pl.Schema({**expected.schema, "_diff": pl.Int64()}))), expected)


@given(hst.data())
@settings(max_examples=examples(40))
def test_without_event_time_rows_go_by_their_order_in_the_source(data: hst.DataObject) -> None:
    key = data.draw(keys())
    rows = data.draw(strategies.keyed_frames(key, VALUES), label="rows")
    cuts = data.draw(strategies.batch_cuts(rows))
    keep: Any = data.draw(hst.sampled_from(["any", "first", "last", "none"]), label="keep")
    parallelism = data.draw(hst.sampled_from([1, 2, 3]), label="parallelism")
    polars_keep: Any = "first" if keep == "any" else keep
    with Driver(scanned(cuts, "rows").unique(list(key), keep=keep), parallelism=parallelism) as driver:
        said: list[pl.DataFrame] = []
        for number, cut in enumerate(cuts):
            driver.push(cut)
            said += driver.take()
            expected = pl.concat(cuts[: number + 1]).unique(list(key), keep=polars_keep)
            diff = {} if polars_keep == "first" else {"_diff": pl.Int64()}
            found = pl.concat([pl.DataFrame(schema={**expected.schema, **diff}), *said])
            found = fold(found) if diff else found
            assert rows_of(found) == rows_of(expected)


@given(hst.data())
@settings(max_examples=examples(24))
def test_rows_of_a_changes_stream_that_are_there(data: hst.DataObject) -> None:
    rows = data.draw(strategies.keyed_frames({"k": pl.String()}, VALUES), label="rows")
    cuts = data.draw(strategies.batch_cuts(rows))
    keep: Any = data.draw(hst.sampled_from(["any", "last", "none"]), label="keep")

    def sizes(frame: Any) -> Any:
        return frame.group_by("k").agg(n=pl.len(), low=pl.col("v").min()).select("n", "low").unique(keep=keep)

    follow(sizes(scanned(cuts, "rows")), cuts, sizes, data.draw(hst.sampled_from([1, 3])))
