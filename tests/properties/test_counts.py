"""Every so many rows of a key give what Polars gives for them, whatever the disorder within the watermark."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hst

import streame as st
from streame.state import counted, shared_keys
from streame.testing import Driver, strategies
from tests.examples import examples
from tests.properties.running import scanned
from tests.properties.test_group_by import keys, same
from tests.properties.test_sessions import AGGREGATES, VALUES
from tests.properties.timed import TIME, play

pytestmark = pytest.mark.timeout(600)


def windows(
    rows: pl.DataFrame, key: list[str], count: int, aggs: dict[str, pl.Expr], *, times: bool, ended: bool
) -> pl.DataFrame:
    """The definition."""
    place = pl.int_range(pl.len(), dtype=pl.Int64)
    number = (place.over(key) if key else place) // count
    first_last = {"start": pl.col(TIME).first(), "end": pl.col(TIME).last()} if times else {}
    grouped = rows.with_columns(__number=number).group_by([*key, "__number"], maintain_order=True)
    found = grouped.agg(**first_last, **aggs, __rows=pl.len())
    return found.filter((pl.col("__rows") == count) | ended).drop("__number", "__rows")


@given(hst.data())
@settings(max_examples=examples(60))
def test_counted_by_event_time(data: hst.DataObject) -> None:
    dtype = data.draw(hst.sampled_from(strategies.TIMES))
    key = data.draw(hst.one_of(hst.just({}), keys()))
    rows = data.draw(strategies.timed_frames(key, VALUES, dtype=dtype), label="rows")
    count = data.draw(hst.integers(1, 5), label="n")
    delay = data.draw(hst.sampled_from([0, 1, 4, 50]), label="delay")
    disorder = delay + data.draw(hst.sampled_from([0, 0, 5]), label="disorder beyond")
    choice = data.draw(hst.lists(hst.sampled_from(list(AGGREGATES)), min_size=1, max_size=4, unique=True))
    aggs = {name: AGGREGATES[name] for name in choice}

    def verb(frame: st.StreamDataFrame) -> st.StreamDataFrame:
        return frame.group_by_count(count, group_by=list(key)).agg(**aggs)

    for played in play(data, verb, rows, delay, disorder=disorder):
        same(pl.concat([played.too_late.clear(), *played.late]), played.too_late)
        taken = played.taken
        if not played.ended:
            if played.watermark is None:
                continue
            taken = taken.filter(pl.col(TIME).to_physical() < played.watermark)
        expected = windows(taken, list(key), count, aggs, times=True, ended=played.ended)
        same(played.frame(expected.schema), expected)


@given(hst.data())
@settings(max_examples=examples(40))
def test_counted_as_they_come_with_hardly_any_room(data: hst.DataObject) -> None:
    key = data.draw(keys())
    rows = data.draw(strategies.keyed_frames(key, VALUES, max_size=40), label="rows")
    cuts = data.draw(strategies.batch_cuts(rows))
    count = data.draw(hst.integers(1, 5), label="n")
    aggs = {name: AGGREGATES[name] for name in ("n", "sum", "first", "list")}
    frame = scanned(cuts, "rows").group_by_count(count, group_by=list(key)).agg(**aggs)
    parallelism = data.draw(hst.sampled_from([1, 2, 3]), label="parallelism")
    said: list[pl.DataFrame] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counted, "_SLACK_WINDOWS", 0)
        patch.setattr(shared_keys, "_SLACK_KEYS", 0)
        with Driver(frame, parallelism=parallelism) as driver:
            for number, cut in enumerate(cuts):
                driver.push(cut)
                said += driver.take()
                expected = windows(
                    pl.concat(cuts[: number + 1]), list(key), count, aggs, times=False, ended=False
                )
                same(pl.concat([pl.DataFrame(schema=expected.schema), *said]), expected)
        said += driver.take()
    expected = windows(rows, list(key), count, aggs, times=False, ended=True)
    same(pl.concat([pl.DataFrame(schema=expected.schema), *said]), expected)
