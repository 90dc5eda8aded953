"""An interval join is Polars' join with a filter on the times, whatever the keys, the cuts, the order and the disorder."""

from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as hst

from streame.testing import strategies
from tests.examples import examples
from tests.properties import two_streams

pytestmark = pytest.mark.timeout(600)

HOWS = ("inner", "left", "right", "full", "semi", "anti")
S, D = 10**9, 86_400 * 10**9
TIMES: list[tuple[Any, Any, dict[Any, int]]] = [
    (
        pl.Datetime("us"),
        pl.Datetime("us"),
        {
            "-20s": -20 * S,
            "-7s": -7 * S,
            "-1s": -S,
            "0s": 0,
            "1s": S,
            "1s1us": S + 1000,
            timedelta(seconds=5): 5 * S,
        },
    ),
    (
        pl.Datetime("ms", "UTC"),
        pl.Datetime("ns", "Europe/Berlin"),
        {timedelta(seconds=-7): -7 * S, "-1ms": -(10**6), "0s": 0, "1s1us": S + 1000, "5s": 5 * S},
    ),
    (pl.Date(), pl.Datetime("us"), {"-7d": -7 * D, "-1s": -S, "0s": 0, "1d": D, "5d": 5 * D}),
    (pl.Int64(), pl.Int32(), {-20: -20, -7: -7, "-1i": -1, 0: 0, 1: 1, "5i": 5}),
]
"""The event times of both sides, and bounds with what they mean."""


def in_polars(
    left: pl.DataFrame, right: pl.DataFrame, how: Any, lower: Any, upper: Any, **keys: Any
) -> pl.DataFrame:
    """The join as Polars has it: pairs that are filtered, and the rows that are in none."""
    left, right = left.with_row_index("__l"), right.with_row_index("__r")
    on = {name: keys[name] for name in ("left_on", "right_on")}
    pairs = (
        left.join(right, how="inner", nulls_equal=keys["nulls_equal"], **on)
        if on["left_on"]
        else left.join(right, how="cross")
    )
    times = (pairs["at"], pairs["when"])
    apart = pl.DataFrame({"apart": _engine_units(times[1]) - _engine_units(times[0])}).to_series()
    pairs = pairs.filter(apart.is_between(lower, upper).fill_null(value=False))
    met_left, met_right = (
        left["__l"].is_in(pairs["__l"].to_list()),
        right["__r"].is_in(pairs["__r"].to_list()),
    )
    if how in {"semi", "anti"}:
        return left.filter(met_left if how == "semi" else ~met_left).drop("__l")
    ids = pairs.select("__l", "__r")
    unmatched = {"left": [True, False], "right": [False, True], "full": [True, True]}.get(how, [False, False])
    if not on["left_on"]:
        alone = [left.filter(~met_left)] * unmatched[0] + [
            right.filter(~met_right).rename({"v": "v_right"})
        ] * unmatched[1]
        return pl.concat([pairs, *alone], how="diagonal_relaxed").drop("__l", "__r")
    parts = [left.join(right, how=how, **keys).join(ids, on=["__l", "__r"], how="semi")]
    if unmatched[0]:
        parts.append(left.filter(~met_left).join(right.clear(), how=how, **keys))
    if unmatched[1]:
        parts.append(left.clear().join(right.filter(~met_right), how=how, **keys))
    return pl.concat(parts).drop("__l", "__r")


def _engine_units(times: pl.Series) -> pl.Series:
    if times.dtype.is_integer():
        return times.cast(pl.Int64)
    return times.cast(pl.Datetime("ns", getattr(times.dtype, "time_zone", None))).to_physical()


@given(hst.data())
@settings(max_examples=examples(60))
def test_an_interval_join_gives_what_polars_gives(data: hst.DataObject) -> None:
    left_time, right_time, bounds = data.draw(hst.sampled_from(TIMES), label="times")
    chosen = data.draw(hst.lists(hst.sampled_from(list(bounds)), min_size=2, max_size=2), label="bounds")
    lower, upper = sorted(chosen, key=bounds.__getitem__)
    dtypes = data.draw(hst.lists(hst.sampled_from(list(strategies.KEYS)), max_size=2), label="keys")
    left_key = {f"k{number}": dtype for number, dtype in enumerate(dtypes)}
    renamed = data.draw(hst.booleans())
    right_key = {f"{name}_t" if renamed else name: dtype for name, dtype in left_key.items()}
    left = data.draw(
        strategies.timed_frames(left_key, {"v": pl.Int64()}, time="at", dtype=left_time, steps=12)
    )
    right = data.draw(
        strategies.timed_frames(
            right_key, {"v": pl.String(), "w": pl.Int8()}, time="when", dtype=right_time, steps=12
        )
    )
    left, right = data.draw(two_streams.untimely(left, "at")), data.draw(two_streams.untimely(right, "when"))
    how = data.draw(hst.sampled_from(HOWS), label="how")
    settings_of: dict[str, Any] = {
        "left_on": list(left_key),
        "right_on": list(right_key),
        "nulls_equal": data.draw(hst.booleans(), label="nulls_equal"),
        "suffix": data.draw(hst.sampled_from(["_right", "!"])) if dtypes else "_right",
        "coalesce": data.draw(hst.sampled_from([None, True, False]), label="coalesce"),
    }
    expected = in_polars(left, right, how, bounds[lower], bounds[upper], **settings_of)
    sides = two_streams.source(left, "left", "at"), two_streams.source(right, "right", "when")
    joined = sides[0].join_interval(sides[1], how=how, lower=lower, upper=upper, **settings_of)  # type: ignore[arg-type]
    assert dict(joined.schema) == dict(expected.schema)
    batches = data.draw(two_streams.givens(left, right), label="batches")
    order = data.draw(two_streams.orders(batches), label="order")
    for parallelism in (1, 3):
        note(f"{parallelism=}")
        found = two_streams.played(joined, batches, order, parallelism=parallelism)
        assert two_streams.rows_of(found) == two_streams.rows_of(expected.select(found.columns))
