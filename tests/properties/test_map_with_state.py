"""Map with state equals a loop over the rows of each key in the order of time, whatever the cuts, disorder and tasks.

The function does what such a loop does, so how many of its rows come together must not matter: it adds values up, and
raises an alarm when a key has been silent for too long.
"""

from itertools import groupby
from typing import Any

import polars as pl
import polars.selectors as cs
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as hst

import streame as st
from streame.testing import strategies
from tests.examples import examples
from tests.properties.running import collected, rows_of, scanned

pytestmark = pytest.mark.timeout(300)

SILENCE = 5
"""How many ticks a key may be silent."""

VALUES = {"v": pl.Int16()}
ADDED = {"at": pl.Int64(), "total": pl.Int64(), "rows": pl.Int64()}
ALARM = -1


def watched(rows: pl.DataFrame, state: Any, group: st.Group) -> tuple[pl.DataFrame, Any]:
    """The running total after each row, and an alarm after each silence."""
    total, count, last = state or (0, 0, None)
    said = []
    if group.fired == "time":
        said.append((group.due, ALARM, count))
        last = None
    for at, value in rows.select("at", "v").rows():
        if last is not None and last + SILENCE < at:
            said.append((last + SILENCE, ALARM, count))
        total, count, last = total + (value or 0), count + 1, at
        said.append((at, total, count))
    if last is not None:
        group.call_at(last + SILENCE)
    # A timer that has fired is followed by silence, so that a ttl may count.
    keys = {name: group.key[number] for number, name in enumerate(rows.columns[2:])}
    frame = pl.DataFrame(said, schema=ADDED, orient="row")
    columns = [pl.Series(name, [key] * len(said), dtype=rows.schema[name]) for name, key in keys.items()]
    return frame.with_columns(columns), [total, count, last]


def in_a_loop(rows: pl.DataFrame, ttl: int | None) -> pl.DataFrame:
    """What `watched` says of rows in their order, key by key and row by row."""
    keys = rows.columns[2:]
    said: list[tuple[Any, ...]] = []
    numbered = rows.with_columns(number=pl.struct(keys).rank("dense"))
    for _, group in groupby(numbered.sort("number", "at", maintain_order=True).rows(), lambda row: row[-1]):
        total = count = 0
        last = None
        for at, value, *key, _ in group:
            if last is not None and last + SILENCE < at:
                said.append((last + SILENCE, ALARM, count, *key))
                if ttl is not None and last + ttl <= at:
                    total = count = 0
            total, count, last = total + (value or 0), count + 1, at
            said.append((at, total, count, *key))
        said.append((last + SILENCE, ALARM, count, *key))  # type: ignore[operator]
    schema = {**ADDED, **{name: rows.schema[name] for name in keys}}
    return pl.DataFrame(said, schema=schema, orient="row")


def one_zero(frame: pl.DataFrame) -> pl.DataFrame:
    """Both zeros are one key; which of them stands for it is left open."""
    floats = cs.float()
    return frame.with_columns(pl.when(floats == 0).then(floats.abs()).otherwise(floats).name.keep())


@given(hst.data())
@settings(max_examples=examples(40))
def test_as_a_loop_over_the_rows_in_order(data: hst.DataObject) -> None:
    dtypes = data.draw(
        hst.lists(hst.sampled_from(list(strategies.KEYS)), min_size=1, max_size=2), label="keys"
    )
    key = {f"k{number}": dtype for number, dtype in enumerate(dtypes)}
    drawn = strategies.timed_frames(key, VALUES, dtype=pl.Int64(), max_size=30)
    ordered = data.draw(drawn).select("at", "v", *key)
    delay = data.draw(hst.integers(0, 10), label="delay")
    ttl = data.draw(hst.none() | hst.integers(SILENCE + 1, 15), label="ttl")
    rows = data.draw(strategies.disordered(ordered, "at", delay), label="rows")
    expected = in_a_loop(rows, ttl)
    stream = scanned(data.draw(strategies.batch_cuts(rows)), event_time="at", watermark=delay)
    mapped = stream.group_by(*key).map_with_state(watched, state=None, schema=expected.schema, ttl=ttl)
    for optimized, parallelism in ((True, 1), (False, 2), (True, 3)):
        note(f"{optimized=} {parallelism=}")
        found = collected(mapped, optimized=optimized, parallelism=parallelism)
        assert rows_of(one_zero(found)) == rows_of(one_zero(expected))


@given(hst.data())
@settings(max_examples=examples(20))
def test_late_rows_are_those_behind_their_watermark(data: hst.DataObject) -> None:
    key = {"k0": pl.String()}
    ordered = data.draw(strategies.timed_frames(key, VALUES, dtype=pl.Int64(), max_size=30)).select(
        "at", "v", "k0"
    )
    delay = data.draw(hst.integers(0, 5), label="delay")
    rows = data.draw(strategies.disordered(ordered, "at", 2 * delay + 3), label="rows")
    is_late = (pl.col("at") < pl.col("at").cum_max().shift(1) - delay).fill_null(value=False)
    stream = scanned(data.draw(strategies.batch_cuts(rows)), event_time="at", watermark=delay)
    expected = in_a_loop(rows.filter(~is_late), None)
    mapped = stream.group_by("k0").map_with_state(watched, state=None, schema=expected.schema, ttl=None)
    for parallelism in (1, 3):
        assert rows_of(collected(mapped, parallelism=parallelism)) == rows_of(expected)
        assert rows_of(collected(mapped.late, parallelism=parallelism)) == rows_of(rows.filter(is_late))


@given(hst.data())
@settings(max_examples=examples(20))
def test_rows_of_several_splits_come_in_one_order(data: hst.DataObject) -> None:
    dtype = data.draw(hst.sampled_from(strategies.TIMES), label="dtype")
    key = {"k": pl.UInt8()}
    parts = [
        data.draw(strategies.timed_frames(key, VALUES, dtype=dtype, max_size=12)).select("at", "v", "k")
        for _ in range(2)
    ]
    streams = [
        scanned(data.draw(strategies.batch_cuts(part)), f"part {number}", event_time="at")
        for number, part in enumerate(parts)
    ]

    def all_values(
        rows: pl.DataFrame, before: list[int], group: st.Group
    ) -> tuple[pl.DataFrame | None, list[int]]:
        if group.fired == "clock":
            return pl.DataFrame({"k": [group.key[0]], "vs": [before]}, schema=schema), before
        group.call_after("1h")
        return None, [*before, *rows["v"].fill_null(-1).to_list()]

    schema = pl.Schema({"k": pl.UInt8(), "vs": pl.List(pl.Int64())})
    mapped = st.concat(streams).group_by("k").map_with_state(all_values, state=list, schema=schema, ttl=None)
    expected = (
        pl.concat(parts)
        .sort("at", maintain_order=True)
        .group_by("k")
        .agg(vs=pl.col("v").fill_null(-1).cast(pl.Int64))
    )
    for parallelism in (1, 3):
        assert rows_of(collected(mapped, parallelism=parallelism)) == rows_of(expected)
