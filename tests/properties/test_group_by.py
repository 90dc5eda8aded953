"""What group_by says, folded after any batch, is Polars' group_by of the rows so far."""

from collections.abc import Sequence
from typing import Any

import polars as pl
import polars.selectors as cs
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as hst

import streame as st
from streame.core.changes import fold
from streame.testing import Driver, strategies
from tests.examples import examples
from tests.properties.running import collected, rows_of, scanned
from tests.properties.timed import TIME, duration, play

pytestmark = pytest.mark.timeout(600)

VALUES = {"v": pl.Int8(), "s": pl.String(), "f": pl.Float64(), "b": pl.Boolean(), "d": pl.Decimal(10, 2)}

AGGREGATES: dict[str, pl.Expr] = {
    "n": pl.len(),
    "v": pl.col("v").sum(),
    "mean": pl.col("v").mean(),
    "span": pl.col("v").cast(pl.Int64).max() - pl.col("v").cast(pl.Int64).min(),
    "s": pl.col("s").min(),
    "last": pl.col("s").max(),
    "f": pl.col("f").max(),
    "low": pl.col("f").min(),
    "b": pl.col("b").any(),
    "all": pl.col("b").all(ignore_nulls=False),
    "d": pl.col("d").sum(),
    "big": (pl.col("v") > 3).sum(),
    "some": pl.col("v").filter(pl.col("b")).sum(),
    "kinds": pl.col("s").n_unique(),
    "nulls": pl.col("s").null_count(),
    "count": pl.col("f").count(),
    "median": pl.col("v").median(),
}
"""Aggregates that do not depend on the order of rows."""

IN_ORDER = {
    "first": pl.col("s").first(),
    "last_v": pl.col("v").last(),
    "list": pl.col("v"),
    "head": pl.col("s").head(2),
}
"""Aggregates that do."""


def normal(frame: pl.DataFrame) -> pl.DataFrame:
    """Which of two equal zeros stands for a key is not said."""
    return frame.with_columns(pl.when(cs.float() == 0).then(0.0).otherwise(cs.float()).name.keep())


def same(found: pl.DataFrame, expected: pl.DataFrame) -> None:
    """Both have the same rows, in any order."""
    assert found.schema == expected.schema
    assert rows_of(normal(found)) == rows_of(normal(expected))


def follow(
    frame: st.StreamDataFrame, cuts: Sequence[pl.DataFrame], expected: Any, parallelism: int = 1
) -> None:
    """Push batch by batch; after each, the fold of what came out is what is expected of the rows so far."""
    said: list[pl.DataFrame] = []
    schema = pl.Schema({**frame.schema, "_diff": pl.Int64()})
    with Driver(frame, parallelism=parallelism) as driver:
        for number, cut in enumerate(cuts):
            note(f"batch {number}")
            driver.push(cut)
            said += driver.take()
            rows = pl.concat(cuts[: number + 1])
            same(fold(pl.concat([pl.DataFrame(schema=schema), *said])), expected(rows))


@hst.composite
def keys(draw: hst.DrawFn) -> dict[str, Any]:
    """One to three key columns."""
    dtypes = draw(hst.lists(hst.sampled_from(list(strategies.KEYS)), min_size=1, max_size=3))
    return {f"k{number}": dtype for number, dtype in enumerate(dtypes)}


@given(hst.data())
@settings(max_examples=examples(60))
def test_every_batch_gives_what_polars_gives_for_the_rows_so_far(data: hst.DataObject) -> None:
    key = data.draw(keys())
    rows = data.draw(strategies.keyed_frames(key, VALUES), label="rows")
    cuts = data.draw(strategies.batch_cuts(rows), label="cuts")
    choice = data.draw(hst.lists(hst.sampled_from(list(AGGREGATES)), min_size=1, max_size=6, unique=True))
    aggs = {name: AGGREGATES[name] for name in choice}
    stream = scanned(cuts, "rows").group_by(*key).agg(**aggs)
    parallelism = data.draw(hst.sampled_from([1, 2, 3]), label="parallelism")
    follow(stream, cuts, lambda so_far: so_far.group_by(*key).agg(**aggs), parallelism)


@given(hst.data())
@settings(max_examples=examples(24))
def test_aggregates_in_order_go_by_the_order_of_the_only_split(data: hst.DataObject) -> None:
    key = data.draw(keys())
    rows = data.draw(strategies.keyed_frames(key, VALUES), label="rows")
    cuts = data.draw(strategies.batch_cuts(rows), label="cuts")
    stream = scanned(cuts, "rows").group_by(*key).agg(**IN_ORDER)
    parallelism = data.draw(hst.sampled_from([1, 3]), label="parallelism")
    follow(stream, cuts, lambda so_far: so_far.group_by(*key).agg(**IN_ORDER), parallelism)


FIRST = {"n": pl.len(), "v": pl.col("v").sum(), "s": pl.col("s").max(), "f": pl.col("f").min()}

BETWEEN = [
    "frame",
    "frame.filter(pl.col('n') < 4)",
    "frame.filter(pl.col('s').is_not_null())",
    "frame.with_columns(v=pl.col('v') // 2)",
    "frame.with_columns(s=pl.lit('x'))",
    "frame.with_columns(n=pl.col('n').cast(pl.Int64) % 2, v=-pl.col('v'))",
    "frame.drop_nulls('f').rename({'k1': 'other'}).rename({'other': 'k1'})",
    "frame.with_columns(l=pl.concat_list('v', 'v')).explode('l').drop('l')",
    "frame.with_columns(t=pl.struct('v')).drop('v').unnest('t')",
    "frame.select('k0', 'k1', 'n', 'v', 's', 'f')",
    "frame.fill_null(0).fill_nan(1.5)",
    "concat([frame, frame.filter(pl.col('n') > 1)])",
]
"""Row-wise verbs between two group_bys."""

SECOND = {
    "groups": pl.len(),
    "rows": pl.col("n").sum(),
    "most": pl.col("v").max(),
    "least": pl.col("v").min(),
    "mean": pl.col("v").mean(),
    "name": pl.col("s").max(),
    "names": pl.col("s").n_unique(),
    "high": pl.col("f").max(),
    "low": pl.col("f").min(),
    "nulls": pl.col("f").null_count(),
    "median": pl.col("v").median(),
}


@given(hst.data())
@settings(max_examples=examples(60))
def test_a_group_by_of_a_group_by_gives_what_polars_gives(data: hst.DataObject) -> None:
    dtypes = data.draw(hst.lists(hst.sampled_from(list(strategies.KEYS)), min_size=2, max_size=2))
    key = dict(zip(("k0", "k1"), dtypes, strict=True))
    rows = data.draw(strategies.keyed_frames(key, VALUES), label="rows")
    cuts = data.draw(strategies.batch_cuts(rows), label="cuts")
    verbs = data.draw(hst.lists(hst.sampled_from(BETWEEN), max_size=2), label="verbs")
    choice = data.draw(hst.lists(hst.sampled_from(list(SECOND)), min_size=1, max_size=5, unique=True))
    by = data.draw(hst.sampled_from(["k0", "k1", "n", "s"]), label="by")
    aggs = {name: SECOND[name] for name in choice}

    def both(frame: Any, concat: Any) -> Any:
        frame = frame.group_by("k0", "k1").agg(**FIRST)
        for verb in verbs:
            frame = eval(verb, {"pl": pl, "frame": frame, "concat": concat})  # noqa: S307 - it is our own
        return frame.group_by(by).agg(**aggs)

    stream = both(scanned(cuts, "rows"), st.concat)
    parallelism = data.draw(hst.sampled_from([1, 2, 3]), label="parallelism")
    follow(stream, cuts, lambda so_far: both(so_far, pl.concat), parallelism)
    same(collected(stream, parallelism=parallelism, optimized=False), both(rows, pl.concat))


@given(hst.data())
@settings(max_examples=examples(16))
def test_results_said_now_and_then_or_at_the_end_come_to_the_same(data: hst.DataObject) -> None:
    key = data.draw(keys())
    rows = data.draw(strategies.keyed_frames(key, VALUES), label="rows")
    cuts = data.draw(strategies.batch_cuts(rows), label="cuts")
    aggs = {"n": pl.len(), "v": pl.col("v").sum(), "s": pl.col("s").min()}
    expected = rows.group_by(*key).agg(**aggs)
    for emit in ("on_close", "10s", "1ms"):
        stream = scanned(cuts, "rows").group_by(*key, emit=emit).agg(**aggs)
        parallelism = data.draw(hst.sampled_from([1, 2]))
        same(collected(stream, parallelism=parallelism), expected)
    with Driver(scanned(cuts, "rows").group_by(*key, emit="10s").agg(**aggs)) as driver:
        said = []
        for number, cut in enumerate(cuts):
            driver.push(cut)
            if data.draw(hst.booleans()):
                driver.advance("10s")
                said += driver.take()
                so_far = pl.concat(cuts[: number + 1])
                assert said or not so_far.height
                if said:
                    same(fold(pl.concat(said)), so_far.group_by(*key).agg(**aggs))


@given(hst.data())
@settings(max_examples=examples(32))
def test_windows_of_a_group_by_with_the_time_as_a_key_give_what_polars_gives(data: hst.DataObject) -> None:
    dtype = data.draw(hst.sampled_from([pl.Datetime("us"), pl.Date(), pl.Int64()]))
    rows = data.draw(strategies.timed_frames({"k": pl.String()}, VALUES, dtype=dtype), label="rows")
    delay = data.draw(hst.sampled_from([0, 2, 50]), label="delay")
    every = duration(dtype, data.draw(hst.sampled_from([1, 3, 10]), label="every"))
    emit = data.draw(hst.sampled_from(["on_close", "changes", "10s"]), label="emit")
    first = {"n": pl.len(), "v": pl.col("v").sum(), "s": pl.col("s").max()}
    second = {
        "n": pl.col("n").sum(),
        "v": pl.col("v").max(),
        "least": pl.col("v").min(),
        "s": pl.col("s").n_unique(),
    }

    def both(frame: Any, **settings: Any) -> Any:
        frame = frame.group_by(TIME, "k").agg(**first)
        frame = frame.sort(TIME) if isinstance(frame, pl.DataFrame) else frame
        return frame.group_by_dynamic(TIME, every=every, group_by="k", **settings).agg(**second)

    for played in play(data, lambda frame: both(frame, emit=emit), rows, delay):
        if played.ended or emit == "changes":
            expected = both(played.taken)
            is_changes = emit != "on_close"
            found = played.frame(
                pl.Schema({**expected.schema, "_diff": pl.Int64()} if is_changes else expected.schema)
            )
            same(fold(found) if is_changes else found, expected)
